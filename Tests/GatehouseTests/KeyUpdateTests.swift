import COpenSSL
import Foundation
import TestSupport
import Testing

/// Clients that change their keys (RFC 8446 section 4.6.3): now and then, at the wrong moment, and without end.
struct KeyUpdateTests {
    /// A client by OpenSSL itself: no program can be made to send these.
    private final class Client {
        private let context: OpaquePointer
        private let session: OpaquePointer
        private let descriptor: Int32

        init(port: UInt16) throws {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            self.descriptor = descriptor
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            let connected = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            var limit = timeval(tv_sec: 10, tv_usec: 0)
            let size = socklen_t(MemoryLayout<timeval>.size)
            setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
            setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
            guard connected == 0, let context = SSL_CTX_new(TLS_client_method()),
                let session = SSL_new(context)
            else { throw Failure("no client") }
            self.context = context
            self.session = session
            signal(SIGPIPE, SIG_IGN)
            SSL_set_fd(session, descriptor)
            guard SSL_connect(session) == 1 else { throw Failure("no handshake") }
        }

        deinit {
            SSL_free(session)
            SSL_CTX_free(context)
            close(descriptor)
        }

        func send(_ text: String) {
            let bytes = Array(text.utf8)
            SSL_write(session, bytes, Int32(bytes.count))
        }

        /// - Returns: false when the connection has ended.
        func updateKeys() -> Bool {
            SSL_key_update(session, SSL_KEY_UPDATE_REQUESTED) == 1 && SSL_do_handshake(session) == 1
        }

        /// Reads to the end; `between` is called after each read.
        func readToEnd(_ between: (Int) -> Void = { _ in }) -> [UInt8] {
            var all: [UInt8] = []
            var piece = [UInt8](repeating: 0, count: 16384)
            var reads = 0
            while true {
                let count = SSL_read(session, &piece, Int32(piece.count))
                guard count > 0 else { return all }
                all += piece[..<Int(count)]
                reads += 1
                between(reads)
            }
        }
    }

    private static func gateway(_ upstream: ScriptedUpstream) throws -> Gateway {
        let authority = try TestAuthority()
        try authority.issue("one", ["IP:127.0.0.1"])
        return try Gateway(
            testConf(
                listener: "tls { certificate one.crt; key one.key; }",
                """
                listener clear { address 127.0.0.1:0; }
                upstream app { server 127.0.0.1:\(upstream.port); }
                route / { upstream app; authenticate none; }
                """), in: authority.folder)
    }

    @Test func keysChangeWhileAnAnswerIsUnderWay() throws {
        let body = String(repeating: "0123456789abcdef", count: 500_000)
        let upstream = try ScriptedUpstream { _ in [.respond(body: body)] }
        let gateway = try Self.gateway(upstream)
        let client = try Client(port: gateway.port)
        #expect(client.updateKeys())
        client.send("GET / HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n")
        // The first come while the answer does not fit into the socket: the gateway's own must wait for its turn.
        for _ in 0..<5 { #expect(client.updateKeys()) }
        let answer = client.readToEnd { reads in
            if reads % 20 == 0, reads < 400 { _ = client.updateKeys() }
        }
        #expect(text(Array(answer.suffix(body.utf8.count))) == body)
    }

    @Test func aFloodOfThemEndsItsConnectionAndHoldsUpNobody() throws {
        let upstream = try ScriptedUpstream { _ in [.respond(body: "ok")] }
        let gateway = try Self.gateway(upstream)
        let client = try Client(port: gateway.port)
        var updates = 0
        while updates < 100_000, client.updateKeys() { updates += 1 }
        // What is under way when the gateway ends it still leaves.
        #expect(updates < 100_000)
        let plain = try TCPClient(port: gateway.port(of: "clear"))
        try plain.send("GET / HTTP/1.1\r\n\(hostLine)\r\n")
        #expect(try plain.readReply().status == 200)
    }

    /// A byte of content now and then pays for nothing.
    @Test func aFloodWithALittleContentIsOneToo() throws {
        let upstream = try ScriptedUpstream { _ in [.respond(body: "ok")] }
        let gateway = try Self.gateway(upstream)
        let client = try Client(port: gateway.port)
        client.send("PUT / HTTP/1.1\r\n\(hostLine)Content-Length: 100000\r\n\r\n")
        var updates = 0
        while updates < 100_000, client.updateKeys() {
            updates += 1
            if updates % 20 == 0 { client.send("x") }
        }
        #expect(updates < 100_000)
    }
}
