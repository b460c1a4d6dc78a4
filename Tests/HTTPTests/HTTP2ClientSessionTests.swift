import Testing

@testable import HTTP

struct HTTP2ClientSessionTests {
    private final class Ends: HTTP2ClientDelegate {
        var ends: [Int32: HTTP2StreamEnd] = [:]
        func makeHead(streamID: Int32) -> ResponseHead? { ResponseHead() }
        func responseHead(streamID: Int32) {}
        func data(streamID: Int32, _ input: Span<UInt8>) {}
        func responseEnded(streamID: Int32, _ trailers: Trailers) {}
        func streamClosed(streamID: Int32, _ end: HTTP2StreamEnd) { ends[streamID] = end }
    }

    private func frame(_ type: UInt8, stream: UInt8, _ payload: [UInt8] = []) -> [UInt8] {
        [0, 0, UInt8(payload.count), type, 0, 0, 0, 0, stream] + payload
    }

    /// Before the server's SETTINGS one request alone goes out; a frame that breaks the connection by naming the
    /// other's stream is no answer to it.
    @Test func aRequestThatHasNotGoneOutIsNotMalformedByAFrameOnItsStream() throws {
        let session = try HTTP2ClientSession(settings: HTTP2Settings(streams: 8))
        let ends = Ends()
        session.delegate = ends
        defer { session.delegate = nil }
        let head = Array("GET /p HTTP/1.1\r\nHost: h\r\n\r\n".utf8)
        let first = try session.request(
            head.span, isTLS: false, takesTrailers: false, endsStream: true)
        let second = try session.request(
            head.span, isTLS: false, takesTrailers: false, endsStream: true)
        var output: [UInt8] = []
        session.appendOutput(to: &output, upTo: 1 << 20)
        #expect(session.isSent(first) && !session.isSent(second))

        let settings = frame(4, stream: 0)
        let refused = frame(3, stream: UInt8(first), [0, 0, 0, 7])
        let goAway = frame(7, stream: 0, [0, 0, 0, 0, 0, 0, 0, 6])
        let broken = frame(7, stream: UInt8(second), [0, 0, 0, 0, 0, 0, 0, 0])
        let input = settings + refused + goAway + broken
        try? session.receive(input.span)
        session.appendOutput(to: &output, upTo: 1 << 20)
        #expect(ends.ends == [first: .unprocessed, second: .unprocessed])
    }

    // MARK: What comes on streams that are no more

    private static let streamWindow = 64 << 10

    /// A session whose first stream has ended, by its server's answer or by a reset of ours.
    private func session(endedByServer: Bool) throws -> HTTP2ClientSession {
        let session = try HTTP2ClientSession(settings: HTTP2Settings(streams: 8))
        session.delegate = Ends()
        let head = Array("GET /p HTTP/1.1\r\nHost: h\r\n\r\n".utf8)
        let stream = try session.request(
            head.span, isTLS: false, takesTrailers: false, endsStream: true)
        _ = output(of: session)
        try receive(frame(4, stream: 0), session)
        if endedByServer {
            // HEADERS with END_STREAM and END_HEADERS, `:status: 200`.
            try receive([0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88], session)
        } else {
            session.reset(stream, code: .cancel)
        }
        _ = output(of: session)
        #expect(session.openStreams == 0)
        return session
    }

    private func receive(_ input: [UInt8], _ session: HTTP2ClientSession) throws {
        try session.receive(input.span)
    }

    private func output(of session: HTTP2ClientSession) -> [UInt8] {
        var output: [UInt8] = []
        session.appendOutput(to: &output, upTo: 1 << 20)
        return output
    }

    private static let late: [[UInt8]] = [
        [0, 0, 0, 0, 0, 0, 0, 0, 1],
        [0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88],
        [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8],
        [0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 0, 1],
        [0, 0, 1, 0, 0, 0, 0, 0, 1, 7],
    ]

