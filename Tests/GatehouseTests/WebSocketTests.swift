import Foundation
import TestSupport
import Testing

/// WebSockets over HTTP/1.1: authorised before the upgrade, byte for byte after it.
struct WebSocketTests {
    private static let key = "dGhlIHNhbXBsZSBub25jZQ=="
    private static let switching =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

    private static func upgrade(_ fields: String = "") -> String {
        "GET /ws?a=1 HTTP/1.1\r\n\(hostLine)Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
            + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \(key)\r\n\(fields)\r\n"
    }

    private struct Pair {
        let server: ManualServer
        let gateway: Gateway

        init(
            listener: String = "", route: String = "authenticate none;", rest: String = ""
        ) throws {
            let folder = try TemporaryDirectory()
            _ = try folder.write("secret", "a-secret\n")
            server = try ManualServer(timeout: .seconds(10))
            gateway = try Gateway(
                testConf(
                    listener: listener, store: "store sqlite { path state.db; }",
                    """
                    upstream app { server 127.0.0.1:\(server.port); response_timeout 1s; }
                    route / { upstream app; authenticate none; }
                    route /ws { upstream app; websocket on; \(route) }
                    \(rest)
                    """), in: folder)
        }

        /// A tunnel that both ends have gone over to.
        func open(_ fields: String = "") throws -> (client: TCPClient, server: TCPClient) {
            let client = try gateway.connect()
            try client.send(WebSocketTests.upgrade(fields))
            let server = try server.accept()
            _ = try server.read(through: "\r\n\r\n")
            try server.send(WebSocketTests.switching)
            _ = try client.read(through: "\r\n\r\n")
            return (client, server)
        }
    }

    @Test func bytesPassAsTheyAreBothWays() throws {
        let pair = try Pair()
        let client = try pair.gateway.connect(timeout: .seconds(30))
        try client.send(Self.upgrade("X-Auth-Client: forged\r\nTE: trailers\r\n"))
        let server = try pair.server.accept()
        let request = text(try server.read(through: "\r\n\r\n")).lowercased()
        #expect(request.hasPrefix("get /ws?a=1 http/1.1\r\n"))
        #expect(request.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n"))
        #expect(request.contains("\r\nsec-websocket-key: \(Self.key.lowercased())\r\n"))
        #expect(!request.contains("forged") && !request.contains("te:"))
        // What looks like HTTP behind the 101 is the tunnel's, in the same segment too.
        let trap = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        try server.send(Self.switching + trap)
        let answer = text(try client.read(through: "\r\n\r\n"))
        #expect(answer.hasPrefix("HTTP/1.1 101 "))
        #expect(answer.contains("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"))
        #expect(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
        #expect(text(try client.read(trap.utf8.count)) == trap)

        let sample = Array(StreamingTests.body[..<(4 << 20)])
        client.sendInBackground(sample)
        server.sendInBackground(sample)
        #expect(try server.read(sample.count) == sample)
        #expect(try client.read(sample.count) == sample)
        let next = "GET / HTTP/1.1\r\n\(hostLine)\r\n"
        try client.send(next)
        #expect(text(try server.read(next.utf8.count)) == next)

        server.shutdownWriting()
        #expect(try client.isClosedByPeer())
        let line = try pair.gateway.accessLine { $0["path"] as? String == "/ws?a=1" }
        #expect(line["status"] as? Int == 101)
        #expect(line["reason"] == nil || line["reason"] as? String == "")
        #expect(line["bytes_out"] as? Int == trap.utf8.count + sample.count)
    }

    /// A client that does not wait for the 101 loses nothing, and its bytes are no second request.
    @Test func bytesSentAheadWaitForTheTunnel() throws {
        let pair = try Pair()
        let client = try pair.gateway.connect()
        let ahead = "GET /admin HTTP/1.1\r\n\(hostLine)\r\n"
        try client.send(Self.upgrade() + ahead)
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        try server.send(Self.switching)
        #expect(text(try server.read(ahead.utf8.count)) == ahead)
        #expect(!pair.server.hasWaiting)
    }

