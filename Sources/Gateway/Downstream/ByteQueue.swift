import Primitives

/// Bytes that wait, in order: for a socket that would not take them yet, or for an exchange that cannot. Empty, it holds
/// no memory.
///
/// It is bounded by its callers: they stop reading from the other side while `isEmpty` is false, so that it holds one
/// read's worth and a head at most.
struct ByteQueue {
    private var bytes: [UInt8] = []
    private var start = 0

    var isEmpty: Bool { start == bytes.count }
    var count: Int { bytes.count - start }

    /// What comes next.
    var pending: ArraySlice<UInt8> { bytes[start...] }

    mutating func append(_ span: Span<UInt8>, from offset: Int = 0) {
        bytes.append(span, offset..<span.count)
    }

    /// Appends what `compose` does.
    mutating func append(_ compose: (inout [UInt8]) -> Void) {
        compose(&bytes)
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
