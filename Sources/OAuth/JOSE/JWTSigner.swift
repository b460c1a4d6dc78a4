import Cryptography
import Primitives

/// A private key of our own, under the name by which verifiers find its public half.
public struct SigningKey: Sendable {
    public let keyID: String
    public let algorithm: JWSAlgorithm
    public let privateKey: PrivateKey
    fileprivate let signatureAlgorithm: SignatureAlgorithm

    /// - Parameter keyID: by default the RFC 7638 thumbprint.
    /// - Throws: `.keyDoesNotFit` when the key cannot sign so, or the algorithm is an HMAC.
    public init(
        keyID: String? = nil, algorithm: JWSAlgorithm, privateKey: PrivateKey
    ) throws(CryptographyError) {
        guard case .signature(let signature) = algorithm.proof, signature.fits(privateKey.kind)
        else { throw .keyDoesNotFit }
        self.keyID = keyID ?? privateKey.publicKey.thumbprint
        self.algorithm = algorithm
        self.privateKey = privateKey
        signatureAlgorithm = signature
    }

    /// What is published of it.
    public var published: JWKSDocument.Key {
        JWKSDocument.Key(keyID: keyID, algorithm: algorithm, publicKey: privateKey.publicKey)
    }
}

public enum JWTSigner {
    /// Makes a JWT in compact form (RFC 7515 section 7.1).
    ///
    /// ES256 takes some 30 us, EdDSA 55 us, RS256 750 us: that one not on a loop.
    ///
    /// - Parameters:
    ///   - claims: the JSON text of the claims, signed as it is.
    ///   - type: the `typ`; of access tokens `at+jwt` (RFC 9068 section 2.1).
    public static func sign(
        claims: [UInt8], with key: SigningKey, type: String = "at+jwt"
    ) throws(CryptographyError) -> [UInt8] {
        var header = Array(#"{"alg":"\#(key.algorithm.rawValue)","typ":"#.utf8)
        JSONText.appendString(type, to: &header)
        header.append(contentsOf: #","kid":"#.utf8)
        JSONText.appendString(key.keyID, to: &header)
        header.append(0x7D)
        var token: [UInt8] = []
        Base64.encode(header.span, .url, into: &token)
        token.append(0x2E)
        Base64.encode(claims.span, .url, into: &token)
        let signature = try key.privateKey.sign(token.span, key.signatureAlgorithm)
        token.append(0x2E)
        Base64.encode(signature.span, .url, into: &token)
        return token
    }
}
