import COpenSSL

/// A public key that signatures are checked with, and its numbers as a JWK shows them.
///
/// Every way in ends in the same checks: a kind that signs, sane numbers, a point on its curve.
public final class PublicKey: Sendable {
    /// The numbers, big-endian: what RFC 7518 section 6 and RFC 8037 section 2 write in base64url.
    public enum Components: Sendable, Hashable {
        /// Without leading zeros.
        case rsa(modulus: [UInt8], exponent: [UInt8])
        /// Each as long as the curve's coordinates.
        case ec(EllipticCurve, x: [UInt8], y: [UInt8])
        case ed25519([UInt8])
    }

    /// The sizes of an RSA modulus that are taken at all. Whoever decides about trust asks for 2048
    /// (RFC 7518 section 3.3); the upper bound keeps a hostile key from making each check
    /// expensive.
    public static let rsaBits = 1024...8192

    public let kind: KeyKind
    public let components: Components
    let handle: KeyHandle

    /// - Throws: `.invalidKey`, with the fault.
    init(_ handle: consuming KeyHandle) throws(CryptographyError) {
        do throws(KeyFault) {
            let kind = try handle.kind()
            let components = try PublicKey.components(of: handle, kind)
            try PublicKey.check(components)
            if case .ec = kind { try PublicKey.checkPoint(handle) }
            self.kind = kind
            self.components = components
        } catch {
            throw .invalidKey(error)
        }
        self.handle = handle
    }

    /// An RSA key from its numbers, big-endian, without leading zeros.
    ///
    /// - Throws: `.invalidKey`.
    public convenience init(
        rsaModulus modulus: [UInt8], exponent: [UInt8]
    ) throws(CryptographyError) {
        guard let first = modulus.first, first != 0, exponent.first ?? 0 != 0 else {
            throw .invalidKey(.malformed)
        }
        // The size first: no work is done for a number that is too long.
        guard PublicKey.rsaBits.contains(modulus.count * 8 - first.leadingZeroBitCount) else {
            throw .invalidKey(.unsuitableSize)
        }
        do throws(KeyFault) {
            try PublicKey.check(.rsa(modulus: modulus, exponent: exponent))
        } catch {
            throw .invalidKey(error)
        }
        try self.init(KeyImport.rsa(modulus: modulus, exponent: exponent))
    }

    /// A key of a NIST curve from its coordinates, big-endian, each exactly as long as the curve's.
    ///
    /// - Throws: `.invalidKey(.notOnCurve)` for coordinates of no point, `.invalidKey(.coordinateLength)`,
    ///   `.invalidKey(.malformed)`.
    public convenience init(
        curve: EllipticCurve, x: [UInt8], y: [UInt8]
    ) throws(CryptographyError) {
        let size = curve.coordinateByteCount
        guard x.count == size, y.count == size else { throw .invalidKey(.coordinateLength) }
        try self.init(KeyImport.ec(curve, point: [0x04] + x + y))
    }

    /// An Ed25519 key (RFC 8032): 32 bytes.
    ///
    /// - Throws: `.invalidKey(.malformed)`.
    public convenience init(ed25519 bytes: [UInt8]) throws(CryptographyError) {
        guard bytes.count == 32,
            let raw = unsafe EVP_PKEY_new_raw_public_key(
                EVP_PKEY_ED25519, nil, bytes, bytes.count)
        else {
            forgetOpenSSLErrors()
            throw .invalidKey(.malformed)
        }
        try self.init(unsafe KeyHandle(owning: raw))
    }

    /// The first `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE` of a PEM text (RFC 7468).
    ///
    /// Of a certificate the key alone counts: neither its dates nor its issuer are looked at, for
    /// the file was named by the operator.
    ///
    /// - Throws: `.invalidKey`; `.malformed` for a text with none of these, a private key among
    ///   them.
    public convenience init(pem text: [UInt8]) throws(CryptographyError) {
        try self.init(KeyImport.publicKey(pem: text))
    }

    /// From the DER of a SubjectPublicKeyInfo (RFC 5280 section 4.1).
    ///
    /// - Throws: `.invalidKey`.
    public convenience init(subjectPublicKeyInfo der: [UInt8]) throws(CryptographyError) {
        try self.init(KeyImport.publicKey(der: der))
    }

    /// The DER of the SubjectPublicKeyInfo.
    public func subjectPublicKeyInfo() throws(CryptographyError) -> [UInt8] {
        guard let der = handle.subjectPublicKeyInfo() else { throw .invalidKey(.malformed) }
        return der
    }

    private static func components(
        of handle: borrowing KeyHandle, _ kind: KeyKind
    ) throws(KeyFault) -> Components {
        switch kind {
        case .rsa:
            guard let modulus = handle.number("n", byteCount: nil),
                let exponent = handle.number("e", byteCount: nil)
            else { throw .malformed }
            return .rsa(modulus: modulus, exponent: exponent)
        case .ec(let curve):
            guard let x = handle.number("qx", byteCount: curve.coordinateByteCount),
                let y = handle.number("qy", byteCount: curve.coordinateByteCount)
            else { throw .malformed }
            return .ec(curve, x: x, y: y)
        case .ed25519:
            guard let bytes = handle.rawPublicKey() else { throw .malformed }
            return .ed25519(bytes)
        }
    }

    /// An even modulus has the factor 2, an exponent of 1 makes every message its own signature;
    /// neither is a key, whatever its size. A long exponent only serves to make the check slow.
    private static func check(_ components: Components) throws(KeyFault) {
        guard case .rsa(let modulus, let exponent) = components else { return }
        guard let low = modulus.last, low & 1 == 1, let odd = exponent.last, odd & 1 == 1,
            exponent != [1], exponent.count <= 8
        else { throw .unsuitableNumber }
        guard !ROCAFingerprint.matches(modulus) else { throw .flawedGenerator }
    }

    private static func checkPoint(_ handle: borrowing KeyHandle) throws(KeyFault) {
        let isOnCurve = unsafe handle.withRaw { key in
            guard let context = unsafe EVP_PKEY_CTX_new_from_pkey(nil, key, nil) else {
                return false
            }
            defer { unsafe EVP_PKEY_CTX_free(context) }
            return unsafe EVP_PKEY_public_check_quick(context) == 1
        }
        guard isOnCurve else {
            forgetOpenSSLErrors()
            throw .notOnCurve
        }
    }
}
