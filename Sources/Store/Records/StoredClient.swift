import OAuth
import Primitives

/// A client that lives in the store (`gatehouse client …`), not in the conf file.
public struct StoredClient: Sendable, Equatable {
    /// At most this many secrets of each kind are live at once: the newest and, while it is rotated, the
    /// one before, so that a rotation never breaks a caller.
    public static let secretLimit = 2
    /// At most this many are kept of each kind, expired ones counted.
    static let keptSecretLimit = 16
    public static let idByteLimit = 256
    static let jwksByteLimit = 64 << 10
    static let certificateNameByteLimit = 4096

    public var id: String
    /// Newest first; empty for a client of OAuth 1.0 alone.
    public var secrets: [StoredSecret]
    public var scopes: [String]
    public var audiences: [String]
    /// The only `token_endpoint_auth_method` it may use (RFC 7591 section 2), or nil for any.
    public var authMethod: String?
    /// The shared secrets of OAuth 1.0, newest first.
    public var oauth1Secrets: [StoredSharedSecret]
    /// Whether the client may sign with PLAINTEXT (RFC 5849 section 3.4.4), where the listener allows it.
    public var allowsPlaintext: Bool
    /// The public keys of a client of `private_key_jwt`, a JWK set (RFC 7517 section 5) as text.
    public var jwks: String?
    /// What the certificate of a client of `tls_client_auth` is named, such as `dns:robot.test`; the store
    /// does not read it.
    public var certificateName: String?
    /// It gets tokens that are bound to a key, and no others (RFC 9449 section 5.2).
    public var requiresProof: Bool
    /// Whole seconds are kept.
    public let createdAt: WallTime

    public init(
        id: String, secrets: [StoredSecret] = [], scopes: [String] = [], audiences: [String] = [],
        authMethod: String? = nil, oauth1Secrets: [StoredSharedSecret] = [],
        allowsPlaintext: Bool = false, jwks: String? = nil, certificateName: String? = nil,
        requiresProof: Bool = false, createdAt: WallTime
    ) {
        self.id = id
        self.secrets = secrets
        self.scopes = scopes
        self.audiences = audiences
        self.authMethod = authMethod
        self.oauth1Secrets = oauth1Secrets
        self.allowsPlaintext = allowsPlaintext
        self.jwks = jwks
        self.certificateName = certificateName
        self.requiresProof = requiresProof
        self.createdAt = createdAt.wholeSecond
    }

    /// The hashes that a secret may be compared with at `now`, newest first.
    public func liveSecrets(at now: WallTime) -> [StoredSecret] {
        secrets.filter { $0.isLive(at: now) }
    }

    /// The shared secrets that a signature may be made with at `now`, newest first.
    public func liveOAuth1Secrets(at now: WallTime) -> [StoredSharedSecret] {
        oauth1Secrets.filter { $0.isLive(at: now) }
    }

    func created(at instant: WallTime) -> StoredClient {
        StoredClient(
            id: id, secrets: secrets, scopes: scopes, audiences: audiences, authMethod: authMethod,
            oauth1Secrets: oauth1Secrets, allowsPlaintext: allowsPlaintext, jwks: jwks,
            certificateName: certificateName, requiresProof: requiresProof, createdAt: instant)
    }

    /// What every backend asks of a client before it keeps it. A secret in the clear never gets in as a hash.
    func check(at now: WallTime) throws(StoreError) {
        func refuse(_ reason: String) -> StoreError { .invalidClient(id: id, reason: reason) }
        guard !id.isEmpty, id.utf8.count <= Self.idByteLimit else {
            throw refuse("an id has 1 to \(Self.idByteLimit) bytes")
        }
        guard !id.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
            throw refuse("an id has no control characters")
        }
        guard
            max(liveSecrets(at: now).count, liveOAuth1Secrets(at: now).count) <= Self.secretLimit
        else { throw refuse("more than \(Self.secretLimit) live secrets") }
        guard max(secrets.count, oauth1Secrets.count) <= Self.keptSecretLimit else {
            throw refuse("more than \(Self.keptSecretLimit) secrets")
        }
        guard !(jwks ?? "").utf8.contains(0), !(certificateName ?? "").utf8.contains(0) else {
            throw refuse("a NUL in its JWK set or certificate name")
        }
        guard secrets.map(\.hash).allSatisfy(ClientSecret.isHash) else {
            throw refuse("a secret is not hashed")
        }
        guard jwks?.utf8.count ?? 0 <= Self.jwksByteLimit else {
            throw refuse("a JWK set of more than \(Self.jwksByteLimit) bytes")
        }
        guard certificateName?.utf8.count ?? 0 <= Self.certificateNameByteLimit else {
            throw refuse("a certificate name of more than \(Self.certificateNameByteLimit) bytes")
        }
    }
}

/// A client secret as it is kept: its hash, and when it stops being good.
public struct StoredSecret: Sendable, Equatable {
    /// As `ClientSecret` makes it.
    public let hash: String
    /// Whole seconds are kept.
    public let createdAt: WallTime
    /// The first moment at which it is no longer good; nil is never. Whole seconds are kept.
    public let expiresAt: WallTime?

    public init(hash: String, createdAt: WallTime, expiresAt: WallTime? = nil) {
        self.hash = hash
        self.createdAt = createdAt.wholeSecond
        self.expiresAt = expiresAt?.wholeSecond
    }

    public func isLive(at now: WallTime) -> Bool { expiresAt.map { now < $0 } ?? true }

    /// The same, good until `instant` at the latest: what a rotation makes of the one before.
    public func expiring(at instant: WallTime) -> StoredSecret {
        StoredSecret(
            hash: hash, createdAt: createdAt, expiresAt: min(expiresAt ?? instant, instant))
    }
}

/// A shared secret of OAuth 1.0, in the clear here, sealed at rest.
public struct StoredSharedSecret: Sendable, Equatable {
    public let secret: Secret
    /// Whole seconds are kept.
    public let createdAt: WallTime
    /// The first moment at which it is no longer good; nil is never. Whole seconds are kept.
    public let expiresAt: WallTime?

    public init(secret: Secret, createdAt: WallTime, expiresAt: WallTime? = nil) {
        self.secret = secret
        self.createdAt = createdAt.wholeSecond
        self.expiresAt = expiresAt?.wholeSecond
    }

    public func isLive(at now: WallTime) -> Bool { expiresAt.map { now < $0 } ?? true }

    /// The same, good until `instant` at the latest: what a rotation makes of the one before.
    public func expiring(at instant: WallTime) -> StoredSharedSecret {
        StoredSharedSecret(
            secret: secret, createdAt: createdAt, expiresAt: min(expiresAt ?? instant, instant))
    }
}

extension WallTime {
    /// The store keeps whole seconds.
    var wholeSecond: WallTime { WallTime(seconds: seconds) }
}
