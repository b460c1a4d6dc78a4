import CNghttp2
import Primitives

/// What a client's session tells of its server; in order, from within `receive`, `streamClosed` also from within
/// `appendOutput`.
public protocol HTTP2ClientDelegate: AnyObject {
    /// An answer begins, interim or final: the head to fill.
    func makeHead(streamID: Int32) -> ResponseHead?
    /// The head is whole.
    func responseHead(streamID: Int32)
    /// Content; `consumed` must follow when it has been used, or the server may send no more of this stream.
    func data(streamID: Int32, _ input: Span<UInt8>)
    /// The answer is complete, with its trailers.
    func responseEnded(streamID: Int32, _ trailers: Trailers)
    /// The stream is closed; it is unknown from now on. Without `responseEnded` before it the answer is cut.
    func streamClosed(streamID: Int32, _ end: HTTP2StreamEnd)
}

/// How a stream of a client's came to its end.
public enum HTTP2StreamEnd: Sendable, Equatable {
    case complete
    /// The server has done nothing for the request: it may be sent again, whatever its method (RFC 9113 section 8.7).
    case unprocessed
    /// The request has not gone out, and would have waited for a place among the streams that the server allows.
    case unsent
    /// What the server sent is no answer; the stream was reset for it.
    case malformed
    case reset(code: UInt32)
}

/// The client's end of an HTTP/2 connection (RFC 9113): bytes in, events out, and back. No sockets, no clock.
@safe public final class HTTP2ClientSession {
    /// An object, since each of its facts is asked for and changed by itself.
    final class Stream {
        var reader: HTTP2ResponseReader?
        var hasFinalHead = false
        var isToHead = false
        var hasEnded = false
        var isMalformed = false
        var trailers: Trailers?
        var interims = 0
        /// Its head has gone out.
        var isSent = false
        /// The request's end has gone out: END_STREAM.
        var isEndSent = false
        var output = StreamOutput()
    }

    /// What else of a stream may be under way when it is given up: interim and final head, empty DATA at the end, trailers, a
    /// reset, and windows for what was sent.
    static let lateFramesOfStream = 8

    /// Interim answers before the final one; more is a flood (threats.md, Framing).
    private static let interimLimit = 16

    /// Whoever sets it takes it away when the connection ends: a weak one would slow down every reference to it.
    public var delegate: (any HTTP2ClientDelegate)?
    let settings: HTTP2Settings
    var session: OpaquePointer?
    var streams = StreamTable<Stream>()
    /// The server has said that it takes no further stream.
    public internal(set) var hasGoneAway = false
    var flood = FloodGuard()
    /// Content that may still come of streams that are no more, and other frames.
    var lateBytes = 0
    var lateFrames = 0
    /// Content that was sent and for which no window has been opened again.
    var shutBytes = 0
    var walker = FrameWalker(preface: 0)
    /// The server has cost too much, or is beyond an answer: GOAWAY has been queued, and the connection ends behind it.
    public internal(set) var isTerminated = false
    /// The server has said what it allows.
    private var hasSettings = false
    private var block = FieldBlock()

    /// - Parameter settings: `streams` bounds how many are open at once, whatever the server lets us.
    public init(settings: HTTP2Settings) throws(HTTP2Error) {
        self.settings = settings
        unsafe session = nil
        let code = unsafe HTTP2ClientCallbacks.open(self, &session)
        guard code == 0 else { throw .library(code) }
        let list: [(nghttp2_settings_id, Int)] = [
            (NGHTTP2_SETTINGS_ENABLE_PUSH, 0),
            (NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings.streamWindow),
            (
                NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
                settings.head.headBytes + 32 * settings.head.fieldCount
            ),
        ]
        let entries = list.map {
            nghttp2_settings_entry(
                settings_id: Int32($0.0.rawValue), value: UInt32(clamping: $0.1))
        }
        var result = unsafe entries.withUnsafeBufferPointer {
            unsafe nghttp2_submit_settings(session, none, $0.baseAddress, $0.count)
        }
        if result == 0 {
            result = unsafe nghttp2_session_set_local_window_size(
                session, none, 0, Int32(clamping: settings.connectionWindow))
        }
        guard result == 0 else { throw .library(result) }
    }

