import Foundation
import TestSupport
import Testing

/// A gateway with one open route before a server that the test plays itself.
struct ManualPair {
    let server: ManualServer
    let gateway: Gateway

    /// - Parameters:
    ///   - upstream: further directives of the upstream.
    ///   - listener: further directives of the listener.
    ///   - route: further directives of the route.
    ///   - timeout: the limit of each wait on the server's side.
    init(
        upstream: String = "", listener: String = "", route: String = "",
        timeout: Duration = .seconds(10)
    ) throws {
        server = try ManualServer(timeout: timeout)
        gateway = try Gateway(
            testConf(
                listener: listener,
                """
                upstream app { server 127.0.0.1:\(server.port); \(upstream) }
                route / { upstream app; authenticate none; \(route) }
                """))
    }
}

/// What every request of these tests carries.
let hostLine = "Host: h.example\r\n"

func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

/// Requests and answers on their way through the running program.
struct ForwardingTests {
    // MARK: Requests

    @Test func aBodyByLengthArrivesAsItWasSent() throws {
        let pair = try ManualPair()
        let client = try pair.gateway.connect()
        try client.send("POST /a?b=c HTTP/1.1\r\n\(hostLine)Content-Length: 5\r\n\r\nhel")
        let server = try pair.server.accept()
        let head = text(try server.read(through: "\r\n\r\n"))
        #expect(head.hasPrefix("POST /a?b=c HTTP/1.1\r\nHost: h.example\r\n"))
        #expect(head.contains("\r\nContent-Length: 5\r\n"))
        // Streamed: what came is on its way before the rest is there.
        #expect(text(try server.read(3)) == "hel")
        try client.send("lo")
        #expect(text(try server.read(2)) == "lo")
        try server.send("HTTP/1.1 201 Created\r\nContent-Length: 2\r\nX-Own: yes\r\n\r\nok")
        let reply = try client.readReply()
        #expect(reply.status == 201)
        #expect(reply.text == "ok")
        #expect(reply.values("x-own") == ["yes"])
        #expect(reply.values("content-length") == ["2"])
    }

    @Test func chunksGoBothWaysAndOnlyTheAnswersTrailersPass() throws {
        let pair = try ManualPair()
        let client = try pair.gateway.connect()
        try client.send(
            "POST / HTTP/1.1\r\n\(hostLine)Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        let server = try pair.server.accept()
        let head = text(try server.read(through: "\r\n\r\n"))
        #expect(head.contains("\r\nTransfer-Encoding: chunked\r\n"))
        #expect(!head.contains("Content-Length"))
        try client.send("3;note=x\r\nabc\r\n")
        #expect(text(try server.read(8)) == "3\r\nabc\r\n")
        try client.send("2\r\nde\r\n0\r\nX-Sum: 1\r\nX-Auth-Client: admin\r\n\r\n")
        #expect(text(try server.read(through: "0\r\n\r\n")) == "2\r\nde\r\n0\r\n\r\n")
        try server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwxyz\r\n")
        #expect(text(try client.read(through: "\r\n\r\n")).contains("Transfer-Encoding: chunked"))
        #expect(text(try client.read(through: "wxyz\r\n")) == "4\r\nwxyz\r\n")
        try server.send("0\r\nX-Sum: 2\r\n\r\n")
        #expect(text(try client.read(through: "\r\n\r\n")) == "0\r\nX-Sum: 2\r\n\r\n")
        #expect(server.received.isEmpty)
    }

    /// Of a route that asks for them; without those that would say something of the request or of its client.
    @Test func trailersOfARequestPass() throws {
        let pair = try ManualPair(route: "request_trailers on; remove_header X-Secret;")
        let client = try pair.gateway.connect()
        try client.send(
            "POST / HTTP/1.1\r\n\(hostLine)Transfer-Encoding: chunked\r\nConnection: X-Named\r\n\r\n"
                + "2\r\nab\r\n0\r\nX-Sum: 1\r\nX_Auth-Client: admin\r\nX-Named: 1\r\n"
                + "Authorization: Bearer x\r\nContent-Length: 4\r\nX-Request-Id: 5\r\n"
                + "X-Forwarded-Host: h\r\nX-Secret: s\r\nHost: h\r\nX-Last: z\r\n\r\n")
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        #expect(
            text(try server.read(through: "\r\n\r\n"))
                == "2\r\nab\r\n0\r\nX-Sum: 1\r\nX-Last: z\r\n\r\n")
        try server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        #expect(try client.readReply().status == 200)
    }