    @Test(arguments: late) func aFloodOfThemEndsTheConnection(frame: [UInt8]) throws {
        let session = try session(endedByServer: true)
        var sent = 0
        while !session.isTerminated, sent <= FloodGuard.capacity {
            try receive(frame, session)
            sent += 1
        }
        #expect(session.isTerminated && sent > 100)
        // GOAWAY, ENHANCE_YOUR_CALM; nothing that comes behind it counts.
        let last = output(of: session).suffix(17)
        #expect(last.count == 17 && last.prefix(5) == [0, 0, 8, 7, 0] && last.last == 11)
        #expect(!session.canOpen)
        try receive(frame, session)
        #expect(session.isFinished)
    }

    @Test(arguments: late) func someOfThemAreBorne(frame: [UInt8]) throws {
        let session = try session(endedByServer: true)
        for _ in 0..<100 { try receive(frame, session) }
        #expect(!session.isTerminated)
        for _ in 0..<20 {
            session.earn(500)
            for _ in 0..<100 { try receive(frame, session) }
        }
        #expect(!session.isTerminated)
    }

    /// A window's worth was under way when its client left, in pieces as small as there are.
    @Test func whatWasUnderWayIsFree() throws {
        let session = try session(endedByServer: false)
        for _ in 0..<Self.streamWindow { try receive(Self.late[4], session) }
        #expect(!session.isTerminated)
        for _ in 0...FloodGuard.capacity { try receive(Self.late[4], session) }
        #expect(session.isTerminated)
    }

    /// Clients leave while their answers are on the way: the server has done nothing that would cost it the connection.
    @Test func clientsThatLeaveCostTheServerNothing() throws {
        let session = try HTTP2ClientSession(settings: HTTP2Settings(streams: 100))
        session.delegate = Ends()
        try receive(frame(4, stream: 0), session)
        let head = Array("GET /p HTTP/1.1\r\nHost: h\r\n\r\n".utf8)
        for _ in 0..<2000 {
            let stream = try session.request(
                head.span, isTLS: false, takesTrailers: false, endsStream: true)
            _ = output(of: session)
            session.reset(stream, code: .cancel)
            _ = output(of: session)
            let id = (0..<4).map { UInt8(truncatingIfNeeded: stream >> (24 - 8 * $0)) }
            let answer: [UInt8] =
                [0, 0, 1, 1, 4] + id + [0x88] + [0, 0, 2, 0, 0] + id + [7, 7]
                + [0, 0, 0, 0, 1] + id
            try receive(answer, session)
            try #require(!session.isTerminated)
        }
    }

    /// As servers do whose handlers read 512 bytes at a time: each step opens the stream's window and the connection's.
    @Test(arguments: [(512, true), (64, true), (63, false), (1, false)])
    func aServerMayTakeAnUploadInSteps(step: Int, isBorne: Bool) throws {
        let session = try HTTP2ClientSession(settings: HTTP2Settings(streams: 8))
        session.delegate = Ends()
        let head = Array("POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
        let stream = try session.request(
            head.span, isTLS: false, takesTrailers: false, endsStream: false)
        // A window of 1 MiB for streams, and as much for the connection.
        let settings: [UInt8] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 16, 0, 0]
        try receive(settings + window(0, 1 << 20), session)
        let content = [UInt8](repeating: 7, count: 1 << 20)
        session.sendData(stream, content.span)
        session.finish(stream, trailerLines: [UInt8]().span)
        while session.queuedBytes(stream) > 0 { _ = output(of: session) }
        var taken = 0
        while taken < content.count, !session.isTerminated {
            try receive(window(stream, step) + window(0, step), session)
            taken += step
        }
        #expect(session.isTerminated == !isBorne)
    }

    private func window(_ stream: Int32, _ increment: Int) -> [UInt8] {
        [0, 0, 4, 8, 0, 0, 0, 0, UInt8(stream)]
            + (0..<4).map { UInt8(truncatingIfNeeded: increment >> (24 - 8 * $0)) }
    }
}
