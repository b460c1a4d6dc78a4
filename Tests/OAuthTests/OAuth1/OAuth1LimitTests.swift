import HTTP
import OAuth
import Primitives
import Testing

/// Bounds, places of the parameters and what the policy decides.
struct OAuth1LimitTests {
    private static let secrets = OAuth1Credentials(
        consumerSecret: Secret(utf8: "secret"), allowsPlaintext: true)

    private static func request(
        _ signed: OAuth1Signer.Request, method: OAuth1SignatureMethod = .hmacSHA256,
        adding fields: [[String]] = [], url: String? = nil
    ) throws -> OAuth1Request {
        let signer = OAuth1Signer(method: method, consumerKey: "key", credentials: secrets)
        let field = try signer.authorization(for: signed, timestamp: 1_767_225_600, nonce: "n")
        var all = [["Authorization", field]] + fields
        if let type = signed.contentType { all.append(["Content-Type", type]) }
        var vector: [String: Any] = [
            "method": signed.method, "url": url ?? signed.url, "headers": all,
        ]
        if !signed.body.isEmpty { vector["body"] = String(decoding: signed.body, as: UTF8.self) }
        return try OAuth1Request(vector)
    }

    private static func verifier(
        methods: Set<OAuth1SignatureMethod> = Set(OAuth1SignatureMethod.allCases),
        bodyHashRequired: Bool = false, publicURLs: [String] = []
    ) throws -> OAuth1Verifier {
        try OAuth1Verifier(
            policy: OAuth1Policy(
                signatureMethods: methods, timestampWindowSeconds: 300,
                bodyHashRequired: bodyHashRequired, heldBodyBytes: 1 << 20, publicURLs: publicURLs))
    }

    private static let form = "application/x-www-form-urlencoded"

