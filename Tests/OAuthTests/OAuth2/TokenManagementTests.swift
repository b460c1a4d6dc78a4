import Foundation
import HTTP
import OAuth
import Primitives
import TestSupport
import Testing

/// Requests to introspect and to revoke (RFC 7662, RFC 7009), and what is said of a token.
struct TokenManagementTests {
    private static let secret = "gX1fBat3bV"

    private func read(
        _ body: String, fields: [(String, String)]
    ) throws -> TokenManagementRequest {
        let head = try TokenExchange.head(
            "POST", "/oauth2/introspect", fields: fields, bodyBytes: body.utf8.count)
        let bytes = Array(body.utf8)
        return try TokenManagementRequest(head, body: bytes.span)
    }

    private func read(_ body: String, basic: String? = "s6BhdRkqt3:gX1fBat3bV") throws
        -> TokenManagementRequest
    {
        var fields = [("Content-Type", "application/x-www-form-urlencoded")]
        if let basic {
            fields.append(("Authorization", "Basic " + Base64.encode(Array(basic.utf8), .standard)))
        }
        return try read(body, fields: fields)
    }

    private func authenticate(_ request: TokenManagementRequest) throws -> ProvenClient {
        let exchange = try TokenExchange()
        return try TokenEndpoint.authenticate(
            request.credentials, assertions: exchange.assertions, now: TokenExchange.now
        ) { exchange.clients[$0] }
    }

    /// The table `introspection_and_revocation` of token_endpoint.json, as far as the request decides: who is asked for
    /// a token that is known is the gateway's to say, and GET comes nowhere near.
    @Test func theTableIsDecidedAsItSays() throws {
        let table = try Fixtures.json("token_endpoint.json")["introspection_and_revocation"]
        let cases = try #require(table as? [[String: Any]])
        #expect(cases.count == 22)
        var decided = 0
        for item in cases {
            let id = try #require(item["id"] as? String)
            let request = try #require(item["request"] as? [String: Any])
            guard request["method"] as? String == "POST" else { continue }
            decided += 1
            let fields = try #require(request["headers"] as? [[String]]).map { ($0[0], $0[1]) }
            let expect = try #require(item["expect"] as? [String: Any])
            let statuses = try #require(expect["status"] as? [Int])
            do {
                let read = try read(try #require(request["body"] as? String), fields: fields)
                #expect(try authenticate(read).client.id == "s6BhdRkqt3", "\(id)")
                #expect(statuses.contains(200), "\(id)")
            } catch let error as TokenRequestError {
                #expect(statuses.contains(error.status), "\(id)")
                let codes = expect["error"] as? [String]
                #expect(codes?.contains(error.code) ?? true, "\(id)")
            }
        }
        #expect(decided == 20)
    }

    @Test(arguments: [
        ("token=t", nil), ("token=t&token_type_hint=", nil), ("token=t&token_type_hint=foo", nil),
        ("token=t&token_type_hint=access_token", TokenManagementRequest.Hint.accessToken),
        ("token_type_hint=refresh_token&token=t&x=y", .refreshToken),
    ])
    func aHintIsAHint(body: String, hint: TokenManagementRequest.Hint?) throws {
        let request = try read(body)
        #expect(request.token == Secret(utf8: "t"))
        #expect(request.hint == hint)
    }

    @Test(arguments: [
        "", "token=", "token_type_hint=access_token", "token=a&token=b", "token=a&token=a",
        "token=%zz", "token=a&client_secret=gX1fBat3bV&client_id=s6BhdRkqt3",
        "token=a&token_type_hint=access_token&token_type_hint=access_token",
    ])
    func aFormThatCannotBeReadIsRefused(body: String) {
        #expect {
            try read(body)
        } throws: {
            ($0 as? TokenRequestError)?.code == "invalid_request"
        }
    }

