import Primitives

extension VerifiedToken {
    /// A token that says nothing by itself, and whose claims come from where it was issued: our own store, or what an
    /// introspection endpoint said. They are judged as those of a signed token are; the signature alone is missing.
    ///
    /// - Parameters:
    ///   - claims: a JSON object with the names of RFC 7519 and RFC 9068.
    ///   - digest: SHA-256 of the token's text.
    /// - Throws: the first reason for which it does not hold.
    public static func vouched(
        claims json: Span<UInt8>, by issuer: TrustedIssuer, digest: [UInt8], now: WallTime
    ) throws(TokenError) -> VerifiedToken {
        var claims = JSONDocument()
        do throws(JSONError) {
            try claims.read(json, limits: TokenVerifier.claimLimits)
        } catch {
            throw .malformed
        }
        guard claims.isObject else { throw .malformed }
        let token = VerifiedToken(
            try TokenClaims(claims, issuer: issuer), issuer: issuer, digest: digest)
        try token.holds(at: now)
        return token
    }
}
