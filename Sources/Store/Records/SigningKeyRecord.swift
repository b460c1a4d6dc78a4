import Primitives

/// A key that the authority signs with, has signed with, or will sign with.
///
/// A key is published before it signs (`activatesAt`), so that whoever verifies has fetched it by then, and
/// after it has signed (`retiredAt`), until no token of it lives. Of all keys that the store holds at most one
/// signs at any moment, and at most one, the newest, has no end.
public struct SigningKeyRecord: Sendable, Equatable {
    /// The key's thumbprint (RFC 7638), as in the JWKS and in the header of tokens.
    public let kid: String
    /// `ES256`, `EdDSA` or `RS256`.
    public let algorithm: String
    /// PKCS #8 in DER, in the clear here, sealed at rest.
    public let privateKeyPKCS8: Secret
    /// Whole seconds are kept.
    public let createdAt: WallTime
    /// The first moment at which it signs. Whole seconds are kept.
    public let activatesAt: WallTime
    /// The first moment at which it signs no more, because a newer key does; nil for the newest. It may lie
    /// ahead. A retired key still verifies.
    public internal(set) var retiredAt: WallTime?

    /// - Parameter activatesAt: nil is at once.
    public init(
        kid: String, algorithm: String, privateKeyPKCS8: Secret, createdAt: WallTime,
        activatesAt: WallTime? = nil, retiredAt: WallTime? = nil
    ) {
        self.kid = kid
        self.algorithm = algorithm
        self.privateKeyPKCS8 = privateKeyPKCS8
        self.createdAt = createdAt.wholeSecond
        self.activatesAt = (activatesAt ?? createdAt).wholeSecond
        self.retiredAt = retiredAt?.wholeSecond
    }

    /// Whether tokens are signed with it at `now`.
    public func signs(at now: WallTime) -> Bool {
        activatesAt <= now && retiredAt.map { now < $0 } ?? true
    }

    /// The key of a snapshot that tokens are signed with at `now`. Where the clock is behind that of whoever made the first
    /// one, that signs already: better than to issue nothing.
    ///
    /// - Parameter keys: the newest first.
    public static func signing(
        _ keys: some BidirectionalCollection<SigningKeyRecord>, at now: WallTime
    ) -> SigningKeyRecord? {
        keys.first { $0.signs(at: now) } ?? keys.last { $0.retiredAt.map { now < $0 } ?? true }
    }

    /// Whether no token that it has signed can live: it ended before `instant`, or was overtaken long before it began.
    ///
    /// - Parameter instant: the longest life of a token ago.
    public func isSpent(endedBefore instant: WallTime) -> Bool {
        guard let retiredAt else { return false }
        return retiredAt < instant || retiredAt.adding(seconds: Self.clockDifference) <= activatesAt
    }

    /// So much apart may the clocks of two gateways be, in seconds.
    private static let clockDifference: Int64 = 60

    func newest() -> SigningKeyRecord {
        var key = self
        key.retiredAt = nil
        return key
    }

    /// This key beside a newer one: it ends when that begins, unless it has ended before. A key that was
    /// to begin later than the newer one never signs.
    func replaced(by newer: SigningKeyRecord) -> SigningKeyRecord {
        var key = self
        key.retiredAt = min(retiredAt ?? newer.activatesAt, newer.activatesAt)
        return key
    }

    /// The order of a snapshot: the newest key, then those that it or another replaced, youngest first.
    static func comesFirst(_ left: SigningKeyRecord, _ right: SigningKeyRecord) -> Bool {
        if (left.retiredAt == nil) != (right.retiredAt == nil) { return left.retiredAt == nil }
        if left.activatesAt != right.activatesAt { return left.activatesAt > right.activatesAt }
        if left.createdAt != right.createdAt { return left.createdAt > right.createdAt }
        return left.kid < right.kid
    }
}

/// When a key is to be added.
enum SigningKeyCondition: Sendable, Equatable {
    case always
    /// Only where there is no key.
    case ifNone
    /// Only where the newest key is one that has begun at this moment.
    case ifNoneActivatesAfter(WallTime)

    /// - Parameter newest: the key without an end, if there is one.
    func holds(newest: SigningKeyRecord?) -> Bool {
        switch self {
        case .always: true
        case .ifNone: newest == nil
        case .ifNoneActivatesAfter(let instant): newest.map { $0.activatesAt <= instant } ?? true
        }
    }
}
