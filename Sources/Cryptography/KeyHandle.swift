import COpenSSL

/// Owns one EVP_PKEY and frees it once. OpenSSL counts references atomically and never changes a
/// key that is in use, so that threads may share one; the contexts that work with it may not be
/// shared.
@safe struct KeyHandle: ~Copyable, Sendable {
    nonisolated(unsafe) private let raw: OpaquePointer

    /// Takes over `raw`.
    init(owning raw: OpaquePointer) {
        unsafe self.raw = unsafe raw
    }

    deinit {
        unsafe EVP_PKEY_free(raw)
    }

    /// Lends the pointer for one call.
    func withRaw<Result>(_ body: (OpaquePointer) -> Result) -> Result {
        unsafe body(raw)
    }

    /// What kind of key it is.
    ///
    /// - Throws: `.unsupportedKind`, `.unsuitableSize`.
    func kind() throws(KeyFault) -> KeyKind {
        // EVP_PKEY_is_a wants exact names: "RSA-PSS" keys, which restrict themselves, are not
        // taken.
        if unsafe EVP_PKEY_is_a(raw, "RSA") == 1 {
            let bits = unsafe Int(EVP_PKEY_get_bits(raw))
            guard PublicKey.rsaBits.contains(bits) else { throw .unsuitableSize }
            return .rsa(bits: bits)
        }
        if unsafe EVP_PKEY_is_a(raw, "ED25519") == 1 { return .ed25519 }
        guard unsafe EVP_PKEY_is_a(raw, "EC") == 1 else { throw .unsupportedKind }
        var name = [CChar](repeating: 0, count: 32)
        guard unsafe EVP_PKEY_get_group_name(raw, &name, name.count, nil) == 1 else {
            forgetOpenSSLErrors()
            throw .unsupportedKind
        }
        for curve in EllipticCurve.allCases {
            let isSame = unsafe curve.groupName.withCString { unsafe strcmp($0, name) == 0 }
            if isSame { return .ec(curve) }
        }
        throw .unsupportedKind
    }

    /// A number of the key, big-endian.
    ///
    /// - Parameter byteCount: the length to pad to; `nil` for the shortest.
    func number(_ name: String, byteCount: Int?) -> [UInt8]? {
        var number: OpaquePointer?
        guard unsafe EVP_PKEY_get_bn_param(raw, name, &number) == 1 else {
            forgetOpenSSLErrors()
            return nil
        }
        defer { unsafe BN_free(number) }
        let shortest = unsafe Int(BN_num_bits(number) + 7) / 8
        let count = byteCount ?? max(shortest, 1)
        guard shortest <= count else { return nil }
        var bytes: [UInt8] = []
        bytes.resize(to: count)
        return unsafe BN_bn2binpad(number, &bytes, Int32(count)) == Int32(count) ? bytes : nil
    }

    /// The 32 bytes of an Ed25519 public key.
    func rawPublicKey() -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.resize(to: 32)
        var count = bytes.count
        guard unsafe EVP_PKEY_get_raw_public_key(raw, &bytes, &count) == 1, count == 32 else {
            forgetOpenSSLErrors()
            return nil
        }
        return bytes
    }

    /// The DER of the SubjectPublicKeyInfo (RFC 5280 section 4.1): the public half alone.
    func subjectPublicKeyInfo() -> [UInt8]? {
        unsafe derBytes { unsafe i2d_PUBKEY(raw, $0) }
    }
}

/// Calls an `i2d_` function: once for the length, once for the bytes.
func derBytes(
    _ write: (UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>?) -> Int32
) -> [UInt8]? {
    let count = Int(write(nil))
    guard count > 0 else {
        forgetOpenSSLErrors()
        return nil
    }
    var bytes: [UInt8] = []
    bytes.resize(to: count)
    let written = unsafe bytes.withUnsafeMutableBufferPointer { buffer in
        // The function moves its copy of the pointer on.
        var cursor = buffer.baseAddress
        return unsafe write(&cursor)
    }
    return written == Int32(count) ? bytes : nil
}
