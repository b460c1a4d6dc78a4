import CNghttp2
import Primitives

/// What a server's session tells of its client; in order, from within `receive`.
public protocol HTTP2ServerDelegate: AnyObject {
    /// A request begins: the head to fill.
    func makeHead(streamID: Int32) -> RequestHead
    /// The head is whole.
    func requestHead(streamID: Int32, endsStream: Bool)
    /// The head is one that HTTP/1.1 refuses too: it is to be answered, and nothing more comes of it.
    func headRefused(streamID: Int32, _ error: HTTP1Error)
    /// Content; `consumed` must follow when it has been used, or the client may send no more.
    func data(streamID: Int32, _ input: Span<UInt8>)
    /// The request is complete, after content or trailers.
    func requestEnded(streamID: Int32, trailers: [FieldLine], bytes: [UInt8])
    /// The stream is closed; it is unknown from now on.
    func streamClosed(streamID: Int32, code: UInt32)
}

/// The server's end of an HTTP/2 connection (RFC 9113): bytes in, events out, and back. No sockets, no clock.
///
/// The library (nghttp2) keeps frames, HPACK, flow control and stream states. Here are the rules that it leaves open:
/// what is malformed, what ends the connection, and how much a client may cost.
@safe public final class HTTP2ServerSession {
    /// What a client sends first (section 3.4).
    public static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    /// CONTINUATION frames of one head (CVE-2024-27316).
    private static let continuationLimit = 8
    /// Closed streams that are remembered, to tell a late frame from a wrong one.
    private static let closedMemory = 128

    struct Stream {
        var reader: HTTP2HeadReader?
        var trailers: HTTP2TrailerReader?
        var output = StreamOutput()
        /// Refused as malformed: nothing of it is passed on.
        var isMalformed = false
        /// Its head was whole and within the limits: answering it is work that the client may pay with.
        var isUseful = false
    }

    public weak var delegate: (any HTTP2ServerDelegate)?
    let settings: HTTP2Settings
    private var session: OpaquePointer?
    var streams: [Int32: Stream] = [:]
    private var flood = FloodGuard()
    private var block = FieldBlock()
    private var hasSettings = false
    private var headInProgress: Int32 = 0
    private var lastStreamID: Int32 = 0
    /// Streams whose end the client itself brought about, the oldest first.
    private var closedByClient: [Int32] = []
    private var isTerminated = false
    private var isAnnounced = false
    /// CONTINUATION frames of the head in progress.
    private var continuations = 0
    private var walker = FrameWalker(preface: preface.count)

