import Foundation
import TestSupport
import Testing

/// `rate_limit` in each place and of each kind, against the running program; by curl where what a client sees counts.
struct RateLimitTests {
    private let upstream: ScriptedUpstream
    private let folder: TemporaryDirectory

    init() throws {
        upstream = try ScriptedUpstream { request in
            [.respond(body: request.requestLine.components(separatedBy: " ")[1])]
        }
        folder = try TemporaryDirectory()
        try folder.write("secret", "s3cret")
    }

    private static let clients = """
        client one { secret_file secret; oauth1_secret_file secret; scopes read; }
        client two { secret_file secret; scopes read; }
        """

    /// Three routes of each kind are enough for every case; what is in them is the test's.
    private func conf(
        listener: String = "", workers: Int = 1, clients: String = "", _ routes: String
    ) -> String {
        testConf(
            workers: workers, listener: listener, store: "store sqlite { path state.db; }",
            """
            authority { issuer http://127.0.0.1; scopes read; }
            \(Self.clients)
            \(clients)
            upstream app { server 127.0.0.1:\(upstream.port); }
            \(routes)
            route /free { upstream app; authenticate bearer; }
            route /public { upstream app; authenticate none; }
            """)
    }

    private func start(
        listener: String = "", workers: Int = 1, clients: String = "", _ routes: String
    ) throws -> Gateway {
        try Gateway(
            conf(listener: listener, workers: workers, clients: clients, routes), in: folder)
    }

    private func token(_ client: String) throws -> String {
        let result = try run(
            gatehouseBinary(),
            ["token", "issue", "--client", client, "--config", folder.file("gateway.conf")])
        #expect(result.status == .code(0), "\(result.error)")
        return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private func get(
        _ gateway: Gateway, _ path: String, _ token: String? = nil
    ) throws -> HTTPReply {
        let authorization = token.map { "Authorization: Bearer \($0)\r\n" } ?? ""
        return try gateway.request(
            "GET \(path) HTTP/1.1\r\n\(hostLine)\(authorization)Connection: close\r\n\r\n")
    }

    private func statuses(
        _ gateway: Gateway, _ path: String, _ tokens: String?...
    ) throws -> [Int] {
        try tokens.map { try get(gateway, path, $0).status }
    }

    private func post(
        _ gateway: Gateway, _ path: String, client: String, secret: String
    ) throws -> Int {
        let basic = Data("\(client):\(secret)".utf8).base64EncodedString()
        let form = path.hasSuffix("token") ? "grant_type=client_credentials" : "token=x"
        return try gateway.request(
            "POST \(path) HTTP/1.1\r\n\(hostLine)Authorization: Basic \(basic)\r\n"
                + "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n"
                + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)"
        ).status
    }

    // MARK: What a client sees

