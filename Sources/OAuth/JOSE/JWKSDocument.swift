import Cryptography
import Primitives

extension PublicKey {
    /// The members of its JWK that make it what it is, in the order of RFC 7638 section 3.2.
    fileprivate var requiredMembers: String {
        func text(_ bytes: [UInt8]) -> String { Base64.encode(bytes, .url) }
        return switch components {
        case .rsa(let modulus, let exponent):
            #""e":"\#(text(exponent))","kty":"RSA","n":"\#(text(modulus))""#
        case .ec(let curve, let x, let y):
            #""crv":"\#(curve.name)","kty":"EC","x":"\#(text(x))","y":"\#(text(y))""#
        case .ed25519(let bytes):
            #""crv":"Ed25519","kty":"OKP","x":"\#(text(bytes))""#
        }
    }

    /// The SHA-256 thumbprint (RFC 7638), in base64url: the `kid` of our own keys.
    public var thumbprint: String { Base64.encode(thumbprintBytes, .url) }

    /// The SHA-256 thumbprint (RFC 7638): 32 bytes.
    public var thumbprintBytes: [UInt8] {
        let input = Array("{\(requiredMembers)}".utf8)
        return Digest.hash(input.span, .sha256)
    }
}

/// Writes a JWK set (RFC 7517 section 5) of public keys: what `/.well-known/jwks.json` answers.
public enum JWKSDocument {
    /// A key with the names under which it is published.
    public struct Key: Sendable {
        public let keyID: String
        public let algorithm: JWSAlgorithm
        public let publicKey: PublicKey

        public init(keyID: String, algorithm: JWSAlgorithm, publicKey: PublicKey) {
            self.keyID = keyID
            self.algorithm = algorithm
            self.publicKey = publicKey
        }
    }

    public static func write(_ keys: [Key]) -> [UInt8] {
        var output = Array(#"{"keys":["#.utf8)
        for (index, key) in keys.enumerated() {
            if index > 0 { output.append(0x2C) }
            output.append(contentsOf: "{\(key.publicKey.requiredMembers),\"kid\":".utf8)
            JSONText.appendString(key.keyID, to: &output)
            output.append(contentsOf: #","use":"sig","alg":"\#(key.algorithm.rawValue)"}"#.utf8)
        }
        output.append(contentsOf: "]}".utf8)
        return output
    }
}
