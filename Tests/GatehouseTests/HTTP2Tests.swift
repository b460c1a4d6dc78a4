import Foundation
import TestSupport
import Testing

/// HTTP/2 in clear by prior knowledge, to an HTTP/1.1 upstream.
struct HTTP2Tests {
    private static func peer(
        _ test: String, _ gateway: Gateway, _ more: [String] = []
    ) throws -> RunningProcess {
        let python = try requirePython(module: "h2", package: "python3-h2")
        _ = try requirePython(module: "wsproto", package: "python3-wsproto")
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("http2_peer.py").path
        return try RunningProcess(python, [script, test, "\(try gateway.port)"] + more)
    }

    /// What a case of the script prints, from its start to its end.
    private static func result(_ test: String, _ gateway: Gateway) throws -> String {
        try withExtendedLifetime(gateway) { try result(peer(test, gateway)) }
    }

    /// What a case of the script printed.
    private static func result(_ peer: RunningProcess) throws -> String {
        let status = peer.waitForExit(within: .seconds(20))
        #expect(status == .code(0), "\(peer.standardError)")
        return peer.standardOutput
    }

    private static func gateway(
        port: UInt16, listener: String = "protocols h2c http/1.1;", rest: String = ""
    ) throws -> Gateway {
        try Gateway(
            testConf(
                listener: listener,
                """
                upstream app { server 127.0.0.1:\(port); }
                route / { upstream app; authenticate none; websocket on; }
                route /other { upstream app; authenticate none; }
                route /closed { upstream app; }
                \(rest)
                """))
    }

    private struct Pair {
        let server: ManualServer
        let gateway: Gateway

        init(_ listener: String = "protocols h2c http/1.1;") throws {
            server = try ManualServer()
            gateway = try HTTP2Tests.gateway(port: server.port, listener: listener)
        }
    }

    // MARK: Real clients

    @Test(arguments: ["protocols h2c http/1.1;", "protocols h2c;"])
    func curlGetsAndPuts(listener: String) throws {
        let curl = try requireTool("curl", package: "curl")
        let upstream = try ScriptedUpstream { request in
            [.respond(fields: ["X-Seen: \(request.rawBody.count)"], body: request.requestLine)]
        }
        let gateway = try Self.gateway(port: upstream.port, listener: listener)
        let folder = try TemporaryDirectory()
        let file = try folder.write("body", String(repeating: "x", count: 3_000_000))
        let url = "http://127.0.0.1:\(try gateway.port)/a?b=c"
        let common = ["-s", "-i", "--http2-prior-knowledge", "--max-time", "20"]
        let get = try run(curl, common + [url])
        #expect(get.output.hasPrefix("HTTP/2 200 \r\n"))
        #expect(get.output.hasSuffix("\r\n\r\nGET /a?b=c HTTP/1.1"))
        for more in [[], ["-H", "Transfer-Encoding: chunked"]] {
            let put = try run(curl, common + more + ["-T", file, url])
            #expect(put.output.contains("HTTP/2 200"))
            #expect(put.output.hasSuffix("PUT /a?b=c HTTP/1.1"))
        }
        #expect(upstream.requests[1].values("content-length") == ["3000000"])
        #expect(upstream.requests[1].rawBody.count == 3_000_000)
        let line = try gateway.accessLine { $0["protocol"] as? String == "HTTP/2.0" }
        #expect(line["status"] as? Int == 200)
    }

    @Test func bothVersionsShareAListener() throws {
        let upstream = try ScriptedUpstream { _ in [.respond(body: "ok")] }
        let gateway = try Self.gateway(port: upstream.port)
        // The preface's first bytes, slowly, and then something else: it was HTTP/1.1.
        let client = try gateway.connect()
        try client.send("P")
        try client.send("UT / HTTP/1.1\r\n\(hostLine)Content-Length: 0\r\n\r\n")
        #expect(try client.readReply().status == 200)
        let wrong = try gateway.connect()
        try wrong.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
        #expect(try wrong.readReply().status == 505)
        // Where HTTP/1.1 is not named, it is not spoken.
        let only = try Self.gateway(port: upstream.port, listener: "protocols h2c;")
        let old = try only.connect()
        try old.send("GET / HTTP/1.1\r\n\(hostLine)\r\n")
        #expect(!text(try old.readToEnd()).contains("HTTP/1"))
        // Where HTTP/2 is not named, its preface is no request.
        let plain = try Self.gateway(port: upstream.port, listener: "")
        #expect(try plain.request("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status == 505)
    }

