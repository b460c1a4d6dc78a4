import Cryptography
import Primitives

/// The nonces that an answer asks for in the next proof (RFC 9449 sections 8 and 9).
///
/// Nothing is kept of them: each is a code over the number of its span of time, under a key that all workers, and all
/// instances of a fleet, share. A nonce holds for its own span and for the next one, and with those whose clocks lag behind
/// also in the one before.
public struct DPoPNonce: Sendable {
    public static let keyByteCount = 32
    private static let label = Array("gatehouse dpop nonce".utf8)
    /// 128 bits: nobody guesses one within its two spans.
    private static let byteCount = 16

    private let key: Secret
    public let rotationSeconds: Int64

    /// - Parameters:
    ///   - key: 32 random bytes, of no other use.
    ///   - rotationSeconds: how long one is given out.
    /// - Returns: `nil` for a key of another length or a rotation that is not positive.
    public init?(key: Secret, rotationSeconds: Int64 = 300) {
        guard key.count == DPoPNonce.keyByteCount, rotationSeconds > 0 else { return nil }
        self.key = key
        self.rotationSeconds = rotationSeconds
    }

    /// What the `DPoP-Nonce` field says now: 22 characters of base64url.
    ///
    /// - Throws: `.unavailable` when there is no HMAC.
    public func current(at now: WallTime) throws(CryptographyError) -> String {
        try make(span(of: now))
    }

    /// Whether the nonce was given out in this span of time or in the one before, or by an instance whose clock is ahead in
    /// the next one. All are compared, in constant time.
    public func accepts(_ nonce: String, at now: WallTime) -> Bool {
        let presented = Array(nonce.utf8)
        var isKnown = false
        for index in [span(of: now), span(of: now) - 1, span(of: now) + 1] {
            guard let nonce = try? make(index) else { return false }
            let isSame = ConstantTime.equal(Array(nonce.utf8), presented)
            isKnown = isSame || isKnown
        }
        return isKnown
    }

    /// Rounded down, also before 1970.
    private func span(of now: WallTime) -> Int64 {
        let (quotient, remainder) = now.seconds.quotientAndRemainder(dividingBy: rotationSeconds)
        return remainder < 0 ? quotient - 1 : quotient
    }

    private func make(_ span: Int64) throws(CryptographyError) -> String {
        var message = DPoPNonce.label
        for number in [rotationSeconds, span] {
            for shift in stride(from: 56, through: 0, by: -8) {
                message.append(UInt8(truncatingIfNeeded: number >> Int64(shift)))
            }
        }
        let code = try MAC.authenticate(message.span, algorithm: .sha256, key: key.exposed)
        return Base64.encode(Array(code.prefix(DPoPNonce.byteCount)), .url)
    }
}
