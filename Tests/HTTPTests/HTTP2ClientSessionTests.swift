import Testing

@testable import HTTP

struct HTTP2ClientSessionTests {
    private final class Ends: HTTP2ClientDelegate {
        var ends: [Int32: HTTP2StreamEnd] = [:]
        func makeHead(streamID: Int32) -> ResponseHead? { nil }
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
}
