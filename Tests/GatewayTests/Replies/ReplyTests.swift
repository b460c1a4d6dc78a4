import Configuration
import Foundation
import HTTP
import OAuth
import Telemetry
import TestSupport
import Testing

@testable import Gateway

@Suite struct ReplyTests {
    private func reply(
        _ refusal: Refusal, accepted: CredentialSet = [.bearer, .oauth1],
        version: HTTPVersion = .http11, isHead: Bool = false, closes: Bool = false,
        requestID: String = "id-1", realm: String = "gatehouse"
    ) throws -> WrittenHead {
        var writer = ReplyWriter(realm: realm)
        var output: [UInt8] = []
        let context = ReplyContext(
            version: version, isHead: isHead, closes: closes, requestID: Array(requestID.utf8),
            date: someDate)
        // Twice, to show that nothing of a reply stays in the writer.
        writer.append(Refusal(.noRoute), accepted: [], context, to: &output)
        output.removeAll()
        writer.append(refusal, accepted: accepted, context, to: &output)
        return try WrittenHead(output)
    }

    private func problem(_ written: WrittenHead) throws -> [String: Any] {
        try #require(
            try JSONSerialization.jsonObject(with: Data(written.body.utf8)) as? [String: Any])
    }

    @Test func aRefusalAsAWhole() throws {
        let written = try reply(Refusal(.tokenExpired, attempted: .bearer))
        #expect(written.startLine.hasPrefix("HTTP/1.1 401 "))
        #expect(
            written.fields.map { "\($0.name): \($0.value)" } == [
                "WWW-Authenticate: Bearer realm=\"gatehouse\", error=\"invalid_token\", "
                    + "error_description=\"The access token has expired.\"",
                "WWW-Authenticate: OAuth realm=\"gatehouse\"",
                "Cache-Control: no-store", "Content-Type: application/problem+json",
                "Date: Thu, 01 Jan 2026 00:00:00 GMT",
                "Content-Length: \(written.body.utf8.count)", "X-Request-Id: id-1",
            ])
        #expect(
            written.body == """
                {"type":"urn:gatehouse:reason:token_expired","title":"Token expired","status":401,\
                "detail":"The access token has expired.","request_id":"id-1"}

                """)
    }

    // MARK: DPoP

    private static let dpop = #"DPoP algs="ES256 EdDSA RS256 PS256", realm="gatehouse""#

    struct ProofCase: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var refusal: Refusal
        var accepted: CredentialSet = .bearer
        var expected: [String]
    }

    private static func refusal(
        _ reason: Reason, _ status: Int = 401, by scheme: TokenScheme? = .dpop,
        _ error: DPoPError? = nil, asks: Bool = false
    ) -> Refusal {
        var refusal = Refusal(reason, status: status, attempted: scheme == nil ? nil : .bearer)
        refusal.tokenScheme = scheme ?? .bearer
        refusal.proofError = error
        refusal.asksForProof = asks
        return refusal
    }

    static let proofs: [ProofCase] = [
        .init(
            testDescription: "nothing shown", refusal: refusal(.noCredentials, by: nil),
            expected: [#"Bearer realm="gatehouse""#]),
        .init(
            testDescription: "nothing shown where a proof is asked for",
            refusal: refusal(.noCredentials, by: nil), accepted: [.bearer, .dpop],
            expected: [dpop]),
        .init(
            testDescription: "a bad proof", refusal: refusal(.invalidProof, by: .dpop, .missing),
            expected: [
                #"Bearer realm="gatehouse""#,
                dpop
                    + #", error="invalid_dpop_proof", error_description="The DPoP proof is invalid.""#,
            ]),
        .init(
            testDescription: "a bound token as a bearer token",
            refusal: refusal(.proofMismatch, by: .bearer, asks: true),
            expected: [
                #"Bearer realm="gatehouse", error="invalid_token", error_description="The key or certificate that the token is bound to is not proven by the request.""#,
                dpop,
            ]),
        .init(
            testDescription: "a bearer token where a proof is asked for",
            refusal: refusal(.tokenExpired, by: .bearer), accepted: [.bearer, .dpop],
            expected: [
                dpop
                    + #", error="invalid_token", error_description="The access token has expired.""#
            ]),
        .init(
            testDescription: "not an error of the credential",
            refusal: refusal(.clientNotAllowed, 403), expected: []),
        .init(
            testDescription: "the upstream is away",
            refusal: refusal(.upstreamConnect, 502, by: nil),
            expected: []),
    ]

    @Test(arguments: proofs) func theChallengeOfAProof(of item: ProofCase) throws {
        let written = try reply(item.refusal, accepted: item.accepted)
        #expect(written.values("WWW-Authenticate") == item.expected)
        #expect(written.values("DPoP-Nonce") == [])
    }

    @Test func aNonceIsToldInItsField() throws {
        var refusal = Self.refusal(.nonceRequired, by: .dpop, .nonceRequired)
        refusal.nonce = Array("n-1".utf8)
        let written = try reply(refusal, accepted: [.bearer, .dpop])
        #expect(written.values("DPoP-Nonce") == ["n-1"])
        #expect(
            written.values("WWW-Authenticate") == [
                Self.dpop
                    + #", error="use_dpop_nonce", error_description="A nonce of this server is required in the DPoP proof.""#
            ])
    }

    /// The fields of draft-ietf-httpapi-ratelimit-headers-09.
    @Test func aRateIsToldInItsFields() throws {
        var refusal = Refusal(.rateLimited)
        refusal.retryAfterSeconds = 7
        refusal.rate = RefusedRate(name: "route-client", quota: 5000, windowSeconds: 60)
        let written = try reply(refusal, accepted: [.bearer, .oauth1])
        #expect(written.startLine == "HTTP/1.1 429 Too Many Requests")
        #expect(written.values("Retry-After") == ["7"])
        #expect(written.values("RateLimit-Policy") == [#""route-client";q=5000;w=60"#])
        #expect(written.values("RateLimit") == [#""route-client";r=0;t=7"#])
        #expect(written.values("WWW-Authenticate") == [])
        #expect(try problem(written)["type"] as? String == "urn:gatehouse:reason:rate_limited")
    }

    /// Who is sent to the store finds it well when the client alone has used up its share.
    @Test func whoIsOverItsShareIsToldWhenToComeAgain() throws {
        let over = try reply(Refusal(unremembered: .overShare(retryAfterSeconds: 64)))
        #expect(over.startLine == "HTTP/1.1 429 Too Many Requests")
        #expect(over.values("Retry-After") == ["64"])
        #expect(over.values("RateLimit-Policy") == [])
        #expect(try problem(over)["type"] as? String == "urn:gatehouse:reason:rate_limited")
        for verdict in [ReplayGuard.Verdict.full, .aboveCeiling(fingerprint: [])] {
            #expect(Refusal(unremembered: verdict) == Refusal(.storeUnavailable))
        }
    }

    static let statuses: [Int: [Reason]] = [
        400: [
            .malformedCredentials, .duplicateCredentials, .unsupportedSignatureMethod, .badPath,
            .badRequest, .invalidGrantRequest, .unsupportedGrantType, .invalidScope, .invalidTarget,
        ],
        401: [
            .noCredentials, .tokenExpired, .tokenNotYetValid, .tokenRevoked, .unknownIssuer,
            .unknownKey, .badSignature, .badAlgorithm, .wrongType, .unknownClient, .unknownToken,
            .wrongSecret, .timestampOutOfWindow, .nonceReused, .plaintextNeedsTLS,
            .bodyHashMismatch, .proofMismatch, .certificateExpired, .invalidProof,
            .wrongProofTarget, .nonceRequired,
        ],
        403: [
            .wrongAudience, .insufficientScope, .claimMismatch, .clientNotAllowed, .addressDenied,
        ],
        404: [.noRoute], 405: [.methodNotAllowed], 408: [.timeout], 413: [.bodyTooLarge],
        414: [.uriTooLong], 417: [.expectationFailed], 429: [.rateLimited], 431: [.headTooLarge],
        499: [.clientClosed],
        500: [.internalError], 501: [.upgradeNotSupported],
        502: [.upstreamConnect, .upstreamReset, .upstreamBadResponse],
        503: [
            .tooManyConnections, .noHealthyUpstream, .issuerUnavailable, .storeUnavailable,
            .shuttingDown,
        ],
        504: [.upstreamTimeout], 505: [.unsupportedVersion],
    ]

    @Test(arguments: Reason.allCases)
    func everyReasonHasItsStatusAndAWellFormedProblem(reason: Reason) throws {
        let status = try #require(Self.statuses.first { $0.value.contains(reason) }?.key)
        let written = try reply(Refusal(reason))
        let problem = try problem(written)
        #expect(written.startLine.hasPrefix("HTTP/1.1 \(status) "))
        #expect(problem["status"] as? Int == status)
        #expect(Set(problem.keys) == ["type", "title", "status", "detail", "request_id"])
        #expect(problem["type"] as? String == "urn:gatehouse:reason:\(reason.publicName)")
        #expect((problem["title"] as? String)?.isEmpty == false)
        let detail = try #require(problem["detail"] as? String)
        // RFC 6750 section 3: no quote and no backslash in an error_description.
        #expect(detail.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != 0x22 && $0 != 0x5C })
        #expect(written.values("Content-Length") == ["\(written.body.utf8.count)"])
        // Only what has a fallback would say "Internal error".
        #expect((problem["title"] as? String == "Internal error") == (reason == .internalError))
    }

    @Test func everyReasonIsInTheTableOnce() {
        #expect(Self.statuses.values.joined().count == Reason.allCases.count)
    }

    @Test func aStrangerCannotTellOneWrongCredentialFromAnother() throws {
        let hidden: [Reason] = [
            .unknownClient, .unknownToken, .badSignature, .wrongSecret, .unknownKey,
            .unknownIssuer, .badAlgorithm, .wrongType,
        ]
        for scheme in [CredentialKind.bearer, .oauth1] {
            let replies = try hidden.map { try reply(Refusal($0, attempted: scheme)) }
            #expect(Set(replies.map(\.body)).count == 1)
            #expect(Set(replies.map { "\($0.startLine)\($0.fields)" }).count == 1)
            #expect(
                try problem(replies[0])["type"] as? String
                    == "urn:gatehouse:reason:invalid_credentials")
        }
        #expect(Reason.allCases.filter(\.isHiddenFromStrangers).count == hidden.count)
        #expect(Refusal(.wrongSecret).publicReason == "invalid_credentials")
        #expect(Refusal(.wrongSecret).reason == .wrongSecret)
    }

    struct ChallengeCase: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var refusal: Refusal
        var accepted: CredentialSet = [.bearer, .oauth1]
        var expected: [String]
    }

    static let bearer = "Bearer realm=\"gatehouse\""
    static let oauth1 = "OAuth realm=\"gatehouse\""
    static let challenges: [ChallengeCase] = [
        .init(
            testDescription: "no credentials", refusal: Refusal(.noCredentials),
            expected: [bearer, oauth1]),
        .init(
            testDescription: "no credentials, bearer only", refusal: Refusal(.noCredentials),
            accepted: .bearer, expected: [bearer]),
        .init(
            testDescription: "no credentials, OAuth 1.0 only", refusal: Refusal(.noCredentials),
            accepted: .oauth1, expected: [oauth1]),
        .init(
            testDescription: "a wrong OAuth 1.0 signature is no error of a bearer token",
            refusal: Refusal(.badSignature, attempted: .oauth1), expected: [bearer, oauth1]),
        .init(
            testDescription: "a bearer token where none is taken",
            refusal: Refusal(.badSignature, attempted: .bearer), accepted: .oauth1,
            expected: [oauth1]),
        .init(
            testDescription: "a token for another audience is no credential",
            refusal: Refusal(.wrongAudience, status: 401, attempted: .bearer), accepted: .bearer,
            expected: [
                bearer + ", error=\"invalid_token\", "
                    + "error_description=\"The credentials are meant for another audience.\""
            ]),
        .init(
            testDescription: "an audience that the route demands",
            refusal: Refusal(.wrongAudience, attempted: .bearer), expected: []),
        .init(
            testDescription: "malformed",
            refusal: Refusal(.malformedCredentials, attempted: .bearer),
            expected: [
                bearer + ", error=\"invalid_request\", "
                    + "error_description=\"The credentials cannot be read.\""
            ]),
        .init(
            testDescription: "malformed OAuth 1.0",
            refusal: Refusal(.malformedCredentials, attempted: .oauth1), expected: []),
        .init(testDescription: "no route", refusal: Refusal(.noRoute), expected: []),
        .init(testDescription: "store away", refusal: Refusal(.storeUnavailable), expected: []),
    ]

    @Test(arguments: challenges)
    func challengesOfTheSchemesThatAreTaken(_ example: ChallengeCase) throws {
        let written = try reply(example.refusal, accepted: example.accepted)
        #expect(written.values("WWW-Authenticate") == example.expected)
    }

    @Test func aLackingScopeIsNamed() throws {
        let route = compiled { $0.requirements = [.scopes(["read", "write"], methods: [])] }
        func refusal(of principal: Principal) throws -> Refusal {
            let decision = Permit.decide(
                principal, on: route, method: .get, methodName: Array("GET".utf8).span, from: nil)
            guard case .refuse(let refusal) = decision else {
                throw CocoaError(.featureUnsupported)
            }
            return refusal
        }
        let written = try reply(refusal(of: Principals.bearer(scopes: ["read"])))
        #expect(written.startLine.hasPrefix("HTTP/1.1 403 "))
        #expect(
            written.values("WWW-Authenticate") == [
                Self.bearer + ", error=\"insufficient_scope\", error_description="
                    + "\"The credentials lack a scope that is needed here.\", scope=\"read write\""
            ])
        // To an OAuth 1.0 client a Bearer challenge would say nothing of use.
        #expect(try reply(refusal(of: Principals.oauth1())).values("WWW-Authenticate") == [])
    }

    /// The `www_authenticate` table of jwt.json.
    @Test func theVectorsOfChallenges() throws {
        let cases = try #require(
            try Fixtures.json("jwt.json")["www_authenticate"] as? [[String: Any]])
        #expect(cases.count == 4)
        var scope = Refusal(.insufficientScope, attempted: .bearer)
        scope.neededScopes = Array("read".utf8)
        let refusals: [String: [(refusal: Refusal, error: String?)]] = [
            "missing": [(Refusal(.noCredentials), nil)],
            "invalid": [Reason.tokenExpired, .tokenRevoked, .unknownKey, .badSignature].map {
                (Refusal($0, attempted: .bearer), "invalid_token")
            },
            "scope": [(scope, "insufficient_scope")],
            "request": [
                (Refusal(.malformedCredentials, attempted: .bearer), "invalid_request"),
                (Refusal(.duplicateCredentials, attempted: .bearer), "invalid_request"),
            ],
        ]
        for example in cases {
            let id = try #require(example["id"] as? String)
            for (refusal, error) in try #require(refusals[id]) {
                #expect(refusal.status == example["status"] as? Int)
                let challenge = try #require(
                    try reply(refusal, accepted: .bearer).values("WWW-Authenticate").first)
                #expect(challenge.hasPrefix("Bearer realm=\""))
                #expect(challenge.contains("error=") == (error != nil))
                if let error { #expect(challenge.contains("error=\"\(error)\"")) }
                #expect(challenge.contains("scope=\"read\"") == (id == "scope"))
            }
        }
    }

    @Test func theRealmCannotEndItsQuotes() throws {
        let written = try reply(Refusal(.noCredentials), realm: "a \"b\" \\ c\r\nX: 1")
        #expect(
            written.values("WWW-Authenticate") == [
                "Bearer realm=\"a \\\"b\\\" \\\\ cX: 1\"", "OAuth realm=\"a \\\"b\\\" \\\\ cX: 1\"",
            ])
    }

    @Test func allowAndRetryAfter() throws {
        var refusal = Refusal(.methodNotAllowed)
        refusal.allow = Array("GET, HEAD".utf8)
        #expect(try reply(refusal).values("Allow") == ["GET, HEAD"])
        refusal = Refusal(.shuttingDown)
        refusal.retryAfterSeconds = 5
        #expect(try reply(refusal).values("Retry-After") == ["5"])
        #expect(try reply(Refusal(.shuttingDown)).values("Retry-After") == [])
        #expect(try reply(Refusal(.noRoute)).values("Allow") == [])
    }

    @Test func headGetsTheFieldsAndNoBody() throws {
        let whole = try reply(Refusal(.noRoute))
        let head = try reply(Refusal(.noRoute), isHead: true)
        #expect(head.body.isEmpty)
        #expect(head.fields.map(\.value) == whole.fields.map(\.value))
    }

    static let persistence: [(HTTPVersion, closes: Bool, expected: [String])] = [
        (.http11, false, []), (.http11, true, ["close"]), (.http10, false, ["keep-alive"]),
        (.http10, true, ["close"]),
    ]

    @Test(arguments: persistence)
    func theConnection(version: HTTPVersion, closes: Bool, expected: [String]) throws {
        let written = try reply(Refusal(.noRoute), version: version, closes: closes)
        #expect(written.values("Connection") == expected)
    }

    @Test func otherAnswers() throws {
        let writer = ReplyWriter(realm: "gatehouse")
        let context = ReplyContext(
            version: .http11, isHead: false, closes: false, requestID: Array("id".utf8),
            date: someDate)
        var output: [UInt8] = []
        writer.append(
            status: 200, contentType: "application/json", body: Array("{}".utf8),
            fields: Array("Cache-Control: no-store\r\nPragma: no-cache\r\n".utf8), context,
            to: &output)
        let written = try WrittenHead(output)
        #expect(written.startLine.hasPrefix("HTTP/1.1 200 "))
        #expect(
            written.fields.map { "\($0.name): \($0.value)" } == [
                "Cache-Control: no-store", "Pragma: no-cache", "Content-Type: application/json",
                "Date: Thu, 01 Jan 2026 00:00:00 GMT", "Content-Length: 2", "X-Request-Id: id",
            ])
        #expect(written.body == "{}")

        output.removeAll()
        writer.append(status: 204, contentType: "", body: [], context, to: &output)
        #expect(try WrittenHead(output).names == ["date", "x-request-id"])
    }

    @Test func anUnreadRequestIsAnsweredAndTheConnectionEnds() throws {
        var writer = ReplyWriter(realm: "gatehouse")
        var output: [UInt8] = []
        writer.append(
            Refusal(.badRequest), accepted: [], .unread(requestID: [0x61], date: someDate),
            to: &output)
        let written = try WrittenHead(output)
        #expect(written.values("Connection") == ["close"])
        #expect(try problem(written)["request_id"] as? String == "a")
    }
}