    @Test func manyStreamsOfManyClients() throws {
        let h2load = try requireTool("h2load", package: "nghttp2-client")
        let upstream = try ScriptedUpstream { _ in
            [.respond(body: String(repeating: "y", count: 20_000))]
        }
        let gateway = try Self.gateway(port: upstream.port)
        let result = try run(
            h2load,
            ["-n", "2000", "-c", "8", "-m", "20", "http://127.0.0.1:\(try gateway.port)/"])
        #expect(result.output.contains("2000 succeeded, 0 failed, 0 errored"), "\(result.output)")
    }

    /// An answer that comes just when the exchange's time is over is passed on whole, or is a 504: never one that is cut.
    @Test func anAnswerAtTheTimeLimitIsWholeOrNone() throws {
        let h2load = try requireTool("h2load", package: "nghttp2-client")
        // The server's own time: from a little before the limit to a little after it.
        let upstream = try ScriptedUpstream { request in
            Thread.sleep(forTimeInterval: 0.190 + Double(request.connection * 7 % 40) / 1000)
            return [.respond(body: "hello")]
        }
        let gateway = try Self.gateway(
            port: upstream.port,
            rest: "route /limited { upstream app; authenticate none; timeout 210ms; }")
        let result = try run(
            h2load,
            ["-n", "2000", "-c", "8", "-m", "10", "http://127.0.0.1:\(try gateway.port)/limited"])
        #expect(result.output.contains("0 errored, 0 timeout"), "\(result.output)")
    }

    // MARK: Translation

    @Test func cookiesAreJoined() throws {
        let upstream = try ScriptedUpstream { _ in [.respond()] }
        let gateway = try Self.gateway(port: upstream.port)
        #expect(try Self.result("cookies", gateway) == "200\n")
        #expect(upstream.requests[0].values("cookie") == ["a=1; b=2; c=3"])
        #expect(upstream.requests[0].values("host") == ["h.example"])
        #expect(upstream.requests[0].requestLine == "GET / HTTP/1.1")
        #expect(upstream.requests[0].values("via") == ["2 gatehouse"])
    }

    @Test func aPageIsNoTunnel() throws {
        let pair = try Pair()
        let peer = try Self.peer("no_tunnel", pair.gateway)
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        try server.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage")
        #expect(try Self.result(peer) == "502\n")
    }

    @Test func aFaultThatComesWithTheHeadIsTold() throws {
        let pair = try Pair()
        let peer = try Self.peer("broken_answer", pair.gateway)
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        try server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n")
        #expect(try Self.result(peer) == "502\n")
    }

    @Test func aFirstFlightOfTooManyIsServedAsFarAsItMay() throws {
        let pair = try Pair()
        #expect(try Self.result("first_flight", pair.gateway) == "128 272\n")
    }

    @Test func theEndIsSaidToWhoDoesNotListenToo() throws {
        let pair = try Pair()
        let peer = try Self.peer("deaf_to_goaway", pair.gateway)
        try peer.waitUntil("the request") { peer.standardOutput == "open\n" }
        _ = try pair.server.accept()
        pair.gateway.process.signal(SIGTERM)
        #expect(try Self.result(peer) == "open\nlast 1\n")
    }

    @Test func interimAnswersAndTrailersArePassedOn() throws {
        let pair = try Pair()
        let peer = try Self.peer("trailers", pair.gateway)
        let server = try pair.server.accept()
        #expect(!text(try server.read(through: "\r\n\r\n")).lowercased().contains("\r\nte:"))
        try server.send(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                + "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
                + "\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Auth-Client: forged\r\n\r\n")
        #expect(try Self.result(peer) == "103 200 x-sum\n")
    }

    @Test func expectationIsAnswered() throws {
        let upstream = try ScriptedUpstream { _ in [.respond()] }
        let gateway = try Self.gateway(port: upstream.port)
        #expect(try Self.result("expect", gateway) == "100 200\n")
        #expect(upstream.requests[0].rawBody == Array("abc".utf8))
        #expect(upstream.requests[0].values("expect") == [])
    }

