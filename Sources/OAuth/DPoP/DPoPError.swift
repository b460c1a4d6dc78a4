/// Why a DPoP proof does not hold (RFC 9449 section 4.3). The log and `explain` see it; a stranger sees `code` alone.
public enum DPoPError: Error, Equatable, Sendable {
    /// No DPoP field, or more than one (item 1): what the caller finds.
    case missing
    case repeated
    /// No JWT of the right type, algorithm and claims, or not signed by the key it shows.
    case invalid(TokenError)
    /// The `jwk` of the header is missing, private, weak or of another kind (items 7 and 8).
    case badKey(KeyRefusal)
    /// The `htm` is not the request's method.
    case wrongMethod
    /// The `htu` is not the request's target.
    case wrongTarget
    case tooOld
    case fromFuture
    /// The `ath` is missing, or of another access token.
    case wrongToken
    /// Another key than the one that the access token is bound to (item 12).
    case wrongKey
    /// No nonce, or none that we gave out lately (sections 8 and 9): the answer has to bring one.
    case nonceRequired
    /// Its `jti` has been used before: what the caller finds when it records one (section 11.1).
    case reused

    /// The `error` of the answer (sections 5, 7.1 and 8).
    public var code: String { self == .nonceRequired ? "use_dpop_nonce" : "invalid_dpop_proof" }

    /// The `error_description`: the same for all but the nonce, which an honest client can mend.
    public var text: String {
        self == .nonceRequired
            ? "A nonce of this server is required in the DPoP proof." : "The DPoP proof is invalid."
    }
}