    deinit {
        unsafe nghttp2_session_del(session)
    }

    private let none = UInt8(NGHTTP2_FLAG_NONE.rawValue)

    // MARK: Input

    /// Takes what the server sent.
    ///
    /// - Throws: when the connection cannot go on. A GOAWAY, where one is due, has been queued.
    public func receive(_ input: Span<UInt8>) throws(HTTP2Error) {
        var start = 0
        var offset = 0
        while let frame = walker.next(input, from: &offset) {
            // What comes before the frame decides in which state it finds the connection.
            let before = max(start, offset - FrameWalker.headerCount)
            try feed(input.extracting(start..<before))
            start = before
            judgeDropped(frame)
        }
        try feed(input.extracting(start..<input.count))
    }

    private func feed(_ input: Span<UInt8>) throws(HTTP2Error) {
        guard !isTerminated, input.count > 0 else { return }
        let taken = unsafe input.withUnsafeBufferPointer { bytes in
            unsafe nghttp2_session_mem_recv(session, bytes.baseAddress, bytes.count)
        }
        guard taken >= 0 else {
            let isFlood = taken == Int(NGHTTP2_ERR_FLOODED.rawValue)
            terminate(isFlood ? .enhanceYourCalm : .internalError)
            throw .broken(Int32(clamping: taken))
        }
    }

    /// Content of a stream has been used; the server may send as much again.
    public func consumed(_ streamID: Int32, _ count: Int) {
        guard count > 0 else { return }
        _ = unsafe nghttp2_session_consume_stream(session, streamID, count)
    }

    // MARK: Requests

