import Cryptography
import Primitives

/// What a nonce is remembered as where several gateways share their memory of it.
public enum NonceIdentifier {
    /// SHA-256 over the key and the four values, each text with its length before it, so that no two requests share an
    /// input and nobody outside can look for two that collide.
    ///
    /// - Parameter key: the same on every gateway.
    public static func make(
        key: [UInt8], consumer: String, token: String, timestamp: Int64, nonce: String
    ) -> [UInt8] {
        var input: [UInt8] = []
        input.reserveCapacity(
            key.count + 32 + consumer.utf8.count + token.utf8.count + nonce.utf8.count)
        input += key
        for text in [consumer, token, nonce] {
            input.appendBigEndian(UInt64(text.utf8.count))
            input.append(contentsOf: text.utf8)
        }
        input.appendBigEndian(UInt64(bitPattern: timestamp))
        return Digest.hash(input.span, .sha256)
    }
}

extension [UInt8] {
    mutating func appendBigEndian(_ number: UInt64) {
        for shift in stride(from: 56, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: number >> UInt64(shift)))
        }
    }
}
