import CNghttp2
import Primitives

/// What the library tells the session and asks of it; each is called from `HTTP2ServerCallbacks`.
extension HTTP2ServerSession {
    /// Every frame but DATA, before its payload. The library ignores what comes on closed streams; here it is judged
    /// (sections 5.1 and 5.1.1).
    func frameBegins(_ header: nghttp2_frame_hd) {
        guard !isTerminated else { return }
        let id = header.stream_id
        switch UInt32(header.type) {
        case NGHTTP2_HEADERS.rawValue:
            if id > finalStreamID, streams[id] == nil {
                spend(FloodGuard.frameCost)
            } else if id > lastStreamID {
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

    /// HEADERS or DATA on a stream that is not open, of an id that is not new.
    func judgeLateFrame(_ id: Int32) {
        if let fault = closed.fault(ofLateFrameOn: id) { return terminate(fault) }
        // It may have been under way, as much as a window holds; more of it is a flood.
        spend(FloodGuard.frameCost)
    }

    /// A frame that the library answers with a reset, as it refuses a stream above the limit: from now on, not only when
    /// the reset has gone out, what follows on the stream is ignored.
    func frameRefused(_ streamID: Int32) {
        if streamID > 0, streams[streamID] == nil { closed.wasReset(streamID) }
    }

    func headersBegin(_ streamID: Int32, isRequest: Bool) {
        incoming = IncomingBlock(streamID: streamID)
        // The library resets it when the GOAWAY goes out: served, it would be served twice.
        if isRequest, streamID > finalStreamID { return }
        if isRequest {
            guard let (stream, head) = delegate?.beginStream(id: streamID) else { return }
            incoming.reader = HTTP2HeadReader(head: head, limits: settings.head)
            streams[streamID] = stream
        } else {
            streams[streamID]?.trailers = Trailers()
        }
    }

    /// - Returns: false when so much has been decoded that the connection ends.
    func header(_ streamID: Int32, _ name: Span<UInt8>, _ value: Span<UInt8>) -> Bool {
        // A few bytes may stand for kilobytes: what is past the limit is refused, what is far past it an attack
        // (CVE-2016-6581).
        switch incoming.take(name, value, limit: decodedLimit) {
        case .taken: break
        case .tooMuch:
            terminate(.enhanceYourCalm)
            return false
        case .notOfAHead:
            if streams[streamID]?.trailers?.take(name, value, within: settings.head) == false {
                headerIsInvalid(streamID)
            }
        }
        return true
    }

    /// A field whose name or value no message may have (section 8.2.1). The library would only leave it out.
    func headerIsInvalid(_ streamID: Int32) {
        guard let stream = streams[streamID], !stream.isMalformed else { return }
        stream.isMalformed = true
        reset(streamID, code: .protocolError)
    }

    func headersEnd(_ streamID: Int32, isRequest: Bool, endsStream: Bool) {
        var reader = incoming.end()
        guard let stream = streams[streamID], !stream.isMalformed else { return }
        guard isRequest else {
            // Trailers end the stream (section 8.1).
            guard endsStream, let trailers = stream.trailers else {
                return headerIsInvalid(streamID)
            }
            return stream.requestEnded(trailers)
        }
        guard reader != nil else { return }
        do throws(HTTP1Error) {
            try reader?.finish(endsStream: endsStream)
            stream.isUseful = true
            stream.headComplete(endsStream: endsStream)
        } catch {
            if HTTP2ServerSession.isMalformed(error) {
                headerIsInvalid(streamID)
            } else {
                // One after another they are a flood too (CVE-2016-1544, heads that are too large).
                spend(FloodGuard.resetCost)
                stream.headRefused(error)
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
        guard let stream = streams[streamID], !stream.isMalformed else {
            return consumed(input.count, of: streamID)
        }
        stream.dataReceived(input)
    }

    /// A DATA frame is whole.
    func dataEnds(_ streamID: Int32, contentCount: Int, endsStream: Bool) {
        // Nothing but padding, or nothing at all (CVE-2019-9518).
        if contentCount == 0, !endsStream { spend(FloodGuard.emptyCost) }
        if contentCount >= FloodGuard.fairPiece { flood.earn(FloodGuard.frameCost) }
        guard endsStream, let stream = streams[streamID], !stream.isMalformed else { return }
        stream.requestEnded(Trailers())
    }

    /// The client has seen the first GOAWAY.
    func pingAnswered(_ mark: [UInt8]) {
        if mark == HTTP2ServerSession.announcementMark { endAnnouncement() }
    }

    /// - Parameter acknowledges: the client has seen ours.
    func settingsReceived(acknowledges: Bool) {
        if acknowledges { hasAcknowledgement = true } else { hasSettings = true }
    }

    /// A client that takes much may say so often, by windows and by a PING to measure with, as gRPC's do. A small piece
    /// was useful where it was all there was; one that a window of a few bytes cut off was not (CVE-2019-9511).
    func dataSent(_ streamID: Int32, count: Int) {
        // What answers a head that was refused pays for nothing.
        guard let stream = streams[streamID], stream.isUseful else { return }
        guard count >= FloodGuard.fairPiece || (count > 0 && stream.queuedBytes == 0) else {
            return
        }
        flood.earn(FloodGuard.takenEarns)
    }

    func resetSent(_ streamID: Int32, code: UInt32) {
        // A reset that the client provoked costs what its own would (CVE-2025-8671).
        if code == HTTP2Code.refusedStream.rawValue, !hasAcknowledgement {
            // It could not know how many streams it may open: nothing was done for them.
            spend(FloodGuard.frameCost)
        } else if code != HTTP2Code.noError.rawValue, code != HTTP2Code.internalError.rawValue {
            spend(FloodGuard.resetCost)
        }
        // A window that a setting made overflow is the connection's fault (section 6.9.2); one of a WINDOW_UPDATE may be
        // taken as that.
        if code == HTTP2Code.flowControlError.rawValue { terminate(.flowControlError) }
        closed.wasReset(streamID)
    }

    func streamClosed(_ streamID: Int32, code: UInt32) {
        // Its head may be another's from now on.
        if incoming.streamID == streamID { _ = incoming.end() }
        guard let stream = streams.remove(streamID) else { return }
        closed.wasClosed(streamID)
        if code == 0, stream.isUseful { flood.earn(FloodGuard.resetCost) }
        stream.isClosed = true
        stream.closed(code: code)
        delegate?.streamHasClosed()
    }

    // MARK: Content

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

    /// The answer is out. Where the rest of the request was refused, the stream ends here.
    func answerEnded(_ streamID: Int32) {
        guard let stream = streams[streamID] else { return }
        stream.isAnswered = true
        if stream.isStopped { reset(streamID, code: .noError) }
    }
}
