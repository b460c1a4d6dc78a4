import Comparison
import HTTP

/// What a session told, in a form that can be compared. Every request is answered at once, and all content is used.
private final class Listener: HTTP2ServerDelegate {
    enum Event: Equatable {
        case head(Int32, target: [UInt8], fields: [[UInt8]], BodyFraming)
        case refused(Int32, HTTP1Error)
        case end(Int32)
    }

    let session: HTTP2ServerSession
    private var open: Set<Int32> = []
    var events: [Event] = []
    var contents: Contents = [:]

    init(_ session: HTTP2ServerSession) {
        self.session = session
    }

    func beginStream(id: Int32) -> (HTTP2ServerStream, RequestHead) {
        precondition(open.insert(id).inserted, "a stream begins twice")
        let stream = Answerer(id: id, listener: self)
        return (stream, stream.head)
    }

    func closed(_ id: Int32) {
        precondition(open.remove(id) != nil, "closed twice")
    }

    func streamHasClosed() {}

    /// Whether a head was told, be it as refused, and no end yet.
    func isReading(_ id: Int32) -> Bool {
        let hasHead = events.contains { event in
            switch event {
            case .head(id, _, _, _), .refused(id, _): true
            default: false
            }
        }
        return open.contains(id) && hasHead && !events.contains(.end(id))
    }
}

private final class Answerer: HTTP2ServerStream {
    let head = RequestHead()
    private unowned let listener: Listener

    init(id: Int32, listener: Listener) {
        self.listener = listener
        super.init(id: id)
    }

    override func headComplete(endsStream: Bool) {
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
        listener.events.append(.head(id, target: target, fields: fields, head.framing))
        answer(200)
    }

    override func headRefused(_ error: HTTP1Error) {
        listener.events.append(.refused(id, error))
        answer(error.status)
    }

    private func answer(_ status: Int) {
        let lines = Array("Server: x\r\n".utf8)
        let content = Array("ok".utf8)
        let session = listener.session
        session.respond(self, status: status, fieldLines: lines.span, endsStream: false)
        session.sendData(self, content.span)
        session.finish(self, trailerLines: lines.span)
    }

    override func dataReceived(_ input: Span<UInt8>) {
        precondition(listener.isReading(id), "content before a head or behind the end")
        for index in 0..<input.count { listener.contents[id, default: []].append(input[index]) }
        listener.session.consumed(input.count, of: id)
    }

    override func requestEnded(_ trailers: Trailers) {
        precondition(listener.isReading(id), "the end of no request")
        listener.events.append(.end(id))
    }

    override func closed(code: UInt32) {
        listener.closed(id)
    }
}

private func run(_ bytes: [UInt8], cuts: [Int]) -> (events: [Listener.Event], contents: Contents) {
    let settings = HTTP2Settings(
        streams: 8, head: HTTP1Limits(requestLineBytes: 64, headBytes: 512, fieldCount: 8))
    guard let session = try? HTTP2ServerSession(settings: settings) else { return ([], [:]) }
    let listener = Listener(session)
    session.delegate = listener
    defer { session.detach() }
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
    return (listener.events, listener.contents)
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
        whole.events.starts(with: cut.events) || cut.events.starts(with: whole.events),
        "cut at \(place): \(cut) is not \(whole)")
    let isSame = agree(whole.contents, cut.contents) {
        whole.events.contains(.end($0)) && cut.events.contains(.end($0))
    }
    precondition(isSame, "cut at \(place): \(cut) is not \(whole)")
    return 0
}
