import COpenSSL

/// Checks signatures of one public key by one algorithm, with a context that is prepared once.
///
/// Belongs to one worker; not Sendable. The key itself is shared by all.
@safe public final class SignatureVerifier {
    public let key: PublicKey
    public let algorithm: SignatureAlgorithm
    /// Hashes the message, and for Ed25519 does the whole check.
    private let hashing: OpaquePointer
    /// Checks the signature of a hash; `nil` for Ed25519, which has none.
    private let checking: OpaquePointer?
    private var digest: [UInt8] = []
    private var der: [UInt8] = []

    /// - Throws: `.keyDoesNotFit`, `.unavailable`.
    public init(key: PublicKey, algorithm: SignatureAlgorithm) throws(CryptographyError) {
        guard algorithm.fits(key.kind) else { throw .keyDoesNotFit }
        guard let hashing = unsafe EVP_MD_CTX_new() else { throw .unavailable }
        var checking: OpaquePointer?
        if case .ed25519 = algorithm.family {
            unsafe checking = nil
        } else {
            unsafe checking = unsafe SignatureVerifier.checkingContext(key, algorithm)
            guard unsafe checking != nil else {
                unsafe EVP_MD_CTX_free(hashing)
                forgetOpenSSLErrors()
                throw .unavailable
            }
        }
        self.key = key
        self.algorithm = algorithm
        unsafe self.hashing = unsafe hashing
        unsafe self.checking = unsafe checking
        digest.resize(to: DigestAlgorithm.maximumByteCount)
    }

    deinit {
        unsafe EVP_PKEY_CTX_free(checking)
        unsafe EVP_MD_CTX_free(hashing)
    }

    /// Whether `signature`, in the form of JWS, is one of `message` by the key.
    ///
    /// Everything that goes wrong on the way is false as well: there is no third answer that could
    /// be taken for yes.
    public func isValid(signature: Span<UInt8>, message: Span<UInt8>) -> Bool {
        let isValid =
            switch algorithm.family {
            case .pkcs1, .pss: isValidRSA(signature, message)
            case .ecdsa(let curve): isValidECDSA(signature, message, curve)
            case .ed25519: isValidEd25519(signature, message)
            }
        // Nothing that strangers send may pile up in this thread's queue.
        if !isValid { forgetOpenSSLErrors() }
        return isValid
    }

    private func isValidRSA(_ signature: Span<UInt8>, _ message: Span<UInt8>) -> Bool {
        // Exactly as long as the modulus (RFC 8017 section 8.2.2 step 1).
        guard case .rsa(let bits) = key.kind, signature.count == (bits + 7) / 8,
            let count = hash(message)
        else { return false }
        return unsafe signature.withUnsafeBufferPointer { signature in
            unsafe EVP_PKEY_verify(checking, signature.baseAddress, signature.count, digest, count)
                == 1
        }
    }

    private func isValidECDSA(
        _ signature: Span<UInt8>, _ message: Span<UInt8>, _ curve: EllipticCurve
    ) -> Bool {
        guard ECDSASignature.writeDER(of: signature, curve: curve, into: &der),
            let count = hash(message)
        else { return false }
        return unsafe EVP_PKEY_verify(checking, der, der.count, digest, count) == 1
    }

    private func isValidEd25519(_ signature: Span<UInt8>, _ message: Span<UInt8>) -> Bool {
        guard signature.count == 64 else { return false }
        let isReady = unsafe key.handle.withRaw { key in
            unsafe EVP_DigestVerifyInit(hashing, nil, nil, nil, key) == 1
        }
        guard isReady else { return false }
        return unsafe signature.withUnsafeBufferPointer { signature in
            unsafe message.withUnsafeBufferPointer { message in
                unsafe EVP_DigestVerify(
                    hashing, signature.baseAddress, signature.count, message.baseAddress,
                    message.count) == 1
            }
        }
    }

    /// Leaves the hash of `message` in `digest`.
    ///
    /// - Returns: its length in bytes.
    private func hash(_ message: Span<UInt8>) -> Int? {
        guard let kind = algorithm.digest else { return nil }
        var count: UInt32 = 0
        let isDone = unsafe message.withUnsafeBufferPointer { message in
            unsafe EVP_DigestInit_ex2(hashing, kind.implementation, nil) == 1
                && EVP_DigestUpdate(hashing, message.baseAddress, message.count) == 1
                && EVP_DigestFinal_ex(hashing, &digest, &count) == 1
        }
        return isDone && Int(count) == kind.byteCount ? Int(count) : nil
    }

    private static func checkingContext(
        _ key: PublicKey, _ algorithm: SignatureAlgorithm
    ) -> OpaquePointer? {
        guard let digest = unsafe algorithm.digest?.implementation else { return nil }
        let context = unsafe key.handle.withRaw { unsafe EVP_PKEY_CTX_new_from_pkey(nil, $0, nil) }
        guard let context = unsafe context else { return nil }
        var isReady =
            unsafe EVP_PKEY_verify_init(context) == 1
            && EVP_PKEY_CTX_set_signature_md(context, digest) == 1
        switch algorithm.family {
        case .pkcs1:
            unsafe isReady =
                isReady && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1
        case .pss:
            // The salt is exactly as long as the hash (RFC 7518 section 3.5).
            unsafe isReady =
                isReady && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1
                && EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1
        case .ecdsa, .ed25519:
            break
        }
        guard isReady else {
            unsafe EVP_PKEY_CTX_free(context)
            return nil
        }
        return unsafe context
    }
}
