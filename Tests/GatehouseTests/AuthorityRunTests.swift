import Cryptography
import Foundation
import OAuth
import Primitives
import TestSupport
import Testing

/// The embedded authorization server on the running program.
@Suite(.serialized)
struct AuthorityRunTests {
    private func conf(
        _ folder: TemporaryDirectory, _ upstream: ScriptedUpstream, algorithm: String = "ES256"
    ) throws -> String {
        for (name, text) in [
            ("rfc", "gX1fBat3bV"), ("special", "p@ss w%rd+:/=&?世~"),
            ("noscope", "secret-of-noscope"), ("plus", "se+cret/=="),
        ] { _ = try folder.write(name, text + "\n") }
        return testConf(
            workers: 2, store: "store sqlite { path state.db; }",
            """
            authority {
                issuer https://gateway.example.com/as;
                audience api;
                signing_algorithm \(algorithm);
            }
            client s6BhdRkqt3 { secret_file rfc; scopes read write; oauth1_secret_file rfc; }
            client "client:one +&%/é" { secret_file special; scopes read; auth_method client_secret_basic; }
            client noscope { secret_file noscope; }
            client raw+client { secret_file plus; scopes read; }
            client oauth1only { oauth1_secret_file rfc; scopes read; }
            upstream up { server 127.0.0.1:\(upstream.port); }
            route / { upstream up; authenticate bearer; }
            """)
    }

    private func send(_ gateway: Gateway, _ request: [String: Any]) throws -> HTTPReply {
        let body = request["body"] as? String ?? ""
        let method = request["method"] as? String ?? "GET"
        var lines = ["\(method) \(request["target"] ?? "/") HTTP/1.1", "Host: t"]
        for field in request["headers"] as? [[String]] ?? [] {
            lines.append("\(field[0]): \(field[1])")
        }
        if request["body"] != nil { lines.append("Content-Length: \(body.utf8.count)") }
        let client = try gateway.connect()
        try client.send(lines.joined(separator: "\r\n") + "\r\n\r\n" + body)
        return try client.readReply(isBodyless: method == "HEAD")
    }

    private func token(_ gateway: Gateway, scope: String = "read") throws -> String {
        let basic = Data("s6BhdRkqt3:gX1fBat3bV".utf8).base64EncodedString()
        let reply = try send(
            gateway,
            [
                "method": "POST", "target": "/oauth2/token",
                "headers": [
                    ["Authorization", "Basic \(basic)"],
                    ["Content-Type", "application/x-www-form-urlencoded"],
                ], "body": "grant_type=client_credentials&scope=\(scope)",
            ])
        #expect(reply.status == 200)
        return try #require(try reply.json()["access_token"] as? String)
    }

    private func isAccepted(_ gateway: Gateway, _ token: String) throws -> Bool {
        try send(gateway, ["target": "/x", "headers": [["Authorization", "Bearer \(token)"]]])
            .status
            == 200
    }

