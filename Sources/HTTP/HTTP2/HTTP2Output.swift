import CNghttp2
import Primitives

/// Content of one stream on its way out, and what ends it.
struct StreamOutput {
    /// Content of one DATA frame, at most: with its head it fills a record of TLS, so that no record is begun for the few
    /// bytes by which a frame of the usual 16 KiB is too long for one.
    static let pieceBytes = (16 << 10) - FrameWalker.headerCount

    /// Bytes that have gone out and may be kept before those that wait, where these are fewer.
    private static let spentLimit = 64 << 10

    private var bytes: [UInt8] = []
    private var start = 0
    /// No more content will come.
    var isEnded = false
    /// Field lines that follow the content.
    var trailers: [UInt8] = []
    /// The library has asked, found nothing, and waits to be told.
    var isDeferred = false

    var count: Int { bytes.count - start }
    /// With what has gone out already.
    var heldBytes: Int { bytes.count }

    mutating func append(_ content: Span<UInt8>) {
        bytes.append(content)
    }

    /// The content is complete.
    ///
    /// - Parameter trailers: field lines that follow it; may be empty.
    mutating func end(trailers lines: Span<UInt8>) {
        isEnded = true
        trailers.append(lines)
    }

    /// Gives the library what it asks for: content, or the end, or the word that trailers follow.
    ///
    /// - Returns: how many bytes were put into `room`; `nil` when nothing is there yet.
    mutating func give(
        into room: UnsafeMutableBufferPointer<UInt8>, _ flags: inout UInt32
    ) -> Int? {
        let amount = unsafe copy(into: room)
        if amount == 0, !isEnded {
            isDeferred = true
            return nil
        }
        if count == 0, isEnded {
            flags |= NGHTTP2_DATA_FLAG_EOF.rawValue
            if !trailers.isEmpty { flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue }
        }
        return amount
    }

    private mutating func copy(into room: UnsafeMutableBufferPointer<UInt8>) -> Int {
        let amount = min(count, room.count)
        let begin = start
        unsafe bytes.withUnsafeBufferPointer {
            _ = unsafe room.update(fromContentsOf: $0[begin..<begin + amount])
        }
        start += amount
        if start == bytes.count {
            bytes.removeAll(keepingCapacity: bytes.capacity <= 64 << 10)
            start = 0
        } else if start >= StreamOutput.spentLimit, start >= count {
            // A peer that opens its window in small steps may never let the queue run empty. What is moved is no more than
            // what has gone out since the last time.
            bytes.removeSubrange(..<start)
            start = 0
        }
        return amount
    }
}
