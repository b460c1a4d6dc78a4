import Primitives

/// Content of one stream on its way out, and what ends it.
struct StreamOutput {
    private var bytes: [UInt8] = []
    private var start = 0
    /// No more content will come.
    var isEnded = false
    /// Field lines that follow the content.
    var trailers: [UInt8] = []
    /// The library has asked, found nothing, and waits to be told.
    var isDeferred = false

    var count: Int { bytes.count - start }

    mutating func append(_ content: Span<UInt8>) {
        bytes.append(content)
    }

    /// Copies the next content into the room that the library gives.
    mutating func copy(into room: UnsafeMutableBufferPointer<UInt8>) -> Int {
        let amount = min(count, room.count)
        for index in 0..<amount { unsafe room[index] = bytes[start + index] }
        start += amount
        if start == bytes.count {
            bytes.removeAll(keepingCapacity: bytes.capacity <= 64 << 10)
            start = 0
        }
        return amount
    }
}
