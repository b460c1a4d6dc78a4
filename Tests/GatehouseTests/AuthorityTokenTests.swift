import Foundation
import OAuth
import Synchronization
import TestSupport
import Testing

/// Opaque tokens, introspection, revocation and assertions on the running program.
struct AuthorityTokenTests {
    private struct House {
        let upstream: ScriptedUpstream
        let folder: TemporaryDirectory
        let gateway: Gateway

        init(_ format: String = "jwt", more: String = "") throws {
            upstream = try ScriptedUpstream { request in [.respond(body: request.head)] }
            folder = try TemporaryDirectory()
            try folder.write("secret", "s3cret")
            gateway = try Gateway(
                testConf(
                    workers: 2, store: "store sqlite { path state.db; }",
                    """
                    authority { issuer http://127.0.0.1/as; audience http://127.0.0.1/api; scopes read write; token_format \(format); }
                    client one { secret_file secret; scopes read write; }
                    client two { secret_file secret; scopes read; }
                    \(more)
                    upstream up { server 127.0.0.1:\(upstream.port); }
                    route / { upstream up; authenticate bearer; require scope read; }
                    """), in: folder)
        }

        func post(_ path: String, as client: String?, _ form: String) throws -> HTTPReply {
            let basic = client.map { Data("\($0):s3cret".utf8).base64EncodedString() }
            return try gateway.request(
                "POST \(path) HTTP/1.1\r\n\(hostLine)Connection: close\r\n"
                    + (basic.map { "Authorization: Basic \($0)\r\n" } ?? "")
                    + "Content-Type: application/x-www-form-urlencoded\r\n"
                    + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)")
        }

        func token(_ client: String = "one", _ more: String = "") throws -> String {
            let reply = try post(
                "/oauth2/token", as: client, "grant_type=client_credentials" + more)
            #expect(reply.status == 200, "\(reply.text)")
            return try #require(try reply.json()["access_token"] as? String)
        }

        func get(_ token: String) throws -> HTTPReply {
            try gateway.request(
                "GET / HTTP/1.1\r\n\(hostLine)Connection: close\r\nAuthorization: Bearer \(token)\r\n\r\n"
            )
        }
    }

