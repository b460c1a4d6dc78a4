import CNghttp2
import Primitives

/// The C side of a server's session: each function finds the session in its context and hands the event over.
///
/// The context is the session object, unretained: it owns the library's session and frees it first.
enum HTTP2ServerCallbacks {
    /// Makes the library's session.
    static func open(_ owner: HTTP2ServerSession, _ session: inout OpaquePointer?) -> Int32 {
        var callbacks: OpaquePointer?
        var option: OpaquePointer?
        guard unsafe nghttp2_session_callbacks_new(&callbacks) == 0,
            unsafe nghttp2_option_new(&option) == 0
        else { return Int32(NGHTTP2_ERR_NOMEM.rawValue) }
        defer {
            unsafe nghttp2_session_callbacks_del(callbacks)
            unsafe nghttp2_option_del(option)
        }
        unsafe register(callbacks)
        // Windows move when content has been used, not when it has come.
        unsafe nghttp2_option_set_no_auto_window_update(option, 1)
        unsafe nghttp2_option_set_no_closed_streams(option, 1)
        // Counted by the session: the library takes a header that comes in pieces for several.
        unsafe nghttp2_option_set_max_continuations(option, .max)
        unsafe nghttp2_option_set_max_outbound_ack(option, 128)
        let context = unsafe Unmanaged.passUnretained(owner).toOpaque()
        return unsafe nghttp2_session_server_new2(&session, callbacks, context, option)
    }

    private static func register(_ callbacks: OpaquePointer?) {
        unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks) {
            _, header, context in
            guard let header = unsafe header else { return 0 }
            unsafe with(context) { unsafe $0.frameBegins(header.pointee) }
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) {
            _, frame, context in
            guard let frame = unsafe frame else { return 0 }
            unsafe with(context) {
                unsafe $0.headersBegin(
                    frame.pointee.hd.stream_id,
                    isRequest: frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST)
            }
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_header_callback(callbacks) {
            _, frame, name, nameCount, value, valueCount, _, context in
            guard let frame = unsafe frame else { return 0 }
            let name = unsafe UnsafeBufferPointer(start: name, count: nameCount)
            let value = unsafe UnsafeBufferPointer(start: value, count: valueCount)
            var isBearable = true
            unsafe with(context) {
                isBearable = unsafe $0.header(
                    frame.pointee.hd.stream_id, Span(_unsafeElements: name),
                    Span(_unsafeElements: value))
            }
            // Otherwise the library would go on decoding what is left of the block.
            return isBearable ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE.rawValue
        }
        unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks) {
            _, frame, _, _, _, _, _, context in
            guard let frame = unsafe frame else { return 0 }
            unsafe with(context) { unsafe $0.headerIsInvalid(frame.pointee.hd.stream_id) }
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks) {
            _, frame, _, context in
            guard let frame = unsafe frame else { return 0 }
            unsafe with(context) { unsafe $0.frameRefused(frame.pointee.hd.stream_id) }
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) {
            _, _, streamID, data, count, context in
            let content = unsafe UnsafeBufferPointer(start: data, count: count)
            unsafe with(context) {
                unsafe $0.dataReceived(streamID, Span(_unsafeElements: content))
            }
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) {
            _, frame, context in
            guard let frame = unsafe frame else { return 0 }
            unsafe with(context) { unsafe HTTP2ServerCallbacks.received(frame, by: $0) }
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) {
            _, frame, context in
            guard let frame = unsafe frame else { return 0 }
            unsafe with(context) { unsafe HTTP2ServerCallbacks.sent(frame, by: $0) }
            return 0
        }
        unsafe nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks) {
            _, _, _, _, _, _, _ in
            StreamOutput.pieceBytes
        }
        unsafe nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) {
            _, streamID, code, context in
            unsafe with(context) { $0.streamClosed(streamID, code: code) }
            return 0
        }
    }

    /// A frame has come, whole.
    private static func received(
        _ frame: UnsafePointer<nghttp2_frame>, by owner: HTTP2ServerSession
    ) {
        let header = unsafe frame.pointee.hd
        let endsStream =
            UInt32(header.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0
        switch UInt32(header.type) {
        case NGHTTP2_HEADERS.rawValue:
            owner.headersEnd(
                header.stream_id,
                isRequest: unsafe frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST,
                endsStream: endsStream)
        case NGHTTP2_DATA.rawValue:
            let padding = unsafe frame.pointee.data.padlen
            owner.dataEnds(
                header.stream_id, contentCount: header.length - padding,
                endsStream: endsStream)
        case NGHTTP2_SETTINGS.rawValue:
            owner.settingsReceived(
                acknowledges: UInt32(header.flags) & NGHTTP2_FLAG_ACK.rawValue != 0)
        case NGHTTP2_PING.rawValue
        where UInt32(header.flags) & NGHTTP2_FLAG_ACK.rawValue != 0:
            let mark = unsafe frame.pointee.ping.opaque_data
            owner.pingAnswered([
                mark.0, mark.1, mark.2, mark.3, mark.4, mark.5, mark.6, mark.7,
            ])
        default:
            break
        }
    }

    /// A frame is on its way out.
    private static func sent(_ frame: UnsafePointer<nghttp2_frame>, by owner: HTTP2ServerSession) {
        let header = unsafe frame.pointee.hd
        switch UInt32(header.type) {
        case NGHTTP2_RST_STREAM.rawValue:
            owner.resetSent(
                header.stream_id, code: unsafe frame.pointee.rst_stream.error_code)
        case NGHTTP2_DATA.rawValue, NGHTTP2_HEADERS.rawValue:
            if UInt32(header.type) == NGHTTP2_DATA.rawValue {
                owner.dataSent(header.stream_id, count: header.length)
            }
            if UInt32(header.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0 {
                owner.answerEnded(header.stream_id)
            }
        default:
            break
        }
    }

    /// Where the library takes a stream's content from.
    static func contentProvider() -> nghttp2_data_provider {
        unsafe nghttp2_data_provider(source: nghttp2_data_source(fd: 0)) {
            _, streamID, room, capacity, flags, _, context in
            guard let flags = unsafe flags else {
                return ssize_t(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
            }
            var count = ssize_t(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
            unsafe with(context) { owner in
                let room = unsafe UnsafeMutableBufferPointer(start: room, count: capacity)
                count =
                    unsafe owner.content(streamID, into: room, &flags.pointee)
                    ?? ssize_t(NGHTTP2_ERR_DEFERRED.rawValue)
            }
            return count
        }
    }
}

/// Hands the session over without counting a reference: the library calls only while its session lives, which the object
/// frees at its end. A head is told of by a call for each of its fields.
private func with(_ context: UnsafeMutableRawPointer?, _ body: (HTTP2ServerSession) -> Void) {
    guard let context = unsafe context else { return }
    unsafe Unmanaged<HTTP2ServerSession>.fromOpaque(context)._withUnsafeGuaranteedRef {
        body($0)
    }
}
