import Primitives

/// What a proven token says. Never what it may do: scopes, audiences and claims are judged anew for
/// each route.
///
/// Made after every check alone: by `TokenVerifier`, or of what somebody who is trusted says of a token. It is immutable,
/// and may be handed to other threads.
public final class VerifiedToken: Sendable {
    /// A claim as a route's `require claim` compares it.
    public enum ClaimValue: Sendable, Equatable {
        case string(String)
        /// As written in the token.
        case number(String)
        case bool(Bool)
        case strings([String])
    }

    /// The issuer's name in the configuration.
    public let issuerName: String
    public let issuer: String
    /// What it says, without making texts of it.
    public let claims: TokenClaims
    public let clockSkewSeconds: Int64
    public let isFromOwnAuthority: Bool
    /// SHA-256 of the text of a token that somebody vouches for; `nil` where the token itself was proven.
    public let digest: [UInt8]?

    init(
        _ claims: consuming TokenClaims, issuer: borrowing TrustedIssuer, digest: [UInt8]? = nil
    ) {
        issuerName = issuer.name
        self.issuer = issuer.issuer
        self.claims = claims
        clockSkewSeconds = issuer.clockSkewSeconds
        isFromOwnAuthority = issuer.isOwnAuthority
        self.digest = digest
    }

    /// By the first of the issuer's client claims that the token has.
    public var clientID: String { claims.clientID }
    /// The `sub`.
    public var subject: String? { claims.subject }
    /// In the token's order; empty where it names none.
    public var scopes: [String] { VerifiedToken.texts { claims.forEachScope($0) } }
    /// The `aud`, in the token's order.
    public var audiences: [String] { VerifiedToken.texts { claims.forEachAudience($0) } }
    /// The `jti`.
    public var tokenID: String? { claims.tokenID }
    /// Seconds since the epoch, as the token has them: without the skew.
    public var expiresAt: Int64 { claims.expiresAt }
    public var notBefore: Int64? { claims.notBefore }
    public var issuedAt: Int64? { claims.issuedAt }
    /// SHA-256 of the certificate that whoever shows the token must have on the connection (RFC 8705 section 3); `nil`: a
    /// plain bearer token.
    public var certificateThumbprint: [UInt8]? { claims.certificateThumbprint }
    /// RFC 7638 thumbprint of the key that whoever shows the token must prove to hold (RFC 9449 section 7.1); `nil`: a
    /// token that needs no proof. One that has it is never good as a bearer token.
    public var keyThumbprint: [UInt8]? { claims.keyThumbprint }

    /// A claim at the top of the token; `nil` if it is absent, null, or of a shape that no rule
    /// compares.
    public func claim(_ name: String) -> ClaimValue? { claims.value(name) }

    /// The JSON text of the claims, as it came.
    public var claimsText: [UInt8] { claims.json }

    private static func texts(_ forEach: ((Span<UInt8>) -> Bool) -> Bool) -> [String] {
        var texts: [String] = []
        _ = forEach { text in
            texts.append(text.text)
            return true
        }
        return texts
    }

    /// Judges the times: at each use, since a remembered token grows old.
    ///
    /// - Throws: `.expired` once `now` reaches `exp` plus the skew (RFC 7519 section 4.1.4),
    ///   `.notYetValid` before `nbf` minus the skew.
    public func holds(at now: WallTime) throws(TokenError) {
        guard now.seconds < endsAt else { throw .expired }
        if let notBefore {
            let (begins, underflow) = notBefore.subtractingReportingOverflow(clockSkewSeconds)
            guard underflow || now.seconds >= begins else { throw .notYetValid }
        }
    }

    /// The second at which it no longer holds: `exp` and the skew, without wrapping.
    public var endsAt: Int64 {
        let (sum, overflow) = expiresAt.addingReportingOverflow(clockSkewSeconds)
        return overflow ? .max : sum
    }

    /// The memory it holds, in bytes, near enough for a limit.
    public var footprint: Int {
        // Of a token that somebody vouches for the issuer's name may be a text of its own.
        let vouched = digest.map { $0.count + 32 + issuer.utf8.count + 32 } ?? 0
        return 256 + vouched + claims.footprint
    }
}
