/// A 64-bit hash under a random key, for tables whose keys strangers choose: without the key nobody
/// can make entries collide. It proves nothing; whoever finds by it compares the bytes.
public struct KeyedHash: Sendable {
    private let key: (UInt64, UInt64)

    /// A new random key. Not left to the process-wide seed of the standard library, which the
    /// environment can switch off.
    public init() {
        var generator = SystemRandomNumberGenerator()
        key = (generator.next(), generator.next())
    }

    /// SipHash of the bytes.
    public func hash(_ bytes: Span<UInt8>) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(key.0)
        hasher.combine(key.1)
        unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe hasher.combine(bytes: UnsafeRawBufferPointer(buffer))
        }
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }
}
