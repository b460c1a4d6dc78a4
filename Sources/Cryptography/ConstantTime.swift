import COpenSSL

public enum ConstantTime {
    /// Whether the two hold the same bytes. The time depends on the lengths alone, which are no
    /// secret wherever this is used: signatures, digests.
    public static func equal(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        // CRYPTO_memcmp may not be given NULL, which an empty span has.
        guard left.count > 0 else { return true }
        return unsafe left.withUnsafeBufferPointer { left in
            unsafe right.withUnsafeBufferPointer { right in
                unsafe CRYPTO_memcmp(left.baseAddress, right.baseAddress, left.count) == 0
            }
        }
    }

    public static func equal(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        equal(left.span, right.span)
    }
}
