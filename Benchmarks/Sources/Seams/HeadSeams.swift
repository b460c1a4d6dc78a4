import Glibc
import HTTP
import References

/// Request heads of both versions.
enum HeadSeams {
    static func http1(authorization: String) -> Seam {
        let text = requestText(authorization: authorization)
        let head = RequestHead()
        var parser = RequestHeadParser(limits: HTTP1Limits())
        var copy = [UInt8](repeating: 0, count: text.count)
        return Seam(
            name: "request head, \(text.count) bytes",
            subject: { count in
                for _ in 0..<count {
                    head.reset()
                    parser.reset()
                    guard case .complete? = try? parser.parse(text.span, from: 0, into: head) else {
                        fatalError("not read")
                    }
                }
            },
            reference: "memchr and memcpy, line by line",
            base: { count in
                for _ in 0..<count { use(reference_copy_lines(text, text.count, &copy)) }
            })
    }

    /// Against the same frames in a bare session of nghttp2, and against its HPACK decoder alone.
    static func http2(authorization: String) -> [Seam] {
        let frames = HTTP2Frames(authorization: authorization)
        let client = HTTP2Client(frames)
        let bare = BareSession(frames)
        let inflater = reference_inflater_make(frames.warmBlock, frames.warmBlock.count)
        let block = frames.block
        return [
            Seam(
                name: "HTTP/2 head in and a bare answer", subject: client.run,
                reference: "the same in a session of nghttp2", base: bare.run),
            Seam(
                name: "HTTP/2 head in and a bare answer", subject: client.run,
                reference: "HPACK decoder of nghttp2 alone",
                base: { count in
                    for _ in 0..<count {
                        guard reference_inflate(inflater, block, block.count) > 0 else {
                            fatalError("not undone")
                        }
                    }
                }),
        ]
    }
}

/// A GET with ten fields as nghttp2's encoder writes it, again and again.
struct HTTP2Frames {
    /// The head that fills the tables of both ends.
    let first: [UInt8]
    let next: [UInt8]

    init(authorization: String) {
        let list =
            [
                (":method", "GET"), (":scheme", "https"), (":authority", "api.example.test"),
                (":path", "/items/42?page=2"),
            ] + fields.dropFirst().map { ($0.name, $0.value) } + [("authorization", authorization)]
        // They live as long as the process.
        let texts = list.map {
            reference_field(name: UnsafePointer(strdup($0.0)), value: UnsafePointer(strdup($0.1)))
        }
        var output = [UInt8](repeating: 0, count: 8192)
        var second = 0
        let count = reference_headers_frames(texts, texts.count, &output, output.count, &second)
        guard count > 0 else { fatalError("not encoded") }
        first = Array(output[..<second])
        next = Array(output[second..<count])
    }

    var warmBlock: [UInt8] { Array(first.dropFirst(9)) }
    var block: [UInt8] { Array(next.dropFirst(9)) }

    static func number(_ frame: inout [UInt8], _ stream: Int32) {
        for place in 0..<4 {
            frame[5 + place] = UInt8(truncatingIfNeeded: stream >> (24 - 8 * place))
        }
    }

    static let opening = HTTP2ServerSession.preface + [0, 0, 0, 4, 0, 0, 0, 0, 0]
}

/// Our session, and the one who answers.
private final class HTTP2Client: HTTP2ServerDelegate {
    private let session: HTTP2ServerSession
    private let head = RequestHead()
    private var frame: [UInt8]
    private var stream: Int32 = 1
    private var output: [UInt8] = []
    private var heads = 0

    init(_ frames: HTTP2Frames) {
        guard let session = try? HTTP2ServerSession(settings: HTTP2Settings()) else {
            fatalError("no session")
        }
        self.session = session
        frame = frames.next
        session.delegate = self
        var first = frames.first
        HTTP2Frames.number(&first, stream)
        receive(HTTP2Frames.opening + first)
    }

    func run(_ count: Int) {
        let before = heads
        for _ in 0..<count {
            stream += 2
            HTTP2Frames.number(&frame, stream)
            receive(frame)
        }
        guard heads == before + count else { fatalError("not every head came") }
    }

    private func receive(_ bytes: [UInt8]) {
        guard (try? session.receive(bytes.span)) != nil else { fatalError("refused") }
        output.removeAll(keepingCapacity: true)
        session.appendOutput(to: &output, upTo: 1 << 16)
    }

    func beginStream(id: Int32) -> (HTTP2ServerStream, RequestHead) {
        head.reset()
        return (Answered(id: id, client: self), head)
    }

    func streamHasClosed() {}

    func answer(_ stream: HTTP2ServerStream) {
        heads += 1
        let none: [UInt8] = []
        session.respond(stream, status: 204, fieldLines: none.span, endsStream: true)
    }
}

private final class Answered: HTTP2ServerStream {
    private let client: HTTP2Client

    init(id: Int32, client: HTTP2Client) {
        self.client = client
        super.init(id: id)
    }

    override func headComplete(endsStream: Bool) { client.answer(self) }
    override func headRefused(_ error: HTTP1Error) { fatalError("\(error)") }
}

/// nghttp2 without us.
private final class BareSession {
    private let session = reference_session_make()
    private var frame: [UInt8]
    private var stream: Int32 = 1

    init(_ frames: HTTP2Frames) {
        frame = frames.next
        var first = frames.first
        HTTP2Frames.number(&first, stream)
        let bytes = HTTP2Frames.opening + first
        guard reference_session_run(session, bytes, bytes.count, stream) > 0 else {
            fatalError("refused")
        }
    }

    func run(_ count: Int) {
        for _ in 0..<count {
            stream += 2
            HTTP2Frames.number(&frame, stream)
            guard reference_session_run(session, frame, frame.count, stream) > 0 else {
                fatalError("refused")
            }
        }
    }
}
