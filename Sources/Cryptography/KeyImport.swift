import COpenSSL

/// The ways a key's bytes become an EVP_PKEY. No check of the numbers: the key types do that.
enum KeyImport {
    /// The longest text or structure of a key that is read, in bytes.
    private static let limitBytes = 64 << 10

    /// - Parameters:
    ///   - modulus: big-endian.
    ///   - exponent: big-endian.
    static func rsa(modulus: [UInt8], exponent: [UInt8]) throws(CryptographyError) -> KeyHandle {
        guard let modulus = BigNumber(modulus), let exponent = BigNumber(exponent),
            let parameters = KeyParameters(rsaModulus: modulus, exponent: exponent)
        else { throw .unavailable }
        return try key("RSA", parameters, fault: .malformed)
    }

    /// - Parameter point: uncompressed (SEC 1 section 2.3.3), of the right length.
    static func ec(_ curve: EllipticCurve, point: [UInt8]) throws(CryptographyError) -> KeyHandle {
        guard let parameters = KeyParameters(group: curve.groupName, point: point) else {
            throw .unavailable
        }
        // Of a point with the right length only its place can be wrong.
        return try key("EC", parameters, fault: .notOnCurve)
    }

    private static func key(
        _ type: String, _ parameters: borrowing KeyParameters, fault: KeyFault
    ) throws(CryptographyError) -> KeyHandle {
        guard let context = unsafe EVP_PKEY_CTX_new_from_name(nil, type, nil) else {
            throw .unavailable
        }
        defer { unsafe EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        let selection = gatehouse_public_key_selection()
        guard unsafe EVP_PKEY_fromdata_init(context) == 1,
            unsafe EVP_PKEY_fromdata(context, &key, selection, parameters.raw) == 1,
            let key = unsafe key
        else {
            forgetOpenSSLErrors()
            throw .invalidKey(fault)
        }
        return unsafe KeyHandle(owning: key)
    }

    static func publicKey(der: [UInt8]) throws(CryptographyError) -> KeyHandle {
        guard der.count <= limitBytes, let count = Int(exactly: der.count) else {
            throw .invalidKey(.malformed)
        }
        let key = unsafe der.withUnsafeBufferPointer { buffer -> OpaquePointer? in
            var cursor = buffer.baseAddress
            let key = unsafe d2i_PUBKEY(nil, &cursor, count)
            // Bytes behind the structure make it another one.
            guard let end = unsafe cursor, let start = buffer.baseAddress,
                unsafe end - start == count
            else {
                unsafe EVP_PKEY_free(key)
                return nil
            }
            return unsafe key
        }
        return try unsafe handle(key)
    }

    static func publicKey(pem text: [UInt8]) throws(CryptographyError) -> KeyHandle {
        guard text.count <= limitBytes else { throw .invalidKey(.malformed) }
        for label in ["PUBLIC KEY", "RSA PUBLIC KEY"] where hasPEM(label, text) {
            return try unsafe handle(decodePublicKey(text))
        }
        guard hasPEM("CERTIFICATE", text) else { throw .invalidKey(.malformed) }
        let key = unsafe withMemoryFile(text) { file -> OpaquePointer? in
            guard let certificate = unsafe PEM_read_bio_X509(file, nil, nil, nil) else {
                return nil
            }
            defer { unsafe X509_free(certificate) }
            return unsafe X509_get_pubkey(certificate)
        }
        return try unsafe handle(key)
    }

    /// - Parameter text: an unencrypted `PRIVATE KEY`, `RSA PRIVATE KEY` or `EC PRIVATE KEY`.
    static func privateKey(pem text: [UInt8]) throws(CryptographyError) -> KeyHandle {
        guard text.count <= limitBytes else { throw .invalidKey(.malformed) }
        let key = unsafe withMemoryFile(text) { file in
            // Without this OpenSSL would ask for the pass phrase at the terminal.
            unsafe PEM_read_bio_PrivateKey(file, nil, { _, _, _, _ in -1 }, nil)
        }
        return try unsafe handle(key)
    }

    /// - Parameter der: a PrivateKeyInfo (RFC 5208 section 5), unencrypted.
    static func privateKey(pkcs8 der: [UInt8]) throws(CryptographyError) -> KeyHandle {
        guard der.count <= limitBytes else { throw .invalidKey(.malformed) }
        let key = unsafe der.withUnsafeBufferPointer { buffer -> OpaquePointer? in
            var cursor = buffer.baseAddress
            guard let info = unsafe d2i_PKCS8_PRIV_KEY_INFO(nil, &cursor, buffer.count) else {
                return nil
            }
            defer { unsafe PKCS8_PRIV_KEY_INFO_free(info) }
            return unsafe EVP_PKCS82PKEY(info)
        }
        return try unsafe handle(key)
    }

    private static func handle(_ key: OpaquePointer?) throws(CryptographyError) -> KeyHandle {
        forgetOpenSSLErrors()
        guard let key = unsafe key else { throw .invalidKey(.malformed) }
        return unsafe KeyHandle(owning: key)
    }

    private static func decodePublicKey(_ text: [UInt8]) -> OpaquePointer? {
        var key: OpaquePointer?
        guard
            let decoder = unsafe OSSL_DECODER_CTX_new_for_pkey(
                &key, "PEM", nil, nil, gatehouse_public_key_selection(), nil, nil)
        else { return nil }
        defer { unsafe OSSL_DECODER_CTX_free(decoder) }
        return unsafe text.withUnsafeBufferPointer { buffer in
            var cursor = buffer.baseAddress
            var rest = buffer.count
            guard unsafe OSSL_DECODER_from_data(decoder, &cursor, &rest) == 1 else {
                unsafe EVP_PKEY_free(key)
                return nil
            }
            return unsafe key
        }
    }

    private static func withMemoryFile(
        _ text: [UInt8], _ body: (OpaquePointer) -> OpaquePointer?
    ) -> OpaquePointer? {
        unsafe text.withUnsafeBufferPointer { buffer in
            guard let file = unsafe BIO_new_mem_buf(buffer.baseAddress, Int32(buffer.count)) else {
                return nil
            }
            defer { unsafe BIO_free(file) }
            return unsafe body(file)
        }
    }

    private static func hasPEM(_ label: String, _ text: [UInt8]) -> Bool {
        let mark = Array("-----BEGIN \(label)-----".utf8)
        guard text.count >= mark.count else { return false }
        return (0...(text.count - mark.count)).contains { start in
            text[start] == 0x2D && text[start..<(start + mark.count)].elementsEqual(mark)
        }
    }
}
