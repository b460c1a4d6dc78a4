import Foundation
import TestSupport
import Testing

/// Proofs of possession (RFC 9449) on the running program, by a client in Python.
@Suite(.serialized)
struct DPoPTests {
    /// The client: what it prints, line by line.
    static func client(_ arguments: String...) throws -> [String] {
        let process = try start(arguments)
        let status = process.waitForExit(within: .seconds(60))
        #expect(status == .code(0), "\(process.standardError)")
        return process.standardOutput.split(separator: "\n").map(String.init)
    }

    static func start(_ arguments: [String]) throws -> RunningProcess {
        let python = try requirePython(
            module: "jwt, cryptography, httpx, h2, websockets",
            package:
                "python3-jwt python3-cryptography python3-httpx python3-h2 python3-websockets")
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("dpop_client.py").path
        return try RunningProcess(python, [script] + arguments)
    }

    struct House {
        let upstream: ScriptedUpstream
        let folder: TemporaryDirectory
        let gateway: Gateway
        var base: String { get throws { "http://127.0.0.1:\(try gateway.port)" } }

        init(
            _ format: String = "jwt", workers: Int = 2, listener: String = "", more: String = "",
            store: String = "store sqlite { path state.db; }"
        ) throws {
            upstream = try ScriptedUpstream { request in [.respond(body: request.head)] }
            folder = try TemporaryDirectory()
            try folder.write("secret", "s3cret")
            gateway = try Gateway(
                testConf(
                    workers: workers, listener: listener, store: store,
                    """
                    authority { issuer https://as.test; audience https://api.test/; scopes read write; token_format \(format); }
                    client one { secret_file secret; scopes read write; }
                    \(more)
                    upstream up { server 127.0.0.1:\(upstream.port); }
                    route / { upstream up; authenticate bearer; require scope read; }
                    route /strict { upstream up; authenticate any bearer oauth1; require dpop; }
                    route /forward { upstream up; authenticate bearer; authorization forward; }
                    route /open { upstream up; authenticate none; }
                    """), in: folder)
        }

        /// A key of the client's and a token that is bound to it.
        func bound(_ name: String = "key") throws -> (key: String, token: String) {
            let key = folder.file(name)
            _ = try client("key", key, "ES256")
            let proof = try client(
                "proof", key, "POST", "https://as.test/oauth2/token", "-", "1")[0]
            let reply = try ask(proof)
            return (key, try #require(try reply.json()["access_token"] as? String))
        }

        func ask(_ proof: String?) throws -> HTTPReply {
            let basic = Data("one:s3cret".utf8).base64EncodedString()
            let form = "grant_type=client_credentials"
            return try gateway.request(
                "POST /oauth2/token HTTP/1.1\r\nHost: 127.0.0.1:\(gateway.port)\r\n"
                    + "Connection: close\r\nAuthorization: Basic \(basic)\r\n"
                    + (proof.map { "DPoP: \($0)\r\n" } ?? "")
                    + "Content-Type: application/x-www-form-urlencoded\r\n"
                    + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)")
        }

        func get(
            _ path: String, _ token: String, _ proof: String, _ more: String = "",
            host: String? = nil
        ) throws -> HTTPReply {
            let host = try host ?? "127.0.0.1:\(gateway.port)"
            return try gateway.request(
                "GET \(path) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\(more)"
                    + "Authorization: DPoP \(token)\r\nDPoP: \(proof)\r\n\r\n")
        }
    }

    // MARK: From the token to the resource

    @Test(arguments: [
        ("jwt", "ES256", "client_secret_basic"), ("opaque", "ES256", "client_secret_basic"),
        ("jwt", "EdDSA", "client_secret_post"), ("opaque", "RS256", "private_key_jwt"),
        ("jwt", "PS256", "private_key_jwt"),
    ])
    func aTokenIsGoodWithItsKeyAlone(format: String, algorithm: String, method: String) throws {
        let folder = try TemporaryDirectory()
        let key = folder.file("client")
        _ = try Self.client("key", key, "ES256")
        let house = try House(
            format,
            more:
                "client signer { auth_method private_key_jwt; jwks_file \(key).jwks; scopes read; }"
        )
        let lines = try Self.client("dance", house.base, algorithm, method, key)
        let cnf = format == "jwt" ? ["cnf True"] : []
        #expect(
            lines == ["token 200 DPoP None"] + cnf + [
                "introspected True DPoP True",
                "resource 200 ['x-auth-scheme: dpop']",
                "normalised 200", "replayed 401 invalid_dpop_proof",
                "downgraded 401 ['Bearer', 'DPoP']", "stolen 401", "strict 200",
                "unbound Bearer 401 200",
                "strict, unbound 401 ['DPoP', 'OAuth'] invalid_token",
                "strict, nothing 401 ['DPoP', 'OAuth'] none",
            ])
        let line = try house.gateway.accessLine {
            $0["status"] as? Int == 200 && $0["path"] as? String == "/strict"
        }
        #expect(line["scheme"] as? String == "dpop")
    }

