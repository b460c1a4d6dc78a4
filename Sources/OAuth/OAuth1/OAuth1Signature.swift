import Cryptography
import Primitives

/// Makes signatures (RFC 5849 section 3.4), for clients of ours and for tables of tests.
public enum OAuth1Signature {
    /// Appends `consumer secret & token secret`, both encoded (section 3.4.2); the `&` is always
    /// there.
    static func appendKey(
        consumerSecret: [UInt8], tokenSecret: [UInt8], to key: inout [UInt8]
    ) {
        PercentCoding.encode(consumerSecret.span, into: &key)
        key.append(0x26)
        PercentCoding.encode(tokenSecret.span, into: &key)
    }

    /// The value of `oauth_signature`, not encoded yet.
    ///
    /// - Parameters:
    ///   - baseString: what is signed; PLAINTEXT does not look at it.
    ///   - credentials: the secrets; an absent consumer secret is an empty one.
    ///   - privateKey: for the RSA methods.
    /// - Throws: `.keyMissing`, `.signingFailed`.
    public static func make(
        _ method: OAuth1SignatureMethod, baseString: [UInt8], credentials: OAuth1Credentials,
        privateKey: PrivateKey? = nil
    ) throws(OAuth1SigningError) -> [UInt8] {
        var key: [UInt8] = []
        appendKey(
            consumerSecret: credentials.consumerSecret?.exposed ?? [],
            tokenSecret: credentials.tokenSecret?.exposed ?? [], to: &key)
        guard method != .plaintext else { return key }
        let signature = try bytes(method, baseString, key, privateKey)
        var text: [UInt8] = []
        Base64.encode(signature.span, .standard, into: &text)
        return text
    }

    private static func bytes(
        _ method: OAuth1SignatureMethod, _ baseString: [UInt8], _ key: [UInt8],
        _ privateKey: PrivateKey?
    ) throws(OAuth1SigningError) -> [UInt8] {
        if let digest = method.hmacDigest {
            guard let mac = try? MAC(algorithm: digest, key: key) else { throw .signingFailed }
            var code: [UInt8] = []
            mac.authenticate(baseString.span, into: &code)
            return code
        }
        guard let algorithm = method.rsaAlgorithm, let privateKey,
            algorithm.fits(privateKey.kind)
        else { throw .keyMissing }
        guard let signature = try? privateKey.sign(baseString, algorithm) else {
            throw .signingFailed
        }
        return signature
    }
}

extension OAuth1SignatureMethod {
    /// The hash of an HMAC method.
    var hmacDigest: DigestAlgorithm? {
        switch self {
        case .hmacSHA1: .sha1
        case .hmacSHA256: .sha256
        case .hmacSHA512: .sha512
        case .rsaSHA1, .rsaSHA256, .rsaSHA512, .plaintext: nil
        }
    }

    var rsaAlgorithm: SignatureAlgorithm? {
        switch self {
        case .rsaSHA1: .rsaSHA1
        case .rsaSHA256: .rs256
        case .rsaSHA512: .rs512
        case .hmacSHA1, .hmacSHA256, .hmacSHA512, .plaintext: nil
        }
    }

    /// The hash of `oauth_body_hash`.
    var bodyDigest: DigestAlgorithm {
        switch self {
        case .hmacSHA1, .rsaSHA1, .plaintext: .sha1
        case .hmacSHA256, .rsaSHA256: .sha256
        case .hmacSHA512, .rsaSHA512: .sha512
        }
    }
}
