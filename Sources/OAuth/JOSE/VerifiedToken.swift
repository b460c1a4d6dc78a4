import Primitives

/// What a proven token says. Never what it may do: scopes, audiences and claims are judged anew for
/// each route.
///
/// Only `TokenVerifier` makes one, after every check. It is immutable, and may be handed to other
/// threads.
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
    public var clientID: String { facts.clientID }
    public var subject: String? { facts.subject }
    public var scopes: [String] { facts.scopes }
    public var audiences: [String] { facts.audiences }
    /// The `jti`.
    public var tokenID: String? { facts.tokenID }
    /// Seconds since the epoch, as the token has them: without the skew.
    public var expiresAt: Int64 { facts.expiresAt }
    public var notBefore: Int64? { facts.notBefore }
    public var issuedAt: Int64? { facts.issuedAt }
    public let clockSkewSeconds: Int64
    public let isFromOwnAuthority: Bool
    /// SHA-256 of the certificate that whoever shows the token must have on the connection (RFC 8705 section 3); `nil`: a
    /// plain bearer token.
    public var certificateThumbprint: [UInt8]? { facts.certificateThumbprint }
    /// RFC 7638 thumbprint of the key that whoever shows the token must prove to hold (RFC 9449 section 7.1); `nil`: a
    /// token that needs no proof. One that has it is never good as a bearer token.
    public var keyThumbprint: [UInt8]? { facts.keyThumbprint }
    /// SHA-256 of the text of a token that somebody vouches for; `nil` where the token itself was proven.
    public let digest: [UInt8]?
    private let facts: ClaimFacts
    private let claims: JSONDocument

    init(
        _ facts: consuming ClaimFacts, issuer: borrowing TrustedIssuer,
        claims: borrowing JSONDocument,
        digest: [UInt8]? = nil
    ) {
        issuerName = issuer.name
        self.issuer = issuer.issuer
        self.facts = facts
        clockSkewSeconds = issuer.clockSkewSeconds
        isFromOwnAuthority = issuer.isOwnAuthority
        self.digest = digest
        self.claims = claims.compacted()
    }

    /// A claim at the top of the token; `nil` if it is absent, null, or of a shape that no rule
    /// compares.
    public func claim(_ name: String) -> ClaimValue? {
        guard let node = claims.member(name) else { return nil }
        switch claims.kind(node) {
        case .string:
            return claims.string(node).map(ClaimValue.string)
        case .number:
            return .number(String(decoding: claims.bytes[claims.valueRange(node)], as: UTF8.self))
        case .true:
            return .bool(true)
        case .false:
            return .bool(false)
        case .array:
            return claims.strings(node).map(ClaimValue.strings)
        case .object, .null:
            return nil
        }
    }

    /// The JSON text of the claims, as it was signed.
    public var claimsText: [UInt8] { Array(claims.text) }

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
        let texts =
            scopes.reduce(0) { $0 + $1.utf8.count + 32 }
            + audiences.reduce(0) { $0 + $1.utf8.count + 32 }
            + clientID.utf8.count + (subject?.utf8.count ?? 0) + (tokenID?.utf8.count ?? 0)
        return 424 + (digest.map { $0.count + 32 } ?? 0) + texts + claims.footprint
    }
}

extension JSONDocument {
    /// The strings of an array of strings; `nil` if it is none.
    func strings(_ node: Int) -> [String]? {
        guard kind(node) == .array else { return nil }
        var list: [String] = []
        let areStrings = forEachChild(of: node) { child in
            guard let text = string(child) else { return false }
            list.append(text)
            return true
        }
        return areStrings ? list : nil
    }
}
