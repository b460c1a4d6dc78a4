import Foundation
import TestSupport
import Testing

/// What depends on which frames of HTTP/2 come together: the test plays the server itself, and a
/// client where its windows count.
struct HTTP2FrameTests {
    private struct Pair {
        let upstream: ManualServer
        let gateway: Gateway

        init(listener: String = "") throws {
            upstream = try ManualServer()
            gateway = try Gateway(
                testConf(
                    workers: 1, listener: listener,
                    """
                    upstream app { server 127.0.0.1:\(upstream.port); protocol h2; }
                    route / { upstream app; authenticate none; }
                    """))
        }

        /// The connection on which the gateway's requests come.
        func accept() throws -> FramePeer {
            let connection = try upstream.accept()
            _ = try connection.read(through: FramePeer.preface)
            let server = FramePeer(connection)
            try server.send(.settings)
            return server
        }
    }

    /// `:status: 200`, in HPACK's static table.
    private static let ok: [UInt8] = [0x88]

    /// A client that takes some of what waits for it leaves its server held up. What comes then
    /// must not make the gateway forget to let the server go on when the rest has been taken.
    @Test func aQueueThatGrowsAgainIsStillWaitedFor() throws {
        let pair = try Pair(listener: "protocols h2c;")
        let connection = try pair.gateway.connect()
        try connection.send(FramePeer.preface)
        let client = FramePeer(connection)
        // INITIAL_WINDOW_SIZE: nothing at all. Then `GET /`, which ends its stream.
        try client.send(.settings, [0, 4, 0, 0, 0, 0])
        let host = Array("h.example".utf8)
        try client.send(
            .headers, flags: 5, on: 1, [0x82, 0x86, 0x84, 0x01, UInt8(host.count)] + host)
        let server = try pair.accept()
        _ = try server.next(.headers)
        try server.send(.headers, flags: 4, on: 1, Self.ok)

        let content = (0..<(341 << 10)).map { UInt8(truncatingIfNeeded: $0 / 251) }
        var sent = 0
        // No faster than the gateway lets its server.
        func sendMore(_ count: Int) throws {
            let end = min(sent + count, content.count)
            while sent < end {
                let piece = Array(content[sent..<min(sent + 16_384, end)])
                while server.window < piece.count { _ = try server.next(.windowUpdate) }
                try server.send(.data, on: 1, piece)
                sent += piece.count
            }
        }
        // More than may wait for a client: the server's window stays shut from here on.
        try sendMore(40 << 10)
        try server.waitUntilTaken()
        // Of 40 KB 15 go: what is left is too much still for the server to go on.
        try client.send(.windowUpdate, on: 1, [0, 0, 0x3C, 0])
        var received = try client.content(15 << 10)
        try sendMore(1 << 10)
        try server.waitUntilTaken()
        // From here on a megabyte may come, and no more than 16 KB wait at any time.
        for stream: UInt8 in [0, 1] { try client.send(.windowUpdate, on: stream, [0, 16, 0, 0]) }
        while received.count < content.count {
            received += try client.content(sent - received.count)
            try sendMore(16_384)
        }
        #expect(received == content)
        try server.send(.data, flags: 1, on: 1)
        #expect(try client.next(.data).flags == 1)
        let line = try pair.gateway.accessLine { $0["path"] as? String == "/" }
        #expect(line["status"] as? Int == 200)
        #expect(line["bytes_out"] as? Int == content.count)
    }