    /// Whether another stream may be opened now.
    public var canOpen: Bool {
        let theirs = unsafe nghttp2_session_get_remote_settings(
            session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        let limit = hasSettings ? min(Int(theirs), settings.streams) : settings.streams
        return unsafe !hasGoneAway && streams.count < limit
            && nghttp2_session_check_request_allowed(session) != 0
    }

    /// Streams that are not closed.
    public var openStreams: Int { streams.count }

    /// Sends the head of a request.
    ///
    /// - Parameters:
    ///   - head: of HTTP/1.1, as the gateway itself has written it, up to and with its empty line. What concerns a
    ///     connection is left out (section 8.2.2), `Host` becomes `:authority`.
    ///   - takesTrailers: the client has said so.
    ///   - endsStream: no content follows.
    /// - Returns: the stream on which the answer will come.
    public func request(
        _ head: Span<UInt8>, isTLS: Bool, takesTrailers: Bool, endsStream: Bool
    ) throws(HTTP2Error) -> Int32 {
        block.removeAll()
        guard let isToHead = block.append(requestHead: head, isTLS: isTLS) else {
            throw .library(NGHTTP2_ERR_INVALID_ARGUMENT.rawValue)
        }
        if takesTrailers {
            let line = Array("te: trailers\r\n".utf8)
            block.append(lines: line.span)
        }
        let streamID = unsafe block.withFields { fields, count in
            guard !endsStream else {
                return unsafe nghttp2_submit_request(session, nil, fields, count, nil, nil)
            }
            var provider = unsafe HTTP2ClientCallbacks.contentProvider()
            return unsafe nghttp2_submit_request(session, nil, fields, count, &provider, nil)
        }
        guard streamID > 0 else { throw .library(streamID) }
        let stream = Stream()
        stream.isToHead = isToHead
        streams[streamID] = stream
        return streamID
    }

    /// Appends content of a request.
    public func sendData(_ streamID: Int32, _ content: Span<UInt8>) {
        guard let stream = streams[streamID] else { return }
        stream.output.append(content)
        resumeData(streamID, stream)
    }

    /// The request's content is complete.
    ///
    /// - Parameter trailerLines: field lines that follow it; may be empty.
    public func finish(_ streamID: Int32, trailerLines: Span<UInt8>) {
        guard let stream = streams[streamID] else { return }
        stream.output.end(trailers: trailerLines)
        resumeData(streamID, stream)
    }

    private func resumeData(_ streamID: Int32, _ stream: Stream) {
        guard stream.output.isDeferred else { return }
        stream.output.isDeferred = false
        _ = unsafe nghttp2_session_resume_data(session, streamID)
    }

    /// Content of the stream that has not gone out.
    public func queuedBytes(_ streamID: Int32) -> Int {
        streams[streamID]?.output.count ?? 0
    }

    /// Whether the head of the request has gone out.
    public func isSent(_ streamID: Int32) -> Bool {
        streams[streamID]?.isSent == true
    }

    /// Whether the end of the request has gone out, or there is no such stream any more.
    public func isEnded(_ streamID: Int32) -> Bool {
        streams[streamID]?.isEndSent ?? true
    }

    /// Ends a stream at once.
    public func reset(_ streamID: Int32, code: HTTP2Code) {
        _ = unsafe nghttp2_submit_rst_stream(session, none, streamID, code.rawValue)
    }

    /// Asks the server for a sign of life.
    public func ping() {
        _ = unsafe nghttp2_submit_ping(session, none, nil)
    }

    /// Tells the server that no further request comes.
    public func goAway() {
        _ = unsafe nghttp2_submit_goaway(
            session, none, 0, HTTP2Code.noError.rawValue, nil, 0)
    }

    // MARK: Output

    /// Appends frames that are to be sent, until there is none or about `limit` bytes are there.
    public func appendOutput(to output: inout [UInt8], upTo limit: Int) {
        while output.count < limit {
            var bytes: UnsafePointer<UInt8>?
            let count = unsafe nghttp2_session_mem_send(session, &bytes)
            guard count > 0, let bytes = unsafe bytes else { return }
            unsafe output.append(contentsOf: UnsafeBufferPointer(start: bytes, count: count))
        }
    }

    /// Whether nothing more will be read or written.
    public var isFinished: Bool {
        unsafe nghttp2_session_want_read(session) == 0
            && nghttp2_session_want_write(session) == 0
    }

    // MARK: From the library

    /// Until now one request alone has gone out; the others that were begun go now, as far as there is room for them.
    func settingsReceived() {
        guard !hasSettings else { return }
        hasSettings = true
        let theirs = unsafe nghttp2_session_get_remote_settings(
            session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        // A server that allows none at all is overloaded, and trying elsewhere must have an end.
        let end: HTTP2StreamEnd = theirs == 0 ? .unprocessed : .unsent
        for id in streams.ids.sorted().dropFirst(Int(theirs)) where streams[id]?.isSent == false {
            streams[id] = nil
            reset(id, code: .cancel)
            delegate?.streamClosed(streamID: id, end)
        }
    }

    func headSent(_ streamID: Int32) {
        streams[streamID]?.isSent = true
    }

    func endSent(_ streamID: Int32) {
        streams[streamID]?.isEndSent = true
    }

    func headersBegin(_ streamID: Int32) {
        guard let stream = streams[streamID], !stream.isMalformed else { return }
        if stream.hasFinalHead {
            stream.trailers = Trailers()
        } else if let head = delegate?.makeHead(streamID: streamID) {
            stream.reader = HTTP2ResponseReader(head: head, limits: settings.head)
        }
    }

    func header(_ streamID: Int32, _ name: Span<UInt8>, _ value: Span<UInt8>) {
        guard let stream = streams[streamID] else { return }
        if stream.trailers == nil {
            stream.reader?.take(name, value)
        } else if stream.trailers?.take(name, value, within: settings.head) == false {
            malformed(streamID)
        }
    }

    /// No answer: what came of it counts for nothing (section 8.1.1).
    func malformed(_ streamID: Int32) {
        guard let stream = streams[streamID], !stream.isMalformed else { return }
        stream.isMalformed = true
        reset(streamID, code: .protocolError)
    }

    func headersEnd(_ streamID: Int32, endsStream: Bool) {
        guard let stream = streams[streamID], !stream.isMalformed else { return }
        if let trailers = stream.trailers {
            guard endsStream else { return malformed(streamID) }
            return ended(streamID, trailers)
        }
        guard var reader = stream.reader else { return }
        stream.reader = nil
        do throws(HTTP1Error) {
            try reader.finish(isToHead: stream.isToHead, endsStream: endsStream)
        } catch {
            return malformed(streamID)
        }
        if reader.head.isInterim {
            stream.interims += 1
            guard stream.interims <= HTTP2ClientSession.interimLimit else {
                return malformed(streamID)
            }
        } else {
            stream.hasFinalHead = true
        }
        delegate?.responseHead(streamID: streamID)
        if endsStream { ended(streamID, Trailers()) }
    }

    func dataReceived(_ streamID: Int32, _ input: Span<UInt8>) {
        // A stream whose client is slow must not hold up the others: only its own window waits for it.
        _ = unsafe nghttp2_session_consume_connection(session, input.count)
        guard let stream = streams[streamID], stream.hasFinalHead, !stream.isMalformed else {
            return consumed(streamID, input.count)
        }
        // An answer to HEAD has none, whatever its server sends.
        guard !stream.isToHead else { return malformed(streamID) }
        delegate?.data(streamID: streamID, input)
    }

    func dataEnds(_ streamID: Int32) {
        guard let stream = streams[streamID], stream.hasFinalHead, !stream.isMalformed else {
            return
        }
        ended(streamID, Trailers())
    }

    private func ended(_ streamID: Int32, _ trailers: Trailers) {
        guard let stream = streams[streamID], !stream.hasEnded else { return }
        stream.hasEnded = true
        delegate?.responseEnded(streamID: streamID, trailers)
    }

    /// - Parameter isOurs: the library refused a frame of the stream: what it is reset for is the server's fault.
    func streamClosed(_ streamID: Int32, code: UInt32) {
        guard let stream = streams.remove(streamID) else { return }
        settle(stream)
        let end: HTTP2StreamEnd =
            if stream.isMalformed {
                .malformed
            } else if stream.hasEnded {
                .complete
            } else if !stream.isSent
                || (code == HTTP2Code.refusedStream.rawValue && !stream.hasFinalHead)
            {
                .unprocessed
            } else {
                .reset(code: code)
            }
        delegate?.streamClosed(streamID: streamID, end)
    }

    /// The library resets the stream: a length that is not kept, pseudo-fields out of order. A frame on a stream whose
    /// head has not gone out is a fault of the connection: it says nothing of that request, which may go elsewhere.
    func frameRefused(_ streamID: Int32) {
        guard let stream = streams[streamID], stream.isSent else { return }
        stream.isMalformed = true
    }

    /// The library asks for content of a stream, or its end.
    ///
    /// - Returns: how many bytes were put into `room`; `nil` when nothing is there yet.
    func content(
        _ streamID: Int32, into room: UnsafeMutableBufferPointer<UInt8>, _ flags: inout UInt32
    ) -> Int? {
        guard let stream = streams[streamID] else {
            flags |= NGHTTP2_DATA_FLAG_EOF.rawValue
            return 0
        }
        // The only reference moves out, so that the bytes are not copied.
        var output = stream.output
        stream.output = StreamOutput()
        defer { stream.output = output }
        let count = unsafe output.give(into: room, &flags)
        if flags & NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue != 0 {
            block.removeAll()
            block.append(lines: output.trailers.span)
            _ = unsafe block.withFields { fields, count in
                unsafe nghttp2_submit_trailer(session, streamID, fields, count)
            }
        }
        return count
    }
}
