import Foundation
import TestSupport
import Testing

/// Every limit of `limits`, at its value and crossed by one, against the running program.
@Suite(.serialized)
struct LimitTests {
    let upstream: ScriptedUpstream

    init() throws {
        upstream = try ScriptedUpstream()
    }

    func gateway(_ limits: String, route: String = "") throws -> Gateway {
        try Gateway(
            testConf(
                listener: "limits { \(limits) }",
                """
                upstream app { server 127.0.0.1:\(upstream.port); }
                route / { upstream app; authenticate none; \(route) }
                """))
    }

    /// The answer is a problem document that names the reason, the log has it too, and the connection ends.
    static func expectRefusal(
        _ request: String, status: Int, reason: String, from gateway: Gateway
    ) throws {
        let client = try gateway.connect()
        try client.send(request)
        let reply = try client.readReply()
        #expect(reply.status == status)
        #expect(reply.values("content-type") == ["application/problem+json"])
        let problem = try reply.json()
        #expect(problem["type"] as? String == "urn:gatehouse:reason:\(reason)")
        #expect(problem["status"] as? Int == status)
        let id = try #require(problem["request_id"] as? String)
        #expect(reply.values("x-request-id") == [id])
        #expect(reply.values("connection") == ["close"])
        #expect(try client.isClosedByPeer())
        let line = try gateway.accessLine { $0["request_id"] as? String == id }
        #expect(line["status"] as? Int == status)
        #expect(line["reason"] as? String == reason)
    }

    // MARK: Sizes

    @Test func requestLine() throws {
        let gateway = try gateway("request_line 200;")
        func request(_ count: Int) -> String {
            "GET /" + String(repeating: "a", count: count - 14) + " HTTP/1.1\r\nHost: h\r\n\r\n"
        }
        #expect(try gateway.request(request(200)).status == 200)
        try Self.expectRefusal(request(201), status: 414, reason: "uri_too_long", from: gateway)
        #expect(upstream.requests.count == 1)
    }

    @Test func requestHead() throws {
        let gateway = try gateway("request_head 1k; request_line 500;")
        func request(_ count: Int) -> String {
            let start = "GET / HTTP/1.1\r\nHost: h\r\nX-Filler: "
            return start + String(repeating: "x", count: count - start.utf8.count - 4)
                + "\r\n\r\n"
        }
        #expect(try gateway.request(request(1024)).status == 200)
        try Self.expectRefusal(request(1025), status: 431, reason: "head_too_large", from: gateway)
        #expect(upstream.requests.count == 1)
    }

    @Test func headers() throws {
        let gateway = try gateway("headers 5;")
        func request(_ count: Int) -> String {
            "GET / HTTP/1.1\r\nHost: h\r\n" + String(repeating: "X: y\r\n", count: count - 1)
                + "\r\n"
        }
        #expect(try gateway.request(request(5)).status == 200)
        try Self.expectRefusal(request(6), status: 431, reason: "head_too_large", from: gateway)
        #expect(upstream.requests.count == 1)
    }

    static func post(_ count: Int, to path: String = "/") -> String {
        "POST \(path) HTTP/1.1\r\nHost: h\r\nContent-Length: \(count)\r\nConnection: close\r\n\r\n"
            + String(repeating: "b", count: count)
    }

    static func chunked(_ count: Int) -> String {
        let half = count / 2
        let first = String(half, radix: 16) + "\r\n" + String(repeating: "c", count: half)
        let rest = count - half
        let second = String(rest, radix: 16) + "\r\n" + String(repeating: "c", count: rest)
        return "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close"
            + "\r\n\r\n\(first)\r\n\(second)\r\n0\r\n\r\n"
    }

    @Test func bodyOfAKnownLength() throws {
        let gateway = try gateway("body 1000;")
        #expect(try gateway.request(Self.post(1000)).status == 200)
        try Self.expectRefusal(
            Self.post(1001), status: 413, reason: "body_too_large", from: gateway)
        #expect(upstream.requests.count == 1)
        #expect(upstream.connections == 1)
    }

    @Test func bodyInChunks() throws {
        let gateway = try gateway("body 1000;")
        #expect(try gateway.request(Self.chunked(1000)).status == 200)
        try Self.expectRefusal(
            Self.chunked(1001), status: 413, reason: "body_too_large", from: gateway)
        // It may have seen the beginning, but never a whole request.
        #expect(upstream.requests.count == 1)
    }

