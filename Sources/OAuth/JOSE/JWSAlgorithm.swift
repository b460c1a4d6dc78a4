import Cryptography

/// The `alg` values that are understood (RFC 7518 section 3.1, RFC 8037 section 3.1). `none` is no
/// case: no spelling of it can be allowed by mistake.
public enum JWSAlgorithm: String, Sendable, Hashable, CaseIterable {
    case hs256 = "HS256"
    case hs384 = "HS384"
    case hs512 = "HS512"
    case rs256 = "RS256"
    case rs384 = "RS384"
    case rs512 = "RS512"
    case ps256 = "PS256"
    case ps384 = "PS384"
    case ps512 = "PS512"
    case es256 = "ES256"
    case es384 = "ES384"
    case es512 = "ES512"
    case edDSA = "EdDSA"

    /// How it proves: with a key that both sides hold, or with a key pair.
    enum Proof {
        case mac(DigestAlgorithm)
        case signature(SignatureAlgorithm)
    }

    var proof: Proof {
        switch self {
        case .hs256: .mac(.sha256)
        case .hs384: .mac(.sha384)
        case .hs512: .mac(.sha512)
        case .rs256: .signature(.rs256)
        case .rs384: .signature(.rs384)
        case .rs512: .signature(.rs512)
        case .ps256: .signature(.ps256)
        case .ps384: .signature(.ps384)
        case .ps512: .signature(.ps512)
        case .es256: .signature(.es256)
        case .es384: .signature(.es384)
        case .es512: .signature(.es512)
        case .edDSA: .signature(.eddsa)
        }
    }

    /// Whether it needs a key that both sides hold.
    public var isSymmetric: Bool {
        if case .mac = proof { true } else { false }
    }
}