    @Test func aCutAnswerIsAResetAndItsConnectionGoesOn() throws {
        let pair = try Pair()
        let peer = try Self.peer("truncated", pair.gateway)
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        try server.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        server.shutdownWriting()
        let next = try pair.server.accept()
        _ = try next.read(through: "\r\n\r\n")
        try next.send("HTTP/1.1 204 No Content\r\n\r\n")
        #expect(try Self.result(peer) == "200 reset 2 then 204\n")
    }

    @Test func noTunnelIsOpened() throws {
        let pair = try Pair()
        #expect(try Self.result("plain_connect", pair.gateway) == "501\n")
        // The stream that was opened for a tunnel does not stay open: the connection can come to rest.
        #expect(try Self.result("refused_websocket", pair.gateway) == "501 reset 0\n")
        #expect(!pair.server.hasWaiting)
    }

    @Test func webSocketByExtendedConnect() throws {
        let echo = try EchoServer()
        let gateway = try Self.gateway(port: echo.port)
        #expect(try Self.result("websocket", gateway) == "200 [0, 5, 70000, 1000000]\n")
    }

    @Test func webSocketByExtendedConnectOverTLS() throws {
        let authority = try TestAuthority()
        try authority.issue("one", ["DNS:localhost"])
        let echo = try EchoServer()
        let gateway = try Gateway(
            testConf(
                listener: "tls { certificate one.crt; key one.key; }",
                """
                upstream app { server 127.0.0.1:\(echo.port); }
                route / { upstream app; authenticate none; websocket on; }
                """), in: authority.folder)
        let peer = try Self.peer("websocket", gateway, ["--ca", authority.certificate])
        #expect(try Self.result(peer) == "200 [0, 5, 70000, 1000000]\n")
    }

