import Primitives

/// Follows the messages of a call's answer, so that it may end between two of them: each is a flag, its length in four bytes,
/// and so many bytes (gRPC over HTTP/2, "Length-Prefixed-Message").
struct GRPCMessages {
    private static let headCount = 5

    /// Of the head of a message that has not come whole.
    private var headBytes = 0
    private var length = 0
    /// Bytes of a message that are still to come.
    private var rest = 0

    /// Whether all that has begun is complete.
    var areWhole: Bool { headBytes == 0 && rest == 0 }

    mutating func take(_ input: Span<UInt8>, _ range: Range<Int>) {
        var offset = range.lowerBound
        while offset < range.upperBound {
            if rest > 0 {
                let step = min(rest, range.upperBound - offset)
                rest -= step
                offset += step
                continue
            }
            if headBytes > 0 { length = length << 8 | Int(input[offset]) }
            headBytes += 1
            offset += 1
            guard headBytes == GRPCMessages.headCount else { continue }
            (rest, length, headBytes) = (length, 0, 0)
        }
    }
}