    /// The head of an answer leaves when another client's begins in the same turn. A fault that
    /// comes behind it can only cut the answer: a 502 would stand within it.
    @Test func anAnswerWhoseHeadHasLeftIsCut() throws {
        let pair = try Pair()
        let cut = try pair.gateway.connect()
        try cut.send("GET /cut HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n")
        let server = try pair.accept()
        #expect(try server.next(.headers).stream == 1)
        let whole = try pair.gateway.connect()
        try whole.send("GET /whole HTTP/1.1\r\n\(hostLine)\r\n")
        #expect(try server.next(.headers).stream == 3)
        // In one piece, so that they are one turn's.
        try server.send(
            together: FramePeer.frame(.headers, flags: 4, on: 1, Self.ok),
            FramePeer.frame(.headers, flags: 4, on: 3, Self.ok),
            FramePeer.frame(.data, on: 1, Array("x".utf8)),
            // INTERNAL_ERROR.
            FramePeer.frame(.reset, on: 1, [0, 0, 0, 2]))
        let answer = text(try cut.readToEnd())
        #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"), "\(answer)")
        #expect(answer.components(separatedBy: "HTTP/1.1 ").count == 2, "\(answer)")
        #expect(!answer.contains("\r\n0\r\n\r\n"), "\(answer)")
        // The other one's is none the worse for it.
        try server.send(.data, flags: 1, on: 3, Array("y".utf8))
        #expect(text(try whole.readReply().body) == "y")
        let line = try pair.gateway.accessLine { $0["path"] as? String == "/cut" }
        #expect(line["status"] as? Int == 200)
        #expect(line["upstream_status"] as? Int == 200)
        #expect(line["reason"] as? String == "upstream_reset")
    }
}

/// One end of a connection of HTTP/2, played frame by frame. Every read has its connection's limit.
private final class FramePeer {
    enum Kind: UInt8 {
        case data = 0
        case headers = 1
        case reset = 3
        case settings = 4
        case ping = 6
        case windowUpdate = 8
    }

    struct Frame {
        /// `nil`: one that no test asks for.
        let kind: Kind?
        let flags: UInt8
        let stream: UInt8
        let payload: [UInt8]
    }

    static let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    private let connection: TCPClient
    /// What may be sent on stream 1, as far as the other end has said.
    private(set) var window = 65_535

    init(_ connection: TCPClient) {
        self.connection = connection
    }

    static func frame(
        _ kind: Kind, flags: UInt8 = 0, on stream: UInt8 = 0, _ payload: [UInt8] = []
    ) -> [UInt8] {
        let size = payload.count
        let length = [UInt8(size >> 16), UInt8(size >> 8 & 255), UInt8(size & 255)]
        let rest: [UInt8] = [kind.rawValue, flags, 0, 0, 0, stream]
        return length + rest + payload
    }

    func send(
        _ kind: Kind, flags: UInt8 = 0, on stream: UInt8 = 0, _ payload: [UInt8] = []
    ) throws {
        if kind == .data { window -= payload.count }
        try connection.send(Self.frame(kind, flags: flags, on: stream, payload))
    }

    /// Sends frames in one piece.
    func send(together frames: [UInt8]...) throws {
        try connection.send(frames.flatMap(\.self))
    }

    /// The next frame of that kind.
    func next(_ kind: Kind) throws -> Frame {
        while true {
            let frame = try read()
            if frame.kind == kind { return frame }
        }
    }

    /// Exactly so many bytes of content.
    func content(_ count: Int) throws -> [UInt8] {
        var content: [UInt8] = []
        while content.count < count { content += try next(.data).payload }
        return content
    }

    /// Waits until the other end has taken all that was sent: it answers a PING behind it.
    func waitUntilTaken() throws {
        try send(.ping, [UInt8](repeating: 7, count: 8))
        while try next(.ping).flags & 1 == 0 {}
    }

    /// The next frame. SETTINGS are acknowledged, windows are counted.
    private func read() throws -> Frame {
        let head = try connection.read(9)
        let payload = try connection.read(Self.number(head[..<3]))
        let frame = Frame(
            kind: Kind(rawValue: head[3]), flags: head[4], stream: head[8], payload: payload)
        if frame.kind == .settings, frame.flags & 1 == 0 {
            // Six bytes each; the fourth is INITIAL_WINDOW_SIZE.
            for start in stride(from: 0, to: payload.count, by: 6) where payload[start + 1] == 4 {
                window = Self.number(payload[(start + 2)..<(start + 6)])
            }
            try send(.settings, flags: 1)
        } else if frame.kind == .windowUpdate, frame.stream == 1 {
            window += Self.number(payload[...])
        }
        return frame
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> Int {
        bytes.reduce(0) { $0 << 8 | Int($1) }
    }
}
