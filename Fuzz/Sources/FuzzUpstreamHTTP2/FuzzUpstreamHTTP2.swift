import Comparison
import HTTP

/// What a client's session told of two requests, a GET and a HEAD, in a form that can be compared.
private final class Listener: HTTP2ClientDelegate {
    enum Event: Equatable {
        case head(Int32, status: Int, fields: [[UInt8]], BodyFraming)
        case end(Int32, trailers: [[UInt8]])
        case closed(Int32, HTTP2StreamEnd)
    }

    private let session: HTTP2ClientSession
    private var heads: [Int32: ResponseHead] = [:]
    private var open: Set<Int32>
    private var ended: Set<Int32> = []
    let isHead: Int32
    var events: [Event] = []
    var contents: Contents = [:]

    init(_ session: HTTP2ClientSession, streams: [Int32]) {
        self.session = session
        open = Set(streams)
        isHead = streams[1]
    }

    func makeHead(streamID: Int32) -> ResponseHead? {
        precondition(open.contains(streamID), "a head on no stream")
        let head = ResponseHead()
        heads[streamID] = head
        return head
    }

    func responseHead(streamID: Int32) {
        guard let head = heads[streamID] else { preconditionFailure("a head of no stream") }
        let fields = parts(head.fields, head.bytes)
        precondition((100...599).contains(head.status) && head.status != 101)
        precondition(head.bytes.count <= 4096)
        for line in head.fields {
            precondition(line.id != .connection && line.id != .transferEncoding)
        }
        events.append(.head(streamID, status: head.status, fields: fields, head.framing))
    }

    private func parts(_ fields: [FieldLine], _ bytes: [UInt8]) -> [[UInt8]] {
        let parts = fields.flatMap { [Array(bytes[$0.name.range]), Array(bytes[$0.value.range])] }
        for part in parts { precondition(!part.contains { $0 == 0x0D || $0 == 0x0A || $0 == 0 }) }
        return parts
    }

    func data(streamID: Int32, _ input: Span<UInt8>) {
        precondition(open.contains(streamID) && !ended.contains(streamID), "data of no answer")
        precondition(streamID != isHead, "an answer to HEAD has content")
        guard let head = heads[streamID] else { preconditionFailure("data before a head") }
        precondition(!head.isInterim, "data before the final head")
        for index in 0..<input.count { contents[streamID, default: []].append(input[index]) }
        session.consumed(streamID, input.count)
    }

    func responseEnded(streamID: Int32, _ trailers: Trailers) {
        precondition(open.contains(streamID) && ended.insert(streamID).inserted, "ended twice")
        events.append(.end(streamID, trailers: parts(trailers.fields, trailers.bytes)))
    }

    func streamClosed(streamID: Int32, _ end: HTTP2StreamEnd) {
        precondition(open.remove(streamID) != nil, "closed twice")
        precondition((end == .complete) == ended.contains(streamID) || end == .malformed)
        events.append(.closed(streamID, end))
    }
}

private func request(_ session: HTTP2ClientSession, _ method: String) -> Int32? {
    let head = Array("\(method) /p HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".utf8)
    return try? session.request(head.span, isTLS: false, takesTrailers: true, endsStream: true)
}

private func run(_ bytes: [UInt8], cuts: [Int]) -> (events: [Listener.Event], contents: Contents) {
    let settings = HTTP2Settings(
        streams: 8, head: HTTP1Limits(requestLineBytes: 64, headBytes: 512, fieldCount: 8))
    guard let session = try? HTTP2ClientSession(settings: settings),
        let first = request(session, "GET"), let second = request(session, "HEAD")
    else { return ([], [:]) }
    let listener = Listener(session, streams: [first, second])
    session.delegate = listener
    defer { session.delegate = nil }
    // The requests must be out before they can be answered.
    var output: [UInt8] = []
    session.appendOutput(to: &output, upTo: 1 << 20)
    var start = 0
    do throws(HTTP2Error) {
        for end in cuts + [bytes.count] {
            let piece = Array(bytes[start..<end])
            try session.receive(piece.span)
            start = end
        }
    } catch {}
    output = []
    session.appendOutput(to: &output, upTo: 1 << 20)
    precondition(output.count < 1 << 20, "more goes out than one input can ask for")
    return (listener.events, listener.contents)
}

/// No stream of frames of a server's crashes the session; cuts change nothing that is told; what is told belongs to a stream that
/// is open, in the order that answers have.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzUpstreamHTTP2(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    // Empty SETTINGS are given: the fuzzer begins with the first frame that matters.
    let bytes: [UInt8] =
        [0, 0, 0, 4, 0, 0, 0, 0, 0] + Array(UnsafeBufferPointer(start: data, count: count))
    let whole = run(bytes, cuts: [])
    let place = bytes.reduce(into: 17) { $0 = ($0 &* 31 &+ Int($1)) & 0xFFFF } % bytes.count
    let cut = run(bytes, cuts: [place])
    precondition(whole.events == cut.events, "cut at \(place): \(cut) is not \(whole)")
    // Not whole is also what was still open when the connection broke.
    let isSame = agree(whole.contents, cut.contents) {
        whole.events.contains(.closed($0, .complete))
    }
    precondition(isSame, "cut at \(place): \(cut) is not \(whole)")
    return 0
}
