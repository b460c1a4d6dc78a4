/// A way to sign, with its hash: those of JWS (RFC 7518 section 3.1, RFC 8037), and RSA-SHA1 of
/// OAuth 1.0.
public enum SignatureAlgorithm: Sendable, Hashable, CaseIterable {
    case rs256, rs384, rs512
    case ps256, ps384, ps512
    case es256, es384, es512
    case eddsa
    /// RSASSA-PKCS1-v1_5 with SHA-1: RFC 5849 section 3.4.3, nowhere else.
    case rsaSHA1

    enum Family {
        case pkcs1, pss, ecdsa(EllipticCurve), ed25519
    }

    var family: Family {
        switch self {
        case .rs256, .rs384, .rs512, .rsaSHA1: .pkcs1
        case .ps256, .ps384, .ps512: .pss
        case .es256: .ecdsa(.p256)
        case .es384: .ecdsa(.p384)
        case .es512: .ecdsa(.p521)
        case .eddsa: .ed25519
        }
    }

    /// `nil`: the algorithm hashes by itself.
    var digest: DigestAlgorithm? {
        switch self {
        case .rs256, .ps256, .es256: .sha256
        case .rs384, .ps384, .es384: .sha384
        case .rs512, .ps512, .es512: .sha512
        case .rsaSHA1: .sha1
        case .eddsa: nil
        }
    }

    /// Whether a key of that kind can make such signatures: each ECDSA algorithm has one curve (RFC
    /// 7518 section 3.4).
    public func fits(_ kind: KeyKind) -> Bool {
        switch (family, kind) {
        case (.pkcs1, .rsa), (.pss, .rsa), (.ed25519, .ed25519): true
        case (.ecdsa(let wanted), .ec(let curve)): wanted == curve
        case (.pkcs1, _), (.pss, _), (.ed25519, _), (.ecdsa, _): false
        }
    }
}

/// What a key is.
public enum KeyKind: Sendable, Hashable {
    case rsa(bits: Int)
    case ec(EllipticCurve)
    case ed25519
}
