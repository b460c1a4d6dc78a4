import CNghttp2
import Primitives

/// The C side of a client's session, as `HTTP2ServerCallbacks` is that of a server's.
enum HTTP2ClientCallbacks {
    /// Makes the library's session.
    static func open(_ owner: HTTP2ClientSession, _ session: inout OpaquePointer?) -> Int32 {
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
        // How many streams the server takes it says in its first frame: before that one is enough, for what is refused
        // would have to go elsewhere.
        unsafe nghttp2_option_set_peer_max_concurrent_streams(option, 1)
        // As large as a listener may let a head be, and what we add to it.
        unsafe nghttp2_option_set_max_send_header_block_length(option, 2 << 20)
        let context = unsafe Unmanaged.passUnretained(owner).toOpaque()
        return unsafe nghttp2_session_client_new2(&session, callbacks, context, option)
    }

    private static func register(_ callbacks: OpaquePointer?) {
        unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks) {
            _, header, context in
            guard let header = unsafe header else { return 0 }
            unsafe owner(context)?.frameBegins(header.pointee)
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) {
            _, frame, context in
            // A promise that is not taken has fields too.
            guard let frame = unsafe frame, unsafe isHeaders(frame) else { return 0 }
            unsafe owner(context)?.headersBegin(frame.pointee.hd.stream_id)
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_header_callback(callbacks) {
            _, frame, name, nameCount, value, valueCount, _, context in
            guard let frame = unsafe frame, unsafe isHeaders(frame) else { return 0 }
            let name = unsafe UnsafeBufferPointer(start: name, count: nameCount)
            let value = unsafe UnsafeBufferPointer(start: value, count: valueCount)
            unsafe owner(context)?.header(
                frame.pointee.hd.stream_id, Span(_unsafeElements: name),
                Span(_unsafeElements: value))
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks) {
            _, frame, _, _, _, _, _, context in
            guard let frame = unsafe frame else { return 0 }
            unsafe owner(context)?.malformed(frame.pointee.hd.stream_id)
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks) {
            _, frame, _, context in
            guard let frame = unsafe frame else { return 0 }
            unsafe owner(context)?.frameRefused(frame.pointee.hd.stream_id)
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) {
            _, _, streamID, data, count, context in
            let content = unsafe UnsafeBufferPointer(start: data, count: count)
            unsafe owner(context)?.dataReceived(streamID, Span(_unsafeElements: content))
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) {
            _, frame, context in
            guard let frame = unsafe frame, let owner = unsafe owner(context) else { return 0 }
            let header = unsafe frame.pointee.hd
            let endsStream =
                UInt32(header.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0
            switch UInt32(header.type) {
            case NGHTTP2_HEADERS.rawValue:
                owner.headersEnd(header.stream_id, endsStream: endsStream)
            case NGHTTP2_DATA.rawValue:
                let padding = unsafe frame.pointee.data.padlen
                owner.dataCame(contentCount: header.length - padding, endsStream: endsStream)
                if endsStream { owner.dataEnds(header.stream_id) }
            case NGHTTP2_GOAWAY.rawValue:
                owner.hasGoneAway = true
            case NGHTTP2_WINDOW_UPDATE.rawValue:
                owner.windowCame(
                    Int(unsafe frame.pointee.window_update.window_size_increment))
            case NGHTTP2_SETTINGS.rawValue
            where UInt32(header.flags) & NGHTTP2_FLAG_ACK.rawValue == 0:
                owner.settingsReceived()
            default:
                break
            }
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) {
            _, frame, context in
            guard let frame = unsafe frame, let owner = unsafe owner(context) else { return 0 }
            let header = unsafe frame.pointee.hd
            if unsafe isHeaders(frame) { owner.headSent(header.stream_id) }
            if UInt32(header.type) == NGHTTP2_DATA.rawValue {
                owner.dataSent(header.stream_id, count: header.length)
            }
            let carriesEnd = [NGHTTP2_HEADERS.rawValue, NGHTTP2_DATA.rawValue].contains(
                UInt32(header.type))
            if carriesEnd, UInt32(header.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0 {
                owner.endSent(header.stream_id)
            }
            return 0
        }
        unsafe nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks) {
            _, _, _, _, _, _, _ in
            StreamOutput.pieceBytes
        }
        unsafe nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) {
            _, streamID, code, context in
            unsafe owner(context)?.streamClosed(streamID, code: code)
            return 0
        }
    }

    /// Where the library takes a stream's content from.
    static func contentProvider() -> nghttp2_data_provider {
        unsafe nghttp2_data_provider(source: nghttp2_data_source(fd: 0)) {
            _, streamID, room, capacity, flags, _, context in
            guard let owner = unsafe owner(context), let flags = unsafe flags else {
                return ssize_t(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
            }
            let room = unsafe UnsafeMutableBufferPointer(start: room, count: capacity)
            guard let count = unsafe owner.content(streamID, into: room, &flags.pointee) else {
                return ssize_t(NGHTTP2_ERR_DEFERRED.rawValue)
            }
            return count
        }
    }
}

private func isHeaders(_ frame: UnsafePointer<nghttp2_frame>) -> Bool {
    unsafe UInt32(frame.pointee.hd.type) == NGHTTP2_HEADERS.rawValue
}

private func owner(_ context: UnsafeMutableRawPointer?) -> HTTP2ClientSession? {
    guard let context = unsafe context else { return nil }
    return unsafe Unmanaged<HTTP2ClientSession>.fromOpaque(context).takeUnretainedValue()
}