    /// …and where the upstream does not switch they are a request like any other, judged by itself.
    @Test func withoutTheSwitchTheConnectionGoesOn() throws {
        let pair = try Pair()
        let client = try pair.gateway.connect()
        try client.send(Self.upgrade() + "GET /next HTTP/1.1\r\n\(hostLine)\r\n")
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        try server.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        let reply = try client.readReply()
        #expect(reply.status == 403)
        #expect(reply.values("upgrade").isEmpty)
        #expect(text(try server.read(through: "\r\n\r\n")).hasPrefix("GET /next "))
        try server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        #expect(try client.readReply().status == 200)
    }

    static let badSwitches = [
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket, h2c\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n",
    ]

    @Test(arguments: badSwitches) func anotherProtocolThanAskedForIsNoTunnel(answer: String) throws
    {
        let pair = try Pair()
        let client = try pair.gateway.connect()
        try client.send(Self.upgrade())
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        try server.send(answer + "secret")
        let reply = try client.readReply()
        #expect(reply.status == 502)
        #expect(!text(reply.body).contains("secret"))
    }

    @Test func aBodyOrAnotherMethodIsNoUpgrade() throws {
        let pair = try Pair()
        for fields in ["Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"] {
            #expect(try pair.gateway.request(Self.upgrade(fields)).status == 400)
        }
        let post = Self.upgrade().replacing("GET ", with: "POST ")
        #expect(try pair.gateway.request(post).status == 400)
        #expect(!pair.server.hasWaiting)
    }

    @Test func aRouteWithoutItRefuses() throws {
        let pair = try Pair()
        let request = Self.upgrade().replacing("/ws?", with: "/other?")
        let reply = try pair.gateway.request(request)
        #expect(reply.status == 501)
        #expect(text(reply.body).contains("urn:gatehouse:reason:upgrade_not_supported"))
        #expect(!pair.server.hasWaiting)
    }

    @Test func silenceIsLimited() throws {
        let pair = try Pair(listener: "limits { idle_timeout 300ms; }")
        let (client, server) = try pair.open()
        // Bytes either way hold it open, past the upstream's response_timeout too.
        for _ in 0..<8 {
            try client.send("x")
            #expect(try server.read(1) == [0x78])
            try server.send("y")
            #expect(try client.read(1) == [0x79])
        }
        #expect(try client.isClosedByPeer())
        #expect(try server.isClosedByPeer())
        let line = try pair.gateway.accessLine { $0["status"] as? Int == 101 }
        #expect(line["reason"] as? String == "timeout")
    }

    /// One half of a tunnel may end before the other: what came before the end arrives, and the answer to it.
    @Test func eachHalfOfATunnelEndsByItself() throws {
        let pair = try Pair()
        let (client, server) = try pair.open()
        let sample = Array(StreamingTests.body[..<(4 << 20)])
        client.sendInBackground(sample)
        #expect(try server.read(sample.count) == sample)
        try client.send("last words")
        client.shutdownWriting()
        #expect(text(try server.readToEnd()) == "last words")
        try server.send("goodbye")
        server.shutdownWriting()
        #expect(text(try client.readToEnd()) == "goodbye")
        let line = try pair.gateway.accessLine { $0["status"] as? Int == 101 }
        #expect(line["bytes_in"] as? Int == sample.count + 10)
        #expect(line["bytes_out"] as? Int == 7)
    }

    @Test func aResetClientEndsTheTunnel() throws {
        let pair = try Pair()
        let (client, server) = try pair.open()
        try server.send("not read by anyone")
        client.resetOnClose()
        client.shutdownWriting()
        #expect(try server.isClosedByPeer())
    }

    @Test func aSlowServerHoldsUpTheClientAndNotTheMemory() throws {
        let pair = try Pair()
        let (client, server) = try pair.open()
        let before = try pair.gateway.memory("VmRSS")
        let sent = try client.sendUntilStuck(StreamingTests.body, patience: .milliseconds(300))
        #expect(sent < StreamingTests.inFlight)
        #expect(try server.read(sent) == Array(StreamingTests.body[..<sent]))
        #expect(try pair.gateway.memory("VmHWM") - before < StreamingTests.growthKiB)
    }

