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

    /// Appends `count` random bytes as twice as many lower-case hex digits, not all of them `0`: a trace
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
        var seen: UInt8 = 0
        for index in used..<used + count {
            // A byte is given out once.
            let byte = batch[index]
            let isLast = index == used + count - 1
            seen |= byte
            let shown = isLast && seen == 0 ? 1 : byte
            output.append(Self.digit(shown >> 4))
            output.append(Self.digit(shown & 15))
        }
        used += count
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
}
