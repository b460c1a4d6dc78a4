import CNghttp2
import Primitives

/// Whoever answers the requests of a client's connection; called from within `receive` and `appendOutput`. What comes on a
/// stream the stream itself is told.
public protocol HTTP2ServerDelegate: AnyObject {
    /// A request begins.
    ///
    /// - Returns: the stream that answers it, and the head to fill.
    func beginStream(id: Int32) -> (HTTP2ServerStream, RequestHead)
    /// A stream has closed, and was told so.
    func streamHasClosed()
}

/// The server's end of an HTTP/2 connection (RFC 9113): bytes in, events out, and back. No sockets, no clock.
///
/// The library (nghttp2) keeps frames, HPACK, flow control and stream states. Here are the rules that it leaves open:
/// what is malformed, what ends the connection, and how much a client may cost.
@safe public final class HTTP2ServerSession {
    /// What a client sends first (section 3.4).
    public static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    /// What the PING behind the announcement of the end carries, so that its answer is told from others'.
    static let announcementMark = Array("goodbye!".utf8)
    /// CONTINUATION frames of one head (CVE-2024-27316).
    private static let continuationLimit = 8

    /// Whoever sets it calls `detach` when the connection ends: a weak one would slow down every reference to it.
    public var delegate: (any HTTP2ServerDelegate)?
    let settings: HTTP2Settings
    var session: OpaquePointer?
    var streams = StreamTable<HTTP2ServerStream>()
    var flood = FloodGuard()
    var block = FieldBlock()
    var hasSettings = false
    /// The client has acknowledged our settings.
    var hasAcknowledgement = false
    var incoming = IncomingBlock()
    /// More decoded bytes of one block are an attack.
    let decodedLimit: Int
    var lastStreamID: Int32 = 0
    /// The last stream that counts, once that is to be told the client. What it begins before it knows is ignored
    /// (section 6.8): by the library as soon as the GOAWAY has gone out, by us from then on that it was said.
    private(set) var finalStreamID = Int32.max
    var closed = ClosedStreams()
    var isTerminated = false
    var isAnnounced = false
    private var walker = FrameWalker(preface: preface.count)

    public init(settings: HTTP2Settings) throws(HTTP2Error) {
        self.settings = settings
        decodedLimit = 4 * (settings.head.headBytes + 32 * settings.head.fieldCount)
        unsafe session = nil
        let code = unsafe HTTP2ServerCallbacks.open(self, &session)
        guard code == 0 else { throw .library(code) }
        let list: [(nghttp2_settings_id, Int)] = [
            (NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.streams),
            (NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings.streamWindow),
            // 32 is what the RFC adds for each field (section 6.5.2).
            (
                NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
                settings.head.headBytes + 32 * settings.head.fieldCount
            ),
            (NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1),
        ]
        let entries = list.map {
            nghttp2_settings_entry(
                settings_id: Int32($0.0.rawValue), value: UInt32(clamping: $0.1))
        }
        let flags = UInt8(NGHTTP2_FLAG_NONE.rawValue)
        var result = unsafe entries.withUnsafeBufferPointer {
            unsafe nghttp2_submit_settings(session, flags, $0.baseAddress, $0.count)
        }
        if result == 0 {
            result = unsafe nghttp2_session_set_local_window_size(
                session, flags, 0, Int32(clamping: settings.connectionWindow))
        }
        guard result == 0 else { throw .library(result) }
    }

    deinit {
        unsafe nghttp2_session_del(session)
    }

    // MARK: Input

    /// Takes what the client sent.
    ///
    /// - Throws: when the connection is beyond an answer. A GOAWAY, where one is due, has been queued.
    public func receive(_ input: Span<UInt8>) throws(HTTP2Error) {
        var start = 0
        var offset = 0
        while let frame = walker.next(input, from: &offset) {
            // What comes before the frame decides in which state it finds the connection.
            let before = max(start, offset - FrameWalker.headerCount)
            try feed(input.extracting(start..<before))
            start = before
            switch frame {
            case .data(let streamID, _):
                if streams[streamID] == nil {
                    if streamID > finalStreamID {
                        spend(FloodGuard.frameCost)
                    } else if streamID <= lastStreamID {
                        judgeLateFrame(streamID)
                    }
                }
            case .continuation(let count):
                if count > HTTP2ServerSession.continuationLimit {
                    terminate(.enhanceYourCalm)
                }
            case .unknown:
                spend(FloodGuard.frameCost)
            }
        }
        try feed(input.extracting(start..<input.count))
    }

    private func feed(_ input: Span<UInt8>) throws(HTTP2Error) {
        // After a GOAWAY for a fault nothing more is believed.
        guard !isTerminated, input.count > 0 else { return }
        let taken = unsafe input.withUnsafeBufferPointer { bytes in
            unsafe nghttp2_session_mem_recv(session, bytes.baseAddress, bytes.count)
        }
        guard taken >= 0 else {
            isTerminated = true
            throw .broken(Int32(clamping: taken))
        }
    }

    /// Time has passed, or useful work was done: the client may cost a little more again.
    public func earn(_ amount: Int) {
        flood.earn(amount)
    }

    /// Whether a preface or a head has begun and not ended: its time is limited.
    public var isReadingHead: Bool { !hasSettings || incoming.streamID != 0 }

    /// The application has used content of a stream; the client may send as much again.
    public func consumed(_ count: Int, of streamID: Int32) {
        guard count > 0 else { return }
        _ = unsafe nghttp2_session_consume(session, streamID, count)
    }

