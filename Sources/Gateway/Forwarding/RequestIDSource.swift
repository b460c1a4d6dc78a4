import Cryptography

/// Where a worker takes request ids, trace ids and span ids from: bytes of the system's generator, bought
/// in batches so that a request pays for a copy of 16 of them and not for a call.
///
/// The ids are unique for all practical purposes and cannot be guessed from one another: whoever knows a
/// request id may ask for the reason of its refusal.
public struct RequestIDSource {
    private static let batchBytes = 4096
    private var batch: [UInt8]
    private var used = 0

    /// - Throws: when the system's generator gives nothing.
    public init() throws(CryptographyError) {
        batch = try RandomBytes.make(count: Self.batchBytes)
    }

    /// A source that begins with the bytes given; for tests.
    init(beginningWith batch: [UInt8]) {
        self.batch = batch
    }

    /// Appends `count` random bytes, 1 to 32, as twice as many lower-case hex digits, not all of them `0`: a trace
    /// context may not have an id of zeros.
    ///
    /// - Throws: when a new batch was needed and the system's generator gave nothing.
    public mutating func appendHex(
        count: Int, to output: inout [UInt8]
    ) throws(CryptographyError) {
        if batch.count - used < count {
            batch = try RandomBytes.make(count: Self.batchBytes)
            used = 0
        }
        // A byte is given out once.
        let start = used
        used += count
        var digits = InlineArray<64, UInt8>(repeating: 0x30)
        precondition(count <= digits.count / 2, "an id has at most 32 bytes")
        var seen: UInt8 = 0
        for index in 0..<count {
            let byte = batch[start + index]
            seen |= byte
            digits[2 * index] = Self.digit(byte >> 4)
            digits[2 * index + 1] = Self.digit(byte & 15)
        }
        if seen == 0 { digits[2 * count - 1] = 0x31 }
        output.append(digits.span, 0..<2 * count)
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
}