    /// Six parameters stand in the field, so that 994 more are taken and 995 are not.
    @Test func aThousandParametersAreTakenAndNoMore() throws {
        for (count, isTaken) in [(994, true), (995, false), (60_000, false)] {
            let body = Array(
                (0..<count).map { "a\($0)=1" }.joined(separator: "&").utf8)
            let request = try OAuth1Request([
                "method": "POST", "url": "https://a.example/",
                "headers": [
                    ["Content-Type", Self.form],
                    [
                        "Authorization",
                        "OAuth oauth_consumer_key=\"k\",oauth_signature_method=\"HMAC-SHA256\","
                            + "oauth_timestamp=\"1767225600\",oauth_nonce=\"n\","
                            + "oauth_signature=\"AA==\",oauth_version=\"1.0\"",
                    ],
                ],
                "body": String(decoding: body, as: UTF8.self),
            ])
            let verifier = try Self.verifier()
            if isTaken {
                #expect(try !verifier.prepare(request.head, body: request.body.span).needsBody)
            } else {
                #expect(throws: OAuth1Error.tooManyParameters) {
                    try verifier.prepare(request.head, body: request.body.span)
                }
            }
        }
    }

    /// Each protocol parameter is compared with each other one: their number is bounded apart.
    @Test func extraProtocolParametersAreTakenUpToThirtyTwo() throws {
        for (extra, isTaken) in [(26, true), (27, false)] {
            let query = (0..<extra).map { "oauth_x\($0)=1" }.joined(separator: "&")
            let request = try Self.request(
                .init(method: "GET", url: "https://a.example/?" + query))
            let verifier = try Self.verifier()
            if isTaken {
                _ = try request.verify(by: verifier, { _ in Self.secrets })
            } else {
                #expect(throws: OAuth1Error.tooManyParameters) {
                    try verifier.prepare(request.head, body: nil)
                }
            }
        }
    }

    @Test(arguments: [
        (query: "oauth_signature=s", isThere: true),
        (query: "a=b&oauth_signature=s", isThere: true),
        (query: "oauth_signature", isThere: true), (query: "%6Fauth_signature=s", isThere: true),
        (query: "a=%41&oauth%5Fsignature=s", isThere: true),
        (query: "oauth_signature_method=m", isThere: false),
        (query: "xoauth_signature=s", isThere: false), (query: "a=oauth_signature", isThere: false),
        (query: "a=&oauth_signatur", isThere: false), (query: "oauth_token=t", isThere: false),
        (query: "OAUTH_SIGNATURE=s", isThere: false), (query: "&&", isThere: false),
        // What cannot be read carries nothing.
        (query: "a=%4&oauth_signature=s", isThere: false),
    ])
    func aSignatureInTheQueryIsFound(query: String, isThere: Bool) throws {
        let url = "https://a.example/p"
        let request = try Self.request(.init(method: "GET", url: url), url: url + "?" + query)
        #expect(try Self.verifier().detectsInQuery(request.head) == isThere)
    }

    @Test(arguments: [
        (name: "oauth_token=t&oauth_token=t", error: OAuth1Error.duplicateParameter),
        (name: "oauth_x=1&oauth_x=2", error: .duplicateParameter),
        (name: "oauth_nonce=other", error: .twoLocations),
        (name: "oauth%5Fsignature=AA==", error: .twoLocations),
        (name: "oauth_token=t", error: .twoLocations),
    ])
    func aProtocolParameterStandsOnceInOnePlace(name: String, error: OAuth1Error) throws {
        let url = "https://a.example/p"
        let request = try Self.request(.init(method: "GET", url: url), url: url + "?" + name)
        let verifier = try Self.verifier()
        #expect(throws: error) { try verifier.prepare(request.head, body: nil) }
    }

    @Test func twoContentTypesAreRefused() throws {
        let request = try Self.request(
            .init(
                method: "POST", url: "https://a.example/", contentType: Self.form,
                body: Array("a=1".utf8)),
            adding: [["Content-Type", "text/plain"]])
        let verifier = try Self.verifier()
        #expect(throws: OAuth1Error.malformed) { try verifier.prepare(request.head, body: nil) }
    }

    /// Junk behind the type still makes it a form's: its body is signed then.
    @Test(arguments: ["", ";charset=UTF-8", "; charset", " x", ", text/plain", "\t"])
    func aFormIsAFormWhateverFollows(suffix: String) throws {
        let body = Array("a=1".utf8)
        let request = try Self.request(
            .init(
                method: "PUT", url: "https://a.example/", contentType: Self.form + suffix,
                body: body))
        let verifier = try Self.verifier()
        #expect(try verifier.prepare(request.head, body: nil).needsBody)
        _ = try request.verify(by: verifier, { _ in Self.secrets })
    }

    @Test func aMethodThatIsNotNamedIsRefused() throws {
        for method in OAuth1SignatureMethod.allCases where method.rawValue.hasPrefix("HMAC") {
            let request = try Self.request(
                .init(method: "GET", url: "https://a.example/"), method: method)
            let others = Set(OAuth1SignatureMethod.allCases).subtracting([method])
            #expect(throws: OAuth1Error.unsupportedSignatureMethod) {
                try Self.verifier(methods: others).prepare(request.head, body: nil)
            }
            _ = try request.verify(by: Self.verifier(methods: [method]), { _ in Self.secrets })
        }
    }

    @Test func plaintextNeedsTLSAndLeave() throws {
        let open = try Self.request(
            .init(method: "GET", url: "http://a.example/"), method: .plaintext)
        let closed = try Self.request(
            .init(method: "GET", url: "https://a.example/"), method: .plaintext)
        let verifier = try Self.verifier()
        #expect(throws: OAuth1Error.plaintextNeedsTLS) {
            try open.verify(by: verifier, { _ in Self.secrets })
        }
        var without = Self.secrets
        without.allowsPlaintext = false
        let refused = without
        #expect(throws: OAuth1Error.plaintextNotAllowed) {
            try closed.verify(by: verifier, { _ in refused })
        }
        _ = try closed.verify(by: verifier, { _ in Self.secrets })
    }

    @Test(arguments: [(-301, false), (-300, true), (0, true), (300, true), (301, false)])
    func theWindowEndsWhereItSays(offset: Int64, isTaken: Bool) throws {
        let request = try Self.request(.init(method: "GET", url: "https://a.example/"))
        let now = WallTime(seconds: 1_767_225_600 + offset)
        let verifier = try Self.verifier()
        if isTaken {
            _ = try request.verify(by: verifier, { _ in Self.secrets }, now: now)
        } else {
            #expect(throws: OAuth1Error.timestampOutOfWindow) {
                try request.verify(by: verifier, { _ in Self.secrets }, now: now)
            }
        }
    }

    @Test func aBodyHashIsCheckedWhereverItIsSentAndAskedForWhereTold() throws {
        let json = Array("{}".utf8)
        let url = "https://a.example/"
        func request(_ hashes: Bool, _ type: String, _ body: [UInt8]) throws -> OAuth1Request {
            try Self.request(
                .init(
                    method: "POST", url: url, contentType: type, body: body, hashesBody: hashes))
        }
        let asking = try Self.verifier(bodyHashRequired: true)
        #expect(throws: OAuth1Error.bodyHashMissing) {
            try request(false, "application/json", json).verify(by: asking, { _ in Self.secrets })
        }
        _ = try request(true, "application/json", json).verify(by: asking, { _ in Self.secrets })
        // A form's parameters are signed; no content needs no hash.
        _ = try request(false, Self.form, Array("a=1".utf8))
            .verify(by: asking, { _ in Self.secrets })
        _ = try request(false, "application/json", []).verify(by: asking, { _ in Self.secrets })

        let changed = try request(true, "application/json", json)
        let verifier = try Self.verifier()
        let claim = try verifier.prepare(changed.head, body: nil)
        #expect(claim.needsBody && claim.hasBodyHash)
        let other = Array("[]".utf8)
        #expect(throws: OAuth1Error.bodyHashMismatch) {
            try verifier.verify(
                claim, changed.head, from: RequestOrigin(isTLS: true), body: other.span,
                credentials: Self.secrets,
                now: OAuth1Vectors.clock)
        }
    }

    @Test func everyPublicURLIsTriedAndNothingElse() throws {
        let urls = ["https://one.example", "https://two.example:8443/shop/"]
        let verifier = try Self.verifier(publicURLs: urls)
        for (index, signed) in ["https://one.example/p", "https://two.example:8443/shop/p"]
            .enumerated()
        {
            let request = try Self.request(
                .init(method: "GET", url: signed), url: "http://10.0.0.7:8080/p")
            let (_, match) = try request.verify(by: verifier, { _ in Self.secrets })
            #expect(match.publicOrigin == index)
        }
        let own = try Self.request(.init(method: "GET", url: "http://10.0.0.7:8080/p"))
        #expect(throws: OAuth1Error.badSignature) {
            try own.verify(by: verifier, { _ in Self.secrets })
        }
    }

    @Test func forwardedFieldsChangeNothing() throws {
        let fields = [
            ["X-Forwarded-Proto", "https"], ["X-Forwarded-Host", "public.example"],
            ["Forwarded", "host=public.example;proto=https"],
        ]
        let request = try Self.request(
            .init(method: "GET", url: "https://public.example/p"), adding: fields,
            url: "http://inner.example/p")
        let verifier = try Self.verifier()
        #expect(throws: OAuth1Error.badSignature) {
            try request.verify(by: verifier, { _ in Self.secrets })
        }
    }
}