    /// Whoever forgot where the next chunk begins would take content for a request, which a proxy in front never saw as one
    /// (request smuggling).
    @Test func aRefusedBodyIsFramedToItsEnd() throws {
        let gateway = try gateway("body 10;")
        // The one that crosses the limit ends within what comes at once, and the next begins.
        let first = "14\r\n" + String(repeating: "c", count: 20) + "\r\n"
        let hidden = "\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
        for isAtOnce in [false, true] {
            let client = try gateway.connect()
            try client.send(
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + first
                    + String(hidden.utf8.count, radix: 16) + "\r\n" + (isAtOnce ? hidden : ""))
            let refusal = try client.readReply()
            #expect(refusal.status == 413 && refusal.values("connection").isEmpty)
            try client.send(
                (isAtOnce ? "" : hidden) + "\r\n0\r\n\r\n"
                    + "GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            #expect(try client.readReply().status == 200)
            #expect(try client.isClosedByPeer())
        }
        #expect(!upstream.requests.contains { $0.head.hasPrefix("GET /hidden ") })
        #expect(upstream.requests.count { $0.head.hasPrefix("GET /next ") } == 2)
    }

    @Test func aRouteMayHaveItsOwnBodyLimit() throws {
        let gateway = try gateway("body 1000;", route: "limits { body 2000; }")
        #expect(try gateway.request(Self.post(2000)).status == 200)
        try Self.expectRefusal(
            Self.post(2001), status: 413, reason: "body_too_large", from: gateway)
        #expect(upstream.requests.count == 1)
    }

    // MARK: Times

    /// Sends piece after piece, waiting up to `pause` for an answer after each, until one comes.
    ///
    /// - Returns: how many pieces went out.
    static func trickle(
        _ pieces: Int, pause: Duration, to gateway: Gateway, start: String,
        piece: (Int) -> String
    ) throws -> (client: TCPClient, sent: Int) {
        let client = try TCPClient(port: gateway.port, timeout: pause)
        try client.send(start)
        for index in 0..<pieces {
            // Takes nothing: it waits until the pause is over or something came.
            _ = try? client.read(1 << 20)
            if !client.received.isEmpty || client.isAtEnd { return (client, index) }
            do { try client.send(piece(index)) } catch { return (client, index) }
        }
        return (client, pieces)
    }

    @Test func aHeadThatStops() throws {
        let gateway = try gateway("header_timeout 300ms;")
        let start = ContinuousClock.now
        try Self.expectRefusal(
            "GET / HTTP/1.1\r\nHost:", status: 408, reason: "timeout", from: gateway)
        #expect(ContinuousClock.now - start >= .milliseconds(300))
    }

    /// Slowloris: a field every 50 ms for ever. What counts is the first byte, not the last.
    @Test func aHeadThatTrickles() throws {
        let gateway = try gateway("header_timeout 400ms;")
        let (client, sent) = try Self.trickle(
            100, pause: .milliseconds(50), to: gateway, start: "GET / HTTP/1.1\r\nHost: h\r\n"
        ) { "X-\($0): y\r\n" }
        #expect(sent < 100)
        #expect(try client.readReply().status == 408)
        #expect(upstream.connections == 0)
    }

    @Test func theSecondHeadOfAConnectionHasItsOwnTime() throws {
        let gateway = try gateway("header_timeout 300ms; idle_timeout 20s;")
        let client = try gateway.connect()
        try client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(try client.readReply().status == 200)
        try client.send("GET / HTTP/1.1\r\n")
        #expect(try client.readReply().status == 408)
        #expect(try client.isClosedByPeer())
    }

    /// To one that never said anything nothing is said.
    @Test func aConnectionThatNeverSpeaksIsClosedInSilence() throws {
        let gateway = try gateway("header_timeout 300ms;")
        #expect(try gateway.connect().isClosedByPeer())
    }

    @Test func aBodyThatStops() throws {
        let gateway = try gateway("body_timeout 300ms;")
        try Self.expectRefusal(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345", status: 408,
            reason: "timeout", from: gateway)
        #expect(upstream.requests.isEmpty)
    }

    /// A byte every 50 ms would hold a connection here and one upstream for ever.
    @Test func aBodyThatTrickles() throws {
        let gateway = try gateway("body_timeout 400ms;")
        let (client, sent) = try Self.trickle(
            100, pause: .milliseconds(50), to: gateway,
            start: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n"
        ) { _ in "b" }
        #expect(sent < 100)
        #expect(try client.readReply().status == 408)
        #expect(upstream.requests.isEmpty)
    }

    /// Three times as long as `body_timeout` in all, but it goes on.
    @Test func aBodyThatGoesOnIsPatientlyTaken() throws {
        let gateway = try gateway("body_timeout 500ms;")
        let (client, sent) = try Self.trickle(
            15, pause: .milliseconds(100), to: gateway,
            start: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 30000\r\n\r\n"
        ) { _ in String(repeating: "b", count: 2000) }
        #expect(sent == 15)
        #expect(upstream.waitForRequests(1).first?.rawBody.count == 30_000)
        _ = try? client.read(1 << 20)
        #expect(try client.readReply().status == 200)
    }

    @Test func anIdleConnectionIsClosed() throws {
        let gateway = try gateway("idle_timeout 300ms;")
        let client = try gateway.connect()
        try client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(try client.readReply().status == 200)
        let start = ContinuousClock.now
        #expect(try client.isClosedByPeer())
        #expect(ContinuousClock.now - start >= .milliseconds(250))
    }

    /// The answer does not fit into the sockets' buffers, and nobody reads it.
    @Test func aClientThatDoesNotReadIsCutOff() throws {
        let size = 32 << 20
        let upstream = try ScriptedUpstream { _ in
            [
                .send("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n"),
                .send([UInt8](repeating: 0x61, count: size)),
            ]
        }
        let gateway = try Gateway(
            testConf(
                listener: "limits { body_timeout 500ms; }",
                """
                upstream app { server 127.0.0.1:\(upstream.port); }
                route / { upstream app; authenticate none; }
                """))
        let client = try gateway.connect()
        try client.send("GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
        let line = try gateway.accessLine { $0["path"] as? String == "/big" }
        #expect(line["reason"] as? String == "client_closed")
        // It sees that the answer was cut.
        #expect(throws: (any Error).self) { try client.readReply() }
    }

    // MARK: Numbers

    @Test func connections() throws {
        let gateway = try gateway("connections 2;")
        func isServed(_ client: TCPClient) throws -> Int {
            try client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            return try client.readReply().status
        }
        let first = try gateway.connect()
        #expect(try isServed(first) == 200)
        do {
            let second = try gateway.connect()
            #expect(try isServed(second) == 200)
            let third = try gateway.connect()
            let reply = try third.readReply()
            #expect(reply.status == 503)
            #expect(reply.values("connection") == ["close"])
            #expect(
                try reply.json()["type"] as? String == "urn:gatehouse:reason:too_many_connections")
            #expect(try third.isClosedByPeer())
            let line = try gateway.accessLine { $0["status"] as? Int == 503 }
            #expect(line["reason"] as? String == "too_many_connections")
            #expect(line["client_address"] as? String == "127.0.0.1")
            // Those who are in are not touched.
            #expect(try isServed(first) == 200)
        }
        // The second has gone: there is a place again.
        let isPlaceFree = try eventually {
            let client = try gateway.connect()
            try? client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            return try client.readReply().status == 200
        }
        #expect(isPlaceFree)
    }

    /// Processor time of the process so far.
    static func processorTime(_ pid: pid_t) throws -> Duration {
        let text = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
        let fields = try #require(text.components(separatedBy: ") ").last).split(separator: " ")
        let ticks = try #require(Int(fields[11])) + #require(Int(fields[12]))
        return .milliseconds(ticks * 1000 / sysconf(Int32(_SC_CLK_TCK)))
    }

    /// More connections than descriptors: the loop must not spin on an accept that fails, and goes on when some leave.
    @Test func noDescriptorLeft() throws {
        let prlimit = try requireTool("prlimit", package: "util-linux")
        let gateway = try Gateway(
            testConf("upstream app { server 127.0.0.1:1; } route /app { upstream app; }"),
            through: [prlimit, "--nofile=40:40"])
        func warnings() -> Int {
            gateway.process.standardError.components(separatedBy: "no descriptor left").count - 1
        }
        var clients = try (0..<60).map { _ in try gateway.connect() }
        try gateway.process.waitUntil("the first warning") { warnings() > 0 }
        let start = ContinuousClock.now
        let before = try Self.processorTime(gateway.process.pid)
        let first = warnings()
        try gateway.process.waitUntil("five more tries") { warnings() >= first + 5 }
        let used = try Self.processorTime(gateway.process.pid) - before
        #expect(used * 4 < ContinuousClock.now - start, "\(used) of processor time")
        // One that is in is served.
        try clients[0].send("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(try clients[0].readReply().status == 404)
        clients.removeFirst(50)
        // Those who waited have their turn now.
        for client in clients {
            try client.send("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(try client.readReply().status == 404)
        }
    }
}