    // MARK: Credentials

    private static let authority = """
        authority { issuer https://as.example; audience api; token_lifetime 1s; }
        client partner { secret_file secret; scopes read; }
        """

    private func token(_ gateway: Gateway) throws -> String {
        let basic = Data("partner:a-secret".utf8).base64EncodedString()
        let body = "grant_type=client_credentials"
        let reply = try gateway.request(
            "POST /oauth2/token HTTP/1.1\r\n\(hostLine)Authorization: Basic \(basic)\r\n"
                + "Content-Type: application/x-www-form-urlencoded\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
        return try #require(try reply.json()["access_token"] as? String)
    }

    @Test func withoutACredentialTheUpstreamHearsNothing() throws {
        let pair = try Pair(route: "authenticate bearer;", rest: Self.authority)
        let reply = try pair.gateway.request(Self.upgrade())
        #expect(reply.status == 401)
        #expect(!pair.server.hasWaiting)
    }

    @Test func theTunnelEndsWithItsCredential() throws {
        let pair = try Pair(
            route: "authenticate bearer; end_streams_with_credential on grace 100ms;",
            rest: Self.authority)
        let token = try token(pair.gateway)
        let (client, server) = try pair.open("Authorization: Bearer \(token)\r\n")
        #expect(try server.isClosedByPeer())
        let line = try pair.gateway.accessLine { $0["path"] as? String == "/ws?a=1" }
        #expect(line["reason"] as? String == "token_expired")
        #expect(line["client"] as? String == "partner")
        #expect(try client.isClosedByPeer())
    }

    // MARK: Real peers

    @Test func realClientsAndServers() throws {
        let echo = try EchoServer()
        let gateway = try Gateway(
            testConf(
                """
                upstream app { server 127.0.0.1:\(echo.port); }
                route / { upstream app; authenticate none; websocket on; }
                """))
        let result = try echo.talk(through: gateway)
        #expect(result.output == "5 echoes, closed 1000\n", "\(result.error)")
    }
}

/// An echo server by the `websockets` library, and the client that belongs to it.
final class EchoServer {
    let port: UInt16
    private let python: String
    private let script: String
    private let folder: TemporaryDirectory
    private let process: RunningProcess

    init() throws {
        python = try requirePython(module: "websockets", package: "python3-websockets")
        port = try freePort()
        folder = try TemporaryDirectory()
        script = try folder.write("peer.py", EchoServer.source)
        process = try RunningProcess(python, [script, "serve", "\(port)"])
        try process.waitForPort(port)
    }

    /// Exchanges messages of many sizes by way of the gateway.
    ///
    /// - Parameter authority: the certificate of the gateway's; with it the client speaks TLS.
    func talk(through gateway: Gateway, authority: String? = nil) throws -> CommandResult {
        try run(
            python,
            [script, "talk", "\(try gateway.port)"] + [authority].compactMap(\.self))
    }

    private static let source = """
        import asyncio, os, ssl, sys, websockets
        from websockets import connect, serve

        async def echo(socket, path=None):
            async for message in socket:
                await socket.send(message)

        async def main(mode, port):
            if mode == "serve":
                async with serve(echo, "127.0.0.1", port, max_size=None):
                    await asyncio.Future()
            tls = ssl.create_default_context(cafile=sys.argv[3]) if sys.argv[3:] else None
            scheme = "wss" if tls else "ws"
            async with connect(f"{scheme}://127.0.0.1:{port}/", max_size=None, ssl=tls) as socket:
                count = 0
                for message in ["", "hello", "é" * 1000, os.urandom(70000), os.urandom(3000000)]:
                    await socket.send(message)
                    assert await socket.recv() == message
                    count += 1
                await (await socket.ping())
                await socket.close()
                print(f"{count} echoes, closed {socket.close_code}")

        asyncio.run(asyncio.wait_for(main(sys.argv[1], int(sys.argv[2])), 60))
        """
}