    /// A head that curl has read, of either version.
    private func curl(
        _ gateway: Gateway, _ path: String, _ arguments: String...
    ) throws -> (status: Int, fields: [String: String], body: String) {
        let curl = try requireTool("curl", package: "curl")
        let result = try run(
            curl, ["-s", "-i", "http://127.0.0.1:\(try gateway.port)\(path)"] + arguments)
        #expect(result.status == .code(0), "\(result.error)")
        let parts = result.output.components(separatedBy: "\r\n\r\n")
        let lines = parts[0].components(separatedBy: "\r\n")
        let status = lines[0].split(separator: " ")[1]
        var fields: [String: String] = [:]
        for line in lines.dropFirst() {
            let pair = line.split(separator: ":", maxSplits: 1).map(String.init)
            fields[pair[0].lowercased()] = pair[1].trimmingCharacters(in: .whitespaces)
        }
        return (try #require(Int(status)), fields, parts.dropFirst().joined())
    }

    @Test(arguments: ["--http1.1", "--http2-prior-knowledge"])
    func theAnswerSaysWhenToComeAgain(version: String) throws {
        let gateway = try start(
            listener: "protocols h2c http/1.1;",
            """
            route /one { upstream app; rate_limit 10/h burst 2 per client; }
            route /many { upstream app; authenticate none; rate_limit 100/s burst 1 per route; rate_limit 5/d burst 1 per address; }
            """)
        let bearer = "Authorization: Bearer \(try token("one"))"
        for _ in 0..<2 { #expect(try curl(gateway, "/one", version, "-H", bearer).status == 200) }
        let reply = try curl(gateway, "/one", version, "-H", bearer)
        #expect(reply.status == 429)
        let seconds = try #require(reply.fields["retry-after"].flatMap { Int($0) })
        #expect((350...360).contains(seconds))
        #expect(reply.fields["ratelimit-policy"] == #""route-client";q=10;w=3600"#)
        #expect(reply.fields["ratelimit"] == #""route-client";r=0;t=\#(seconds)"#)
        #expect(reply.fields["content-type"] == "application/problem+json")
        #expect(reply.fields["cache-control"] == "no-store")
        #expect(reply.fields["www-authenticate"] == nil)
        #expect(reply.body.contains(#""type":"urn:gatehouse:reason:rate_limited""#))
        let id = try #require(reply.fields["x-request-id"])
        let line = try gateway.accessLine { $0["request_id"] as? String == id }
        #expect(line["status"] as? Int == 429 && line["reason"] as? String == "rate_limited")
        #expect(line["client"] as? String == "one" && line["route"] as? String == "/one")

        // Of two the one that is to be waited for longest.
        #expect(try curl(gateway, "/many", version).status == 200)
        let other = try curl(gateway, "/many", version)
        #expect(other.fields["ratelimit-policy"] == #""route-address";q=5;w=86400"#)
        #expect(upstream.requests.count == 3)
    }

    @Test func theConnectionStaysOpenAndNoBodyIsAwaited() throws {
        let gateway = try start(
            "route /one { upstream app; authenticate none; rate_limit 1/h per address; }")
        let client = try gateway.connect()
        try client.send("GET /one HTTP/1.1\r\n\(hostLine)\r\n")
        #expect(try client.readReply().status == 200)
        try client.send("POST /one HTTP/1.1\r\n\(hostLine)Content-Length: 5\r\n\r\n")
        #expect(try client.readReply().status == 429)
        try client.send("helloGET /public HTTP/1.1\r\n\(hostLine)\r\n")
        let reply = try client.readReply()
        #expect(reply.status == 200 && reply.text == "/public")
        // A client that asks whether it may send need not.
        try client.send(
            "POST /one HTTP/1.1\r\n\(hostLine)Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        #expect(try client.readReply().status == 429)
        #expect(upstream.requests.count == 2)
    }

    // MARK: Kinds and places

    @Test func perClientOfARoute() throws {
        let gateway = try start(
            "route /r { upstream app; authenticate bearer; rate_limit 1/h burst 2 per client; }")
        let (one, two) = (try token("one"), try token("two"))
        // Strangers take nothing, and the two have a budget each, whatever their tokens.
        #expect(try statuses(gateway, "/r", nil, "x", "x") == [401, 401, 401])
        #expect(try statuses(gateway, "/r", one, try token("one"), one) == [200, 200, 429])
        #expect(try statuses(gateway, "/r", two, two, two) == [200, 200, 429])
        #expect(try statuses(gateway, "/free", one, two) == [200, 200])
        #expect(try statuses(gateway, "/r", "x") == [401])
    }

    @Test func whereNobodyIsProvenTheAddressStandsForTheClient() throws {
        let gateway = try start(
            listener: "trusted_proxies 127.0.0.1;",
            "route /r { upstream app; authenticate none; rate_limit 1/h per client; }")
        func get(_ address: String) throws -> Int {
            try gateway.request(
                "GET /r HTTP/1.1\r\n\(hostLine)X-Forwarded-For: \(address)\r\nConnection: close\r\n\r\n"
            ).status
        }
        #expect(try [get("192.0.2.1"), get("192.0.2.1"), get("192.0.2.2")] == [200, 429, 200])
    }

    /// Before any credential is looked at.
    @Test func perAddressOfARoute() throws {
        let gateway = try start(
            "route /r { upstream app; authenticate bearer; rate_limit 1/h burst 3 per address; }")
        let one = try token("one")
        #expect(try statuses(gateway, "/r", nil, "x", one, one, "x") == [401, 401, 200, 429, 429])
        let line = try gateway.accessLine { $0["status"] as? Int == 429 }
        #expect(line["route"] as? String == "/r" && line["reason"] as? String == "rate_limited")
        #expect(try statuses(gateway, "/free", one) == [200])
    }

    @Test func perRoute() throws {
        let gateway = try start(
            """
            route /r { upstream app; authenticate bearer; rate_limit 1/h burst 2 per route; }
            route /r/s { upstream app; authenticate bearer; rate_limit 1/h burst 2 per route; }
            """)
        let (one, two) = (try token("one"), try token("two"))
        #expect(try statuses(gateway, "/r", nil, one, two, one, two) == [401, 200, 200, 429, 429])
        #expect(try statuses(gateway, "/r/s", one) == [200])
    }

    /// All of a listener's routes, the endpoints of the authority, and what is no route at all.
    @Test func perAddressOfAListener() throws {
        let gateway = try start(listener: "rate_limit 1/h burst 6 per address;", "")
        let one = try token("one")
        #expect(try statuses(gateway, "/free", one, nil) == [200, 401])
        #expect(try statuses(gateway, "/nowhere", nil) == [404])
        #expect(try statuses(gateway, "/.well-known/jwks.json", nil) == [200])
        #expect(try post(gateway, "/oauth2/token", client: "one", secret: "guess") == 401)
        #expect(try post(gateway, "/oauth2/introspect", client: "one", secret: "guess") == 401)
        // Nor is it told whether that one would have been right.
        #expect(try post(gateway, "/oauth2/token", client: "one", secret: "s3cret") == 429)
        #expect(try statuses(gateway, "/free", one) == [429])
        #expect(try statuses(gateway, "/nowhere", nil) == [429])
    }

    /// Whoever sends what is no request that could pass is bound too.
    @Test func whatIsRefusedForItsHeadCounts() throws {
        let gateway = try start(listener: "rate_limit 1/h burst 3 per address;", "")
        let bad = ["/a//b HTTP/1.1\r\n", "/public HTTP/1.1\r\nExpect: wonders\r\n"]
        let statuses = try [bad[0], bad[1], bad[1], bad[0], bad[1]].map { line in
            try gateway.request("GET \(line)\(hostLine)Connection: close\r\n\r\n").status
        }
        #expect(statuses == [400, 417, 417, 429, 429])
    }

    @Test func perClientAndPerRouteOfAListener() throws {
        let gateway = try start(
            listener: "rate_limit 1/h burst 4 per client; rate_limit 1/h burst 3 per route;",
            "route /r { upstream app; authenticate bearer; }")
        let (one, two) = (try token("one"), try token("two"))
        #expect(try statuses(gateway, "/r", one, one, two, two) == [200, 200, 200, 429])
        // The third of /r is two's, and what was refused cost two nothing.
        #expect(try statuses(gateway, "/free", two, two, two) == [200, 200, 200])
        #expect(try statuses(gateway, "/free", one) == [429])
        // Where there is no route the client's counts alone.
        #expect(try post(gateway, "/oauth2/token", client: "one", secret: "s3cret") == 200)
        #expect(try post(gateway, "/oauth2/token", client: "one", secret: "s3cret") == 200)
        #expect(try post(gateway, "/oauth2/token", client: "one", secret: "s3cret") == 429)
        #expect(try post(gateway, "/oauth2/token", client: "one", secret: "guess") == 401)
        let line = try gateway.accessLine {
            $0["status"] as? Int == 429 && $0["path"] as? String == "/oauth2/token"
        }
        #expect(line["client"] as? String == "one" && line["reason"] as? String == "rate_limited")
    }

    @Test func ofAClient() throws {
        let gateway = try start(
            listener: "trusted_proxies 127.0.0.1;",
            clients: """
                client all { secret_file secret; scopes read; rate_limit 1/h burst 3 per client; }
                client site { secret_file secret; scopes read; rate_limit 1/h burst 2 per address; }
                client route { secret_file secret; scopes read; rate_limit 1/h burst 2 per route; }
                """,
            "route /r { upstream app; authenticate bearer; }")
        let (all, site, route) = (try token("all"), try token("site"), try token("route"))
        #expect(try statuses(gateway, "/r", all, all) == [200, 200])
        #expect(try post(gateway, "/oauth2/introspect", client: "all", secret: "s3cret") == 200)
        #expect(try statuses(gateway, "/free", all) == [429])
        #expect(try post(gateway, "/oauth2/revoke", client: "all", secret: "s3cret") == 429)

        #expect(try statuses(gateway, "/r", route, route, route) == [200, 200, 429])
        #expect(try statuses(gateway, "/free", route) == [200])

        func get(_ address: String) throws -> Int {
            try gateway.request(
                "GET /free HTTP/1.1\r\n\(hostLine)X-Forwarded-For: \(address)\r\nConnection: close\r\n"
                    + "Authorization: Bearer \(site)\r\n\r\n"
            ).status
        }
        #expect(try (0..<3).map { _ in try get("192.0.2.1") } == [200, 200, 429])
        #expect(try get("192.0.2.2") == 200)
        #expect(try statuses(gateway, "/r", try token("one")) == [200])
    }

    /// Endpoints that a signature of OAuth 1.0 opens.
    @Test func aClientThatSigns() throws {
        let house = try AuthorityHouse(
            clients:
                "client slow { oauth1_secret_file secret; scopes read; rate_limit 1/h burst 2 per client; }"
        )
        func requestToken() throws -> Int {
            let path = "/oauth1/request_token"
            return try house.gateway.request(
                "POST \(path) HTTP/1.1\r\nHost: h.example\r\nContent-Length: 0\r\nConnection: close\r\n"
                    + "Authorization: \(try house.signature("POST", path, as: "slow"))\r\n\r\n"
            ).status
        }
        #expect(try [requestToken(), requestToken(), requestToken()] == [200, 200, 429])
    }

    // MARK: Addresses

    @Test func whatAPeerSaysOfItselfChangesNothing() throws {
        let gateway = try start(
            "route /r { upstream app; authenticate none; rate_limit 1/h burst 2 per address; }")
        let results = try (0..<4).map { number in
            try gateway.request(
                "GET /r HTTP/1.1\r\n\(hostLine)X-Forwarded-For: 192.0.2.\(number)\r\n"
                    + "Forwarded: for=192.0.2.\(number)\r\nConnection: close\r\n\r\n"
            ).status
        }
        #expect(results == [200, 200, 429, 429])
    }

    /// By the PROXY header; of IPv6 a /64 is one.
    @Test func ofIPv6ASiteIsOne() throws {
        let gateway = try start(
            listener: "proxy_protocol on; rate_limit 1/h burst 2 per address;", "")
        func get(_ address: String) throws -> Int {
            let family = address.contains(":") ? "TCP6 \(address) ::1" : "TCP4 \(address) 127.0.0.1"
            return try gateway.request(
                "PROXY \(family) 4711 80\r\nGET /public HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n"
            ).status
        }
        #expect(try get("2001:db8:1:2::1") == 200)
        #expect(try get("2001:db8:1:2:ffff::9") == 200)
        #expect(try get("2001:db8:1:2:8000::2") == 429)
        #expect(try get("2001:db8:1:3::1") == 200)
        #expect(try [get("192.0.2.1"), get("192.0.2.1"), get("192.0.2.1")] == [200, 200, 429])
        #expect(try get("192.0.2.2") == 200)
    }

    // MARK: At once, and for long

    /// Two workers, many connections, and limits that each half of them shares.
    @Test func exactlyTheBurstPassesOfAStorm() throws {
        let gateway = try start(
            listener: "rate_limit 1/h burst 200 per address;", workers: 2,
            """
            route /a { upstream app; authenticate none; rate_limit 1/h burst 30 per route; rate_limit 30/h burst 1000 per client; }
            route /b { upstream app; authenticate none; rate_limit 30/h burst 1000 per route; }
            """)
        let (passed, refused) = (Results(), Results())
        DispatchQueue.concurrentPerform(iterations: 16) { lane in
            guard let client = try? gateway.connect() else { return }
            for number in 0..<25 {
                let path = number % 2 == 0 ? "/a" : "/b"
                guard (try? client.send("GET \(path) HTTP/1.1\r\n\(hostLine)\r\n")) != nil,
                    let reply = try? client.readReply()
                else { return }
                if reply.status == 200 { passed.add(path == "/a" ? 0 : 1) }
                if reply.status == 429 { refused.add(lane) }
            }
        }
        #expect(passed.all.count + refused.all.count == 400)
        #expect(passed.all.count { $0 == 0 } == 30)
        // 208 ask for /a and 192 for /b; of all of them 200 get further than the listener.
        #expect(passed.all.count <= 200 && refused.all.count >= 200)
        #expect(upstream.requests.count == passed.all.count)
    }

    @Test func aReloadHandsOutNothing() throws {
        func routes(_ limit: String, _ more: String = "") -> String {
            "route /r { upstream app; authenticate none; rate_limit \(limit) per address; \(more) }"
        }
        let gateway = try start(workers: 2, routes("1/h burst 3"))
        #expect(try statuses(gateway, "/r", nil, nil) == [200, 200])
        try ReloadTests.reload(
            conf(workers: 2, routes("1/h burst 3", "set_header X-A b; methods GET;")), of: gateway)
        #expect(try statuses(gateway, "/r", nil, nil, nil) == [200, 429, 429])
        try ReloadTests.reload(conf(workers: 2, routes("1/h burst 4")), of: gateway)
        #expect(try eventually { try get(gateway, "/r").status == 200 })
        #expect(
            try eventually(within: .seconds(5)) { try statuses(gateway, "/r", nil) == [429] })
        // Taken out: nothing is counted any more.
        try ReloadTests.reload(
            conf(workers: 2, "route /r { upstream app; authenticate none; }"), of: gateway)
        #expect(try eventually { try get(gateway, "/r").status == 200 })
    }

    @Test func aWebSocketCountsOnce() throws {
        let house = try AuthorityHouse(more: "rate_limit 1/h burst 1 per client;")
        let bearer = "Bearer \(try house.token())"
        let (client, server) = try house.tunnel(bearer)
        for _ in 0..<5 {
            try client.send("ping")
            #expect(text(try server.read(4)) == "ping")
        }
        let other = try house.gateway.request(
            "GET / HTTP/1.1\r\nHost: h.example\r\nConnection: close\r\nAuthorization: \(bearer)\r\n\r\n"
        )
        #expect(other.status == 429)
    }

    // MARK: explain

    @Test func explainNamesEachLineAndTakesNothing() throws {
        let gateway = try start(
            listener: "rate_limit 9/h burst 9 per address;",
            clients: "client all { secret_file secret; scopes read; rate_limit 8/m per client; }",
            "route /r { upstream app; authenticate bearer; rate_limit 1/h burst 1 per client; }")
        let all = try token("all")
        func explain(_ request: String) throws -> String {
            let result = try run(
                gatehouseBinary(),
                ["explain", "--request", "-", "--config", folder.file("gateway.conf")],
                input: request)
            #expect(result.status == .code(0), "\(result.error)")
            return result.output
        }
        for _ in 0..<3 {
            let output = try explain(
                "GET /r HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(all)\r\n\r\n")
            #expect(
                output.contains(
                    "    rate_limit 9/h burst 9 per address of listener api: judged before any credential; nothing was taken from it here\n"
                ), "\(output)")
            #expect(
                output.contains(
                    "rate_limit 1/h burst 1 per client of route /r: judged once all else holds")
            )
            #expect(output.contains("rate_limit 8/m burst 1 per client of client all: judged"))
            #expect(output.contains("verdict: passes"))
        }
        #expect(try statuses(gateway, "/r", all, all) == [200, 429])
        let body = "grant_type=client_credentials&client_id=all&client_secret=s3cret"
        let output = try explain(
            "POST /oauth2/token HTTP/1.1\r\n\(hostLine)Content-Type: application/x-www-form-urlencoded\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
        #expect(output.contains("rate_limit 8/m burst 1 per client of client all: judged"))
        #expect(output.contains("per address of listener api: judged before any credential"))
    }
}
