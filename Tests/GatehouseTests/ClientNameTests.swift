import Foundation
import OAuth
import TestSupport
import Testing

/// A client's name belongs to whoever gave it: two issuers may give the same one to different clients.
struct ClientNameTests {
    @Test func aNameOfAnotherIssuerIsSomebodyElse() throws {
        let upstream = try ScriptedUpstream()
        let folder = try TemporaryDirectory()
        try folder.write("secret", "s3cret")
        let keys = try ["a", "b"].map {
            try SigningKey(keyID: $0, algorithm: .es256, privateKey: .generate(.p256))
        }
        for key in keys {
            try folder.write(
                "\(key.keyID).jwks",
                String(decoding: JWKSDocument.write([key.published]), as: UTF8.self))
        }
        let gateway = try Gateway(
            testConf(
                workers: 1, store: "store sqlite { path state.db; }",
                """
                authority { issuer http://127.0.0.1; audience api; }
                client one { secret_file secret; oauth1_secret_file secret; }
                issuer a { issuer http://a.test; jwks_file a.jwks; audience api; }
                issuer b { issuer http://b.test; jwks_file b.jwks; audience api; }
                upstream up { server 127.0.0.1:\(upstream.port); }
                route /ours { upstream up; authenticate any bearer oauth1; require client one; }
                route /a { upstream up; authenticate bearer; require client one of a; }
                route /both { upstream up; authenticate all bearer oauth1; }
                """), in: folder)
        // A mere `sub` names a client there.
        func outside(_ key: SigningKey) throws -> String {
            let claims =
                #"{"iss":"http://\#(key.keyID).test","aud":"api","sub":"one","exp":9999999999}"#
            return String(
                decoding: try JWTSigner.sign(claims: Array(claims.utf8), with: key), as: UTF8.self)
        }
        let (a, b) = (try outside(keys[0]), try outside(keys[1]))
        let own = try #require(
            try gateway.post("/oauth2/token", as: "one", "grant_type=client_credentials").json()[
                "access_token"] as? String)
        for (token, ours, atA) in [(own, 200, 403), (a, 403, 200), (b, 403, 403)] {
            #expect(try gateway.bearer(token, "/ours").status == ours)
            #expect(try gateway.bearer(token, "/a").status == atA)
        }
        #expect(try gateway.loggedReason() == "client_not_allowed")
        // Nor does its token go together with a signature of ours.
        func both(_ token: String) throws -> HTTPReply {
            let signer = OAuth1Signer(
                method: .hmacSHA256, consumerKey: "one",
                credentials: OAuth1Credentials(consumerSecret: .init(utf8: "s3cret")))
            let signature = try signer.authorization(
                for: .init(method: "GET", url: "http://h.example/both"),
                timestamp: Int64(Date().timeIntervalSince1970), nonce: UUID().uuidString)
            // The same parameters, signed alike, in the query.
            let query = signature.dropFirst("OAuth ".count).replacing(", ", with: "&")
                .replacing("\"", with: "")
            return try gateway.request(
                "GET /both?\(query) HTTP/1.1\r\nHost: h.example\r\nConnection: close\r\n"
                    + "Authorization: Bearer \(token)\r\n\r\n")
        }
        #expect(try both(own).status == 200)
        #expect(try both(a).status == 403)
        // `explain` says why.
        let head = "GET /ours HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer \(b)\r\n\r\n"
        let explained = try run(
            gatehouseBinary(),
            ["explain", "--config", folder.file("gateway.conf"), "--request", "-"],
            input: head)
        #expect(
            explained.output.contains("client one of b, scopes none")
                && explained.output.contains(
                    "require client one (our own): not met (client_not_allowed)"),
            "\(explained.output)\(explained.error)")
    }
}
