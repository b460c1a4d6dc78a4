/// Why a token proves nothing. The log and `explain` see it; a stranger sees `invalid_token` alone.
public enum TokenError: Error, Equatable, Sendable {
    /// Not three parts of strict base64url with JSON objects in the first two.
    case malformed
    /// Longer than `TokenVerifier.limitBytes`.
    case tooLarge
    /// An `alg` that is not known, not allowed for this issuer, or not of the key.
    case badAlgorithm
    /// `crit`, or `b64` other than true: extensions that are not understood (RFC 7515 section
    /// 4.1.11).
    case criticalHeader
    case unknownIssuer
    case unknownKey
    case badSignature
    case expired
    case notYetValid
    /// A `typ` of another kind of token (RFC 8725 section 3.11).
    case wrongType
    case wrongAudience
    case missingClaim(String)
    /// A claim of the wrong type, or with a value that could not be passed on safely.
    case invalidClaim(String)
    /// Bound by a `cnf` that is not understood: only `x5t#S256` (RFC 8705 section 3) and `jkt`
    /// (RFC 9449 section 6) are, so that every other is refused.
    case confirmationRequired
}
