/// Bytes that a socket would not take yet, in order. Empty, it holds no memory.
///
/// It is bounded by its callers: they stop reading from the other side while `isEmpty` is false, so that it holds one
/// read's worth and a head at most.
struct OutputQueue {
    private var bytes: [UInt8] = []
    private var start = 0

    var isEmpty: Bool { start == bytes.count }
    var count: Int { bytes.count - start }

    /// The bytes to write next.
    var pending: ArraySlice<UInt8> { bytes[start...] }

    mutating func append(_ span: Span<UInt8>, from offset: Int = 0) {
        bytes.reserveCapacity(bytes.count + span.count - offset)
        for index in offset..<span.count { bytes.append(span[index]) }
    }

    mutating func removeFirst(_ count: Int) {
        start += count
        if start >= bytes.count { removeAll() }
    }

    mutating func removeAll() {
        bytes = []
        start = 0
    }
}
