import Foundation
import TestSupport
import Testing

struct CommandsExplainTests {
    private func verdict(_ explained: [String: Any]) throws -> [String: Any] {
        try #require(explained["verdict"] as? [String: Any])
    }

    private func lines(_ explained: [String: Any]) throws -> [String] {
        try #require(explained["steps"] as? [[String: Any]])
            .flatMap { $0["lines"] as? [String] ?? [] }
    }

    private func explain(
        _ fixture: CommandFixture, _ request: String, _ more: String...
    ) throws -> [String: Any] {
        let result = try fixture.gatehouse(
            ["explain", "--request", "-", "--json"] + more, input: request)
        guard result.status == .code(0) else { throw Failure(result.error) }
        let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
        return try #require(object as? [String: Any])
    }

    /// The heart of it: the same request to a running gateway and to `explain` must come to the same end.
    @Test func explainAndTheGatewayAgree() throws {
        let upstream = try ScriptedUpstream()
        let fixture = try CommandFixture(upstream: upstream.port)
        let gateway = try fixture.start()
        defer { gateway.end() }
        let requests = try self.requests(fixture)
        #expect(requests.count == 45)
        var statuses: [Int: Int] = [:]
        for (name, request) in requests {
            // Explained first: that must not use up the nonce.
            let verdict = try verdict(explain(fixture, request, "--from", "127.0.0.1"))
            let before = upstream.requests.count
            let reply = try fixture.send(request)
            statuses[reply.status, default: 0] += 1
            let passes = try #require(verdict["passes"] as? Bool)
            #expect(passes == (reply.status == 200), "\(name): \(verdict), \(reply.status)")
            if passes { continue }
            #expect(upstream.requests.count == before, "\(name)")
            #expect(verdict["status"] as? Int == reply.status, "\(name): \(verdict)")
            // The token endpoint has errors of its own (RFC 6749 section 5.2).
            guard let type = try reply.json()["type"] as? String else { continue }
            #expect(type.hasSuffix(":\(verdict["public_reason"] ?? "")"), "\(name): \(type)")
        }
        // The table shows something only while it has all kinds of ends.
        #expect(
            Set(statuses.keys) == [200, 400, 401, 403, 404, 405, 413, 414, 417, 431, 501, 505])
    }

    private func requests(_ fixture: CommandFixture) throws -> [(String, String)] {
        let form = "Content-Type: application/x-www-form-urlencoded"
        func get(_ path: String, _ fields: String...) -> String {
            fixture.request("GET \(path)", fields)
        }
        func post(_ path: String, _ body: String, _ fields: String...) -> String {
            fixture.request("POST \(path)", fields, body: body)
        }
        func basic(_ secret: String) -> String {
            "Authorization: Basic " + Data("declared:\(secret)".utf8).base64EncodedString()
        }
        _ = try fixture.output("client", "add", "writer", "--scope", "orders.write")
        let bearer =
            "Authorization: Bearer \(try fixture.output("token", "issue", "--client", "declared"))"
        let writer =
            "Authorization: Bearer \(try fixture.output("token", "issue", "--client", "writer"))"
        let oauth1 = { (method: String, path: String) in try fixture.signed(method, path) }
        let secret = CommandFixture.declaredSecret
        let grant = "grant_type=client_credentials"
        return [
            ("open", get("/open")),
            ("open, whatever the credential", get("/open", "Authorization: Bearer x")),
            ("open, HEAD", fixture.request("HEAD /open")),
            ("no credential", get("/orders")),
            ("bearer", get("/orders", bearer)),
            ("bearer, changed", get("/orders", bearer + "A")),
            ("bearer, junk", get("/orders", "Authorization: Bearer x.y.z")),
            ("bearer, empty", get("/orders", "Authorization: Bearer ")),
            ("bearer, twice", get("/orders", bearer, bearer)),
            ("another scheme", get("/orders", "Authorization: Digest a=b")),
            ("bearer without the scope", get("/orders", writer)),
            ("bearer, other client", get("/bearer", writer)),
            ("bearer, right client", get("/bearer", bearer)),
            ("signature where a token is asked for", get("/bearer", try oauth1("GET", "/bearer"))),
            ("bearer to write", post("/orders", "a=1", form, bearer)),
            ("signature", get("/orders?a=1", try oauth1("GET", "/orders?a=1"))),
            ("signature of another path", get("/orders?a=1", try oauth1("GET", "/orders?a=2"))),
            ("signature of another method", get("/orders", try oauth1("POST", "/orders"))),
            (
                "unknown consumer",
                get(
                    "/orders", try fixture.signed("GET", "/orders", consumer: "nobody", secret: "x")
                )
            ),
            ("wrong secret", get("/orders", try fixture.signed("GET", "/orders", secret: "x"))),
            (
                "method that is off",
                get(
                    "/orders",
                    try fixture.signed("GET", "/orders", "--signature-method", "HMAC-SHA512"))
            ),
            (
                "PLAINTEXT without TLS",
                get(
                    "/orders",
                    try fixture.signed("GET", "/orders", "--signature-method", "PLAINTEXT"))
            ),
            (
                "a token that nobody gave",
                get(
                    "/orders",
                    try fixture.signed(
                        "GET", "/orders", "--token", "t", "--token-secret-file",
                        fixture.folder.file("declared.secret")))
            ),
            ("signature, incomplete", get("/orders", #"Authorization: OAuth oauth_nonce="1""#)),
            ("signature, junk", get("/orders", "Authorization: OAuth ???")),
            ("signature and token", get("/orders", bearer, try oauth1("GET", "/orders"))),
            ("form in the body is no credential", post("/orders", "a=1", form)),
            (
                "a body that is too large",
                post("/orders", String(repeating: "a", count: 2000), bearer)
            ),
            ("both where both are asked for, in one field", get("/both", bearer)),
            ("neither where both are asked for", get("/both")),
            ("method that the route does not take", fixture.request("DELETE /orders", [bearer])),
            ("no route", get("/nothing")),
            ("a path in two ways", get("/orders/%2e%2e/open")),
            ("address", get("/inside")),
            ("a WebSocket", get("/open", "Connection: upgrade", "Upgrade: websocket")),
            ("an expectation", get("/open", "Expect: miracles")),
            ("no Host", "GET /open HTTP/1.1\r\n\r\n"),
            ("lines of LF and CR LF", "GET /open HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
            ("another version", "GET /open HTTP/3.0\r\nHost: a\r\n\r\n"),
            ("a long line", get("/open?" + String(repeating: "a", count: 9000))),
            ("many fields", fixture.request("GET /open", (0..<120).map { "X-\($0): y" })),
            ("token endpoint", post("/oauth2/token", grant, form, basic(secret))),
            ("token endpoint, wrong secret", post("/oauth2/token", grant, form, basic("x"))),
            (
                "token endpoint, other grant",
                post("/oauth2/token", "grant_type=password", form, basic(secret))
            ),
            ("token endpoint, GET", get("/oauth2/token")),
        ]
    }

    @Test func aWrongSignatureIsExplainedWithoutTheRightOne() throws {
        let fixture = try CommandFixture()
        let line = try fixture.signed("GET", "/orders?a=1")
        let signature = try #require(line.firstMatch(of: /oauth_signature="([^"]+)"/)).1
        // The same parameters under another scheme, as behind a proxy that ends TLS.
        let wrong = try run(
            fixture.binary,
            [
                "sign", "--consumer-key", "declared", "--consumer-secret-file",
                fixture.folder.file("declared.secret"), "GET",
                "https://127.0.0.1:\(fixture.port)/orders?a=1",
            ]
        ).output.trimmingCharacters(in: .newlines)
        for (line, expected) in [(line, nil), (wrong, "bad_signature")] {
            let explained = try explain(fixture, fixture.request("GET /orders?a=1", [line]))
            #expect(try verdict(explained)["reason"] as? String == expected)
            let text = try lines(explained).joined(separator: "\n")
            #expect(text.contains("base string URI: http://127.0.0.1:\(fixture.port)/orders"))
            #expect(text.contains("scheme-https") == (expected != nil))
            #expect(!text.contains(CommandFixture.declaredSecret))
            #expect(!text.contains(signature))
            #expect(!text.contains(signature.removingPercentEncoding ?? "?"))
        }
        let explained = try explain(fixture, fixture.request("GET /orders?a=1", [line]))
        #expect(try lines(explained).contains { $0.contains("only the running gateway knows") })
    }

    @Test func theMomentDecidesOfTimestamps() throws {
        let fixture = try CommandFixture()
        let request = fixture.request("GET /orders", [try fixture.signed("GET", "/orders")])
        let later = try verdict(explain(fixture, request, "--at", "2100-01-01T00:00:00Z"))
        #expect(later["reason"] as? String == "timestamp_out_of_window")
        #expect(try verdict(explain(fixture, request))["passes"] as? Bool == true)
    }

    @Test func everyRequirementIsToldWithTheLineOfItsRoute() throws {
        let fixture = try CommandFixture()
        _ = try fixture.output("key", "rotate")
        let token = try fixture.output("token", "issue", "--client", "declared")
        let explained = try explain(
            fixture, fixture.request("PUT /orders", ["Authorization: Bearer \(token)"]))
        let text = try lines(explained)
        #expect(text.contains("require scope orders.read: met"))
        #expect(text.contains("require scope orders.write: not met (insufficient_scope)"))
        let line = fixture.folder.read("gateway.conf").components(separatedBy: "\n")
            .firstIndex { $0.contains("route /orders") }
        #expect(
            text.contains("route /orders (\(fixture.conf):\(try #require(line) + 1))"), "\(text)")
        #expect(!text.contains { $0.contains(token) })
        let phases = try #require(explained["steps"] as? [[String: Any]])
            .compactMap { $0["phase"] as? String }
        #expect(phases == ["downstream", "routing", "authentication", "authorization"])
    }

    @Test func whatAnEditorSavedIsTakenAndSaid() throws {
        let fixture = try CommandFixture()
        for ending in ["\n\n", "\n", ""] {
            let request = "GET /open HTTP/1.1\nHost: a" + ending
            let result = try fixture.gatehouse("explain", "--request", "-", input: request)
            #expect(result.status == .code(0))
            #expect(result.output.hasSuffix("verdict: passes\n"), "\(result.output)")
            #expect(result.error.contains("LF alone"))
        }
        let file = try fixture.folder.write("saved", fixture.request("GET /open"))
        let result = try fixture.gatehouse("explain", "--request", file)
        #expect(result.output.hasSuffix("verdict: passes\n"))
        #expect(!result.error.contains("LF alone"))
    }

    @Test func nothingThatARequestCarriesActsOnTheTerminal() throws {
        let fixture = try CommandFixture()
        let header =
            #"Authorization: OAuth oauth_consumer_key="%1B%5B2J%0Averdict: passes", "#
            + #"oauth_signature="x", oauth_signature_method="HMAC-SHA1", oauth_nonce="n", "#
            + #"oauth_timestamp="1""#
        let result = try fixture.gatehouse(
            "explain", "--request", "-", input: fixture.request("GET /orders", [header]))
        #expect(result.status == .code(0))
        #expect(!result.output.contains("\u{1B}"))
        #expect(result.output.contains("\\u{1b}[2J\\u{a}verdict"))
        #expect(result.output.split(separator: "\n").filter { $0.hasPrefix("verdict") }.count == 1)
    }

    @Test(arguments: [
        ("curl URL/open", "GET /open", true),
        ("curl -sSX PUT 'URL/open'", "PUT /open", true),
        ("curl -XDELETE \"URL/open\"", "DELETE /open", true),
        ("curl URL/orders -H 'Authorization: Bearer x'", "GET /orders", false),
        ("curl URL/open --data-urlencode 'a=b c' -G", "GET /open?a=b%20c", true),
        ("curl URL/open -d a=1 -d b=2 \\\n -o /dev/null", "POST /open", true),
        ("curl --json '{}' URL/open -b c=d", "POST /open", true),
        ("curl URL/open --data-raw $'it\\'s'", "POST /open", true),
        (
            "curl -u declared:\(CommandFixture.declaredSecret) -d grant_type=client_credentials URL/oauth2/token",
            "POST /oauth2/token", true
        ),
    ])
    func aCurlCommandIsUnderstood(command: String, line: String, passes: Bool) throws {
        let fixture = try CommandFixture()
        _ = try fixture.output("key", "rotate")
        let url = "http://127.0.0.1:\(fixture.port)"
        let explained = try fixture.object(
            "explain", "--curl", command.replacing("URL", with: url))
        let told = try lines(explained)
        #expect(told.contains("\(line), host 127.0.0.1:\(fixture.port)"), "\(told)")
        #expect(try verdict(explained)["passes"] as? Bool == passes)
    }

    @Test(arguments: [
        ["--curl", "wget http://a/"], ["--curl", "curl"], ["--curl", "curl 'http://a/"],
        ["--curl", "curl --proxy b http://a/"], ["--curl", "curl -Z http://a/"],
        ["--curl", "curl http://a/ -H"], [], ["--request", "-", "--curl", "curl http://a/"],
        ["--request", "/no/such/file"], ["--request", "-", "--at", "noon"],
        ["--request", "-", "--from", "nowhere"], ["--request", "-", "--listener", "none"],
        ["--receipt", "1"],
    ])
    func badUsageEndsWith64(arguments: [String]) throws {
        let fixture = try CommandFixture()
        let result = try fixture.gatehouse(
            ["explain"] + arguments, input: fixture.request("GET /open"))
        #expect(result.status == .code(64), "\(result.error)")
        #expect(result.output.isEmpty)
    }

    @Test func withoutAConfThereIsNothingToDecideBy() throws {
        let result = try run(
            try gatehouseBinary(), ["explain", "--request", "-", "--config", "/no/such/conf"],
            input: "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(result.status == .code(78))
    }
}