    /// A burst of requests in one piece waits in order, and is not copied anew for each of them.
    @Test func aBurstOfRequestsIsAnsweredInOrder() throws {
        let pair = try ManualPair()
        let client = try pair.gateway.connect()
        let count = 200
        let burst = (0..<count).map { "GET /\($0) HTTP/1.1\r\n\(hostLine)\r\n" }
        try client.send(burst.joined())
        let server = try pair.server.accept()
        for index in 0..<count {
            #expect(text(try server.read(through: "\r\n\r\n")).hasPrefix("GET /\(index) "))
            try server.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + String(1000 + index))
        }
        for index in 0..<count {
            #expect(try client.readReply().text == String(1000 + index))
        }
    }

    @Test func headHasNoBodyButTheLength() throws {
        let pair = try ManualPair()
        let client = try pair.gateway.connect()
        try client.send("HEAD / HTTP/1.1\r\n\(hostLine)\r\n")
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        try server.send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
        let reply = try client.readReply(isBodyless: true)
        #expect(reply.values("content-length") == ["1234"])
        // No byte of a body stands between the two answers.
        try client.send("GET / HTTP/1.1\r\n\(hostLine)\r\n")
        _ = try server.read(through: "\r\n\r\n")
        try server.send("HTTP/1.1 204 No Content\r\n\r\n")
        let second = try client.readReply()
        #expect(second.status == 204)
        #expect(second.values("content-length").isEmpty)
        #expect(second.values("transfer-encoding").isEmpty)
    }

    @Test(arguments: [
        ("GET http://h.example/a?b=1 HTTP/1.1", "GET /a?b=1 HTTP/1.1"),
        ("GET http://h.example HTTP/1.1", "GET / HTTP/1.1"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * HTTP/1.1"),
        ("OPTIONS /a HTTP/1.1", "OPTIONS /a HTTP/1.1"),
        (
            "DELETE /a;b/+~%E2%82%AC?x=%zz;?&? HTTP/1.1",
            "DELETE /a;b/+~%E2%82%AC?x=%zz;?&? HTTP/1.1"
        ),
        ("PROPFIND /a HTTP/1.1", "PROPFIND /a HTTP/1.1"),
        ("GET /a HTTP/1.0", "GET /a HTTP/1.1"),
    ])
    func aTargetIsForwardedInOriginForm(sent: String, forwarded: String) throws {
        let pair = try ManualPair()
        let client = try pair.gateway.connect()
        try client.send("\(sent)\r\n\(hostLine)\r\n")
        let server = try pair.server.accept()
        let head = text(try server.read(through: "\r\n\r\n"))
        #expect(head.hasPrefix(forwarded + "\r\nHost: h.example\r\n"))
        try server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        #expect(try client.readReply().status == 200)
    }

    @Test func continueIsAnsweredOnce() throws {
        let pair = try ManualPair()
        let client = try pair.gateway.connect()
        try client.send(
            "POST / HTTP/1.1\r\n\(hostLine)Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        #expect(try client.readReply().status == 100)
        try client.send("abc")
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        #expect(text(try server.read(3)) == "abc")
        try server.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        #expect(try client.readReply().status == 200)
    }

    @Test(arguments: [
        ("TRACE / HTTP/1.1", "5", 405), ("POST /%2e%2e%2f HTTP/1.1", "5", 400),
        ("POST / HTTP/1.1", "99999999", 413),
    ])
    func aRefusalComesInsteadOfContinue(line: String, length: String, status: Int) throws {
        let pair = try ManualPair()
        let client = try pair.gateway.connect()
        try client.send(
            "\(line)\r\n\(hostLine)Expect: 100-continue\r\nContent-Length: \(length)\r\n\r\n")
        let reply = try client.readReply()
        #expect(reply.status == status)
        // Whether the body comes now cannot be known: the connection cannot go on.
        #expect(reply.values("connection") == ["close"])
        #expect(try client.isClosedByPeer())
        #expect(!pair.server.hasWaiting)
    }

    /// Who waits for `100 (Continue)` and for something else gets 417, and may never send the body.
    @Test func anExpectationThatIsNotKnownEndsTheConnection() throws {
        let pair = try ManualPair()
        let client = try pair.gateway.connect()
        try client.send(
            "POST / HTTP/1.1\r\n\(hostLine)Expect: 100-continue, wonders\r\n"
                + "Content-Length: 40\r\n\r\n")
        let reply = try client.readReply()
        #expect(reply.status == 417)
        #expect(reply.values("connection") == ["close"])
        #expect(try client.isClosedByPeer())
    }

    /// A client that stops for a while is no fault of its server.
    @Test func aServerIsAskedForNothingWhileItsClientTakesNothing() throws {
        let pair = try ManualPair(upstream: "response_timeout 300ms;")
        let client = try pair.gateway.connect()
        try client.send("GET / HTTP/1.1\r\n\(hostLine)\r\n")
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        let content = [UInt8](repeating: 0x61, count: 48 << 20)
        try server.send("HTTP/1.1 200 OK\r\nContent-Length: \(content.count)\r\n\r\n")
        let sent = try server.sendUntilStuck(content, patience: .seconds(1))
        #expect(sent < content.count)
        server.sendInBackground(Array(content[sent...]))
        #expect(try client.readReply().body.count == content.count)
    }

    @Test func aWebSocketIsRefusedAndH2CIgnored() throws {
        let pair = try ManualPair()
        let reply = try pair.gateway.request(
            "GET / HTTP/1.1\r\n\(hostLine)Connection: Upgrade\r\nUpgrade: websocket\r\n"
                + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        #expect(reply.status == 501)
        #expect(!pair.server.hasWaiting)
        let client = try pair.gateway.connect()
        try client.send(
            "GET / HTTP/1.1\r\n\(hostLine)Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                + "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
        let server = try pair.server.accept()
        let head = text(try server.read(through: "\r\n\r\n")).lowercased()
        #expect(!head.contains("upgrade"))
        #expect(!head.contains("http2-settings"))
        try server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        #expect(try client.readReply().status == 200)
    }

    // MARK: Answers

    @Test func interimAnswersAreRelayedToWhoKnowsThem() throws {
        let pair = try ManualPair()
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
        for version in ["1.1", "1.0"] {
            let client = try pair.gateway.connect()
            try client.send("GET / HTTP/\(version)\r\n\(hostLine)\r\n")
            let server = try pair.server.accept()
            _ = try server.read(through: "\r\n\r\n")
            try server.send(hints + hints)
            if version == "1.1" {
                for _ in 0..<2 {
                    let interim = try client.readReply()
                    #expect(interim.status == 103)
                    #expect(interim.values("link") == ["</a.css>; rel=preload"])
                }
            }
            try server.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            #expect(try client.readReply().text == "ok")
        }
    }

    @Test func anAnswerUntilTheEndBecomesChunks() throws {
        let pair = try ManualPair()
        let client = try pair.gateway.connect()
        try client.send("GET / HTTP/1.1\r\n\(hostLine)\r\n")
        do {
            let server = try pair.server.accept()
            _ = try server.read(through: "\r\n\r\n")
            try server.send("HTTP/1.0 200 OK\r\n\r\nas long as it takes")
        }
        let reply = try client.readReply()
        #expect(reply.text == "as long as it takes")
        #expect(reply.values("transfer-encoding") == ["chunked"])
        #expect(reply.values("connection").isEmpty)
    }

    @Test func chunksBecomeAnAnswerUntilTheEndForHTTP10() throws {
        let pair = try ManualPair()
        let client = try pair.gateway.connect()
        try client.send("GET / HTTP/1.0\r\n\(hostLine)Connection: keep-alive\r\n\r\n")
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        try server.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        let reply = try client.readReply()
        #expect(reply.values("transfer-encoding").isEmpty)
        #expect(reply.values("connection") == ["close"])
        #expect(reply.text == "abc")
    }

    @Test func anEarlyAnswerIsPassedOnAndTheRestOfTheBodyDropped() throws {
        let pair = try ManualPair()
        let client = try pair.gateway.connect()
        let half = [UInt8](repeating: 0x61, count: 50_000)
        try client.send("POST / HTTP/1.1\r\n\(hostLine)Content-Length: 100000\r\n\r\n")
        try client.send(half)
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        try server.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        let reply = try client.readReply()
        #expect(reply.status == 403)
        #expect(reply.text == "no")
        try client.send(half)
        // The connection is in step; the upstream's, which missed half of the body, is not used again.
        try client.send("GET /next HTTP/1.1\r\n\(hostLine)\r\n")
        let fresh = try pair.server.accept()
        #expect(text(try fresh.read(through: "\r\n\r\n")).hasPrefix("GET /next "))
        try fresh.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
        #expect(try client.readReply().text == "next")
    }

    @Test func anEarlyAnswerToALargeBodyEndsTheConnection() throws {
        let pair = try ManualPair()
        let client = try pair.gateway.connect()
        try client.send("POST / HTTP/1.1\r\n\(hostLine)Content-Length: 9000000\r\n\r\nabc")
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        try server.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        #expect(try client.readReply().text == "no")
        #expect(try client.isClosedByPeer())
    }

    // MARK: Connections

    @Test func connectionsAreKeptOnBothSides() throws {
        let upstream = try ScriptedUpstream { [.respond(body: $0.requestLine)] }
        let gateway = try Gateway(
            testConf(
                """
                upstream app { server 127.0.0.1:\(upstream.port); }
                route / { upstream app; authenticate none; }
                """))
        for _ in 0..<3 {
            let client = try gateway.connect()
            for number in 0..<5 {
                try client.send("GET /\(number) HTTP/1.1\r\n\(hostLine)\r\n")
                #expect(try client.readReply().text == "GET /\(number) HTTP/1.1")
            }
            try client.send("GET /last HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n")
            let last = try client.readReply()
            #expect(last.values("connection") == ["close"])
            #expect(try client.isClosedByPeer())
        }
        #expect(upstream.connections == 1)
    }

    /// Answers leave at the end of the turn; a client that has ended its side by then gets them all the same.
    @Test func whoEndsAtOnceIsStillAnswered() throws {
        let gateway = try Gateway(
            testConf(
                """
                upstream app { server 127.0.0.1:\(try freePort()); }
                route / { upstream app; authenticate oauth1; }
                """))
        for _ in 0..<20 {
            let client = try gateway.connect()
            let request = "GET / HTTP/1.1\r\n\(hostLine)\r\n"
            try client.send(request + request + request)
            client.shutdownWriting()
            for _ in 0..<3 { #expect(try client.readReply().status == 401) }
            #expect(try client.isClosedByPeer())
        }
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() throws {
        let upstream = try ScriptedUpstream { [.respond(body: $0.requestLine + text($0.content))] }
        let gateway = try Gateway(
            testConf(
                """
                upstream app { server 127.0.0.1:\(upstream.port); }
                route / { upstream app; authenticate none; }
                """))
        let client = try gateway.connect()
        var requests = ""
        for number in 0..<100 {
            requests +=
                "PUT /\(number) HTTP/1.1\r\n\(hostLine)Content-Length: 3\r\n\r\n\(100 + number)"
            requests += "GET /\(number) HTTP/1.1\r\n\(hostLine)\r\n"
        }
        try client.send(requests)
        for number in 0..<100 {
            #expect(try client.readReply().text == "PUT /\(number) HTTP/1.1\(100 + number)")
            #expect(try client.readReply().text == "GET /\(number) HTTP/1.1")
        }
        #expect(upstream.requests.count == 200)
    }

    @Test func unixSocketsAndIPv6ServeAsWell() throws {
        let folder = try TemporaryDirectory()
        let upstream = try ManualServer(unixPath: folder.file("up.sock"))
        let gateway = try Gateway(
            """
            workers 1;
            listener api { address [::1]:0; address unix:\(folder.file("api.sock")); }
            log { access stdout; error stderr debug; }
            store memory;
            upstream app { server unix:\(folder.file("up.sock")); }
            route / { upstream app; authenticate none; }
            """)
        let clients = [
            (try TCPClient(ipv6Port: gateway.port), ["::1"], "for=\"[::1]\"", "::1"),
            (try TCPClient(unixPath: folder.file("api.sock")), [], "for=unknown", "unix:"),
        ]
        var kept: TCPClient?
        for (client, address, forwarded, logged) in clients {
            try client.send("GET /\(logged) HTTP/1.1\r\n\(hostLine)\r\n")
            let server = try kept ?? upstream.accept()
            let head = text(try server.read(through: "\r\n\r\n"))
            let request = ReceivedRequest(connection: 0, index: 0, head: head, rawBody: [])
            #expect(request.values("x-forwarded-for") == address)
            #expect(request.values("forwarded").first?.hasPrefix(forwarded + ";") == true)
            try server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            #expect(try client.readReply().text == "ok")
            let line = try gateway.accessLine { $0["path"] as? String == "/\(logged)" }
            #expect(line["client_address"] as? String == logged)
            kept = server
        }
    }
}