    @Test func aTunnelOnAStreamHasItsEnds() throws {
        let pair = try Pair("protocols h2c; limits { idle_timeout 400ms; body_timeout 100ms; }")
        let peer = try Self.peer("tunnel", pair.gateway)
        let server = try pair.server.accept()
        let head = text(try server.read(through: "\r\n\r\n")).lowercased()
        // The gateway asks with a key of its own, and with no other.
        let key = try #require(
            head.components(separatedBy: "sec-websocket-key: ").dropFirst().first?
                .components(separatedBy: "\r\n").first)
        #expect(head.components(separatedBy: "sec-websocket-key:").count == 2)
        #expect(key.count == 24 && !head.contains("mine"))
        try server.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                + "Sec-WebSocket-Accept: wrong\r\n\r\n")
        #expect(try Self.result(peer) == "502\n")

        // A server that answers to the key: the client's end reaches it, and silence ends what is left.
        let echo = try EchoServer()
        let gateway = try Self.gateway(
            port: echo.port,
            listener: "protocols h2c; limits { idle_timeout 400ms; body_timeout 100ms; }")
        #expect(try Self.result("silent_tunnel", gateway) == "200 reset 2\n")
        let line = try gateway.accessLine { $0["status"] as? Int == 101 }
        #expect(line["reason"] as? String == "timeout")
        #expect((line["duration_ms"] as? Double ?? 0) >= 400)
        let ending = try Self.gateway(port: echo.port)
        #expect(try Self.result("ended_tunnel", ending) == "200 ended\n")
    }

    @Test func gRPCIsRefusedByItsStatus() throws {
        let pair = try Pair()
        #expect(
            try Self.result("grpc", pair.gateway)
                == "200 application/grpc 16 no_credentials: The request carries no credentials.\n")
        #expect(!pair.server.hasWaiting)
        let line = try pair.gateway.accessLine { $0["path"] as? String == "/closed" }
        #expect(line["status"] as? Int == 401)
    }

    // MARK: Flow control and the end

    @Test func aShutWindowHoldsUpItsUpstreamAlone() throws {
        let pair = try Pair()
        let peer = try Self.peer("window", pair.gateway)
        let before = try pair.gateway.memory("VmRSS")
        let big = try pair.server.accept()
        _ = try big.read(through: "\r\n\r\n")
        try big.send("HTTP/1.1 200 OK\r\nContent-Length: \(StreamingTests.size)\r\n\r\n")
        let sent = try big.sendUntilStuck(StreamingTests.body, patience: .milliseconds(300))
        #expect(sent < StreamingTests.inFlight)
        let small = try pair.server.accept()
        #expect(text(try small.read(through: "\r\n\r\n")).hasPrefix("GET /small "))
        try small.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        try peer.waitUntil("the neighbour's answer") { peer.standardOutput == "1000 200 2\n" }
        #expect(try pair.gateway.memory("VmHWM") - before < StreamingTests.growthKiB)
        // The client goes, and with it the wait for its window.
        peer.signal(SIGKILL)
        #expect(try big.isClosedByPeer())
    }

    @Test func aNarrowWindowIsNoFlood() throws {
        let big = String(repeating: "z", count: 3_000_000)
        let upstream = try ScriptedUpstream { _ in [.respond(body: big)] }
        let gateway = try Self.gateway(port: upstream.port)
        #expect(try Self.result("narrow", gateway) == "200 3000000\n")
    }

    @Test func everyWaitHasItsEnd() throws {
        let upstream = try ScriptedUpstream { _ in [.respond()] }
        for (limit, test, printed) in [
            ("body_timeout 300ms", "slow_body", "408\n"),
            ("idle_timeout 300ms", "idle", "0 None\n"),
            ("header_timeout 300ms", "silent", "ended\n"),
        ] {
            let gateway = try Self.gateway(
                port: upstream.port, listener: "protocols h2c; limits { \(limit); }")
            #expect(try Self.result(test, gateway) == printed, "\(limit)")
        }
    }

    @Test func aMalformedRequestIsResetAndLogged() throws {
        let pair = try Pair()
        #expect(try Self.result("malformed", pair.gateway) == "1\n")
        let line = try pair.gateway.accessLine { $0["reason"] as? String == "bad_request" }
        #expect(line["status"] as? Int == 400)
        #expect(line["protocol"] as? String == "HTTP/2.0")
        #expect(!pair.server.hasWaiting)
    }

    @Test func aClientThatVanishedIsFoundOut() throws {
        // Takes requests and never answers: nothing but the clients themselves can tell whether they are there.
        let server = try ManualServer()
        let gateway = try Gateway(
            testConf(
                listener: "protocols h2c; limits { idle_timeout 300ms; header_timeout 300ms; }",
                """
                upstream app { server 127.0.0.1:\(server.port); response_timeout 1h; }
                route = / { upstream app; authenticate none; }
                """))
        #expect(try Self.result("keepalive", gateway) == "404\n")
        _ = consume server
    }

    @Test func cancelledUploadsGiveTheirWindowBack() throws {
        // Reads no request to its end: the gateway must hold the content up.
        let server = try ManualServer(backlog: 256)
        let gateway = try Self.gateway(port: server.port)
        let peer = try Self.peer("cancelled_uploads", gateway)
        var held: [TCPClient] = []
        while true {
            let connection = try server.accept()
            // A request may be given up before it was sent.
            guard let bytes = try? connection.read(through: "\r\n\r\n") else { continue }
            let head = text(bytes)
            if head.hasPrefix("GET ") {
                try connection.send("HTTP/1.1 204 No Content\r\n\r\n")
                break
            }
            held.append(connection)
        }
        #expect(try Self.result(peer) == "204\n")
        #expect(!held.isEmpty)
    }

    @Test func aDrainFinishesWhatIsUnderWay() throws {
        let nghttp = try requireTool("nghttp", package: "nghttp2-client")
        let pair = try Pair()
        let client = try RunningProcess(
            nghttp, ["-v", "http://127.0.0.1:\(try pair.gateway.port)/"])
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        pair.gateway.process.signal(SIGTERM)
        // Once with the largest id, and again when the client has answered: its last request is known by then.
        try client.waitUntil("two GOAWAY frames") {
            let parts = client.standardOutput.components(separatedBy: "recv GOAWAY frame")
            return parts.count == 3 && parts[1].contains("last_stream_id=2147483647")
                && parts[2].contains("last_stream_id=13")
        }
        try server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        #expect(client.waitForExit() == .code(0))
        #expect(
            client.standardOutput.contains("recv (stream_id=13, sensitive) :status: 200")
                || client.standardOutput.contains("recv (stream_id=13) :status: 200"))
        #expect(pair.gateway.process.waitForExit() == .code(0))
    }
}