    @Test func anotherMediaTypeIsRefused() {
        #expect {
            try read("token=t", fields: [("Content-Type", "application/json")])
        } throws: {
            ($0 as? TokenRequestError)?.code == "invalid_request"
        }
    }

    /// Every way of the token endpoint, and none that it has not.
    @Test func theClientProvesItselfAsAtTheTokenEndpoint() throws {
        let post = "&client_id=s6BhdRkqt3&client_secret=\(Self.secret)"
        #expect(try authenticate(read("token=t" + post, basic: nil)).client.id == "s6BhdRkqt3")
        let cases = try Fixtures.json("token_endpoint.json")["token"] as? [[String: Any]] ?? []
        let asserted = cases.first { $0["id"] as? String == "pkjwt-ok" }?["request"]
        let form = try #require((asserted as? [String: Any])?["body"] as? String)
        let proven = try authenticate(read(form + "&token=t", basic: nil))
        #expect(proven.client.id == "jwt-client" && proven.assertion?.tokenID == "a-1")
        for (body, basic) in [("token=t", nil), ("token=t", "s6BhdRkqt3:no"), ("token=t", "no:x")] {
            let request = try read(body, basic: basic)
            #expect {
                try authenticate(request)
            } throws: {
                ($0 as? TokenRequestError)?.code == "invalid_client"
            }
        }
    }

    @Test func noTokenIsPrinted() throws {
        var text = ""
        dump(try read("token=hush"), to: &text)
        #expect(text.contains("redacted") && !text.contains("hush"))
    }

    @Test func aTokenThatCannotBeRevokedHereHasItsError() throws {
        let error = TokenRequestError.unsupportedTokenType
        #expect(error.status == 400)
        #expect(try JSON.object(error.body)["error"] as? String == "unsupported_token_type")
    }

    // MARK: What is said of a token

    private func grant(
        scopes: [String], audiences: [String], certificate: [UInt8]? = nil, key: [UInt8]? = nil
    ) -> TokenGrant {
        TokenGrant(
            issuer: TokenExchange.issuer, clientID: "c \"\u{e9}\"", audiences: audiences,
            scopes: scopes, issuedAt: 100, expiresAt: 700, tokenID: "id",
            certificateThumbprint: certificate, keyThumbprint: key)
    }

    @Test func anInactiveTokenIsNothingMore() throws {
        let object = try JSON.object(IntrospectionReply.inactive)
        #expect(object.count == 1 && object["active"] as? Bool == false)
        #expect(IntrospectionReply.inactive == Array("{\"active\":false}\n".utf8))
    }

    @Test func ofAGrantEverythingIsSaid() throws {
        let grant = grant(scopes: ["read", "write"], audiences: ["api"])
        let object = try JSON.object(IntrospectionReply(grant).body)
        #expect(object["active"] as? Bool == true)
        #expect(object["scope"] as? String == "read write")
        #expect(object["client_id"] as? String == "c \"\u{e9}\"")
        #expect(object["sub"] as? String == "c \"\u{e9}\"")
        #expect(object["token_type"] as? String == "Bearer")
        #expect(object["exp"] as? Int == 700 && object["iat"] as? Int == 100)
        #expect(object["aud"] as? String == "api")
        #expect(object["iss"] as? String == TokenExchange.issuer)
        #expect(object["jti"] as? String == "id")
        #expect(object.count == 10)
    }

    @Test func whatIsNotKnownIsLeftOut() throws {
        var reply = IntrospectionReply(grant(scopes: [], audiences: []))
        reply.issuedAt = nil
        reply.subject = nil
        reply.tokenID = nil
        let object = try JSON.object(reply.body)
        #expect(
            Set(object.keys) == ["active", "client_id", "token_type", "exp", "iss"])
        reply.notBefore = 5
        reply.audiences = ["a", "b"]
        let more = try JSON.object(reply.body)
        #expect(more["nbf"] as? Int == 5 && more["aud"] as? [String] == ["a", "b"])
    }

    @Test func aBoundTokenSaysSo() throws {
        let print = Array(repeating: UInt8(1), count: 32)
        let text = Base64.encode(print, .url)
        let grant = grant(scopes: [], audiences: [], certificate: print, key: print)
        let object = try JSON.object(IntrospectionReply(grant).body)
        #expect(object["cnf"] as? [String: String] == ["x5t#S256": text, "jkt": text])
        #expect(object["token_type"] as? String == "DPoP")
    }

    /// A JWT of ours and the grant that it was made of read the same.
    @Test func ofAVerifiedTokenTheSameIsSaid() throws {
        let exchange = try TokenExchange()
        let verifier = TokenVerifier(issuers: [
            TrustedIssuer(
                name: "authority", issuer: TokenExchange.issuer, audiences: ["api"],
                algorithms: [.es256],
                keys: try KeySet(
                    jwks: JWKSDocument.write([exchange.key.published]), allowsSymmetric: false))
        ])
        let grant = grant(
            scopes: ["read"], audiences: ["api", "other"],
            key: Array(repeating: 3, count: 32))
        let token = try JWTSigner.sign(claims: grant.claims, with: exchange.key)
        let verified = try verifier.verify(token.span, now: WallTime(seconds: 200))
        #expect(IntrospectionReply(verified) == IntrospectionReply(grant))
    }
}
