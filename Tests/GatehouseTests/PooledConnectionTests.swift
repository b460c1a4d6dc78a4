import Foundation
import TestSupport
import Testing

/// Connections to the upstream that the gateway keeps and that the upstream ends: no client may notice, and no request
/// that is not safe to repeat is sent twice.
struct PooledConnectionTests {
    static func gateway(_ port: UInt16, _ upstream: String = "") throws -> Gateway {
        try Gateway(
            testConf(
                """
                upstream app { server 127.0.0.1:\(port); \(upstream) }
                route / { upstream app; authenticate none; }
                """))
    }

    static func request(_ method: String, _ path: String) -> String {
        let body = method == "GET" ? "" : "body"
        return
            "\(method) \(path) HTTP/1.1\r\n\(hostLine)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    @Test(arguments: ["GET", "POST", "PUT"])
    func noClientSeesAnUpstreamThatEndsIdleConnections(method: String) throws {
        let upstream = try ScriptedUpstream { _ in [.respond(body: "ok"), .close] }
        let gateway = try Self.gateway(upstream.port)
        let client = try gateway.connect()
        var served = 0
        for number in 0..<40 {
            try client.send(Self.request(method, "/\(number)"))
            if try client.readReply().text == "ok" { served += 1 }
            #expect(eventually { upstream.openConnections == 0 })
        }
        #expect(served == 40)
        #expect(upstream.requests.count == 40)
    }

    @Test func aStaleConnectionIsReplacedForAGet() throws {
        // It ends when the next request is there already: nobody could know before.
        let upstream = try ScriptedUpstream { $0.index == 0 ? [.respond(body: "ok")] : [.close] }
        let gateway = try Self.gateway(upstream.port)
        let client = try gateway.connect()
        for number in 0..<40 {
            try client.send(Self.request("GET", "/\(number)"))
            #expect(try client.readReply().text == "ok", "\(number)")
        }
        // The first one, and 39 that took a kept connection and another one then.
        #expect(upstream.requests.count == 79)
        #expect(upstream.connections == 40)
    }

    @Test func aStaleConnectionIsReplacedOnlyOnce() throws {
        let upstream = try ScriptedUpstream {
            $0.requestLine.contains("/bad") ? [.close] : [.respond(body: "ok")]
        }
        let gateway = try Self.gateway(upstream.port, "retries 3;")
        let client = try gateway.connect()
        try client.send(Self.request("GET", "/good"))
        #expect(try client.readReply().text == "ok")
        try client.send(Self.request("GET", "/bad"))
        #expect(try client.readReply().status == 502)
        #expect(upstream.requests.count == 3)
    }

    @Test(arguments: ["POST", "PATCH"])
    func whatIsNotIdempotentIsNeverSentTwice(method: String) throws {
        let upstream = try ScriptedUpstream { $0.index == 0 ? [.respond(body: "ok")] : [.close] }
        let gateway = try Self.gateway(upstream.port, "retries 3;")
        let client = try gateway.connect()
        for number in 0..<20 {
            try client.send(Self.request("GET", "/\(number)"))
            #expect(try client.readReply().text == "ok")
            try client.send(Self.request(method, "/once/\(number)"))
            let reply = try client.readReply()
            #expect(reply.status == 502)
            try UpstreamFaultTests.check(reply, 502, "upstream_reset", on: gateway)
        }
        let once = upstream.requests.map(\.requestLine).filter { $0.contains("/once/") }
        #expect(once.count == 20)
        #expect(Set(once).count == 20)
    }

    /// The request is waiting when the gateway learns of the end: held back here by stopping it.
    @Test(arguments: ["GET", "POST", "PUT"])
    func anEndThatComesWithTheRequestIsSeenFirst(method: String) throws {
        let upstream = try ManualServer()
        let gateway = try Self.gateway(upstream.port)
        let client = try gateway.connect()
        var kept: TCPClient?
        for number in 0..<5 {
            try client.send(Self.request(method, "/\(number)"))
            if let kept {
                kept.shutdownWriting()
                gateway.process.signal(SIGCONT)
            }
            let server = try upstream.accept()
            _ = try server.read(through: "\r\n\r\n")
            if method != "GET" { #expect(text(try server.read(4)) == "body") }
            try server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            let reply = try client.readReply()
            #expect(reply.text == "ok", "\(number)")
            kept = server
            gateway.process.signal(SIGSTOP)
            try gateway.waitUntilStopped()
        }
        gateway.process.signal(SIGCONT)
    }

    /// The client's request for `/two` comes on a new connection, and what is said there is its answer.
    private static func expectAnswerElsewhere(
        _ upstream: ManualServer, _ client: TCPClient
    ) throws {
        let server = try upstream.accept()
        #expect(text(try server.read(through: "\r\n\r\n")).hasPrefix("GET /two "))
        try server.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo")
        #expect(try client.readReply().text == "two")
    }

    /// What a server sends unasked lies behind the client's request here, in the same turn; a request that is too large to
    /// wait for the turn's end must not take it for its answer.
    @Test(arguments: [10, 9_000])
    func whatCameUnaskedIsNobodysAnswer(filler: Int) throws {
        let upstream = try ManualServer()
        let gateway = try Self.gateway(upstream.port)
        let client = try gateway.connect()
        func get(_ path: String) -> String {
            "GET \(path) HTTP/1.1\r\n\(hostLine)X-Filler: \(String(repeating: "f", count: filler))"
                + "\r\n\r\n"
        }
        try client.send(get("/one"))
        let kept = try upstream.accept()
        _ = try kept.read(through: "\r\n\r\n")
        try kept.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        #expect(try client.readReply().text == "ok")
        gateway.process.signal(SIGSTOP)
        try gateway.waitUntilStopped()
        try client.send(get("/two"))
        try kept.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        gateway.process.signal(SIGCONT)
        try Self.expectAnswerElsewhere(upstream, client)
    }

    /// Nor where more connections have something to say than one turn of the loop is told of, and what the server has said
    /// unasked comes behind them all.
    @Test func whatCameUnaskedIsNobodysAnswerBehindAThousandOthers() throws {
        let upstream = try ManualServer()
        let gateway = try Self.gateway(upstream.port)
        let client = try gateway.connect()
        let others = try (0..<1100).map { _ in try gateway.connect() }
        // Who comes last is answered when all before have been accepted.
        let last = try gateway.connect()
        for (number, one) in [last, client].enumerated() {
            try one.send(Self.request("GET", "/warm/\(number)"))
        }
        let kept = try (0..<2).map { _ in try upstream.accept() }
        for server in kept {
            _ = try server.read(through: "\r\n\r\n")
            try server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        }
        for one in [last, client] { #expect(try one.readReply().text == "ok") }
        gateway.process.signal(SIGSTOP)
        try gateway.waitUntilStopped()
        try client.send(Self.request("GET", "/two"))
        for other in others { try other.send("GET /o HT") }
        for server in kept {
            try server.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        }
        gateway.process.signal(SIGCONT)
        try Self.expectAnswerElsewhere(upstream, client)
    }

    /// Nor where it lies behind an answer that fills what the gateway reads into to the last byte. Over a unix socket, which
    /// holds more than that.
    @Test func whatCameBehindAFullBufferIsNobodysAnswer() throws {
        let folder = try TemporaryDirectory()
        let upstream = try ManualServer(unixPath: folder.file("up.sock"))
        let gateway = try Gateway(
            testConf(
                """
                upstream app { server unix:\(folder.file("up.sock")); }
                route / { upstream app; authenticate none; }
                """), in: folder)
        let client = try gateway.connect()
        try client.send(Self.request("GET", "/one"))
        let kept = try upstream.accept()
        _ = try kept.read(through: "\r\n\r\n")
        gateway.process.signal(SIGSTOP)
        try gateway.waitUntilStopped()
        func head(_ count: Int) -> String {
            "HTTP/1.1 200 OK\r\nContent-Length: \(count)\r\n\r\n"
        }
        let count = 65_536 - head(65_000).utf8.count
        try kept.send(head(count) + String(repeating: "x", count: count) + head(6) + "poison")
        // Read in the same turn as that answer.
        try client.send(Self.request("GET", "/two"))
        gateway.process.signal(SIGCONT)
        #expect(try client.readReply().body.count == count)
        try Self.expectAnswerElsewhere(upstream, client)
    }

    /// What reads answers goes from connection to connection: nothing of one that was left halfway is seen in the next.
    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nX-Half: wa",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200",
    ])
    func anAnswerThatIsCutOffLeavesNothingBehind(cut: String) throws {
        let upstream = try ManualServer()
        let gateway = try Self.gateway(upstream.port)
        let isBody = cut.hasSuffix("hel")
        for number in 0..<3 {
            let broken = try gateway.connect()
            try broken.send(Self.request("GET", "/cut"))
            let first = try upstream.accept()
            _ = try first.read(through: "\r\n\r\n")
            try first.send(cut)
            // Two at once: the other's answer comes while this one's is being read.
            let client = try gateway.connect()
            try client.send(Self.request("GET", "/whole"))
            let second = try upstream.accept()
            _ = try second.read(through: "\r\n\r\n")
            try second.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n")
            first.shutdownWriting()
            if isBody {
                // The client learns of it by the end.
                #expect(text(try broken.readToEnd()).contains("hel"))
            } else {
                #expect(try broken.readReply().status == 502)
            }
            try second.send("X-Number: \(number)\r\n\r\nok")
            let reply = try client.readReply()
            #expect(reply.status == 200 && reply.text == "ok")
            #expect(reply.values("x-number") == ["\(number)"])
            #expect(reply.values("x-half").isEmpty && reply.values("transfer-encoding").isEmpty)
            second.shutdownWriting()
        }
    }

    @Test func anIdleConnectionEndsAfterItsTime() throws {
        let upstream = try ScriptedUpstream { _ in [.respond(body: "ok")] }
        let gateway = try Self.gateway(upstream.port, "idle_timeout 200ms;")
        #expect(try gateway.request(Self.request("GET", "/")).text == "ok")
        #expect(eventually(within: .seconds(3)) { upstream.openConnections == 0 })
    }

    @Test func noMoreConnectionsAreKeptThanConfigured() throws {
        let upstream = try ManualServer()
        let gateway = try Self.gateway(upstream.port, "keepalive 2;")
        let clients = try (0..<5).map { _ in try gateway.connect() }
        for client in clients { try client.send(Self.request("GET", "/")) }
        let servers = try clients.map { _ in try upstream.accept() }
        for server in servers {
            _ = try server.read(through: "\r\n\r\n")
            try server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        }
        for client in clients { #expect(try client.readReply().text == "ok") }
        let ended = try servers.filter { try $0.hasEnded() }
        #expect(ended.count == 3)
    }
}

extension Gateway {
    /// Waits until SIGSTOP has taken effect.
    func waitUntilStopped() throws { try process.waitUntilStopped() }
}

extension RunningProcess {
    /// Waits until SIGSTOP has taken effect.
    func waitUntilStopped() throws {
        try waitUntil("SIGSTOP") {
            let stat = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
            return stat.components(separatedBy: ") ").last?.hasPrefix("T") == true
        }
    }
}
