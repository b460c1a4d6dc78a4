import COpenSSL

/// What can go wrong below the protocols. A signature that does not match is no error: it is
/// `false`.
public enum CryptographyError: Error, Equatable, Sendable {
    /// The library has no such algorithm, or refuses it by its own configuration.
    case unavailable
    /// The system gave no random bytes; nothing may be made without them.
    case noRandomBytes
    /// The bytes are no key of the kind, or one that must not be used.
    case invalidKey(KeyFault)
    /// The key cannot make signatures of that algorithm.
    case keyDoesNotFit
    case signingFailed
    case sealingFailed
    /// The sealed bytes were changed, or belong to another key or place.
    case notAuthentic
}

/// Why a key was refused.
public enum KeyFault: Error, Equatable, Sendable {
    /// Not the structure that was expected: DER, PEM, a length.
    case malformed
    /// A coordinate that is not as long as its curve's field, leading zeros included (RFC 7518 section 6.2.1.2).
    case coordinateLength
    /// A kind of key that signs nothing here: DSA, X25519, an unknown curve.
    case unsupportedKind
    /// An RSA modulus below 1024 or above 8192 bits; users of RSA keys ask for more (RFC 8725
    /// section 3.5).
    case unsuitableSize
    /// An RSA modulus or exponent that is even, or an exponent of 1 or over 64 bits.
    case unsuitableNumber
    /// An RSA modulus of the generator that ROCA broke (CVE-2017-15361).
    case flawedGenerator
    /// The coordinates satisfy no point of the curve (RFC 8725 section 3.4).
    case notOnCurve
}

/// OpenSSL's queue of errors is per thread and is read by whoever asks next: leave nothing in it.
@inline(never)
func forgetOpenSSLErrors() {
    ERR_clear_error()
}
