import Glibc
import Primitives
import TestSupport
import Testing

@testable import Transport

/// How sealed bytes leave: several records by one call, and counted by the byte where a peer takes them slowly.
struct TLSWriteTests {
    /// A server's session and a client's, past their handshake, on two ends of a socket pair.
    private final class Ends {
        var server: TLSSession
        var client: TLSSession
        private let near: Int32
        private let far: Int32
        private let buffer = ByteBuffer(capacity: 256 << 10)

        init(sendBuffer: Int32 = 1 << 20) throws {
            var ends: [Int32] = [0, 0]
            try #require(
                socketpair(
                    AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends) == 0)
            let authority = try TestAuthority()
            try authority.issue("one", ["DNS:one.test"])
            func bytes(_ file: String) -> [UInt8] { Array(authority.folder.read(file).utf8) }
            let identity = try TLSIdentity(
                certificates: bytes("one.crt"), privateKey: bytes("one.key"))
            let context = try TLSServerContext(
                [identity], TLSServerContext.Settings(), ticketKeys: TLSTicketKeys())
            var rules = TLSClientContext.Settings()
            rules.authorities = bytes("ca.pem")
            var server = try TLSSession(server: context, descriptor: ends[0])
            var client = try TLSSession(
                client: TLSClientContext(rules), name: .host("one.test"),
                resumption: TLSResumption(), descriptor: ends[1])
            var isDone = (server: false, client: false)
            for _ in 0..<10 where !isDone.server || !isDone.client {
                if !isDone.client { isDone.client = client.handshake() == .done }
                if !isDone.server { isDone.server = server.handshake() == .done }
            }
            let isReady = isDone.server && isDone.client
            // Of this size from here on, so that a write need not find room for all of it.
            var size = sendBuffer
            let length = socklen_t(MemoryLayout<Int32>.size)
            let isSet = setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, length) == 0
            (near, far) = (ends[0], ends[1])
            self.server = server
            self.client = client
            try #require(isReady && isSet)
        }

        deinit {
            _ = close(near)
            _ = close(far)
        }

        /// What the client is given of what has come.
        func received() -> [UInt8] {
            let buffer = self.buffer
            var all: [UInt8] = []
            while true {
                buffer.removeAll()
                guard case .bytes = client.read(into: buffer) else { return all }
                all.append(buffer.readable)
            }
        }
    }

    private static let content = (0..<(1 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }

    @Test func aMegabyteLeavesInAsManyCallsAsItWasReadIn() throws {
        let ends = try Ends()
        var received: [UInt8] = []
        let before = ends.server.sends
        // As a relay writes: what one read gave.
        for start in stride(from: 0, to: TLSWriteTests.content.count, by: 64 << 10) {
            let piece = TLSWriteTests.content[start..<start + 64 << 10]
            #expect(ends.server.write(Array(piece).span) == .bytes(64 << 10))
            received += ends.received()
        }
        #expect(received == TLSWriteTests.content)
        #expect(ends.server.sends - before == 16)
    }

    @Test func aLittleMoreThanAReadLeavesByOneCallToo() throws {
        let ends = try Ends()
        let piece = Array(TLSWriteTests.content[..<(64 << 10 + 36)])
        let before = ends.server.sends
        #expect(ends.server.write(piece.span) == .bytes(piece.count))
        #expect(ends.server.sends - before == 1)
        #expect(ends.received() == piece)
    }

    @Test func whatWaitsForASlowPeerIsCountedAsItGoes() throws {
        let ends = try Ends(sendBuffer: 8 << 10)
        var output = Array(TLSWriteTests.content[..<(200 << 10)])
        let sent = output
        var received: [UInt8] = []
        var largest = 0
        var stalls = 0
        while !output.isEmpty {
            switch ends.server.write(output.span) {
            case .bytes(let count):
                try #require(count <= output.count)
                output.removeFirst(count)
                largest = max(largest, count)
            case .wouldBlock:
                stalls += 1
                try #require(stalls < 1000)
            case .end, .failed:
                Issue.record("the write failed")
                return
            }
            received += ends.received()
        }
        received += ends.received()
        #expect(received == sent)
        // What the socket has room for at once, and not the 64 KiB that are sealed at once.
        #expect(largest <= 32 << 10, "\(largest)")
    }

    @Test func nothingIsKeptForAPeerThatHasTakenAll() throws {
        let ends = try Ends()
        let piece = Array(TLSWriteTests.content[..<(64 << 10)])
        #expect(ends.server.write(piece.span) == .bytes(piece.count))
        #expect(ends.server.keptBytes == 0)
    }
}