    public init(settings: HTTP2Settings) throws(HTTP2Error) {
        self.settings = settings
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
            case .data(let streamID):
                if streamID <= lastStreamID, streams[streamID] == nil { judgeLateFrame(streamID) }
            case .continuation:
                continuations += 1
                if continuations > HTTP2ServerSession.continuationLimit {
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
    public var isReadingHead: Bool { !hasSettings || headInProgress != 0 }

    /// The application has used content of a stream; the client may send as much again.
    public func consumed(_ streamID: Int32, _ count: Int) {
        guard count > 0 else { return }
        _ = unsafe nghttp2_session_consume(session, streamID, count)
    }

    // MARK: Output

    /// Sends an interim answer.
    ///
    /// - Parameter fieldLines: `Name: value` CR LF each, written by the gateway itself.
    public func interim(_ streamID: Int32, status: Int, fieldLines: Span<UInt8>) {
        guard streams[streamID] != nil else { return }
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
        _ streamID: Int32, status: Int, fieldLines: Span<UInt8>, endsStream: Bool
    ) {
        guard streams[streamID] != nil else { return }
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

    /// Appends content of the answer.
    public func sendData(_ streamID: Int32, _ content: Span<UInt8>) {
        guard streams[streamID] != nil else { return }
        streams[streamID]?.output.append(content)
        resumeData(streamID)
    }

    /// The answer's content is complete.
    ///
    /// - Parameter trailerLines: field lines that follow it; may be empty.
    public func finish(_ streamID: Int32, trailerLines: Span<UInt8>) {
        guard streams[streamID] != nil else { return }
        streams[streamID]?.output.isEnded = true
        streams[streamID]?.output.trailers.append(trailerLines)
        resumeData(streamID)
    }

    private func resumeData(_ streamID: Int32) {
        guard streams[streamID]?.output.isDeferred == true else { return }
        streams[streamID]?.output.isDeferred = false
        _ = unsafe nghttp2_session_resume_data(session, streamID)
    }

    /// Content of the stream that has not gone out.
    public func queuedBytes(_ streamID: Int32) -> Int {
        streams[streamID]?.output.count ?? 0
    }

    /// Ends a stream at once.
    public func reset(_ streamID: Int32, code: HTTP2Code) {
        _ = unsafe nghttp2_submit_rst_stream(
            session, UInt8(NGHTTP2_FLAG_NONE.rawValue), streamID, code.rawValue)
    }

    /// The answer is complete and the rest of the request is not wanted: the stream ends when the answer is out
    /// (section 8.1).
    public func stopReceiving(_ streamID: Int32) {
        guard streams[streamID] != nil else { return }
        streams[streamID]?.isMalformed = true
        stopped.insert(streamID)
    }

    private var stopped: Set<Int32> = []

    /// Tells the client that the connection ends; streams that are open go on.
    public func goAway(code: HTTP2Code) {
        _ = unsafe nghttp2_submit_goaway(
            session, UInt8(NGHTTP2_FLAG_NONE.rawValue),
            unsafe nghttp2_session_get_last_proc_stream_id(session), code.rawValue, nil, 0)
    }

    /// The first of two GOAWAYs: the client learns of the end, and what is under way still counts (section 6.8). The
    /// second follows when it has answered a PING.
    public func announceGoAway() {
        isAnnounced = true
        _ = unsafe nghttp2_submit_shutdown_notice(session)
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

    // MARK: Callbacks

    private func terminate(_ code: HTTP2Code) {
        guard !isTerminated else { return }
        isTerminated = true
        _ = unsafe nghttp2_session_terminate_session(session, code.rawValue)
    }

    private func spend(_ cost: Int) {
        if !flood.spend(cost) { terminate(.enhanceYourCalm) }
    }

    /// Every frame but DATA, before its payload. The library ignores what comes on closed streams; here it is judged
    /// (sections 5.1 and 5.1.1).
    func frameBegins(_ header: nghttp2_frame_hd) {
        guard !isTerminated else { return }
        let id = header.stream_id
        switch UInt32(header.type) {
        case NGHTTP2_HEADERS.rawValue:
            if id > lastStreamID {
                lastStreamID = id
            } else if streams[id] == nil {
                judgeLateFrame(id)
            }
        case NGHTTP2_PING.rawValue, NGHTTP2_SETTINGS.rawValue, NGHTTP2_PRIORITY.rawValue,
            NGHTTP2_WINDOW_UPDATE.rawValue:
            spend(FloodGuard.frameCost)
        case NGHTTP2_RST_STREAM.rawValue:
            spend(FloodGuard.resetCost)
        case NGHTTP2_DATA.rawValue, NGHTTP2_CONTINUATION.rawValue, NGHTTP2_GOAWAY.rawValue:
            break
        default:
            spend(FloodGuard.frameCost)
        }
    }

    /// HEADERS or DATA on a stream that is no more. After a reset of ours they may have been under way; after the client's
    /// own end they are a fault, and a stream that never was cannot come any more.
    private func judgeLateFrame(_ id: Int32) {
        if closedByClient.contains(id) {
            terminate(.streamClosed)
        } else if id % 2 == 1, !isRecentlyReset(id) {
            terminate(.protocolError)
        }
    }

    private var resetByUs: [Int32] = []

    private func isRecentlyReset(_ id: Int32) -> Bool {
        // Older ones are forgotten; they are forgiven.
        resetByUs.contains(id) || (resetByUs.first.map { id < $0 } ?? false)
            || (closedByClient.first.map { id < $0 } ?? false)
    }

    func headersBegin(_ streamID: Int32, isRequest: Bool) {
        headInProgress = streamID
        continuations = 0
        if isRequest {
            guard let head = delegate?.makeHead(streamID: streamID) else { return }
            var stream = Stream()
            stream.reader = HTTP2HeadReader(head: head, limits: settings.head)
            streams[streamID] = stream
        } else {
            streams[streamID]?.trailers = HTTP2TrailerReader(limits: settings.head)
        }
    }

    func header(_ streamID: Int32, _ name: Span<UInt8>, _ value: Span<UInt8>) {
        if streams[streamID]?.trailers != nil {
            streams[streamID]?.trailers?.take(name, value)
        } else {
            streams[streamID]?.reader?.take(name, value)
        }
    }

    /// A field whose name or value no message may have (section 8.2.1). The library would only leave it out.
    func headerIsInvalid(_ streamID: Int32) {
        guard streams[streamID]?.isMalformed == false else { return }
        streams[streamID]?.isMalformed = true
        reset(streamID, code: .protocolError)
    }

    func headersEnd(_ streamID: Int32, isRequest: Bool, endsStream: Bool) {
        headInProgress = 0
        guard var stream = streams[streamID], !stream.isMalformed else { return }
        guard isRequest else {
            let trailers = stream.trailers
            // Trailers end the stream (section 8.1).
            guard endsStream, trailers?.isTooLarge == false else {
                return headerIsInvalid(streamID)
            }
            if !stopped.contains(streamID) {
                delegate?.requestEnded(
                    streamID: streamID, trailers: trailers?.fields ?? [],
                    bytes: trailers?.bytes ?? [])
            }
            return
        }
        guard var reader = stream.reader else { return }
        stream.reader = nil
        streams[streamID] = stream
        do throws(HTTP1Error) {
            try reader.finish(endsStream: endsStream)
            streams[streamID]?.isUseful = true
            delegate?.requestHead(streamID: streamID, endsStream: endsStream)
        } catch {
            if HTTP2ServerSession.isMalformed(error) {
                headerIsInvalid(streamID)
            } else {
                // One after another they are a flood too (CVE-2016-1544, heads that are too large).
                spend(FloodGuard.resetCost)
                delegate?.headRefused(streamID: streamID, error)
            }
        }
    }

    /// What makes a message malformed (section 8.1.1), apart from what is answered.
    private static func isMalformed(_ error: HTTP1Error) -> Bool {
        switch error {
        case .hostMissing, .hostRepeated, .hostInvalid, .hostDisagrees, .contentLengthInvalid,
            .contentLengthRepeated:
            true
        default:
            false
        }
    }

    func dataReceived(_ streamID: Int32, _ input: Span<UInt8>) {
        flood.earn(1)
        guard let stream = streams[streamID], !stream.isMalformed, !stopped.contains(streamID)
        else { return consumed(streamID, input.count) }
        delegate?.data(streamID: streamID, input)
    }

    /// A DATA frame is whole.
    func dataEnds(_ streamID: Int32, contentCount: Int, endsStream: Bool) {
        // Nothing but padding, or nothing at all (CVE-2019-9518).
        if contentCount == 0, !endsStream { spend(FloodGuard.resetCost / 2) }
        guard endsStream, streams[streamID]?.isMalformed == false else { return }
        delegate?.requestEnded(streamID: streamID, trailers: [], bytes: [])
    }

    /// The client has seen the first GOAWAY.
    func pingAnswered() {
        guard isAnnounced else { return }
        isAnnounced = false
        goAway(code: .noError)
    }

    func settingsReceived() {
        hasSettings = true
    }

    /// A client that takes much may say so often: each window that let a fair piece go was useful, those of a few bytes
    /// were not (CVE-2019-9511).
    func dataSent(count: Int) {
        if count >= FloodGuard.fairPiece { flood.earn(2 * FloodGuard.frameCost) }
    }

    func resetSent(_ streamID: Int32, code: UInt32) {
        // A reset that the client provoked costs what its own would (CVE-2025-8671).
        if code != HTTP2Code.noError.rawValue, code != HTTP2Code.internalError.rawValue {
            spend(FloodGuard.resetCost)
        }
        // A window that a setting made overflow is the connection's fault (section 6.9.2); one of a WINDOW_UPDATE may be
        // taken as that.
        if code == HTTP2Code.flowControlError.rawValue { terminate(.flowControlError) }
        HTTP2ServerSession.remember(streamID, in: &resetByUs)
    }

    func streamClosed(_ streamID: Int32, code: UInt32) {
        if headInProgress == streamID { headInProgress = 0 }
        stopped.remove(streamID)
        guard let stream = streams.removeValue(forKey: streamID) else { return }
        if !resetByUs.contains(streamID) {
            HTTP2ServerSession.remember(streamID, in: &closedByClient)
        }
        if code == 0, stream.isUseful { flood.earn(FloodGuard.resetCost) }
        delegate?.streamClosed(streamID: streamID, code: code)
    }

    private static func remember(_ id: Int32, in list: inout [Int32]) {
        list.append(id)
        if list.count > closedMemory { list.removeFirst(closedMemory / 2) }
    }

    // MARK: Content

    /// The library asks for content of a stream, or its end.
    ///
    /// - Returns: how many bytes were put into `room`; `nil` when nothing is there yet.
    func content(
        _ streamID: Int32, into room: UnsafeMutableBufferPointer<UInt8>, _ flags: inout UInt32
    ) -> Int? {
        guard var output = streams[streamID]?.output else {
            flags |= NGHTTP2_DATA_FLAG_EOF.rawValue
            return 0
        }
        // The only reference moves out, so that the bytes are not copied.
        streams[streamID]?.output = StreamOutput()
        defer { streams[streamID]?.output = output }
        let count = unsafe output.copy(into: room)
        if count == 0, !output.isEnded {
            output.isDeferred = true
            return nil
        }
        if output.count == 0, output.isEnded {
            flags |= NGHTTP2_DATA_FLAG_EOF.rawValue
            if !output.trailers.isEmpty {
                flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
                let lines = output.trailers
                block.removeAll()
                block.append(lines: lines.span)
                _ = unsafe block.withFields { fields, count in
                    unsafe nghttp2_submit_trailer(session, streamID, fields, count)
                }
            }
        }
        return count
    }

    /// The answer is out. Where the rest of the request was refused, the stream ends here.
    func answerEnded(_ streamID: Int32) {
        if stopped.contains(streamID) { reset(streamID, code: .noError) }
    }
}