    /// The five `pkjwt` cases that a later version accepts are refused in this one; every other case is decided as it says.
    @Test func everyCaseIsAnsweredAsItSays() throws {
        let upstream = try ScriptedUpstream()
        let folder = try TemporaryDirectory()
        let gateway = try Gateway(try conf(folder, upstream), in: folder)
        let cases = try #require(
            try Fixtures.json("token_endpoint.json")["token"] as? [[String: Any]])
        #expect(cases.count == 107)
        var exceptions: [String] = []
        for entry in cases {
            let id = entry["id"] as? String ?? "?"
            let request = try #require(entry["request"] as? [String: Any])
            let expect = try #require(entry["expect"] as? [String: Any])
            let reply = try send(gateway, request)
            guard let statuses = expect["status"] as? [Int],
                statuses != [200] || !id.hasPrefix("pkjwt")
            else {
                #expect([400, 401].contains(reply.status), "\(id): \(reply.status)")
                exceptions.append(id)
                continue
            }
            #expect(statuses.contains(reply.status), "\(id): \(reply.status) \(reply.text)")
            if reply.status == 200 {
                #expect(reply.values("Cache-Control") == ["no-store"], "\(id)")
                #expect(try reply.json()["token_type"] as? String == "Bearer", "\(id)")
            } else if let errors = expect["error"] as? [String], reply.status != 413 {
                let error = try reply.json()["error"] as? String ?? ""
                #expect(errors.contains(error), "\(id): \(error)")
            }
            if reply.status == 401 { #expect(!reply.values("WWW-Authenticate").isEmpty, "\(id)") }
            if reply.status == 405 { #expect(reply.values("Allow") == ["POST"], "\(id)") }
        }
        #expect(exceptions.count == 5, "\(exceptions)")
    }

    @Test func whatIsKnownOfAStrangerIsTheSameForAllStrangers() throws {
        let upstream = try ScriptedUpstream()
        let folder = try TemporaryDirectory()
        let gateway = try Gateway(try conf(folder, upstream), in: folder)
        func refused(_ pair: String) throws -> String {
            let reply = try send(
                gateway,
                [
                    "method": "POST", "target": "/oauth2/token",
                    "headers": [
                        ["Authorization", "Basic " + Data(pair.utf8).base64EncodedString()],
                        ["Content-Type", "application/x-www-form-urlencoded"],
                    ], "body": "grant_type=client_credentials",
                ])
            #expect(reply.status == 401)
            return reply.text
        }
        #expect(try refused("s6BhdRkqt3:wrong") == refused("nobody:wrong"))
        _ = try gateway.accessLine { $0["reason"] as? String == "wrong_secret" }
        _ = try gateway.accessLine { $0["reason"] as? String == "unknown_client" }
    }

    @Test func documentsAreWhereTheyShouldBe() throws {
        let upstream = try ScriptedUpstream()
        let folder = try TemporaryDirectory()
        let gateway = try Gateway(try conf(folder, upstream), in: folder)
        let path = "/.well-known/oauth-authorization-server/as"
        let metadata = try send(gateway, ["target": path]).json()
        #expect(metadata["issuer"] as? String == "https://gateway.example.com/as")
        #expect(metadata["token_endpoint"] as? String == "https://gateway.example.com/oauth2/token")
        #expect((metadata["grant_types_supported"] as? [String]) == ["client_credentials"])
        #expect(try send(gateway, ["method": "HEAD", "target": path]).status == 200)
        #expect(
            try send(gateway, ["method": "POST", "target": path, "body": ""]).status == 405)
        let keys = try #require(
            try send(gateway, ["target": "/.well-known/jwks.json"]).json()["keys"]
                as? [[String: Any]])
        #expect(keys.count == 1)
        for key in keys {
            #expect(key["use"] as? String == "sig")
            #expect(key["kid"] != nil && key["alg"] != nil)
            for member in ["d", "p", "q", "dp", "dq", "qi", "k", "oth"] {
                #expect(key[member] == nil)
            }
        }
        // Endpoints are never forwarded, whoever asks for what.
        for path in ["/oauth2/introspect", "/oauth2/revoke", "/oauth1/request_token"] {
            let status = try send(gateway, ["method": "POST", "target": path, "body": ""]).status
            #expect(status == 400 || status == 401)
            #expect(try send(gateway, ["method": "DELETE", "target": path]).status == 405)
        }
        #expect(upstream.requests.isEmpty)
    }

    @Test(arguments: ["ES256", "EdDSA", "RS256"])
    func everyAlgorithmSignsTokensThatHold(algorithm: String) throws {
        let upstream = try ScriptedUpstream()
        let folder = try TemporaryDirectory()
        let gateway = try Gateway(try conf(folder, upstream, algorithm: algorithm), in: folder)
        let token = try token(gateway)
        let header = try #require(Base64.decode(String(token.split(separator: ".")[0]), .url))
        #expect(String(decoding: header, as: UTF8.self).contains(#""alg":"\#(algorithm)""#))
        #expect(String(decoding: header, as: UTF8.self).contains(#""typ":"at+jwt""#))
        #expect(try isAccepted(gateway, token))
        #expect(upstream.requests.last?.values("X-Auth-Client") == ["s6BhdRkqt3"])
        #expect(upstream.requests.last?.values("X-Auth-Scopes") == ["read"])
        #expect(upstream.requests.last?.values("Authorization") == [])
    }

    @Test func anOAuth1SignatureIsClientAuthentication() throws {
        let upstream = try ScriptedUpstream()
        let folder = try TemporaryDirectory()
        let gateway = try Gateway(try conf(folder, upstream), in: folder)
        let form = "grant_type=client_credentials&scope=read"
        // One for all: with another timestamp the same nonce is a new one (RFC 5849 section 3.3).
        let timestamp = WallTime.now().seconds
        func ask(secret: String, nonce: String) throws -> HTTPReply {
            let signer = OAuth1Signer(
                method: .hmacSHA256, consumerKey: "oauth1only",
                credentials: OAuth1Credentials(consumerSecret: Secret(utf8: secret)))
            let type = "application/x-www-form-urlencoded"
            let header = try signer.authorization(
                for: .init(
                    method: "POST", url: "http://t/oauth2/token", contentType: type,
                    body: Array(form.utf8)), timestamp: timestamp, nonce: nonce)
            return try send(
                gateway,
                [
                    "method": "POST", "target": "/oauth2/token",
                    "headers": [["Authorization", header], ["Content-Type", type]], "body": form,
                ])
        }
        let reply = try ask(secret: "gX1fBat3bV", nonce: "1")
        #expect(reply.status == 200, "\(reply.text)")
        let token = try #require(try reply.json()["access_token"] as? String)
        #expect(try isAccepted(gateway, token))
        #expect(try ask(secret: "gX1fBat3bV", nonce: "1").status == 401)
        let forged = try ask(secret: "guessed", nonce: "2")
        #expect(forged.status == 401)
        #expect(try forged.json()["error"] as? String == "invalid_client")
    }

    @Test func tokensOutliveACrash() throws {
        let upstream = try ScriptedUpstream()
        let folder = try TemporaryDirectory()
        var tokens: [String] = []
        for _ in 0..<5 {
            let gateway = try Gateway(try conf(folder, upstream), in: folder)
            for old in tokens { #expect(try isAccepted(gateway, old)) }
            tokens.append(try token(gateway))
            gateway.process.signal(SIGKILL)
            _ = gateway.process.waitForExit()
        }
        #expect(tokens.count == 5)
    }
}
