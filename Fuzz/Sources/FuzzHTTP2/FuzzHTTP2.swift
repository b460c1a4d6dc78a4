import HTTP

/// What a session told, in a form that can be compared. Every request is answered at once, and all content is used.
private final class Listener: HTTP2ServerDelegate {
    enum Event: Equatable {
        case head(Int32, target: [UInt8], fields: [[UInt8]], BodyFraming)
        case refused(Int32, HTTP1Error)
        /// Content up to the next event of the stream.
        case data(Int32, [UInt8])
        case end(Int32)
    }

    private let session: HTTP2ServerSession
    private var heads: [Int32: RequestHead] = [:]
    var events: [Event] = []

    init(_ session: HTTP2ServerSession) {
        self.session = session
    }

    func makeHead(streamID: Int32) -> RequestHead {
        precondition(heads[streamID] == nil, "a stream begins twice")
        let head = RequestHead()
        heads[streamID] = head
        return head
    }

    func requestHead(streamID: Int32, endsStream: Bool) {
        guard let head = heads[streamID] else { preconditionFailure("a head of no stream") }
        let fields = head.fields.flatMap {
            [Array(head.bytes[$0.name.range]), Array(head.bytes[$0.value.range])]
        }
        let target = Array(head.bytes[head.target.range])
        for part in fields + [target] {
            precondition(!part.contains { $0 == 0x0D || $0 == 0x0A || $0 == 0 })
        }
        precondition(head.isAsterisk || target.first == 0x2F)
        precondition(!head.authority.isEmpty && head.bytes.count <= 4096)
        for line in head.fields {
            precondition(line.id != .connection && line.id != .transferEncoding)
        }
        events.append(.head(streamID, target: target, fields: fields, head.framing))
        answer(streamID, 200)
    }

    func headRefused(streamID: Int32, _ error: HTTP1Error) {
        events.append(.refused(streamID, error))
        answer(streamID, error.status)
    }

    private func answer(_ streamID: Int32, _ status: Int) {
        let lines = Array("Server: x\r\n".utf8)
        let content = Array("ok".utf8)
        session.respond(streamID, status: status, fieldLines: lines.span, endsStream: false)
        session.sendData(streamID, content.span)
        session.finish(streamID, trailerLines: lines.span)
    }

    func data(streamID: Int32, _ input: Span<UInt8>) {
        precondition(heads[streamID] != nil, "data of no stream")
        var bytes: [UInt8] = []
        for index in 0..<input.count { bytes.append(input[index]) }
        if case .data(streamID, let before)? = events.last {
            events[events.count - 1] = .data(streamID, before + bytes)
        } else {
            events.append(.data(streamID, bytes))
        }
        session.consumed(streamID, input.count)
    }

    func requestEnded(streamID: Int32, _ trailers: Trailers) {
        precondition(heads[streamID] != nil, "the end of no stream")
        events.append(.end(streamID))
    }

    func streamClosed(streamID: Int32, code: UInt32) {
        precondition(heads.removeValue(forKey: streamID) != nil, "closed twice")
    }
}

private func run(_ bytes: [UInt8], cuts: [Int]) -> [Listener.Event] {
    let settings = HTTP2Settings(
        streams: 8, head: HTTP1Limits(requestLineBytes: 64, headBytes: 512, fieldCount: 8))
    guard let session = try? HTTP2ServerSession(settings: settings) else { return [] }
    let listener = Listener(session)
    session.delegate = listener
    defer { session.delegate = nil }
    var start = 0
    do throws(HTTP2Error) {
        for end in cuts + [bytes.count] {
            let piece = Array(bytes[start..<end])
            try session.receive(piece.span)
            start = end
        }
    } catch {}
    var output: [UInt8] = []
    session.appendOutput(to: &output, upTo: 1 << 20)
    precondition(output.count < 1 << 20, "more goes out than one input can ask for")
    return listener.events
}

/// No stream of frames crashes the session; cuts change nothing that is told; what is handed over belongs to an open stream, and no
/// head has what would be another line over HTTP/1.1.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHTTP2(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    // The preface and empty SETTINGS are given: the fuzzer begins with the first frame that matters.
    let opening = HTTP2ServerSession.preface + [0, 0, 0, 4, 0, 0, 0, 0, 0]
    let bytes = opening + Array(UnsafeBufferPointer(start: data, count: count))
    let whole = run(bytes, cuts: [])
    let place = bytes.reduce(into: 17) { $0 = ($0 &* 31 &+ Int($1)) & 0xFFFF } % bytes.count
    let cut = run(bytes, cuts: [place])
    // A session that is closing stops at the end of a piece: then less is told, never other things.
    precondition(
        whole.starts(with: cut) || cut.starts(with: whole),
        "cut at \(place): \(cut) is not \(whole)")
    return 0
}