    // MARK: Output

    /// Sends an interim answer.
    ///
    /// - Parameter fieldLines: `Name: value` CR LF each, written by the gateway itself.
    public func interim(_ stream: HTTP2ServerStream, status: Int, fieldLines: Span<UInt8>) {
        guard !stream.isClosed else { return }
        let streamID = stream.id
        block.removeAll()
        block.append(status: status)
        block.append(lines: fieldLines)
        _ = unsafe block.withFields { fields, count in
            unsafe nghttp2_submit_headers(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), streamID, nil, fields, count, nil)
        }
    }

    /// Begins the final answer; content and `finish` follow unless it ends the stream.
    public func respond(
        _ stream: HTTP2ServerStream, status: Int, fieldLines: Span<UInt8>, endsStream: Bool
    ) {
        guard !stream.isClosed else { return }
        let streamID = stream.id
        block.removeAll()
        block.append(status: status)
        block.append(lines: fieldLines)
        _ = unsafe block.withFields { fields, count in
            guard !endsStream else {
                return unsafe nghttp2_submit_response(session, streamID, fields, count, nil)
            }
            var provider = unsafe HTTP2ServerCallbacks.contentProvider()
            return unsafe nghttp2_submit_response(session, streamID, fields, count, &provider)
        }
    }

    /// Appends content of the answer, which may be one that has not begun.
    public func sendData(_ stream: HTTP2ServerStream, _ content: Span<UInt8>) {
        guard !stream.isClosed else { return }
        stream.output.append(content)
        resumeData(stream)
    }

    /// Forgets content that was given before its answer began.
    public func takeBack(_ stream: HTTP2ServerStream) {
        stream.output = StreamOutput()
    }

    /// The answer's content is complete.
    ///
    /// - Parameter trailerLines: field lines that follow it; may be empty.
    public func finish(_ stream: HTTP2ServerStream, trailerLines: Span<UInt8>) {
        guard !stream.isClosed else { return }
        stream.output.end(trailers: trailerLines)
        resumeData(stream)
    }

    private func resumeData(_ stream: HTTP2ServerStream) {
        guard stream.output.isDeferred else { return }
        stream.output.isDeferred = false
        _ = unsafe nghttp2_session_resume_data(session, stream.id)
    }

    /// Ends a stream at once.
    public func reset(_ streamID: Int32, code: HTTP2Code) {
        _ = unsafe nghttp2_submit_rst_stream(
            session, UInt8(NGHTTP2_FLAG_NONE.rawValue), streamID, code.rawValue)
    }

    /// The answer is complete and the rest of the request is not wanted: the stream ends when the answer is out
    /// (section 8.1).
    public func stopReceiving(_ stream: HTTP2ServerStream) {
        guard !stream.isClosed else { return }
        stream.isMalformed = true
        if stream.isAnswered { return reset(stream.id, code: .noError) }
        stream.isStopped = true
    }

    /// Tells the client that the connection ends; streams that are open go on.
    public func goAway(code: HTTP2Code) {
        finalStreamID = min(
            finalStreamID, unsafe nghttp2_session_get_last_proc_stream_id(session))
        _ = unsafe nghttp2_submit_goaway(
            session, UInt8(NGHTTP2_FLAG_NONE.rawValue), finalStreamID, code.rawValue, nil, 0)
    }

    /// The first of two GOAWAYs: the client learns of the end, and what is under way still counts (section 6.8). The
    /// second follows when it has answered a PING.
    public func announceGoAway() {
        isAnnounced = true
        _ = unsafe nghttp2_submit_shutdown_notice(session)
        let mark = HTTP2ServerSession.announcementMark
        _ = unsafe nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), mark)
    }

    /// The second of them, whether or not the client has answered.
    public func endAnnouncement() {
        guard isAnnounced else { return }
        isAnnounced = false
        goAway(code: .noError)
    }

    /// Asks the client for a sign of life.
    public func ping() {
        _ = unsafe nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil)
    }

    /// Appends frames that are to be sent, until there is none or about `limit` bytes are there.
    public func appendOutput(to output: inout [UInt8], upTo limit: Int) {
        while output.count < limit {
            var bytes: UnsafePointer<UInt8>?
            let count = unsafe nghttp2_session_mem_send(session, &bytes)
            guard count > 0, let bytes = unsafe bytes else { return }
            unsafe output.append(contentsOf: UnsafeBufferPointer(start: bytes, count: count))
        }
    }

    public var wantsWrite: Bool { unsafe nghttp2_session_want_write(session) != 0 }

    /// Whether nothing more will be read or written.
    public var isFinished: Bool {
        unsafe nghttp2_session_want_read(session) == 0
            && nghttp2_session_want_write(session) == 0
    }

    /// Whether the client has shown that it speaks HTTP/2.
    public var isOpen: Bool { hasSettings && !isTerminated }

    /// The connection is over, and all streams with it: nothing is told any more, and nobody is held.
    public func detach() {
        delegate = nil
        incoming = IncomingBlock()
        for stream in streams.removeAll() { stream.isClosed = true }
    }

    // MARK: The end of what is bearable

    func terminate(_ code: HTTP2Code) {
        guard !isTerminated else { return }
        isTerminated = true
        _ = unsafe nghttp2_session_terminate_session(session, code.rawValue)
    }

    func spend(_ cost: Int) {
        if !flood.spend(cost) { terminate(.enhanceYourCalm) }
    }
}
