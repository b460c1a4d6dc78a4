import Foundation
import OAuth
import Primitives
import TestSupport
import Testing

/// Introspection and revocation where a plain answer would be a lie: nobody is told that a token is gone or unknown while
/// it is good somewhere.
struct TokenManagementRunTests {
    private let house: AuthorityHouse
    /// Of an outside issuer that the gateway trusts.
    private let outside: SigningKey
    private let folder: TemporaryDirectory

    init() throws {
        outside = try SigningKey(keyID: "o", algorithm: .es256, privateKey: .generate(.p256))
        folder = try TemporaryDirectory()
        let keys = String(decoding: JWKSDocument.write([outside.published]), as: UTF8.self)
        let file = try folder.write("jwks", keys)
        house = try AuthorityHouse(
            clients: """
                client two { secret_file secret; scopes read; }
                issuer out { issuer http://out.test; jwks_file \(file); audience http://127.0.0.1; }
                """)
    }

    private func ask(
        _ path: String, _ token: String, as client: String = "one", at gateway: Gateway? = nil
    ) throws -> HTTPReply {
        try (gateway ?? house.gateway).post(path, as: client, "token=\(token)")
    }

    private func signed(
        by key: SigningKey, issuer: String = "http://127.0.0.1", end: Int64 = 9_999_999_999,
        issuedAt: Int64 = WallTime.now().seconds
    ) throws -> String {
        let claims =
            #"{"iss":"\#(issuer)","aud":"http://127.0.0.1","sub":"one","client_id":"one","jti":"j","iat":\#(issuedAt),"exp":\#(end)}"#
        return String(
            decoding: try JWTSigner.sign(claims: Array(claims.utf8), with: key), as: UTF8.self)
    }

    @Test func withoutTheStoreNothingIsSaidOfTokensAndKeys() throws {
        let token = try house.token()
        house.gateway.process.signal(SIGTERM)
        #expect(house.gateway.process.waitForExit() == .code(0))
        let conf = try String(
            contentsOfFile: house.gateway.folder.file("gateway.conf"), encoding: .utf8)
        let drill = try Gateway(
            conf, in: house.gateway.folder, arguments: ["--without", "store"])
        for path in ["/oauth2/revoke", "/oauth2/introspect"] {
            let reply = try ask(path, token, at: drill)
            #expect(reply.status == 503 && reply.text.contains("store_unavailable"), "\(path)")
        }
        let keys = try drill.request(
            "GET /.well-known/jwks.json HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n")
        #expect(keys.status == 503 && keys.values("cache-control") == ["no-store"])
    }

    /// As long as it says that it is new: it may have been signed by a key that comes in a moment. An older one is of a key
    /// that was taken away, or of nobody.
    @Test func aTokenOfAKeyThatIsNotHereIsNotJudged() throws {
        let key = try SigningKey(keyID: "new", algorithm: .es256, privateKey: .generate(.p256))
        let live = try signed(by: key)
        #expect(try ask("/oauth2/revoke", live).status == 503)
        #expect(try ask("/oauth2/introspect", live).status == 503)
        let old = try signed(by: key, issuedAt: WallTime.now().seconds - 100)
        #expect(try ask("/oauth2/revoke", old).status == 200)
        #expect(try ask("/oauth2/introspect", old).text == "{\"active\":false}\n")
    }

    @Test(arguments: ["http://out.test", "http://unheard-of.test"])
    func anotherIssuersTokenIsNotRevokedHere(issuer: String) throws {
        let token = try signed(by: outside, issuer: issuer)
        let reply = try ask("/oauth2/revoke", token)
        #expect(reply.status == 400)
        #expect(try reply.json()["error"] as? String == "unsupported_token_type")
        #expect(try ask("/oauth2/introspect", token).text == "{\"active\":false}\n")
    }

    @Test func aRevokedRequestTokenIsNotExchanged() throws {
        let temporary = try house.requestToken()
        #expect(try ask("/oauth2/revoke", temporary.text, as: "two").status == 400)
        #expect(try ask("/oauth2/revoke", temporary.text).status == 200)
        let path = "/oauth1/access_token"
        let reply = try house.gateway.request(
            "POST \(path) HTTP/1.1\r\nHost: h.example\r\nContent-Length: 0\r\nConnection: close\r\n"
                + "Authorization: \(try house.signature("POST", path, token: temporary))\r\n\r\n")
        #expect(reply.status == 401)
        #expect(try house.reason(path) == "token_revoked")
    }
}

extension Gateway {
    /// Sends a form as a client whose secret is `s3cret`.
    func post(_ path: String, as client: String, _ form: String) throws -> HTTPReply {
        let basic = Data("\(client):s3cret".utf8).base64EncodedString()
        return try request(
            "POST \(path) HTTP/1.1\r\n\(hostLine)Connection: close\r\nAuthorization: Basic \(basic)\r\n"
                + "Content-Type: application/x-www-form-urlencoded\r\n"
                + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)")
    }
}
