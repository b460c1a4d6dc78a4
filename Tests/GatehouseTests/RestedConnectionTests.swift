import Foundation
import TestSupport
import Testing

/// A request that must not be sent twice, on a connection that its server ends while the gateway is busy: what has not gone
/// out by then goes to another connection.
struct RestedConnectionTests {
    /// A server that the test plays itself.
    private enum Version: String, CaseIterable {
        case http1 = "http/1.1"
        case h2

        private static let http1Answer = Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".utf8)

        /// Takes a connection's first request and answers it.
        func serveFirst(_ server: TCPClient) throws {
            switch self {
            case .http1:
                _ = try server.read(through: "\r\n\r\n")
                try server.send(Self.http1Answer)
            case .h2:
                _ = try server.read(through: "SM\r\n\r\n")
                // SETTINGS, and the acknowledgement of theirs.
                try server.send([0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0])
                try Self.serveStream(1, on: server, isFirst: true)
            }
        }

        /// Answers the connection's second request.
        func serveSecond(_ server: TCPClient) throws {
            switch self {
            case .http1: try serveFirst(server)
            case .h2: try Self.serveStream(3, on: server)
            }
        }

        /// - Parameter isFirst: theirs is acknowledged then, behind which they say nothing of their own.
        private static func serveStream(
            _ id: UInt8, on server: TCPClient, isFirst: Bool = false
        ) throws {
            var (isAsked, isSettled) = (false, !isFirst)
            while !isAsked || !isSettled {
                let head = try server.read(9)
                _ = try server.read(head[0..<3].reduce(0) { $0 << 8 | Int($1) })
                if head[3] == 1, head[8] == id { isAsked = true }
                if head[3] == 4, head[4] == 1 { isSettled = true }
            }
            // `:status: 200` from HPACK's static table, END_STREAM, END_HEADERS.
            try server.send([0, 0, 1, 1, 5, 0, 0, 0, id, 0x88])
        }
    }

    private static let post =
        "POST /open HTTP/1.1\r\n\(hostLine)Content-Length: 0\r\n\r\n"

    @Test(arguments: Version.allCases) private func aPostIsNotLostToAnEndWithinItsTurn(
        version: Version
    ) throws {
        let folder = try TemporaryDirectory()
        try folder.write("secret", "s3cret")
        let upstream = try ManualServer()
        let gateway = try Gateway(
            testConf(
                store: "store sqlite { path state.db; }",
                """
                authority { issuer http://127.0.0.1; scopes read; }
                client one { secret_file secret; scopes read; }
                upstream app { server 127.0.0.1:\(upstream.port); protocol \(version.rawValue); }
                route /open { upstream app; authenticate none; }
                route / { upstream app; authenticate bearer; }
                """), in: folder)
        let issued = try run(
            gatehouseBinary(),
            ["token", "issue", "--client", "one", "--config", folder.file("gateway.conf")])
        // Each costs the check of a signature, which does not hold.
        let token = issued.output.trimmingCharacters(in: .whitespacesAndNewlines).dropLast(8)
        let costly = "GET / HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(token)AAAAAAAA\r\n\r\n"
        let turn = String(repeating: costly, count: 60_000 / costly.utf8.count)
        for number in 0..<8 {
            let client = try gateway.connect()
            let busy = try gateway.connect()
            try client.send("GET /open HTTP/1.1\r\n\(hostLine)\r\n")
            let server = try upstream.accept()
            try version.serveFirst(server)
            #expect(try client.readReply().status == 200)
            gateway.process.signal(SIGSTOP)
            try gateway.waitUntilStopped()
            try client.send(Self.post)
            try busy.send(turn)
            gateway.process.signal(SIGCONT)
            if server.isReadable(within: .milliseconds(2)) {
                try version.serveSecond(server)
            } else {
                server.shutdownWriting()
                try version.serveFirst(try upstream.accept())
            }
            #expect(try client.readReply().status == 200, "\(number)")
            _ = try busy.readReply()
        }
    }
}