    /// On SIGUSR2 and at the end each worker tells how often it knew a token, and the last of them the sum; a reload,
    /// which begins a new cache, does not begin the count anew.
    @Test func whatTheTokenCacheDidIsCounted() throws {
        let house = try House()
        let process = house.gateway.process
        let token = try house.token()
        for _ in 0..<6 { #expect(try house.get(token).status == 200) }
        process.signal(SIGUSR2)
        try process.waitUntil("the sum") { process.standardError.contains("worker=all") }
        process.signal(SIGHUP)
        try process.waitUntil("the reload") { process.standardError.contains("notice reloaded") }
        for _ in 0..<6 { #expect(try house.get(token).status == 200) }
        process.signal(SIGTERM)
        #expect(process.waitForExit() == .code(0))
        let lines = process.standardError.split(separator: "\n").filter {
            $0.contains("remembered tokens")
        }
        func sum(_ name: String, _ lines: [Substring]) -> Int {
            var sum = 0
            for word in lines.flatMap({ $0.split(separator: " ") }) where word.hasPrefix(name + "=")
            {
                sum += Int(word.dropFirst(name.count + 1)) ?? 0
            }
            return sum
        }
        let totals = lines.filter { $0.contains("worker=all") }
        try #require(totals.count == 2, "\(lines)")
        for (total, asked) in zip(totals, [6, 12]) {
            let misses = sum("misses", [total])
            // Once on each worker that was asked, and once more after the reload.
            #expect((1...asked / 3).contains(misses), "\(total)")
            #expect(sum("hits", [total]) == asked - misses, "\(total)")
        }
        // The last round's, worker by worker.
        let each = Array(lines.suffix(3).filter { !$0.contains("worker=all") })
        #expect(each.count == 2)
        for name in ["hits", "misses", "tokens", "bytes"] {
            #expect(sum(name, each) == sum(name, [totals[1]]), "\(name): \(lines)")
        }
    }

    @Test func anOpaqueTokenIsAsGoodAsAnyOther() throws {
        let house = try House("opaque")
        let token = try house.token()
        #expect(token.hasPrefix("gth_") && token.utf8.count == 47)
        // From the store, then from memory.
        for _ in 0..<2 {
            let reply = try house.get(token)
            #expect(reply.status == 200)
            #expect(reply.text.contains("X-Auth-Client: one\r\nX-Auth-Subject: one\r\n"))
            #expect(reply.text.contains("X-Auth-Scopes: read write\r\n"))
            #expect(reply.text.contains("X-Auth-Issuer: http://127.0.0.1/as\r\n"))
        }
        // What was never issued, whatever it looks like.
        let last = token.last == "A" ? "B" : "A"
        for junk in [token.dropLast() + last, "gth_" + String(repeating: "A", count: 43)] {
            let reply = try house.get(String(junk))
            #expect(reply.status == 401 && reply.text.contains("invalid_credentials"))
        }
        #expect(try house.get(house.token("one", "&scope=write")).status == 403)
        // It outlives the process, and lies in the store as its hash alone.
        let database =
            try Data(contentsOf: URL(fileURLWithPath: house.folder.file("state.db")))
            + (try Data(contentsOf: URL(fileURLWithPath: house.folder.file("state.db-wal"))))
        #expect(database.range(of: Data(token.utf8)) == nil)
        house.gateway.process.signal(SIGKILL)
        _ = house.gateway.process.waitForExit(within: .seconds(10))
        let conf = try String(contentsOfFile: house.folder.file("gateway.conf"), encoding: .utf8)
        let again = try Gateway(conf, in: house.folder)
        #expect(
            try again.request(
                "GET / HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(token)\r\n\r\n"
            ).status == 200)
        let issued = try run(
            gatehouseBinary(),
            ["token", "issue", "--client", "two", "--config", house.folder.file("gateway.conf")])
        let other = issued.output.trimmingCharacters(in: .newlines)
        #expect(
            try again.request(
                "GET / HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(other)\r\n\r\n"
            ).status == 200, "\(issued.error)")
    }

