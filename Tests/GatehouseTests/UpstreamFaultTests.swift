import Foundation
import TestSupport
import Testing

/// What a client is told, and the log says, when the upstream fails; and that no fault reaches the next client.
struct UpstreamFaultTests {
    /// How a server spoils its answer to one request.
    struct Fault: Sendable, CustomTestStringConvertible {
        let name: String
        let steps: [UpstreamStep]
        let status: Int
        let reason: String
        var testDescription: String { name }

        init(_ name: String, _ steps: [UpstreamStep], _ status: Int, _ reason: String) {
            self.name = name
            self.steps = steps
            self.status = status
            self.reason = reason
        }

        /// An answer that is no HTTP.
        init(_ name: String, bad answer: String) {
            self.init(name, [.send(answer), .hold], 502, "upstream_bad_response")
        }
    }

    static let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    static let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    static let faults: [Fault] = [
        Fault("silent", [.hold], 504, "upstream_timeout"),
        Fault("ends before the head", [.close], 502, "upstream_reset"),
        Fault("resets before the head", [.reset], 502, "upstream_reset"),
        Fault(
            "ends in the head", [.send("HTTP/1.1 200 OK\r\nX: "), .close], 502, "upstream_reset"),
        Fault("resets in the head", [.send("HTTP/1.1 2"), .reset], 502, "upstream_reset"),
        Fault(
            "stops in the head", [.send("HTTP/1.1 200 OK\r\nX: "), .hold], 504, "upstream_timeout"),
        Fault(
            "ends after an interim answer", [.send("HTTP/1.1 100 Continue\r\n\r\n"), .close], 502,
            "upstream_reset"),
        Fault("no HTTP", bad: "220 mail.example ESMTP\r\n\r\n"),
        Fault("a higher version", bad: "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        Fault("a status of four digits", bad: "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
        Fault("a status below 100", bad: "HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n"),
        Fault("a lone line feed", bad: "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        Fault("NUL in the head", bad: "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
        Fault("a lone CR in a value", bad: "HTTP/1.1 200 OK\r\nX: a\rY: b\r\n\r\n"),
        Fault("a space before the colon", bad: "HTTP/1.1 200 OK\r\nX : a\r\n\r\n"),
        Fault(
            "both framings",
            bad: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "0\r\n\r\n"),
        Fault(
            "two lengths",
            bad: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
        Fault("a length with a sign", bad: "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
        Fault(
            "a coding that is not chunked",
            bad: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
        Fault("a bad first chunk", bad: chunked + "zz\r\nabc\r\n0\r\n\r\n"),
        Fault("chunk data too long", bad: chunked + "2\r\nabc\r\n0\r\n\r\n"),
        Fault(
            "a switch that nobody asked for",
            bad: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
        Fault(
            "interim answers without end",
            bad: String(repeating: "HTTP/1.1 102 Processing\r\n\r\n", count: 50)),
        Fault(
            "a huge field",
            bad: "HTTP/1.1 200 OK\r\nX: " + String(repeating: "a", count: 70_000) + "\r\n\r\n"),
        Fault(
            "a thousand fields",
            bad: "HTTP/1.1 200 OK\r\n" + String(repeating: "X: 1\r\n", count: 1000) + "\r\n"),
    ]

    static func gateway(port: UInt16, upstream: String = "") throws -> Gateway {
        try Gateway(
            testConf(
                """
                upstream app { server 127.0.0.1:\(port); response_timeout 500ms; \(upstream) }
                route / { upstream app; authenticate none; }
                """))
    }

    /// Checks the problem that the client sees, and the line of the log.
    static func check(
        _ reply: HTTPReply, _ status: Int, _ reason: String, on gateway: Gateway
    ) throws {
        #expect(reply.status == status)
        #expect(reply.values("content-type") == ["application/problem+json"])
        let problem = try reply.json()
        #expect(problem["type"] as? String == "urn:gatehouse:reason:\(reason)")
        #expect(problem["status"] as? Int == status)
        let id = try #require(problem["request_id"] as? String)
        let line = try gateway.accessLine { $0["request_id"] as? String == id }
        #expect(line["reason"] as? String == reason)
        #expect(line["status"] as? Int == status)
    }

    @Test(arguments: faults)
    func aFaultIsAnsweredWithItsReason(_ fault: Fault) throws {
        let upstream = try ScriptedUpstream { request in
            request.requestLine.contains("/bad") ? fault.steps : [.send(Self.whole)]
        }
        let gateway = try Self.gateway(port: upstream.port)
        // A connection that has served before is replaced for a GET that it broke without an answer, but
        // only once; everything else is told at once.
        let isReplaced = fault.reason == "upstream_reset" && fault.name.contains("before the head")
        let client = try gateway.connect()
        for method in ["GET", "POST"] {
            try client.send("GET /good HTTP/1.1\r\n\(hostLine)\r\n")
            #expect(try client.readReply().text == "ok")
            let before = upstream.requests.count
            try client.send("\(method) /bad HTTP/1.1\r\n\(hostLine)\r\n")
            var reply = try client.readReply()
            var interims = 0
            while reply.status < 200 {
                interims += 1
                reply = try client.readReply()
            }
            #expect(interims <= 16)
            try Self.check(reply, fault.status, fault.reason, on: gateway)
            let attempts = upstream.requests.count - before
            #expect(attempts == (isReplaced && method == "GET" ? 2 : 1))
        }
        // Neither the client's connection nor the gateway is harmed; the upstream's was not used again.
        try client.send("GET /good HTTP/1.1\r\n\(hostLine)\r\n")
        #expect(try client.readReply().text == "ok")
        let last = try #require(upstream.requests.last)
        #expect(last.index == 0)
    }

    @Test func aRefusedConnectionIs502() throws {
        let gateway = try Self.gateway(port: try freePort())
        let reply = try gateway.request("POST / HTTP/1.1\r\n\(hostLine)Content-Length: 0\r\n\r\n")
        try Self.check(reply, 502, "upstream_connect", on: gateway)
    }

    /// All at once, so that the turn, which is one for all requests, comes to the two that are down for many of the second
    /// attempts: each is made elsewhere, and the third must be the one that is left.
    @Test func aFurtherAttemptIsMadeWhereNoneWasMade() throws {
        let upstream = try ScriptedUpstream { _ in [.respond(body: "ok")] }
        let (one, two) = (try freePort(), try freePort())
        let gateway = try Gateway(
            testConf(
                """
                upstream app {
                    server 127.0.0.1:\(one); server 127.0.0.1:\(two); server 127.0.0.1:\(upstream.port);
                    retries 2;
                }
                route / { upstream app; authenticate none; }
                """))
        let clients = try (0..<90).map { _ in try gateway.connect() }
        gateway.process.signal(SIGSTOP)
        try gateway.waitUntilStopped()
        for client in clients { try client.send("GET / HTTP/1.1\r\n\(hostLine)\r\n") }
        gateway.process.signal(SIGCONT)
        for client in clients { #expect(try client.readReply().status == 200) }
    }

    @Test func aConnectionThatNeverComesAboutIs504() throws {
        // The kernel answers for nobody any more once a connection waits in a queue of none.
        let server = try ManualServer(backlog: 0)
        let waiting = try TCPClient(port: server.port)
        let gateway = try Self.gateway(
            port: server.port, upstream: "connect_timeout 300ms; retries 0;")
        let reply = try gateway.request("GET / HTTP/1.1\r\n\(hostLine)\r\n")
        try Self.check(reply, 504, "upstream_timeout", on: gateway)
        #expect(!waiting.isAtEnd)
    }

    @Test func anUpstreamWithoutAnAddressIs503() throws {
        let gateway = try Gateway(
            testConf(
                """
                upstream app { server no-such-host.invalid:80; }
                route / { upstream app; authenticate none; }
                """))
        let reply = try gateway.request("GET / HTTP/1.1\r\n\(hostLine)\r\n")
        try Self.check(reply, 503, "no_healthy_upstream", on: gateway)
    }

    @Test func aRouteTakesNoLongerThanItsTimeout() throws {
        let upstream = try ScriptedUpstream { _ in [.hold] }
        let gateway = try Gateway(
            testConf(
                """
                upstream app { server 127.0.0.1:\(upstream.port); }
                route / { upstream app; authenticate none; timeout 300ms; }
                """))
        let reply = try gateway.request("GET / HTTP/1.1\r\n\(hostLine)\r\n")
        try Self.check(reply, 504, "upstream_timeout", on: gateway)
        #expect(eventually(within: .seconds(1)) { upstream.openConnections == 0 })
    }

    // MARK: Once the answer has begun

    @Test(arguments: [
        ("a body by length that ends early", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", ""),
        ("chunks that end early", chunked + "3\r\nabc\r\n", ""),
        ("a bad chunk after a good one", chunked + "3\r\nabc\r\n", "zz\r\nabc\r\n0\r\n\r\n"),
        ("a bad trailer", chunked + "3\r\nabc\r\n", "0\r\nX Y: a\r\n\r\n"),
    ])
    func aBrokenAnswerIsCut(name: String, first: String, then: String) throws {
        let pair = try ManualPair()
        let client = try pair.gateway.connect()
        try client.send("GET / HTTP/1.1\r\n\(hostLine)\r\n")
        do {
            let server = try pair.server.accept()
            _ = try server.read(through: "\r\n\r\n")
            try server.send(first)
            // The client has the beginning, so that no error of ours can be told any more.
            _ = try client.read(through: "\r\n\r\n")
            _ = try client.read(through: "abc")
            try server.send(then)
        }
        let rest = text(try client.readToEnd())
        #expect(rest.isEmpty || rest == "\r\n")
        let line = try pair.gateway.accessLine { $0["reason"] != nil }
        #expect(line["status"] as? Int == 200)
        #expect((line["reason"] as? String)?.hasPrefix("upstream_") == true)
    }

    @Test func anAnswerThatStopsIsCut() throws {
        let pair = try ManualPair(upstream: "response_timeout 300ms;")
        let client = try pair.gateway.connect()
        try client.send("GET / HTTP/1.1\r\n\(hostLine)\r\n")
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        try server.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        _ = try client.read(through: "abc")
        #expect(try client.readToEnd().isEmpty)
        let line = try pair.gateway.accessLine { _ in true }
        #expect(line["reason"] as? String == "upstream_timeout")
    }

    @Test(arguments: ["HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", "x"])
    func extraBytesReachNobody(extra: String) throws {
        let pair = try ManualPair()
        let client = try pair.gateway.connect()
        // With the answer, and once it is over and the connection rests.
        for isLate in [false, true] {
            try client.send("GET /first HTTP/1.1\r\n\(hostLine)\r\n")
            let server = try pair.server.accept()
            _ = try server.read(through: "\r\n\r\n")
            try server.send(isLate ? Self.whole : Self.whole + extra)
            #expect(try client.readReply().text == "ok")
            if isLate { try server.send(extra) }
            #expect(try server.isClosedByPeer())
            try client.send("GET /second HTTP/1.1\r\n\(hostLine)\r\n")
            let fresh = try pair.server.accept()
            _ = try fresh.read(through: "\r\n\r\n")
            try fresh.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nown")
            #expect(try client.readReply().text == "own")
        }
    }
}
