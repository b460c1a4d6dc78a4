import Foundation
import TestSupport
import Testing

/// Issuers whose keys are fetched, against the running program.
@Suite(.serialized)
struct IssuerTests {
    private let upstream: ScriptedUpstream

    init() throws {
        upstream = try ScriptedUpstream()
    }

    private func conf(
        _ issuer: OutsideIssuer, workers: Int = 1, source: String? = nil
    ) -> String {
        testConf(
            workers: workers,
            """
            issuer outside {
                issuer \(issuer.url);
                audience api;
                \(source ?? "jwks_uri \(issuer.url)/jwks;")
            }
            upstream up { server 127.0.0.1:\(upstream.port); }
            route / { upstream up; authenticate bearer; }
            """)
    }

    /// Starts it and waits until the issuer's first keys are here.
    private func start(_ issuer: OutsideIssuer, workers: Int = 1) throws -> Gateway {
        let gateway = try Gateway(conf(issuer, workers: workers))
        try gateway.waitForLog("keys of an issuer were fetched")
        return gateway
    }

    // MARK: Keys that change

    @Test func aNewKeyIsFoundAndAnOldOneForgotten() throws {
        let issuer = try OutsideIssuer("one", "two")
        let gateway = try start(issuer, workers: 2)
        let old = try issuer.token("one")
        // On every worker it is remembered.
        for _ in 0..<8 { #expect(try gateway.bearer(old).status == 200) }
        issuer.publish("one", "two")
        for _ in 0..<8 { #expect(try gateway.bearer(issuer.token("two")).status == 200) }
        #expect(issuer.fetches == 2)
        #expect(try gateway.bearer(old).status == 200)
        #expect(upstream.requests.count == 17)
    }

    @Test func aTokenWhoseKeyIsGoneIsForgotten() throws {
        let issuer = try OutsideIssuer("one", "two")
        let gateway = try start(issuer, workers: 2)
        let old = try issuer.token("one")
        for _ in 0..<8 { #expect(try gateway.bearer(old).status == 200) }
        issuer.publish("two")
        #expect(try gateway.bearer(issuer.token("two")).status == 200)
        for _ in 0..<8 {
            let reply = try gateway.bearer(old)
            #expect(reply.status == 401)
            #expect(reply.reason == "invalid_credentials")
        }
        #expect(try gateway.loggedReason() == "unknown_key")
        #expect(issuer.fetches == 2)
    }

    /// Keys without names: an issuer that has one at a time needs none.
    @Test func aNewKeyWithoutANameIsFoundToo() throws {
        let issuer = try OutsideIssuer("one", "two")
        issuer.hideNames()
        let gateway = try start(issuer)
        #expect(try gateway.bearer(issuer.token("one")).status == 200)
        issuer.publish("two")
        #expect(try gateway.bearer(issuer.token("two")).status == 200)
        #expect(try gateway.bearer(issuer.token("one")).status == 401)
        #expect(try gateway.loggedReason() == "bad_signature")
        #expect(issuer.fetches == 2)
    }

    @Test func aRequestWithABodyWaitsForItsKey() throws {
        let issuer = try OutsideIssuer("one", "two")
        let gateway = try start(issuer)
        issuer.publish("one", "two")
        issuer.hold(true)
        let client = try gateway.connect()
        try client.send(
            "POST /x HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(issuer.token("two"))\r\n"
                + "Content-Length: 5\r\n\r\nhel")
        let isAsked = eventually { issuer.fetches == 2 }
        #expect(isAsked)
        try client.send("lo")
        #expect(upstream.requests.isEmpty)
        issuer.hold(false)
        #expect(try client.readReply().status == 200)
        #expect(text(try #require(upstream.requests.first).rawBody) == "hello")
        // The connection goes on.
        try client.send(
            "GET /y HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(issuer.token("one"))\r\n\r\n")
        #expect(try client.readReply().status == 200)
    }

    @Test func aClientThatLeavesWhileItWaitsIsForgotten() throws {
        let issuer = try OutsideIssuer("one", "two")
        let gateway = try start(issuer)
        issuer.publish("one", "two")
        issuer.hold(true)
        var client: TCPClient? = try gateway.begin(issuer.token("two"))
        let isAsked = eventually { issuer.fetches == 2 }
        #expect(isAsked && client != nil)
        client = nil
        #expect(try gateway.accessLine { $0["status"] as? Int == 499 }["reason"] != nil)
        issuer.hold(false)
        #expect(try gateway.bearer(issuer.token("two")).status == 200)
        #expect(upstream.requests.count == 1)
    }

    // MARK: Floods

    @Test func twoHundredUnknownKeysCostTheIssuerOneFetch() throws {
        let issuer = try OutsideIssuer("one")
        let gateway = try start(issuer, workers: 2)
        issuer.hold(true)
        let clients = try (0..<200).map { try gateway.begin(issuer.token("junk-\($0)")) }
        let isAsked = eventually { issuer.fetches == 2 }
        #expect(isAsked)
        // While they wait, who has a known key is served at once.
        let began = ContinuousClock.now
        for _ in 0..<20 { #expect(try gateway.bearer(issuer.token("one")).status == 200) }
        #expect(ContinuousClock.now - began < .seconds(2))
        issuer.hold(false)
        for client in clients { #expect(try client.readReply().status == 401) }
        // And more of them cost nothing at all.
        for index in 0..<50 {
            #expect(try gateway.bearer(issuer.token("more-\(index)")).status == 401)
        }
        #expect(issuer.fetches <= 3)
        #expect(upstream.requests.count == 20)
    }

    @Test func noMoreThanSoManyWait() throws {
        let issuer = try OutsideIssuer("one")
        let gateway = try start(issuer)
        issuer.hold(true)
        let junk = try issuer.token("junk")
        let clients = try (0..<1024).map { _ in try gateway.begin(junk) }
        let isAsked = eventually { issuer.fetches == 2 }
        #expect(isAsked)
        // They are all there once one beyond them is answered at once.
        var refused: HTTPReply?
        let isFull = try eventually {
            let client = try TCPClient(port: gateway.port, timeout: .milliseconds(500))
            try client.send("GET / HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(junk)\r\n\r\n")
            refused = try? client.readReply()
            return refused != nil
        }
        #expect(isFull)
        #expect(refused?.status == 401)
        #expect(try gateway.bearer(issuer.token("one")).status == 200)
        issuer.hold(false)
        for client in clients { #expect(try client.readReply().status == 401) }
    }

    // MARK: Issuers that fail

    struct Bad: Sendable, CustomTestStringConvertible {
        let name: String
        let steps: @Sendable (OutsideIssuer) -> [UpstreamStep]
        /// What the log says of it.
        let cause: String
        var testDescription: String { name }
    }

    static let bad: [Bad] = [
        Bad(
            name: "500", steps: { _ in [.respond("500 Oops", body: "{}")] },
            cause: "an answer with status 500"),
        Bad(
            name: "404 with a good set", steps: { [.respond("404 No", body: $0.document)] },
            cause: "an answer with status 404"),
        Bad(name: "hang", steps: { _ in [.hold] }, cause: "no whole answer in time"),
        Bad(
            name: "closed", steps: { _ in [.close] },
            cause: "the connection ended before the answer did"),
        Bad(
            name: "cut",
            steps: {
                [.send("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n\($0.document)"), .close]
            }, cause: "the connection ended before the answer did"),
        Bad(
            name: "trickled",
            steps: { _ in [.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"), .hold] },
            cause: "no whole answer in time"),
        Bad(
            name: "64 MB declared",
            steps: { _ in
                [.send("HTTP/1.1 200 OK\r\nContent-Length: \(64 << 20)\r\n\r\n{"), .hold]
            }, cause: "an answer of more than 1048576 bytes"),
        Bad(
            name: "64 MB in chunks",
            steps: { _ in
                [.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")]
                    + Array(
                        repeating: .send(
                            "10000\r\n" + String(repeating: " ", count: 65_536) + "\r\n"),
                        count: 1024)
            }, cause: "an answer of more than 1048576 bytes"),
        Bad(
            name: "endless without framing",
            steps: { _ in
                [.send("HTTP/1.1 200 OK\r\n\r\n")]
                    + Array(
                        repeating: .send(String(repeating: " ", count: 65_536)), count: 32)
            }, cause: "an answer of more than 1048576 bytes"),
        Bad(
            name: "redirect",
            steps: {
                [
                    .respond(
                        "302 Found", fields: ["Location: \($0.url)/jwks-elsewhere"],
                        body: $0.document)
                ]
            }, cause: "a redirect (302) to 127.0.0.1:"),
        Bad(
            name: "nothing", steps: { _ in [.respond(body: "")] },
            cause: "a key set that cannot be used: notJSON"),
        Bad(
            name: "empty set", steps: { _ in [.respond(body: #"{"keys":[]}"#)] },
            cause: "a key set without a usable key"),
        Bad(
            name: "HTML", steps: { _ in [.respond(body: "<html>maintenance</html>")] },
            cause: "a key set that cannot be used: notJSON"),
        Bad(
            name: "an array", steps: { _ in [.respond(body: "[]")] },
            cause: "a key set that cannot be used: notAKeySet"),
        Bad(
            name: "no HTTP", steps: { _ in [.send("+OK dovecot ready\r\n"), .hold] },
            cause: "not well-formed HTTP"),
        Bad(
            name: "two framings",
            steps: { _ in
                [
                    .send(
                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}"
                    )
                ]
            }, cause: "not well-formed HTTP"),
        Bad(
            name: "interim answers without end",
            steps: { _ in
                Array(repeating: .send("HTTP/1.1 103 Early Hints\r\n\r\n"), count: 100) + [.hold]
            }, cause: "not well-formed HTTP"),
        Bad(
            name: "a switch", steps: { _ in [.send("HTTP/1.1 101 Go\r\n\r\n"), .hold] },
            cause: "not well-formed HTTP"),
        Bad(
            name: "a head without end",
            steps: { _ in
                [.send("HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 40_000)), .hold]
            }, cause: "not well-formed HTTP: headTooLarge"),
        Bad(
            name: "shared secrets alone",
            steps: { _ in
                [
                    .respond(
                        body:
                            #"{"keys":[{"kty":"oct","kid":"one","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#
                    )
                ]
            }, cause: "a key set without a usable key"),
        Bad(
            name: "a second key of the same kid",
            steps: { issuer in
                let key = issuer.document.dropFirst(#"{"keys":["#.count).dropLast(2)
                return [.respond(body: #"{"keys":[\#(key),\#(key)]}"#)]
            }, cause: "duplicateKeyID"),
    ]

    /// Whatever it answers instead, the last good keys serve on, and what it says counts for nothing.
    @Test(arguments: bad) func theLastGoodKeysServeOn(bad: Bad) throws {
        let issuer = try OutsideIssuer("one")
        let gateway = try start(issuer)
        issuer.answer(bad.steps(issuer))
        let began = ContinuousClock.now
        let reply = try gateway.begin(issuer.token("other")).readReply()
        #expect(reply.status == 401)
        #expect(ContinuousClock.now - began < .seconds(8))
        #expect(issuer.fetches == 2)
        try gateway.waitForLog(bad.cause)
        #expect(gateway.process.standardError.contains("keys_in_use=1"))
        #expect(try gateway.bearer(issuer.token("one")).status == 200)
        #expect(try gateway.memory("VmHWM") < 200 << 10)
    }

    @Test func theGatewayStartsBeforeItsIssuer() throws {
        let issuer = try OutsideIssuer("one")
        let port = try freePort()
        let folder = try TemporaryDirectory()
        let gateway = try Gateway(
            conf(issuer, workers: 2, source: "jwks_uri http://localhost:\(port)/jwks.json;"),
            in: folder)
        // Never a 401, on which the client would throw its token away.
        let reply = try gateway.bearer(issuer.token("one"))
        #expect(reply.status == 503)
        #expect(reply.reason == "issuer_unavailable")
        #expect(reply.values("Retry-After") == ["1"])
        #expect(try gateway.loggedReason() == "issuer_unavailable")
        try gateway.waitForLog("no connection: connectionRefused")
        #expect(try gateway.bearer("x.y.z").status == 401)

        try folder.write("jwks.json", issuer.document)
        let python = try requireTool("/usr/bin/python3", package: "python3")
        let server = try RunningProcess(
            python,
            ["-m", "http.server", "\(port)", "--bind", "127.0.0.1", "--directory", folder.path])
        try server.waitForPort(port)
        let isServed = try eventually { try gateway.bearer(issuer.token("one")).status == 200 }
        #expect(isServed)
        // Said once, however often it was tried.
        let log = gateway.process.standardError
        #expect(log.components(separatedBy: " warn the keys of an issuer").count == 2)
        // Away again: what came stays, on a reload too.
        server.end()
        gateway.process.signal(SIGHUP)
        try gateway.waitForLog("reloaded")
        for _ in 0..<4 { #expect(try gateway.bearer(issuer.token("one")).status == 200) }
    }

    @Test func anotherPlaceOfTheKeysBeginsWithoutKeys() throws {
        let issuer = try OutsideIssuer("one")
        let gateway = try start(issuer)
        #expect(try gateway.bearer(issuer.token("one")).status == 200)
        // A connection refused, by a port that nobody has.
        let text = conf(issuer, source: "jwks_uri http://127.0.0.1:\(try freePort())/jwks;")
        try gateway.folder.write("gateway.conf", text)
        gateway.process.signal(SIGHUP)
        try gateway.waitForLog("reloaded")
        let reply = try gateway.bearer(issuer.token("one"))
        #expect(reply.status == 503)
        #expect(reply.reason == "issuer_unavailable")
    }

    @Test func aDrillTakesAnIssuerForAway() throws {
        let issuer = try OutsideIssuer("one")
        let folder = try TemporaryDirectory()
        let port = try freePort()
        let path = try folder.write(
            "gateway.conf", conf(issuer).replacing("127.0.0.1:0", with: "127.0.0.1:\(port)"))
        let process = try RunningProcess(
            gatehouseBinary(), ["serve", "--config", path, "--without", "issuer", "outside"])
        try process.waitForPort(port)
        let client = try TCPClient(port: port)
        try client.send(
            "GET / HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(issuer.token("one"))\r\n\r\n")
        let reply = try client.readReply()
        #expect(reply.status == 503)
        #expect(reply.reason == "issuer_unavailable")
        try process.waitUntil("the log names the drill") {
            process.standardError.contains("away for a drill (--without issuer)")
        }
        #expect(issuer.server.connections == 0)
        process.end()

        for (words, text) in [
            (["issuer", "nobody"], "the conf has no such issuer"),
            (["issuer"], "needs the issuer's name"), (["moon"], "expected --without issuer NAME"),
        ] {
            let result = try run(
                gatehouseBinary(), ["serve", "--config", path, "--without"] + words)
            #expect(result.status == .code(64))
            #expect(result.error.contains(text), "\(result.error)")
        }
    }

    // MARK: Metadata

    @Test func theMetadataLeadToTheKeys() throws {
        let issuer = try OutsideIssuer("one", "two")
        issuer.publishMetadata(#"{"issuer":"\#(issuer.url)","jwks_uri":"\#(issuer.url)/jwks"}"#)
        let gateway = try Gateway(conf(issuer, source: "discovery on;"))
        try gateway.waitForLog("keys of an issuer were fetched")
        #expect(try gateway.bearer(issuer.token("one")).status == 200)
        // A new key costs one fetch: where the keys are is known.
        issuer.publish("two")
        #expect(try gateway.bearer(issuer.token("two")).status == 200)
        #expect(issuer.fetches == 2)
        #expect(issuer.server.requests.count == 3)
    }

    /// RFC 8414's own place, behind a real authorization server that has no other: a second gateway.
    @Test func anotherGatewayIsAnIssuer() throws {
        let other = try CommandFixture()
        let process = try RunningProcess(other.binary, ["serve", "--config", other.conf])
        try process.waitForPort(other.port)
        let token = try other.output(
            "token", "issue", "--client", "declared", "--scope", "orders.read")
        let gateway = try Gateway(
            testConf(
                """
                issuer other { issuer http://127.0.0.1:\(other.port); audience orders; discovery on; }
                upstream up { server 127.0.0.1:\(upstream.port); }
                route / { upstream up; authenticate bearer; require scope orders.read; }
                route /more { upstream up; authenticate bearer; require scope orders.write; }
                """))
        try gateway.waitForLog("keys of an issuer were fetched")
        #expect(try gateway.bearer(token).status == 200)
        #expect(try gateway.bearer(token, "/more").status == 403)
        let head = try #require(upstream.requests.first)
        #expect(head.values("X-Auth-Client") == ["declared"])
        #expect(head.values("X-Auth-Issuer") == ["http://127.0.0.1:\(other.port)"])
        // Its keys change: the next token has a kid that nobody here knows.
        _ = try other.output("key", "rotate")
        let isPublished = try eventually {
            let client = try TCPClient(port: other.port)
            try client.send("GET /.well-known/jwks.json HTTP/1.1\r\nHost: t\r\n\r\n")
            return (try client.readReply().json()["keys"] as? [Any])?.count == 2
        }
        #expect(isPublished)
        let newer = try other.output("token", "issue", "--client", "declared")
        #expect(newer.split(separator: ".")[0] != token.split(separator: ".")[0])
        #expect(try gateway.bearer(newer).status == 200)
    }

    @Test(arguments: [
        (#"{"issuer":"URL/","jwks_uri":"URL/jwks"}"#, "otherIssuer"),
        (#"{"jwks_uri":"URL/jwks"}"#, "otherIssuer"),
        (#"{"issuer":"URL"}"#, "noKeys"),
        (#"{"issuer":"URL","issuer":"URL","jwks_uri":"URL/jwks"}"#, "malformed"),
        (
            #"{"issuer":"URL","jwks_uri":"http://keys.example/jwks"}"#,
            "an address that is not asked"
        ),
        (#"{"issuer":"URL","jwks_uri":"file:///etc/passwd"}"#, "an address that is not asked"),
        (#"{"issuer":"URL","jwks_uri":"http://127.0.0.1:1@evil.example/"}"#, "not asked"),
        (#"{"issuer":"URL","jwks_uri":"URL/jwks\r\nX: y"}"#, "an address that is not asked"),
    ])
    func metadataThatLeadNowhere(metadata: String, cause: String) throws {
        let issuer = try OutsideIssuer("one")
        issuer.publishMetadata(metadata.replacing("URL", with: issuer.url))
        let gateway = try Gateway(conf(issuer, source: "discovery on;"))
        try gateway.waitForLog(cause)
        #expect(try gateway.bearer(issuer.token("one")).status == 503)
        #expect(issuer.fetches == 0)
    }

    // MARK: TLS

    /// A real server with a real library's keys, over TLS and by name.
    @Test func keysComeOverTLS() throws {
        let authority = try TestAuthority()
        let python = try requirePython(module: "authlib.jose", package: "python3-authlib")
        let script = """
            import json, sys, time
            from authlib.jose import JsonWebKey, jwt
            key = JsonWebKey.generate_key("RSA", 2048, {"kid": "rsa-1", "use": "sig", "alg": "RS256"}, is_private=True)
            json.dump({"keys": [key.as_dict(is_private=False)]}, open(sys.argv[1], "w"))
            now = int(time.time())
            print(jwt.encode({"alg": "RS256", "kid": "rsa-1"}, {"iss": "https://login.test", "aud": ["x", "api"],
                "sub": "alice", "azp": "app", "iat": now, "exp": now + 600, "scp": ["read"]}, key).decode())
            """
        let made = try run(python, ["-c", script, authority.folder.file("jwks.json")])
        #expect(made.status == .code(0), "\(made.error)")
        let token = made.output.trimmingCharacters(in: .whitespacesAndNewlines)
        // nginx's worker is nobody where the test is root.
        for (path, mode) in [
            (authority.folder.path, 0o755), (authority.folder.file("jwks.json"), 0o644),
        ] {
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        }
        let files = try authority.issue("server", ["DNS:localhost", "IP:127.0.0.1"])
        let wrong = try authority.issue("wrong", ["DNS:other.test"])
        func server(_ files: TestAuthority.Issued) throws -> Nginx {
            try Nginx(
                """
                server {
                    listen 127.0.0.1:PORT ssl;
                    ssl_certificate \(files.certificate);
                    ssl_certificate_key \(files.key);
                    root \(authority.folder.path);
                }
                """, in: authority.folder)
        }
        func gateway(_ url: String, _ ca: String) throws -> Gateway {
            try Gateway(
                testConf(
                    """
                    issuer login { issuer https://login.test; audience api; jwks_uri \(url)/jwks.json; \(ca) }
                    upstream up { server 127.0.0.1:\(upstream.port); }
                    route / { upstream up; authenticate bearer; require scope read; }
                    """))
        }
        let good = try server(files)
        let ca = "ca \(authority.certificate);"
        for host in ["localhost", "127.0.0.1"] {
            let gateway = try gateway("https://\(host):\(good.port)", ca)
            try gateway.waitForLog("keys of an issuer were fetched")
            #expect(try gateway.bearer(token).status == 200)
        }
        let head = try #require(upstream.requests.first)
        #expect(head.values("X-Auth-Client") == ["app"])
        #expect(head.values("X-Auth-Subject") == ["alice"])
        // The system's authorities do not know the test's.
        let stranger = try gateway("https://localhost:\(good.port)", "")
        try stranger.waitForLog("unable to get local issuer certificate")
        #expect(try stranger.bearer(token).status == 503)
        let bad = try server(wrong)
        let misnamed = try gateway("https://localhost:\(bad.port)", ca)
        try misnamed.waitForLog("hostname mismatch")
        #expect(try misnamed.bearer(token).status == 503)
        // In clear where TLS should be, a server waits for the end of a head.
        let clear = try gateway("https://127.0.0.1:\(upstream.port)", ca)
        try clear.waitForLog("no connection: connectionTimeout")
        #expect(try clear.bearer(token).status == 503)
        #expect(upstream.requests.count == 2)
    }

    // MARK: The commands

    @Test func theCommandsAskNobodyAndSayIt() throws {
        let issuer = try OutsideIssuer("one")
        let fixture = try CommandFixture(
            more:
                "issuer outside { issuer \(issuer.url); audience api; jwks_uri \(issuer.url)/jwks; }"
        )
        let token = try issuer.token("one")
        let inspected = try fixture.output("token", "inspect", token)
        #expect(inspected.contains("the keys of issuer outside are fetched by the running gateway"))
        #expect(inspected.hasSuffix("verdict: undecided"))
        let explained = try fixture.output(
            "explain", "--request", "-", "--json",
            input: "GET /bearer HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer \(token)\r\n\r\n")
        let object =
            try JSONSerialization.jsonObject(with: Data(explained.utf8)) as? [String: Any]
        let verdict = try #require(object?["verdict"] as? [String: Any])
        #expect(verdict["passes"] as? Bool == false)
        #expect(verdict["reason"] == nil)
        #expect((verdict["undecided"] as? String ?? "").contains("none is looked at here"))
        // What does not hang on the keys is decided.
        let foreign = try issuer.token("one", issuer: "https://nobody.test")
        #expect(try fixture.output("token", "inspect", foreign).contains("unknown_issuer"))
        #expect(issuer.server.connections == 0)
    }
}