    /// Each fault by itself: the status, the challenge's error and the log's reason.
    @Test func eachFaultOfAProofIsRefusedByItsReason() throws {
        let house = try House(workers: 1)
        let expected: [(String, String)] = [
            ("good", ""), ("missing", "invalid_dpop_proof"), ("two", "invalid_dpop_proof"),
            ("junk", "invalid_dpop_proof"), ("four-parts", "invalid_dpop_proof"),
            ("typ", "invalid_dpop_proof"), ("no-typ", "invalid_dpop_proof"),
            ("no-jwk", "invalid_dpop_proof"), ("private-EC", "invalid_dpop_proof"),
            ("private-RSA", "invalid_dpop_proof"), ("weak-RSA", "invalid_dpop_proof"),
            ("large-RSA", "invalid_dpop_proof"),
            ("symmetric-jwk", "invalid_dpop_proof"), ("none", "bad_algorithm"),
            ("HS256", "bad_algorithm"), ("HS256-EC-key", "bad_algorithm"),
            ("forged", "bad_signature"), ("crit", "invalid_dpop_proof"),
            ("htm", "dpop_target_mismatch"), ("htm-in-lower-case", "dpop_target_mismatch"),
            ("htu-other-path", "dpop_target_mismatch"),
            ("htu-other-host", "dpop_target_mismatch"),
            ("htu-other-scheme", "dpop_target_mismatch"), ("htu-no-URL", "dpop_target_mismatch"),
            ("htu-a-number", "invalid_dpop_proof"), ("old", "timestamp_out_of_window"),
            ("future", "timestamp_out_of_window"), ("iat-as-text", "invalid_dpop_proof"),
            ("no-jti", "invalid_dpop_proof"), ("jti-too-long", "invalid_dpop_proof"),
            ("long-jti", ""), ("same-jti", "nonce_reused"), ("no-ath", "invalid_dpop_proof"),
            ("ath-of-another", "invalid_dpop_proof"), ("other-key", "proof_mismatch"),
            ("huge", "invalid_dpop_proof"), ("nearly-huge", ""), ("one-over", "invalid_dpop_proof"),
            ("good-again", ""),
        ]
        let lines = try Self.client("faults", house.base)
        #expect(
            lines
                == expected.map { name, reason in
                    guard !reason.isEmpty else { return "\(name) 200 -" }
                    let error = reason == "proof_mismatch" ? "invalid_token" : "invalid_dpop_proof"
                    return "\(name) 401 \(error)"
                })
        for (name, reason) in expected where !reason.isEmpty {
            let line = try house.gateway.accessLine { $0["request_id"] as? String == name }
            #expect(line["reason"] as? String == reason, "\(name)")
            #expect(line["scheme"] as? String == "dpop", "\(name)")
        }
        #expect(!house.gateway.process.standardOutput.contains("eyJ"))
        #expect(!house.gateway.process.standardError.contains("eyJ"))
    }

    @Test func theTokenEndpointRefusesByTheSameRules() throws {
        let house = try House(workers: 1)
        let expected: [(String, String, String)] = [
            ("good", "200 DPoP", ""), ("replayed", "400 invalid_dpop_proof", "nonce_reused"),
            ("two", "400 invalid_dpop_proof", "invalid_dpop_proof"),
            ("junk", "400 invalid_dpop_proof", "invalid_dpop_proof"),
            ("htm", "400 invalid_dpop_proof", "dpop_target_mismatch"),
            ("htu", "400 invalid_dpop_proof", "dpop_target_mismatch"),
            // As the metadata name it, not as the request does: whoever was sent the proof for a token endpoint of its own
            // could send it on.
            ("host", "400 invalid_dpop_proof", "dpop_target_mismatch"),
            ("none", "400 invalid_dpop_proof", "bad_algorithm"),
            ("private", "400 invalid_dpop_proof", "invalid_dpop_proof"),
            ("old", "400 invalid_dpop_proof", "timestamp_out_of_window"),
        ]
        let lines = try Self.client("token_faults", house.base)
        #expect(
            lines == expected.map { "token-\($0.0) \($0.1)" } + ["stranger 401 200"])
        for (name, _, reason) in expected where !reason.isEmpty {
            let line = try house.gateway.accessLine {
                $0["request_id"] as? String == "token-\(name)"
            }
            #expect(line["reason"] as? String == reason, "\(name)")
        }
    }

    // MARK: Nonces

    @Test func noncesAreAskedForAndRollOver() throws {
        let house = try House(more: "dpop { require_nonce on; nonce_rotation 2s; }")
        #expect(
            try Self.client("nonces", house.base) == [
                "token 400 use_dpop_nonce",
                "token, invented 400 use_dpop_nonce ['no-store']", "token, again 200 DPoP",
                "resource 401 use_dpop_nonce True", "resource, again 200",
                "rolled over True 0", "over 401 use_dpop_nonce", "fresh 200", "bearer 200",
            ])
        let line = try house.gateway.accessLine { $0["reason"] as? String == "use_dpop_nonce" }
        #expect(line["status"] as? Int == 401 || line["status"] as? Int == 400)
    }

    /// An upstream's nonce is for who sends it proofs; where we ask for nonces there are but ours.
    @Test func anUpstreamsNonceIsPassedOnWithTheProofAlone() throws {
        let upstream = try ScriptedUpstream { _ in
            [.respond(fields: ["DPoP-Nonce: theirs"], body: "ok")]
        }
        for (conf, told) in [("", ["theirs"]), ("dpop { require_nonce on; }", [])] {
            let folder = try TemporaryDirectory()
            let gateway = try Gateway(
                testConf(
                    """
                    \(conf)
                    upstream up { server 127.0.0.1:\(upstream.port); }
                    route / { upstream up; authenticate none; }
                    route /forward { upstream up; authenticate none; authorization forward; }
                    """), in: folder)
            for (path, expected) in [("/", []), ("/forward", told)] {
                let reply = try gateway.request("GET \(path) HTTP/1.1\r\n\(hostLine)\r\n")
                #expect(reply.status == 200 && reply.values("DPoP-Nonce") == expected)
            }
        }
    }

    @Test func aNonceThatIsAskedForUsesUpNoAssertion() throws {
        let folder = try TemporaryDirectory()
        let key = folder.file("client")
        _ = try Self.client("key", key, "ES256")
        let house = try House(
            more: """
                client signer { auth_method private_key_jwt; jwks_file \(key).jwks; scopes read; }
                dpop { require_nonce on; }
                """)
        #expect(
            try Self.client("assertion", house.base, key) == [
                "401 invalid_client False", "401 invalid_client False",
                "400 use_dpop_nonce", "200 DPoP", "401",
            ])
    }

    // MARK: Other ways to come

    @Test func http2AndWebSocketsAreHeldToTheSame() throws {
        let server = try Self.start(["echo", "-"])
        try server.waitUntil("the echo server listens") {
            server.standardOutput.hasSuffix("\n")
        }
        let port = server.standardOutput.trimmingCharacters(in: .newlines)
        let house = try House(
            listener: "protocols h2c http/1.1;",
            more: """
                upstream echo { server 127.0.0.1:\(port); }
                route /ws { upstream echo; authenticate bearer; websocket on; require dpop; }
                """)
        #expect(
            try Self.client("http2", house.base) == [
                "h2 HTTP/2 200 False", "replayed 401", "two 401", "downgraded 401",
            ])
        #expect(
            try Self.client("websocket", house.base) == [
                "opened hello back", "replayed 401", "missing 401",
            ])
    }

    /// What the client used counts, as for OAuth 1.0: behind a trusted proxy, and under a `public_url`.
    @Test func theTargetIsWhatTheClientUsed() throws {
        let house = try House(listener: "trusted_proxies 127.0.0.0/8;")
        let (key, token) = try house.bound()
        func proof(_ url: String) throws -> String {
            try Self.client("proof", key, "GET", url, token, "1")[0]
        }
        let forwarded =
            "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: API.example:443\r\n"
        let public_ = try proof("https://api.example/items")
        #expect(try house.get("/items?x", token, public_).status == 401)
        #expect(try house.get("/items?x", token, public_, forwarded).status == 200)
        let own = try proof(house.base + "/items")
        #expect(try house.get("/items", token, own, forwarded).status == 401)
        #expect(try house.get("/items", token, own).status == 200)

        let other = try House(more: "dpop { public_url https://api.example/v1 http://second:81; }")
        let (otherKey, otherToken) = try other.bound()
        for (url, status) in [
            ("https://api.example/v1/items", 200), ("http://SECOND:81/items", 200),
            ("https://api.example/items", 401), (try other.base + "/items", 401),
        ] {
            let proof = try Self.client("proof", otherKey, "GET", url, otherToken, "1")[0]
            #expect(try other.get("/items", otherToken, proof).status == status, "\(url)")
        }
        // Those of oauth1 where it has none of its own.
        let third = try House(more: "oauth1 { public_url https://api.example; }")
        let (thirdKey, thirdToken) = try third.bound()
        let last = try Self.client(
            "proof", thirdKey, "GET", "https://api.example/items", thirdToken, "1")[0]
        #expect(try third.get("/items", thirdToken, last).status == 200)
    }

    /// A server that was given a token and a proof for itself sends both on, and says in Host what the proof says.
    @Test func aProofForAnotherHostIsNoGoodWhereOursAreKnown() throws {
        let house = try House(
            more: """
                host api.example *.api.example { route / { upstream up; authenticate bearer; require dpop; } }
                """)
        let (key, token) = try house.bound()
        func status(
            _ host: String, _ url: String, _ forwarded: String = "", in house: House
        ) throws -> Int {
            let proof = try Self.client("proof", key, "GET", url, token, "1")[0]
            return try house.get("/items", token, proof, forwarded, host: host).status
        }
        #expect(try status("API.example:80", "http://api.example/items", in: house) == 200)
        #expect(try status("a.api.example:81", "http://a.api.example:81/items", in: house) == 200)
        // Of those outside of the block nobody knows.
        #expect(try status("other.example", "http://other.example/items", in: house) == 200)
        #expect(try status("api.example", "http://other.example/items", in: house) == 401)

        // Of several public addresses that counts which the request names.
        let other = try House(
            more:
                "dpop { public_url http://a.example https://b.example:8443/v1 https://b.example:8443; }"
        )
        let (otherKey, otherToken) = try other.bound()
        for (host, url, status) in [
            ("a.example", "http://a.example/items", 200),
            ("a.example", "https://b.example:8443/items", 401),
            ("b.example:8443", "http://a.example/items", 401),
            ("b.example:8443", "https://b.example:8443/v1/items", 200),
            ("b.example:8443", "https://b.example:8443/items", 200),
            ("inside", "http://a.example/items", 200), ("inside", "http://inside/items", 401),
        ] {
            let proof = try Self.client("proof", otherKey, "GET", url, otherToken, "1")[0]
            let reply = try other.get("/items", otherToken, proof, host: host)
            #expect(reply.status == status, "\(host) \(url)")
        }
        // At the token endpoint a public address is as good as the issuer's; another is none.
        for (url, status) in [
            ("http://a.example/oauth2/token", 200), ("https://as.test/oauth2/token", 200),
            (try other.base + "/oauth2/token", 400),
        ] {
            let proof = try Self.client("proof", otherKey, "POST", url, "-", "1")[0]
            #expect(try other.ask(proof).status == status, "\(url)")
        }
    }

    @Test func theUpstreamSeesTheProofWithItsTokenAlone() throws {
        let house = try House()
        let (key, token) = try house.bound()
        func proof(_ path: String) throws -> String {
            try Self.client("proof", key, "GET", house.base + path, token, "1")[0]
        }
        let forged = "X-Auth-Scheme: forged\r\nX_Auth_Client: forged\r\ndPoP-Nonce: n\r\n"
        let stripped = try house.get("/items", token, proof("/items"), forged).text.lowercased()
        #expect(!stripped.contains("\r\ndpop:") && !stripped.contains("\r\nauthorization:"))
        #expect(!stripped.contains("forged") && stripped.contains("\r\nx-auth-scheme: dpop\r\n"))
        let open = try house.get("/open", token, "anything").text.lowercased()
        #expect(!open.contains("\r\ndpop:") && !open.contains("\r\nauthorization:"))
        let both = try house.get("/forward", token, proof("/forward")).text.lowercased()
        #expect(both.contains("\r\ndpop: ey") && both.contains("\r\nauthorization: dpop ey"))
    }

    @Test func theMetadataTellOfIt() throws {
        let house = try House()
        func document(_ path: String) throws -> [String: Any] {
            try house.gateway.request("GET \(path) HTTP/1.1\r\n\(hostLine)\r\n").json()
        }
        let algorithms = ["ES256", "EdDSA", "RS256", "PS256"]
        let server = try document("/.well-known/oauth-authorization-server")
        #expect(server["dpop_signing_alg_values_supported"] as? [String] == algorithms)
        let resource = try document("/.well-known/oauth-protected-resource")
        #expect(resource["dpop_signing_alg_values_supported"] as? [String] == algorithms)
        #expect(resource["dpop_bound_access_tokens_required"] == nil)
    }
}
