import CNghttp2
import Primitives

/// How much a server may cost that sends what nobody has asked for: the budget is that of a client (`FloodGuard`), and what may
/// be under way on a stream that was given up is free.
extension HTTP2ClientSession {
    /// Every frame but DATA, before its payload. What comes on streams that are no more the library ignores.
    func frameBegins(_ header: nghttp2_frame_hd) {
        switch UInt32(header.type) {
        case NGHTTP2_PING.rawValue, NGHTTP2_SETTINGS.rawValue, NGHTTP2_PRIORITY.rawValue:
            spend(FloodGuard.frameCost)
        case NGHTTP2_WINDOW_UPDATE.rawValue:
            if header.stream_id > 0, streams[header.stream_id] == nil {
                spendLate(FloodGuard.frameCost)
            } else {
                spend(FloodGuard.frameCost)
            }
        case NGHTTP2_HEADERS.rawValue, NGHTTP2_RST_STREAM.rawValue:
            if streams[header.stream_id] == nil { spendLate(FloodGuard.frameCost) }
        default:
            break
        }
    }

    /// DATA and frames of unknown types are dropped without a word, the former where their stream is no more.
    func judgeDropped(_ frame: FrameWalker.Frame) {
        switch frame {
        case .data(let streamID, let count):
            if streams[streamID] == nil { judgeLate(count) }
        case .unknown:
            spend(FloodGuard.frameCost)
        case .continuation:
            break
        }
    }

    private func judgeLate(_ count: Int) {
        if count == 0 { return spendLate(FloodGuard.emptyCost) }
        // By the byte: a window may have been filled by very small pieces.
        if lateBytes >= count { lateBytes -= count } else { spend(FloodGuard.frameCost) }
    }

    /// A stream is closed. One that its server had not ended may still have a window's worth under way, and the frames around
    /// it: clients that leave early must cost the others nothing.
    func settle(_ stream: Stream) {
        if stream.hasEnded {
            flood.earn(FloodGuard.resetCost)
        } else {
            lateBytes = min(
                lateBytes + settings.streamWindow, settings.streams * settings.streamWindow)
            lateFrames = min(
                lateFrames + HTTP2ClientSession.lateFramesOfStream,
                settings.streams * HTTP2ClientSession.lateFramesOfStream)
        }
    }

    /// A frame of a stream that is no more; as many are free as may be under way.
    private func spendLate(_ cost: Int) {
        if lateFrames > 0 { lateFrames -= 1 } else { spend(cost) }
    }

    /// A DATA frame of an open stream is whole.
    func dataCame(contentCount: Int, endsStream: Bool) {
        if contentCount == 0, !endsStream { spend(FloodGuard.emptyCost) }
        if contentCount >= FloodGuard.fairPiece { flood.earn(FloodGuard.frameCost) }
    }

    /// A window is opened again: what was sent pays for that, also where a server reads it in rather small steps.
    func windowCame(_ increment: Int) {
        guard increment >= FloodGuard.fairStep, increment <= shutBytes else { return }
        shutBytes -= increment
        flood.earn(FloodGuard.frameCost)
    }

    /// A server that takes much may say so often, as a client may.
    func dataSent(_ streamID: Int32, count: Int) {
        // Of the stream's window, and of the connection's.
        shutBytes += 2 * count
        guard count >= FloodGuard.fairPiece || (count > 0 && queuedBytes(streamID) == 0) else {
            return
        }
        flood.earn(FloodGuard.takenEarns)
    }

    /// Time has passed: the server may cost a little more again.
    public func earn(_ amount: Int) {
        flood.earn(amount)
    }

    private func spend(_ cost: Int) {
        if !flood.spend(cost) { terminate(.enhanceYourCalm) }
    }

    /// Nothing more is believed, and no request begins any more; the server is told why.
    func terminate(_ code: HTTP2Code) {
        guard !isTerminated else { return }
        isTerminated = true
        _ = unsafe nghttp2_session_terminate_session(session, code.rawValue)
    }
}