    @Test(arguments: ["jwt", "opaque"]) func tokensAreIntrospectedAndRevoked(format: String) throws
    {
        let house = try House(format)
        let token = try house.token()
        let facts = try house.post("/oauth2/introspect", as: "two", "token=\(token)").json()
        #expect(facts["active"] as? Bool == true)
        #expect(facts["client_id"] as? String == "one" && facts["sub"] as? String == "one")
        #expect(facts["scope"] as? String == "read write")
        #expect(facts["iss"] as? String == "http://127.0.0.1/as")
        #expect(facts["aud"] as? String == "http://127.0.0.1/api")
        #expect(facts["token_type"] as? String == "Bearer" && facts["jti"] != nil)
        #expect((facts["exp"] as? Int ?? 0) - (facts["iat"] as? Int ?? 0) == 600)
        for junk in ["x", "gth_" + String(repeating: "A", count: 43), "a.b.c"] {
            let reply = try house.post("/oauth2/introspect", as: "two", "token=\(junk)")
            #expect(reply.status == 200 && reply.text == "{\"active\":false}\n")
        }
        #expect(try house.post("/oauth2/introspect", as: nil, "token=\(token)").status == 401)
        #expect(try house.post("/oauth2/introspect", as: "two", "").status == 400)
        // Only its own client may revoke it.
        #expect(try house.get(token).status == 200)
        #expect(try house.post("/oauth2/revoke", as: "two", "token=\(token)").status == 400)
        #expect(try house.get(token).status == 200)
        #expect(try house.post("/oauth2/revoke", as: "one", "token=\(token)").status == 200)
        // At once, on every worker, for the remembered token too.
        for _ in 0..<4 {
            let reply = try house.get(token)
            #expect(reply.status == 401 && reply.text.contains("token_revoked"), "\(reply.text)")
        }
        let after = try house.post("/oauth2/introspect", as: "two", "token=\(token)")
        #expect(after.text == "{\"active\":false}\n")
        #expect(try house.post("/oauth2/revoke", as: "one", "token=\(token)").status == 200)
        #expect(try house.post("/oauth2/revoke", as: "one", "token=junk").status == 200)
        // It stays so over a crash.
        house.gateway.process.signal(SIGKILL)
        _ = house.gateway.process.waitForExit(within: .seconds(10))
        let conf = try String(contentsOfFile: house.folder.file("gateway.conf"), encoding: .utf8)
        let again = try Gateway(conf, in: house.folder)
        #expect(
            try again.request(
                "GET / HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(token)\r\n\r\n"
            ).status == 401)
    }

    @Test(arguments: ["jwt", "opaque"]) func anOperatorRevokes(format: String) throws {
        let house = try House(format)
        let conf = house.folder.file("gateway.conf")
        func revoke(_ arguments: String...) throws -> CommandResult {
            try run(gatehouseBinary(), ["token", "revoke"] + arguments + ["--config", conf])
        }
        let (first, second, others) = (try house.token(), try house.token(), try house.token("two"))
        #expect(try house.get(first).status == 200)
        #expect(try revoke(first).status == .code(0))
        #expect(try eventually(within: .seconds(2)) { try house.get(first).status == 401 })
        #expect(try house.get(second).status == 200)
        #expect(try revoke("--client", "one").status == .code(0))
        #expect(try eventually(within: .seconds(2)) { try house.get(second).status == 401 })
        #expect(try house.get(others).status == 200)
        let facts = try house.post("/oauth2/introspect", as: "two", "token=\(others)").json()
        #expect(try revoke("--jti", try #require(facts["jti"] as? String)).status == .code(0))
        #expect(try eventually(within: .seconds(2)) { try house.get(others).status == 401 })
        // A moment that lies ahead would shut the client out, and could not be taken back.
        let ahead = ["--client", "one", "--issued-before", "2100-01-01T00:00:00Z"]
        #expect(try revoke("--client", "nobody").error.contains("no client nobody"))
        for wrong in [
            [], ["x", "--jti", "y"], ["--jti", "x", "--issued-before", "5"], ["x"], ahead,
        ] {
            let result = try run(
                gatehouseBinary(), ["token", "revoke"] + wrong + ["--config", conf])
            #expect(result.status == .code(64), "\(wrong) \(result.error)")
        }
    }

    /// A client that is taken away takes its tokens along, and one of its name that comes later gets new ones.
    @Test func tokensGoWithTheirClient() throws {
        let house = try House("opaque")
        let conf = house.folder.file("gateway.conf")
        func client(_ arguments: String...) throws -> [String: Any] {
            let result = try run(
                gatehouseBinary(), ["client"] + arguments + ["--json", "--config", conf])
            #expect(result.status == .code(0), "\(result.error)")
            return try JSONSerialization.jsonObject(with: Data(result.output.utf8))
                as? [String: Any] ?? [:]
        }
        func token(_ secret: String) throws -> HTTPReply {
            let form = "grant_type=client_credentials&client_id=late&client_secret=\(secret)"
            return try house.post("/oauth2/token", as: nil, form)
        }
        let secret = try #require(
            try client("add", "late", "--scope", "read")["client_secret"] as? String)
        #expect(try eventually(within: .seconds(2)) { try token(secret).status == 200 })
        let held = try #require(try token(secret).json()["access_token"] as? String)
        #expect(try house.get(held).status == 200)
        // Both secrets are good for the grace, and then the new one alone.
        let newer = try #require(
            try client("rotate", "late", "--grace", "3s")["client_secret"] as? String)
        #expect(try eventually(within: .seconds(2)) { try token(newer).status == 200 })
        #expect(try token(secret).status == 200)
        #expect(try eventually(within: .seconds(6)) { try token(secret).status == 401 })
        #expect(try token(newer).status == 200)
        _ = try client("remove", "late")
        #expect(try eventually(within: .seconds(2)) { try house.get(held).status == 401 })
        // Whoever takes the name gets tokens that are good: not before a gateway's clock could make them look older.
        let again = try run(gatehouseBinary(), ["client", "add", "late", "--config", conf])
        #expect(again.status == .code(69) && again.error.contains("try again in"), "\(again.error)")
    }

    /// A token of another issuer, also one that has no end worth the name: the gateway needs no authority of its own.
    @Test(arguments: [9_999_999_999, Int64.max]) func anOutsideTokenIsRevoked(end: Int64) throws {
        let upstream = try ScriptedUpstream()
        let folder = try TemporaryDirectory()
        let key = try SigningKey(algorithm: .es256, privateKey: .generate(.p256))
        try folder.write(
            "jwks", String(decoding: JWKSDocument.write([key.published]), as: UTF8.self))
        let gateway = try Gateway(
            testConf(
                workers: 2, store: "store sqlite { path state.db; }",
                """
                issuer out { issuer http://out.test; jwks_file jwks; audience api; }
                upstream up { server 127.0.0.1:\(upstream.port); }
                route / { upstream up; authenticate bearer; }
                """), in: folder)
        func token(_ name: String) throws -> String {
            let claims =
                #"{"iss":"http://out.test","aud":"api","sub":"x","client_id":"x","jti":"\#(name)","exp":\#(end)}"#
            return String(
                decoding: try JWTSigner.sign(claims: Array(claims.utf8), with: key), as: UTF8.self)
        }
        func status(_ token: String) throws -> Int {
            try gateway.request(
                "GET / HTTP/1.1\r\n\(hostLine)Connection: close\r\nAuthorization: Bearer \(token)\r\n\r\n"
            ).status
        }
        let (gone, other) = (try token("gone"), try token("other"))
        #expect(try status(gone) == 200)
        let revoked = try run(
            gatehouseBinary(),
            ["token", "revoke", gone, "--config", gateway.folder.file("gateway.conf")])
        #expect(revoked.status == .code(0), "\(revoked.error)")
        #expect(try eventually(within: .seconds(2)) { try status(gone) == 401 })
        #expect(try status(other) == 200)
    }

    /// Whoever has caught an assertion and sends it again takes nothing from its client's budget.
    @Test func anAssertionThatComesAgainCostsItsClientNothing() throws {
        let signer = try AssertionSigner()
        let house = try House(more: signer.block("rate_limit 1/h burst 2 per client;"))
        func ask(_ name: String) throws -> Int {
            let form = try signer.form(to: "http://127.0.0.1/as", id: name)
            return try house.post("/oauth2/token", as: nil, form).status
        }
        #expect(try ["a", "a", "a", "b", "c"].map(ask) == [200, 401, 401, 200, 429])
        // That one is used up with it: who comes again signs anew.
        #expect(try ask("c") == 401)
    }

    /// By Authlib's client: RFC 7523, and each assertion once.
    @Test func aClientProvesItselfByAnAssertion() throws {
        let folder = try TemporaryDirectory()
        let python = try requirePython(module: "authlib", package: "python3-authlib")
        let make = """
            import json, sys, time, uuid
            from authlib.jose import JsonWebKey, jwt
            while True:
                key = JsonWebKey.generate_key("EC", "P-256", is_private=True)
                public = key.as_dict(is_private=False)
                # Authlib leaves leading zeros out, which RFC 7518 section 6.2.1.2 forbids: one key in 128 is none.
                if len(public["x"]) == len(public["y"]) == 43: break
            open(sys.argv[1] + "/keys", "w").write(json.dumps({"keys": [public]}))
            open(sys.argv[1] + "/private", "w").write(key.as_json(is_private=True))
            """
        let sign = """
            import json, sys, time, uuid
            from authlib.jose import JsonWebKey, jwt
            key = JsonWebKey.import_key(json.load(open(sys.argv[1] + "/private")))
            now = int(time.time())
            claims = {"iss": "signer", "sub": "signer", "aud": sys.argv[2], "exp": now + 60, "iat": now, "jti": str(uuid.uuid4())}
            print(jwt.encode({"alg": "ES256"}, claims, key).decode())
            """
        #expect(try run(python, ["-c", make, folder.path]).status == .code(0))
        let house = try House(
            more:
                "client signer { auth_method private_key_jwt; jwks_file \(folder.file("keys")); scopes read; }"
        )
        func assertion(_ audience: String) throws -> String {
            try run(python, ["-c", sign, folder.path, audience]).output
                .trimmingCharacters(in: .newlines)
        }
        func ask(_ assertion: String) throws -> HTTPReply {
            try house.post(
                "/oauth2/token", as: nil,
                "grant_type=client_credentials&client_assertion=\(assertion)&client_assertion_type="
                    + "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer")
        }
        for audience in ["http://127.0.0.1/as", "http://127.0.0.1/oauth2/token"] {
            let once = try assertion(audience)
            let reply = try ask(once)
            #expect(reply.status == 200, "\(reply.text)")
            let token = try #require(try reply.json()["access_token"] as? String)
            #expect(try house.get(token).text.contains("X-Auth-Client: signer\r\n"))
            #expect(try ask(once).status == 401)
        }
        let line = try house.gateway.accessLine { $0["reason"] as? String == "nonce_reused" }
        #expect(line["status"] as? Int == 401)
        #expect(try ask(assertion("http://127.0.0.1")).status == 401)
        // Its secret would be one that it has not.
        #expect(
            try house.post(
                "/oauth2/token", as: nil,
                "grant_type=client_credentials&client_id=signer&client_secret=x"
            ).status == 401)
    }

    /// Keys change every other second, and no token that was issued is refused.
    @Test func keysRotateUnderLoad() throws {
        let house = try House("jwt; key_rotation 2s; token_lifetime 60s")
        var kids: Set<String> = []
        var held: [String] = []
        let isRotated = try eventually(within: .seconds(20)) {
            let token = try house.token()
            kids.insert(String(token.split(separator: ".").first ?? ""))
            held.append(token)
            #expect(try house.get(token).status == 200)
            return kids.count == 4
        }
        #expect(isRotated)
        for token in held { #expect(try house.get(token).status == 200) }
        // Each was published before it signed: there is always one more than have.
        let keys =
            try house.gateway.request(
                "GET /.well-known/jwks.json HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n"
            ).json()["keys"] as? [Any]
        #expect((keys?.count ?? 0) >= 4)
    }

    /// What was answered is there after a crash, whenever that comes: tokens, clients, and the keys that change meanwhile.
    /// `GATEHOUSE_TEST_CRASHES` says how often.
    @Test func nothingThatWasAnsweredIsLostInACrash() throws {
        let house = try House("opaque; key_rotation 2s; token_lifetime 10s")
        let conf = house.folder.file("gateway.conf")
        let text = try String(contentsOfFile: conf, encoding: .utf8)
        let binary = try gatehouseBinary()
        var gateway = house.gateway
        var checked = 0
        for round in 0..<(environmentNumber("GATEHOUSE_TEST_CRASHES") ?? 10) {
            // As many as can all be looked at before they end; what a crash could lose is what came last.
            let tokens = Collected(last: 100)
            let (clients, keys) = (Collected(), Collected())
            let revoked = Collected()
            let port = try gateway.port
            let isOver = Mutex(false)
            let work = DispatchGroup()
            for _ in 0..<4 {
                DispatchQueue.global().async(group: work) {
                    while let token = try? Self.ask(port) {
                        // One of five, and what becomes of one whose revocation was not answered nobody can say.
                        guard !token.hasSuffix("A"), !token.hasSuffix("E"), !token.hasSuffix("I")
                        else {
                            if (try? Self.revoke(token, port)) == 200 { revoked.add(token) }
                            continue
                        }
                        tokens.add(token)
                        // As its client does; or it is over.
                        guard (try? Self.use(token, port)) == 200 else { return }
                    }
                }
            }
            // Beside the gateway, by commands that the crash does not end.
            DispatchQueue.global().async(group: work) {
                var number = 0
                while !isOver.withLock({ $0 }) {
                    let id = "c\(round)-\(number)"
                    let added = try? run(
                        binary, ["client", "add", id, "--scope", "read", "--config", conf])
                    if added?.status == .code(0) { clients.add(id) }
                    number += 1
                }
            }
            DispatchQueue.global().async(group: work) {
                while !isOver.withLock({ $0 }) {
                    let rotated = try? run(binary, ["key", "rotate", "--now", "--config", conf])
                    guard let rotated, rotated.status == .code(0) else { continue }
                    keys.add(String(rotated.output.prefix { $0 != " " }))
                    // There is an end to keys; those of the last rounds go by themselves.
                    _ = eventually(within: .seconds(1)) { isOver.withLock { $0 } }
                }
            }
            #expect(
                eventually(within: .seconds(20)) {
                    tokens.all.count >= 20 && clients.all.count >= 1 && keys.all.count >= 1
                        && revoked.all.count >= 1
                }, "\(round): \(tokens.all.count) \(clients.all.count) \(keys.all.count)")
            gateway.process.signal(SIGKILL)
            isOver.withLock { $0 = true }
            work.wait()
            gateway = try Gateway(text, in: house.folder)
            for token in tokens.all {
                let reply = try gateway.request(
                    "GET / HTTP/1.1\r\n\(hostLine)Connection: close\r\nAuthorization: Bearer \(token)\r\n\r\n"
                )
                #expect(reply.status == 200, "\(round)")
            }
            for token in revoked.all {
                let reply = try gateway.request(
                    "GET / HTTP/1.1\r\n\(hostLine)Connection: close\r\nAuthorization: Bearer \(token)\r\n\r\n"
                )
                #expect(reply.status == 401, "\(round)")
            }
            let shown = try run(binary, ["client", "list", "--config", conf]).output
            for id in clients.all { #expect(shown.contains("\(id) "), "\(id)") }
            let published = try run(binary, ["key", "list", "--config", conf]).output
            for kid in keys.all { #expect(published.contains(kid), "\(kid)") }
            checked += tokens.all.count + clients.all.count + keys.all.count + revoked.all.count
            for id in clients.all {
                _ = try run(binary, ["client", "remove", id, "--config", conf])
            }
        }
        #expect(checked >= 220)
        print("after the crashes \(checked) tokens, clients, keys and revocations were there")
    }

    private static func ask(_ port: UInt16) throws -> String? {
        try post("/oauth2/token", "grant_type=client_credentials", port)
            .json()["access_token"] as? String
    }

    private static func use(_ token: String, _ port: UInt16) throws -> Int {
        let client = try TCPClient(port: port)
        try client.send(
            "GET / HTTP/1.1\r\n\(hostLine)Connection: close\r\nAuthorization: Bearer \(token)\r\n\r\n"
        )
        return try client.readReply().status
    }

    private static func revoke(_ token: String, _ port: UInt16) throws -> Int {
        try post("/oauth2/revoke", "token=\(token)", port).status
    }

    private static func post(_ path: String, _ form: String, _ port: UInt16) throws -> HTTPReply {
        let client = try TCPClient(port: port)
        let basic = Data("one:s3cret".utf8).base64EncodedString()
        try client.send(
            "POST \(path) HTTP/1.1\r\n\(hostLine)Authorization: Basic \(basic)\r\n"
                + "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n"
                + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)")
        return try client.readReply()
    }

    /// What threads put together.
    private final class Collected: Sendable {
        private let texts = Mutex<[String]>([])
        private let limit: Int

        /// - Parameter limit: so many are kept.
        init(last limit: Int = .max) { self.limit = limit }

        func add(_ text: String) {
            texts.withLock { texts in
                if texts.count == limit { texts.removeFirst() }
                texts.append(text)
            }
        }

        var all: [String] { texts.withLock { $0 } }
    }

    @Test func whatIsProtectedIsTold() throws {
        let house = try House()
        let reply = try house.gateway.request(
            "GET /.well-known/oauth-protected-resource/api HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n"
        )
        let document = try reply.json()
        #expect(document["resource"] as? String == "http://127.0.0.1/api")
        #expect(document["authorization_servers"] as? [String] == ["http://127.0.0.1/as"])
        let refused = try house.get("x.y.z")
        #expect(
            refused.values("www-authenticate").first?.contains(
                "resource_metadata=\"http://127.0.0.1/.well-known/oauth-protected-resource/api\"")
                == true)
        let metadata = try house.gateway.request(
            "GET /.well-known/oauth-authorization-server/as HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n"
        ).json()
        #expect(
            metadata["introspection_endpoint"] as? String == "http://127.0.0.1/oauth2/introspect")
        #expect(metadata["revocation_endpoint"] as? String == "http://127.0.0.1/oauth2/revoke")
        let methods = metadata["token_endpoint_auth_methods_supported"] as? [String] ?? []
        #expect(methods.contains("private_key_jwt"))
    }
}
