import COpenSSL
import Primitives

/// A key that signs. It never prints its numbers and leaves the process only through `pkcs8DER`.
public final class PrivateKey: Sendable {
    /// What may be made anew.
    public enum Kind: Sendable, Hashable {
        case p256
        case ed25519
        case rsa2048
        case rsa3072
    }

    public let publicKey: PublicKey
    private let handle: KeyHandle

    public var kind: KeyKind { publicKey.kind }

    private init(_ handle: consuming KeyHandle) throws(CryptographyError) {
        guard let der = handle.subjectPublicKeyInfo() else { throw .invalidKey(.malformed) }
        publicKey = try PublicKey(subjectPublicKeyInfo: der)
        self.handle = handle
    }

    /// A new key. RSA takes a tenth of a second and more: not on a loop.
    ///
    /// - Throws: `.unavailable` when the library cannot make one, for lack of random bytes say.
    public static func generate(_ kind: Kind) throws(CryptographyError) -> PrivateKey {
        switch kind {
        case .p256: try PrivateKey(unsafe generated("EC") { unsafe setGroup($0, .p256) })
        case .ed25519: try PrivateKey(unsafe generated("ED25519") { _ in true })
        case .rsa2048: try PrivateKey(unsafe generated("RSA") { unsafe setBits($0, 2048) })
        case .rsa3072: try PrivateKey(unsafe generated("RSA") { unsafe setBits($0, 3072) })
        }
    }

    /// From the DER of a PrivateKeyInfo (PKCS #8, RFC 5208 section 5), unencrypted.
    ///
    /// - Throws: `.invalidKey`.
    public convenience init(pkcs8DER der: Secret) throws(CryptographyError) {
        try self.init(KeyImport.privateKey(pkcs8: der.exposed))
    }

    /// From an unencrypted PEM text: PKCS #8, or the older forms of RSA and EC keys.
    ///
    /// - Throws: `.invalidKey`; a key under a pass phrase is `.malformed`.
    public convenience init(pem text: Secret) throws(CryptographyError) {
        try self.init(KeyImport.privateKey(pem: text.exposed))
    }

    /// The DER of the PrivateKeyInfo, for the store to seal.
    ///
    /// - Throws: `.invalidKey` if the library cannot write it.
    public func pkcs8DER() throws(CryptographyError) -> Secret {
        let der = unsafe handle.withRaw { key -> [UInt8]? in
            guard let info = unsafe EVP_PKEY2PKCS8(key) else { return nil }
            defer { unsafe PKCS8_PRIV_KEY_INFO_free(info) }
            return unsafe derBytes { unsafe i2d_PKCS8_PRIV_KEY_INFO(info, $0) }
        }
        guard let der else {
            forgetOpenSSLErrors()
            throw .invalidKey(.malformed)
        }
        return Secret(der)
    }

    /// The signature of `message` in the form of JWS: ECDSA as r ‖ s, PSS with a salt as long as
    /// the hash. Safe from several threads: each call has a context of its own.
    ///
    /// - Throws: `.keyDoesNotFit`, `.signingFailed`.
    public func sign(
        _ message: Span<UInt8>, _ algorithm: SignatureAlgorithm
    ) throws(CryptographyError) -> [UInt8] {
        guard algorithm.fits(kind) else { throw .keyDoesNotFit }
        guard let signature = signDER(message, algorithm) else {
            forgetOpenSSLErrors()
            throw .signingFailed
        }
        guard case .ecdsa(let curve) = algorithm.family else { return signature }
        guard let raw = ECDSASignature.raw(ofDER: signature, curve: curve) else {
            throw .signingFailed
        }
        return raw
    }

    public func sign(
        _ message: [UInt8], _ algorithm: SignatureAlgorithm
    ) throws(CryptographyError) -> [UInt8] {
        try sign(message.span, algorithm)
    }

    private func signDER(_ message: Span<UInt8>, _ algorithm: SignatureAlgorithm) -> [UInt8]? {
        guard let context = unsafe EVP_MD_CTX_new() else { return nil }
        defer { unsafe EVP_MD_CTX_free(context) }
        // Belongs to `context`, and is freed with it.
        var keyContext: OpaquePointer?
        let isReady = unsafe handle.withRaw { key in
            unsafe EVP_DigestSignInit(
                context, &keyContext, algorithm.digest?.implementation ?? nil, nil, key) == 1
        }
        guard isReady else { return nil }
        if case .pss = algorithm.family {
            guard unsafe EVP_PKEY_CTX_set_rsa_padding(keyContext, RSA_PKCS1_PSS_PADDING) == 1,
                unsafe EVP_PKEY_CTX_set_rsa_pss_saltlen(keyContext, RSA_PSS_SALTLEN_DIGEST) == 1
            else { return nil }
        }
        return unsafe message.withUnsafeBufferPointer { input in
            var count = 0
            guard
                unsafe EVP_DigestSign(context, nil, &count, input.baseAddress, input.count) == 1,
                count > 0, count <= 1024
            else { return nil }
            var signature: [UInt8] = []
            signature.resize(to: count)
            guard
                unsafe EVP_DigestSign(
                    context, &signature, &count, input.baseAddress, input.count) == 1
            else { return nil }
            signature.removeSubrange(count...)
            return signature
        }
    }

    private static func generated(
        _ type: String, _ configure: (OpaquePointer) -> Bool
    ) throws(CryptographyError) -> KeyHandle {
        guard let context = unsafe EVP_PKEY_CTX_new_from_name(nil, type, nil) else {
            forgetOpenSSLErrors()
            throw .unavailable
        }
        defer { unsafe EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard unsafe EVP_PKEY_keygen_init(context) == 1, unsafe configure(context),
            unsafe EVP_PKEY_generate(context, &key) == 1, let key = unsafe key
        else {
            forgetOpenSSLErrors()
            throw .unavailable
        }
        return unsafe KeyHandle(owning: key)
    }

    private static func setBits(_ context: OpaquePointer, _ bits: Int32) -> Bool {
        unsafe EVP_PKEY_CTX_set_rsa_keygen_bits(context, bits) == 1
    }

    private static func setGroup(_ context: OpaquePointer, _ curve: EllipticCurve) -> Bool {
        unsafe curve.groupName.withCString { unsafe EVP_PKEY_CTX_set_group_name(context, $0) == 1 }
    }
}
