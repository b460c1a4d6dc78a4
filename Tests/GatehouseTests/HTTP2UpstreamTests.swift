import Foundation
import TestSupport
import Testing

/// HTTP/2 towards upstreams: a server in Python that does what a path asks for, nginx and nghttpx.
struct HTTP2UpstreamTests {
    /// The Python server.
    private final class Server: Sendable {
        let process: RunningProcess
        let port: UInt16

        init(_ arguments: String...) throws {
            let python = try requirePython(module: "h2", package: "python3-h2")
            let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
                .appendingPathComponent("http2_upstream.py").path
            let process = try RunningProcess(python, [script] + arguments)
            try process.waitUntil("its port") { process.standardOutput.contains("\n") }
            self.process = process
            port = try #require(
                UInt16(process.standardOutput.split(separator: "\n").first ?? ""))
        }

        /// What it saw so far, each an object.
        var events: [[String: Any]] {
            process.standardOutput.split(separator: "\n").dropFirst().compactMap {
                try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
            }
        }

        func requests(_ path: String) -> [[String: Any]] {
            events.filter { $0["what"] as? String == "request" && $0["path"] as? String == path }
        }
    }

    private struct Pair {
        let server: Server
        let gateway: Gateway

        init(_ server: Server? = nil, patience: String = "1s", listener: String = "") throws {
            let server = try server ?? Server()
            self.server = server
            gateway = try Gateway(
                testConf(
                    listener: "protocols h2c http/1.1; \(listener)",
                    """
                    upstream app {
                        server 127.0.0.1:\(server.port);
                        protocol h2;
                        response_timeout \(patience);
                    }
                    route / { upstream app; authenticate none; limits { body 200m; } }
                    """))
        }

        /// One request of HTTP/1.1.
        func get(_ path: String, _ method: String = "GET", _ rest: String = "\r\n") throws
            -> HTTPReply
        {
            try gateway.request(
                "\(method) \(path) HTTP/1.1\r\n\(hostLine)Connection: close\r\n\(rest)",
                isBodyless: method == "HEAD")
        }

        /// The same by curl over HTTP/2.
        func curl(_ path: String, _ more: String...) throws -> CommandResult {
            try run(
                requireTool("curl", package: "curl"),
                ["-s", "-S", "-i", "--http2-prior-knowledge", "--max-time", "20"] + more
                    + ["http://127.0.0.1:\(gateway.port)\(path)"])
        }
    }

    // MARK: Translation

    @Test func anHTTP1RequestBecomesOneOfHTTP2() throws {
        let pair = try Pair()
        let reply = try pair.get(
            "/x?y=z", "POST",
            "Cookie: a=b\r\nCookie: c=d\r\nTE: trailers, deflate\r\nKeep-Alive: 5\r\nX-Hop: 1\r\nConnection: X-Hop\r\nContent-Length: 3\r\n\r\nabc"
        )
        #expect(reply.status == 200)
        #expect(reply.values("set-cookie") == ["a=b", "c=d"])
        #expect(reply.values("via") == ["2 gatehouse"])
        let seen = try #require(
            try JSONSerialization.jsonObject(with: Data(reply.body)) as? [String: String])
        #expect(seen[":method"] == "POST" && seen[":path"] == "/x?y=z")
        #expect(seen[":authority"] == "h.example" && seen[":scheme"] == "http")
        #expect(seen["te"] == "trailers" && seen["content-length"] == "3")
        for name in ["host", "connection", "keep-alive", "x-hop", "transfer-encoding"] {
            #expect(seen[name] == nil, "\(name)")
        }
        #expect(seen["via"] == "1.1 gatehouse" && seen["x-forwarded-for"] == "127.0.0.1")
        #expect(pair.server.requests("/x?y=z").first?["body"] as? Int == 3)
    }

    @Test func anHTTP2RequestStaysOne() throws {
        let pair = try Pair()
        let result = try pair.curl("/x", "-H", "Cookie: a=b; c=d", "-d", "abcdef")
        #expect(result.output.hasPrefix("HTTP/2 200 \r\n"))
        #expect(result.output.contains("set-cookie: a=b\r\nset-cookie: c=d\r\n"))
        #expect(result.output.contains(#""cookie": "a=b; c=d""#))
        #expect(result.output.contains(#""via": "2 gatehouse""#))
        #expect(pair.server.requests("/x").first?["body"] as? Int == 6)
    }

    @Test(arguments: ["Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
    func anEmptyBodyEndsTheRequest(rest: String) throws {
        let pair = try Pair()
        #expect(try pair.get("/x", "PUT", rest).status == 200)
        #expect(pair.server.requests("/x").first?["body"] as? Int == 0)
    }

    @Test func bigBodiesGoBothWays() throws {
        let pair = try Pair()
        let folder = try TemporaryDirectory()
        let file = try folder.write("big", String(repeating: "x", count: 4_000_000))
        let up = try pair.curl("/up", "-T", file)
        #expect(up.output.hasPrefix("HTTP/2 200"))
        #expect(pair.server.requests("/up").first?["body"] as? Int == 4_000_000)
        let chunked = try run(
            requireTool("curl", package: "curl"),
            ["-s", "-H", "Transfer-Encoding: chunked", "-T", file]
                + ["http://127.0.0.1:\(pair.gateway.port)/chunked"])
        #expect(chunked.status == .code(0))
        #expect(pair.server.requests("/chunked").first?["body"] as? Int == 4_000_000)
        #expect(try pair.get("/big").body.count == 3_000_000)
        #expect(try pair.curl("/big").output.count > 3_000_000)
    }

    @Test func answersWithoutContentHaveTheirFraming() throws {
        let pair = try Pair()
        let none = try pair.get("/no-content")
        #expect(none.status == 204 && none.values("content-length") == [])
        let empty = try pair.get("/empty")
        #expect(empty.status == 200 && empty.values("content-length") == ["0"])
        let head = try pair.get("/empty", "HEAD")
        #expect(head.status == 200)
        #expect(try pair.curl("/no-content").output.hasPrefix("HTTP/2 204"))
    }

    @Test func trailersAndInterimAnswersPass() throws {
        let pair = try Pair()
        let client = try pair.gateway.connect()
        try client.send("GET /trailers HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n")
        let answer = text(try client.readToEnd())
        #expect(answer.contains("\r\n7\r\ncontent\r\n0\r\nx-sum: 7\r\n\r\n"), "\(answer)")
        #expect(!answer.contains("forged"))
        let two = try pair.curl("/trailers")
        #expect(two.output.contains("content") && two.output.contains("x-sum: 7"))
        let interim = try pair.gateway.connect()
        try interim.send("GET /interim HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n")
        let both = text(try interim.readToEnd())
        #expect(both.hasPrefix("HTTP/1.1 103 Early Hints\r\n"), "\(both)")
        #expect(both.contains("final"))
    }

    /// Those of a gRPC call do without being asked for; those of another request do not.
    @Test func trailersOfACallPass() throws {
        let pair = try Pair()
        let python = try requirePython(module: "h2", package: "python3-h2")
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("http2_peer.py").path
        let client = try run(python, [script, "request_trailers", "\(pair.gateway.port)"])
        #expect(client.output == "200 200\n", "\(client.error)")
        let seen = pair.server.events.filter { $0["what"] as? String == "trailers" }
        #expect(seen.count == 1)
        #expect(seen.first?["fields"] as? [[String]] == [["x-sum", "7"], ["x-last", "8"]])
        #expect(pair.server.requests("/x").map { $0["body"] as? Int } == [3, 3])
    }

    // MARK: Sharing

    @Test func requestsShareAConnection() throws {
        let pair = try Pair()
        let clients = try (0..<5).map { _ in try pair.gateway.connect() }
        for client in clients { try client.send("GET /gather?5 HTTP/1.1\r\n\(hostLine)\r\n") }
        for client in clients { #expect(text(try client.readReply().body) == "5 on 0") }
        #expect(text(try pair.get("/gather?1").body) == "1 on 0")
    }

    @Test func theServersLimitIsKept() throws {
        let pair = try Pair(Server("--streams", "2"))
        // The first request learns of the limit.
        #expect(try pair.get("/x").status == 200)
        let clients = try (0..<4).map { _ in try pair.gateway.connect() }
        for client in clients { try client.send("GET /gather?2 HTTP/1.1\r\n\(hostLine)\r\n") }
        let answers = try clients.map { text(try $0.readReply().body) }
        #expect(Set(answers) == ["2 on 0", "2 on 1"], "\(answers)")
    }

    /// Before the server has said how many it takes, one request goes out; none is lost for there being too many.
    @Test func aBurstOntoANewConnectionLosesNothing() throws {
        let pair = try Pair(Server("--streams", "10"))
        let clients = try (0..<60).map { _ in try pair.gateway.connect() }
        for client in clients {
            try client.send("PUT /x HTTP/1.1\r\n\(hostLine)Content-Length: 3\r\n\r\nabc")
        }
        for client in clients { #expect(try client.readReply().status == 200) }
        #expect(pair.server.requests("/x").count == 60)
    }

    /// A server that takes one at a time and says so too late: each connection serves one, and all come to their turn.
    @Test func whoeverWaitsForAPlaceComesToItsTurn() throws {
        let pair = try Pair(Server("--first-streams", "1"), patience: "20s")
        let clients = try (0..<50).map { _ in try pair.gateway.connect() }
        for client in clients {
            try client.send("PUT /x HTTP/1.1\r\n\(hostLine)Content-Length: 3\r\n\r\nabc")
        }
        for client in clients { #expect(try client.readReply().status == 200) }
        #expect(pair.server.requests("/x").count == 50)
    }

    /// One that takes none at all is tried no more often than one that refuses.
    @Test func aServerThatAllowsNoStreamIsGivenUp() throws {
        let pair = try Pair(Server("--first-streams", "0"), patience: "20s")
        let clients = try (0..<20).map { _ in try pair.gateway.connect() }
        for client in clients { try client.send("GET /x HTTP/1.1\r\n\(hostLine)\r\n") }
        for client in clients { #expect(try client.readReply().status == 502) }
        let line = try pair.gateway.accessLine { $0["path"] as? String == "/x" }
        #expect(line["reason"] as? String == "upstream_reset")
        let connections = pair.server.events.filter { $0["what"] as? String == "begun" }
        // Each request has the two tries that one which is refused has; they share their connections.
        #expect(connections.count <= 2 * clients.count / 4, "\(connections.count)")
    }

    @Test func aSlowClientHoldsUpNobodyElse() throws {
        let pair = try Pair()
        // Each leaves an answer of 3 MB unread; the connection to the server is one.
        let slow = try (0..<20).map { _ in try pair.gateway.connect() }
        for client in slow { try client.send("GET /big HTTP/1.1\r\n\(hostLine)\r\n") }
        for _ in 0..<20 { #expect(try pair.get("/x").status == 200) }
        #expect(Set(pair.server.events.compactMap { $0["connection"] as? Int }) == [0])
        #expect(try pair.gateway.memory("VmRSS") < 100_000)
        for client in slow { #expect(try client.readReply().body.count == 3_000_000) }
    }

    @Test func aServerThatTakesNothingHoldsUpItsOwnClientAlone() throws {
        let pair = try Pair(listener: "limits { body_timeout 500ms; }")
        let stalled = try pair.gateway.connect()
        try stalled.send("PUT /stall HTTP/1.1\r\n\(hostLine)Content-Length: 100000000\r\n\r\n")
        let sent = try stalled.sendUntilStuck(
            [UInt8](repeating: 0x78, count: 20_000_000), patience: .milliseconds(200))
        #expect(sent < 10_000_000)
        #expect(try pair.get("/x").status == 200)
        #expect(try stalled.readReply().status == 504)
    }

    // MARK: Ends

    /// What may be sent again is: nobody has acted upon it.
    @Test(arguments: ["/refuse-once", "/goaway"], ["GET", "POST"])
    func anUnprocessedRequestIsSentAgain(path: String, method: String) throws {
        let pair = try Pair()
        let reply = try pair.get(
            path, method, method == "POST" ? "Content-Length: 0\r\n\r\n" : "\r\n")
        #expect(reply.status == 200, "\(text(reply.body))")
        #expect(pair.server.requests(path).count == 2)
        #expect(try pair.get("/refuse").status == 502)
        #expect(pair.server.requests("/refuse").count == 2)
    }

    @Test func aGoodbyeMovesTheNextRequestElsewhere() throws {
        let pair = try Pair()
        #expect(text(try pair.get("/polite").body) == "bye")
        let next = try pair.get("/x")
        #expect(next.status == 200 && next.values("x-connection") == ["1"])
    }

    @Test func aConnectionThatWasLostIsReplaced() throws {
        let pair = try Pair()
        #expect(try pair.get("/x").status == 200)
        // It ends under the second request, which may be repeated, and under one that may not.
        #expect(try pair.get("/close-second").status == 200)
        #expect(pair.server.requests("/close-second").map { $0["connection"] as? Int } == [0, 1])
        let post = try pair.get("/close-second", "POST", "Content-Length: 0\r\n\r\n")
        #expect(post.status == 502)
        #expect(pair.server.requests("/close-second").count == 3)
        // A new connection that ends at once is no stale one.
        let fresh = try Pair()
        #expect(try fresh.get("/close-first-connection").status == 502)
        #expect(try fresh.get("/x").status == 200)
    }

    @Test func allWhoLostAConnectionShareTheNext() throws {
        let pair = try Pair()
        #expect(try pair.get("/x").status == 200)
        let clients = try (0..<10).map { _ in try pair.gateway.connect() }
        for client in clients { try client.send("GET /lose?10 HTTP/1.1\r\n\(hostLine)\r\n") }
        for client in clients {
            let reply = try client.readReply()
            #expect(reply.status == 200 && reply.values("x-connection") == ["1"])
        }
    }

    @Test(arguments: [
        "/reset", "/upper", "/connection", "/no-status", "/switch", "/big-head", "/many-interims",
    ])
    func whatIsNoAnswerIsABadGateway(path: String) throws {
        let pair = try Pair()
        // Some interim answers pass before there are too many.
        if path != "/many-interims" { #expect(try pair.get(path).status == 502) }
        #expect(try pair.curl(path).output.contains("HTTP/2 502"))
        // The connection goes on.
        let next = try pair.get("/x")
        #expect(next.values("x-connection") == ["0"])
    }

    @Test(arguments: ["/cut", "/drop", "/short"]) func aCutAnswerIsSeenAsCut(path: String) throws {
        let pair = try Pair()
        let two = try pair.curl(path)
        // A fault that comes in one piece with the head is told.
        #expect(two.status == .code(92) || two.output.contains("HTTP/2 502"), "\(two.error)")
        let client = try pair.gateway.connect()
        try client.send("GET \(path) HTTP/1.1\r\n\(hostLine)\r\n")
        let answer = text((try? client.readToEnd()) ?? [])
        #expect(!answer.contains("\r\n0\r\n\r\n"))
        let line = try pair.gateway.accessLine { $0["path"] as? String == path }
        #expect(line["reason"] as? String == "upstream_reset")
    }

    @Test func aSilentServerIsGivenUp() throws {
        let pair = try Pair()
        // What a connection begins with has been said by then.
        #expect(try pair.get("/x").status == 200)
        #expect(try pair.get("/silent").status == 504)
        #expect(try pair.get("/x").status == 200)
    }

    /// Silence of one answer says nothing of the others: the server is asked before the connection is given up.
    @Test func aLateAnswerEndsNoOther() throws {
        let pair = try Pair()
        // Paused by its own client, so that nothing is due on this one.
        let slow = try pair.gateway.connect()
        try slow.send("GET /big?20000000 HTTP/1.1\r\n\(hostLine)\r\n")
        #expect(try pair.get("/silent").status == 504)
        #expect(try pair.get("/silent").status == 504)
        #expect(try slow.readReply().body.count == 20_000_000)
    }

    /// Not asked again so soon: a silent connection gets no further request, and others are opened.
    @Test func aConnectionThatFellSilentAgainGetsNoMore() throws {
        let pair = try Pair()
        let slow = try pair.gateway.connect()
        try slow.send("GET /big?20000000 HTTP/1.1\r\n\(hostLine)\r\n")
        #expect(try pair.get("/silent").status == 504)
        #expect(try pair.get("/mute").status == 504)
        let reply = try pair.get("/x")
        #expect(reply.status == 200)
        #expect(reply.values("x-connection") == ["1"])
    }

    @Test func aServerThatHasVanishedIsFoundOut() throws {
        let pair = try Pair()
        #expect(try pair.get("/x").status == 200)
        pair.server.process.signal(SIGSTOP)
        try pair.server.process.waitUntilStopped()
        #expect(try pair.get("/x").status == 504)
        pair.server.process.signal(SIGCONT)
        #expect(try pair.get("/x").status == 200)
    }

    /// Accepts and then says nothing, not even what a server begins with: whoever waits for it is told in time, and a call
    /// that may be silent does not keep the connection for those that come after it.
    @Test func aServerThatHangsHoldsNobody() throws {
        let server = try ManualServer()
        let gateway = try Gateway(
            testConf(
                listener: "protocols h2c http/1.1; limits { body_timeout 20s; }",
                """
                upstream app { server 127.0.0.1:\(server.port); protocol h2; response_timeout 1s; }
                route / { upstream app; authenticate none; }
                """))
        let call = try peer("open_call", gateway)
        let upstream = try server.accept()
        try call.waitUntil("the call") { call.standardOutput.contains("sent") }
        for _ in 0..<2 {
            #expect(
                try gateway.request(
                    "POST / HTTP/1.1\r\n\(hostLine)Content-Length: 3\r\nConnection: close\r\n\r\nabc"
                ).status == 504)
        }
        #expect(call.waitForExit(within: .seconds(10)) == .code(0), "\(call.standardError)")
        // gRPC's word for it is in its own field: 14 is UNAVAILABLE.
        #expect(call.standardOutput == "sent\n200 14\n")
        _ = consume upstream
    }

    /// Accepts, takes what comes first and ends the connection unheard: all who wait for it are told so soon, and it is not
    /// dialled once for each of them.
    @Test func aServerThatEndsNewConnectionsIsGivenUp() throws {
        let server = try ManualServer()
        let gateway = try Gateway(
            testConf(
                """
                upstream app { server 127.0.0.1:\(server.port); protocol h2; }
                route /x { upstream app; authenticate none; }
                """))
        let clients = try (0..<20).map { _ in try gateway.connect() }
        for client in clients { try client.send("GET /x HTTP/1.1\r\n\(hostLine)\r\n") }
        // Whoever comes last is answered last: by now they share the first connection.
        #expect(
            try gateway.request("GET /y HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n").status
                == 404)
        var connections = 0
        for client in clients {
            while !client.isReadable(within: .milliseconds(10)) {
                guard server.hasWaiting else { continue }
                let connection = try server.accept()
                connections += 1
                try #require(connections <= 10)
                _ = try? connection.read(through: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            }
            #expect(try client.readReply().status == 502)
        }
    }

    /// Whoever says that it speaks gRPC may be silent only once it is let in and its server has heard of it.
    @Test(arguments: ["/oauth2/token", "/http1"])
    func aContentTypeBuysNoTime(path: String) throws {
        let upstream = try ScriptedUpstream { _ in [.respond(body: "ok")] }
        let gateway = try Gateway(
            testConf(
                listener: "protocols h2c http/1.1; limits { body_timeout 500ms; }",
                store: "store sqlite { path state.db; }",
                """
                authority { issuer http://127.0.0.1; }
                upstream app { server 127.0.0.1:\(upstream.port); }
                route / { upstream app; authenticate none; }
                """))
        let call = try peer("open_call", gateway, path)
        #expect(call.waitForExit(within: .seconds(10)) == .code(0), "\(call.standardError)")
        #expect(call.standardOutput == "sent\n200 14\n")
        let line = try gateway.accessLine { $0["path"] as? String == path }
        #expect(line["reason"] as? String == "timeout")
    }

    private func peer(_ test: String, _ gateway: Gateway, _ more: String...) throws
        -> RunningProcess
    {
        let python = try requirePython(module: "h2", package: "python3-h2")
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("http2_peer.py").path
        return try RunningProcess(python, [script, test, "\(gateway.port)"] + more)
    }

    /// It takes nothing: what waits for it goes with the connection.
    @Test func aServerThatReadsNothingIsGivenUp() throws {
        let server = try ManualServer()
        let gateway = try Gateway(
            testConf(
                listener: "limits { body_timeout 500ms; }",
                """
                upstream app {
                    server 127.0.0.1:\(server.port);
                    protocol h2;
                    response_timeout 1s;
                }
                route / { upstream app; authenticate none; limits { body 200m; } }
                """))
        let client = try gateway.connect()
        try client.send("PUT / HTTP/1.1\r\n\(hostLine)Content-Length: 100000000\r\n\r\n")
        let upstream = try server.accept()
        // An empty SETTINGS, and room for 1 GB on the connection and on the stream; not a byte is read.
        try upstream.send([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x3F, 0xFF, 0xFF, 0xFF])
        try upstream.send([0, 0, 4, 8, 0, 0, 0, 0, 0, 0x3F, 0, 0, 0])
        _ = try? client.sendUntilStuck(
            [UInt8](repeating: 0x78, count: 60_000_000), patience: .milliseconds(200))
        #expect(try client.readReply().status == 504)
        #expect(try eventually { try upstream.isClosedByPeer() })
    }

    @Test func whatIsLeftOfAnAnsweredRequestEndsItsStream() throws {
        let pair = try Pair()
        let body = String(repeating: "x", count: 90_000)
        let reply = try pair.get(
            "/early-stall", "PUT", "Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
        #expect(reply.status == 413)
        try pair.server.process.waitUntil("the reset") {
            pair.server.events.contains { $0["what"] as? String == "reset" }
        }
    }

    /// What has begun to be answered is not asked for again.
    @Test func anInterimAnswerIsGivenOnce() throws {
        let pair = try Pair()
        #expect(try pair.get("/x").status == 200)
        let client = try pair.gateway.connect()
        try client.send("GET /interim-drop HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n")
        let answer = text(try client.readToEnd())
        #expect(answer.components(separatedBy: " 103 ").count == 2, "\(answer)")
        #expect(answer.contains("HTTP/1.1 502"))
        #expect(pair.server.requests("/interim-drop").count == 1)
    }

    @Test func aLargeHeadPasses() throws {
        let pair = try Pair(listener: "limits { request_head 200k; }")
        let fields = (0..<10).map { "X-\($0): \(String(repeating: "y", count: 12_000))\r\n" }
        #expect(try pair.get("/no-content", "GET", fields.joined() + "\r\n").status == 204)
    }

    /// One server fails in the handshake: what it was sent, and it was sent nothing yet, goes to the other.
    @Test(arguments: ["h2", "auto"]) func aBodyGoesToTheServerThatIsThere(version: String) throws {
        let authority = try TestAuthority()
        let files = try authority.issue("server", ["IP:127.0.0.1"])
        let server = try Server("--tls", files.certificate, files.key)
        let broken = try Server()
        let gateway = try Gateway(
            testConf(
                listener: "protocols h2c http/1.1; limits { body_timeout 2s; }",
                """
                upstream app {
                    server 127.0.0.1:\(server.port);
                    server 127.0.0.1:\(broken.port);
                    protocol \(version);
                    tls { ca ca.pem; }
                }
                route / { upstream app; authenticate none; }
                """), in: authority.folder)
        let file = try authority.folder.write("body", String(repeating: "x", count: 20_000))
        for more in [["--http1.1"], ["--http2-prior-knowledge"]] {
            for _ in 0..<4 {
                let result = try run(
                    requireTool("curl", package: "curl"),
                    ["-s", "-S", "-i", "--max-time", "10", "-T", file]
                        + more + ["http://127.0.0.1:\(gateway.port)/x"])
                #expect(result.output.contains(" 200"), "\(result.output) \(result.error)")
            }
        }
        #expect(
            server.requests("/x").map { $0["body"] as? Int } == Array(repeating: 20_000, count: 8))
    }

    @Test func anEarlyAnswerEndsTheRequest() throws {
        let pair = try Pair()
        let folder = try TemporaryDirectory()
        let file = try folder.write("big", String(repeating: "x", count: 4_000_000))
        // curl 7.88 takes the reset behind the answer for a fault.
        let nghttp = try requireTool("nghttp", package: "nghttp2-client")
        let result = try run(
            nghttp, ["-v", "-d", file, "http://127.0.0.1:\(pair.gateway.port)/early"])
        #expect(result.output.contains(":status: 413"), "\(result.error)")
        #expect(result.output.contains("too much"))
        #expect(result.output.contains("error_code=NO_ERROR(0x00)"))
        #expect(try pair.get("/x").status == 200)
    }

    @Test func aClientThatLeavesTakesItsStreamAlong() throws {
        let pair = try Pair(patience: "20s")
        let client = try pair.gateway.connect()
        try client.send("GET /silent HTTP/1.1\r\n\(hostLine)\r\n")
        try pair.server.process.waitUntil("the request") {
            !pair.server.requests("/silent").isEmpty
        }
        client.resetOnClose()
        _ = consume client
        try pair.server.process.waitUntil("the reset") {
            pair.server.events.contains {
                $0["what"] as? String == "reset" && $0["code"] as? Int == 8
            }
        }
    }

    @Test func drainingFinishesWhatIsUnderWay() throws {
        let pair = try Pair()
        let clients = try (0..<2).map { _ in try pair.gateway.connect() }
        try clients[0].send("GET /gather?2 HTTP/1.1\r\n\(hostLine)\r\n")
        try pair.server.process.waitUntil("the request") {
            !pair.server.requests("/gather?2").isEmpty
        }
        try clients[1].send("GET /gather?2 HTTP/1.1\r\n\(hostLine)\r\n")
        pair.gateway.process.signal(SIGTERM)
        for client in clients {
            let reply = try? client.readReply()
            if let reply { #expect(text(reply.body).hasPrefix("2 on")) }
        }
        #expect(pair.gateway.process.waitForExit() == .code(0))
    }

    // MARK: Over TLS

    @Test(arguments: [("h2", "h2"), ("auto", "h2"), ("auto", "http/1.1"), ("http/1.1", "http/1.1")])
    func alpnSettlesTheVersion(conf: String, offered: String) throws {
        let authority = try TestAuthority()
        let files = try authority.issue("one", ["DNS:localhost", "IP:127.0.0.1"])
        let nginx = try Nginx(
            """
            server {
                listen 127.0.0.1:PORT ssl\(offered == "h2" ? " http2" : "");
                ssl_certificate \(files.certificate);
                ssl_certificate_key \(files.key);
                location / { return 200 "$server_protocol $ssl_session_reused $http_x_big"; }
            }
            """, in: authority.folder)
        let gateway = try Gateway(
            testConf(
                """
                upstream app { server 127.0.0.1:\(nginx.port); protocol \(conf); tls { ca ca.pem; } keepalive 0; }
                route / { upstream app; authenticate none; }
                """), in: authority.folder)
        let expected = offered == "h2" ? "HTTP/2.0" : "HTTP/1.1"
        for index in 0..<4 {
            let reply = try gateway.request(
                "GET / HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n")
            let words = text(reply.body).split(separator: " ")
            #expect(words.first.map(String.init) == expected)
            // A second connection takes the session of the first up again.
            if expected == "HTTP/1.1", index > 1 { #expect(words.last == "r") }
        }
    }

    @Test func aServerWithoutHTTP2IsNoneForH2() throws {
        let authority = try TestAuthority()
        let files = try authority.issue("one", ["DNS:localhost", "IP:127.0.0.1"])
        let server = try Server(
            "--tls", files.certificate, files.key, "--alpn", "http/1.1")
        let gateway = try Gateway(
            testConf(
                """
                upstream app { server 127.0.0.1:\(server.port); protocol h2; tls { ca ca.pem; } }
                route / { upstream app; authenticate none; }
                """), in: authority.folder)
        #expect(try gateway.request("GET / HTTP/1.1\r\n\(hostLine)\r\n").status == 502)
        try gateway.process.waitUntil("the line") {
            gateway.process.standardError.contains("TLS to an upstream failed upstream=app")
        }
    }

    @Test func nghttpxIsAnUpstream() throws {
        let nghttpx = try requireTool("nghttpx", package: "nghttp2-proxy")
        let authority = try TestAuthority()
        let files = try authority.issue("one", ["DNS:localhost", "IP:127.0.0.1"])
        let behind = try ScriptedUpstream { request in
            [.respond(body: "\(request.requestLine) \(request.rawBody.count)")]
        }
        let port = try freePort()
        let proxy = try RunningProcess(
            nghttpx,
            [
                "--frontend=127.0.0.1,\(port)", "--backend=127.0.0.1,\(behind.port)", "--workers=1",
                "--errorlog-file=/dev/stderr", files.key, files.certificate,
            ])
        try proxy.waitForPort(port)
        let gateway = try Gateway(
            testConf(
                workers: 2, listener: "protocols h2c http/1.1;",
                """
                upstream app { server localhost:\(port); protocol auto; tls { ca ca.pem; } }
                route / { upstream app; authenticate none; }
                """), in: authority.folder)
        let result = try run(
            requireTool("h2load", package: "nghttp2-client"),
            ["-n", "1000", "-c", "10", "-m", "10", "http://127.0.0.1:\(gateway.port)/"])
        #expect(result.output.contains("1000 succeeded, 0 failed, 0 errored"), "\(result.output)")
        let reply = try gateway.request(
            "POST /a HTTP/1.1\r\n\(hostLine)Content-Length: 5\r\nConnection: close\r\n\r\nabcde")
        #expect(text(reply.body) == "POST /a HTTP/1.1 5")
        _ = consume proxy
    }
}

/// nginx with a `server` block of a test's own. PORT in it is a port that was free a moment ago.
final class Nginx: Sendable {
    let process: RunningProcess
    let port: UInt16
    private let folder: TemporaryDirectory

    init(_ server: String, in folder: TemporaryDirectory) throws {
        port = try freePort()
        self.folder = folder
        let conf = """
            daemon off; pid nginx.pid; error_log stderr; worker_processes 1;
            events { }
            http {
                access_log off; client_body_temp_path body; proxy_temp_path proxy;
                fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
                \(server.replacing("PORT", with: "\(port)"))
            }
            """
        let path = try folder.write("nginx.conf", conf)
        process = try RunningProcess(
            requireTool("nginx", package: "nginx"), ["-p", folder.path, "-c", path])
        try process.waitForPort(port)
    }
}
