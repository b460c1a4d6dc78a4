import Primitives

/// A token whose meaning lies here because its text has none: an opaque access token, or a temporary or
/// token credential of OAuth 1.0 (RFC 5849 section 1.1).
public struct StoredToken: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        case access
        /// Temporary credentials, until they are exchanged.
        case oauth1Request
        case oauth1Access
    }

    public static let idBytes = 32

    /// SHA-256 of the token's text, which the store never sees.
    public let id: [UInt8]
    public let kind: Kind
    public let clientID: String
    public let scopes: [String]
    public let audiences: [String]
    /// Whole seconds are kept.
    public let issuedAt: WallTime
    /// The first moment at which it is no longer good. Whole seconds are kept.
    public let expiresAt: WallTime
    /// The token's shared secret (OAuth 1.0), in the clear here, sealed at rest.
    public let secret: Secret?
    /// SHA-256 of the certificate that it is bound to (RFC 8705 section 3.1).
    public let certificateThumbprint: [UInt8]?
    /// The thumbprint of the key that it is bound to (RFC 9449 section 6.1).
    public let keyThumbprint: [UInt8]?

    public init(
        id: [UInt8], kind: Kind, clientID: String, scopes: [String] = [], audiences: [String] = [],
        issuedAt: WallTime, expiresAt: WallTime, secret: Secret? = nil,
        certificateThumbprint: [UInt8]? = nil, keyThumbprint: [UInt8]? = nil
    ) {
        precondition(id.count == Self.idBytes, "a token's id has 32 bytes")
        self.id = id
        self.kind = kind
        self.clientID = clientID
        self.scopes = scopes
        self.audiences = audiences
        self.issuedAt = issuedAt.wholeSecond
        self.expiresAt = expiresAt.wholeSecond
        self.secret = secret
        self.certificateThumbprint = certificateThumbprint
        self.keyThumbprint = keyThumbprint
    }

    func isLive(at now: WallTime) -> Bool { now < expiresAt }
}

/// Tokens that are no longer good although they have not expired.
public struct Revocation: Sendable, Equatable {
    public enum Target: Sendable, Hashable {
        /// One token, by its issuer and `jti` (or whatever else names it there).
        case token(issuer: String, id: String)
        /// Every token of a client that was issued at `issuedBefore` or earlier.
        case client(id: String)
    }

    public let target: Target
    /// Of a client: the tokens issued at this moment or earlier. Whole seconds are kept.
    public let issuedBefore: WallTime
    /// When it need not be remembered any more, because all that it names has expired. Whole seconds.
    public let until: WallTime

    public init(_ target: Target, issuedBefore: WallTime, until: WallTime) {
        self.target = target
        self.issuedBefore = issuedBefore.wholeSecond
        self.until = until.wholeSecond
    }

    /// What both together revoke: a second revocation never narrows the first.
    func joined(with other: Revocation) -> Revocation {
        Revocation(
            target, issuedBefore: max(issuedBefore, other.issuedBefore),
            until: max(until, other.until))
    }
}

/// Something that may be used once: a nonce of OAuth 1.0, the `jti` of a client assertion or of a DPoP proof.
public struct OneTimeID: Sendable, Equatable {
    public enum Space: String, Sendable, CaseIterable {
        /// RFC 5849 section 3.3
        case oauth1Nonce
        /// RFC 7523 section 3
        case clientAssertion
        /// RFC 9449 section 11.1
        case dpop
    }

    public static let fingerprintBytes = 16...32

    public let space: Space
    /// 16 to 32 bytes of a digest of all that makes it one of its kind.
    public let fingerprint: [UInt8]
    /// Of the request that it came with, in seconds; what is at or below a floor is refused. Nil where the
    /// request has none: such an id is then safe only as long as the store loses nothing.
    public let timestamp: Int64?
    /// From when on it need not be remembered, because its request is too old to be accepted. Whole seconds
    /// are kept.
    public let expiresAt: WallTime
    /// How long after its timestamp whoever records it would still accept it, where the conf says that. A store
    /// that is shared then lets nothing pass by a longer window which was recorded, and forgotten, by a shorter one.
    public let windowSeconds: Int64?

    public init(
        space: Space, fingerprint: [UInt8], timestamp: Int64?, expiresAt: WallTime,
        windowSeconds: Int64? = nil
    ) {
        precondition(
            Self.fingerprintBytes.contains(fingerprint.count), "a fingerprint has 16 to 32 bytes")
        self.space = space
        self.fingerprint = fingerprint
        self.timestamp = timestamp
        self.expiresAt = expiresAt.wholeSecond
        self.windowSeconds = windowSeconds
    }
}

/// Whether something that may be used once was used.
public enum OneTimeVerdict: String, Sendable, Equatable {
    /// It was not, and is from now on.
    case accepted
    case reused
    /// It has expired: nobody would remember it.
    case belowFloor
    /// The store has lost what it knew of that time, lately: it may have been. Time heals it.
    case forgotten
}
