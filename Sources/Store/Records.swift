import OAuth
import Primitives

/// A client that lives in the store (`gatehouse client …`), not in the conf file.
public struct StoredClient: Sendable, Equatable {
    /// At most this many hashes are live at once: the secret and, while it is rotated, the one before.
    public static let secretLimit = 2
    public static let idByteLimit = 256

    public var id: String
    /// Hashes as `ClientSecret` makes them; empty for a client of OAuth 1.0 alone.
    public var secretHashes: [String]
    public var scopes: [String]
    public var audiences: [String]
    /// The only `token_endpoint_auth_method` it may use (RFC 7591 section 2), or nil for either.
    public var authMethod: String?
    /// The shared secret of OAuth 1.0, in the clear here, sealed at rest.
    public var oauth1Secret: Secret?
    /// Whether the client may sign with PLAINTEXT (RFC 5849 section 3.4.4), where the listener allows it.
    public var allowsPlaintext: Bool
    /// Whole seconds are kept.
    public let createdAt: WallTime

    public init(
        id: String, secretHashes: [String] = [], scopes: [String] = [], audiences: [String] = [],
        authMethod: String? = nil, oauth1Secret: Secret? = nil, allowsPlaintext: Bool = false,
        createdAt: WallTime
    ) {
        self.id = id
        self.secretHashes = secretHashes
        self.scopes = scopes
        self.audiences = audiences
        self.authMethod = authMethod
        self.oauth1Secret = oauth1Secret
        self.allowsPlaintext = allowsPlaintext
        self.createdAt = WallTime(seconds: createdAt.seconds)
    }

    func created(at instant: WallTime) -> StoredClient {
        StoredClient(
            id: id, secretHashes: secretHashes, scopes: scopes, audiences: audiences,
            authMethod: authMethod, oauth1Secret: oauth1Secret, allowsPlaintext: allowsPlaintext,
            createdAt: instant)
    }

    /// What every backend asks of a client before it keeps it. A secret in the clear never gets in as a hash.
    func check() throws(StoreError) {
        guard !id.isEmpty, id.utf8.count <= Self.idByteLimit else {
            throw .invalidClient(id: id, reason: "an id has 1 to \(Self.idByteLimit) bytes")
        }
        guard !id.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
            throw .invalidClient(id: id, reason: "an id has no control characters")
        }
        guard secretHashes.count <= Self.secretLimit else {
            throw .invalidClient(id: id, reason: "more than \(Self.secretLimit) live secrets")
        }
        guard secretHashes.allSatisfy(ClientSecret.isHash) else {
            throw .invalidClient(id: id, reason: "a secret is not hashed")
        }
    }
}

/// A key that the authority signs with, or has signed with.
public struct SigningKeyRecord: Sendable, Equatable {
    /// The key's thumbprint (RFC 7638), as in the JWKS and in the header of tokens.
    public let kid: String
    /// `ES256`, `EdDSA` or `RS256`.
    public let algorithm: String
    /// PKCS #8 in DER, in the clear here, sealed at rest.
    public let privateKeyPKCS8: Secret
    /// Whole seconds are kept.
    public let createdAt: WallTime
    /// When a newer key took its place; nil for the one that signs. A retired key still verifies.
    public internal(set) var retiredAt: WallTime?

    public init(
        kid: String, algorithm: String, privateKeyPKCS8: Secret, createdAt: WallTime,
        retiredAt: WallTime? = nil
    ) {
        self.kid = kid
        self.algorithm = algorithm
        self.privateKeyPKCS8 = privateKeyPKCS8
        self.createdAt = WallTime(seconds: createdAt.seconds)
        self.retiredAt = retiredAt.map { WallTime(seconds: $0.seconds) }
    }

    public var isCurrent: Bool { retiredAt == nil }

    func current() -> SigningKeyRecord {
        var key = self
        key.retiredAt = nil
        return key
    }

    /// The order of a snapshot: the current key, then the retired ones, youngest first.
    static func comesFirst(_ left: SigningKeyRecord, _ right: SigningKeyRecord) -> Bool {
        if left.isCurrent != right.isCurrent { return left.isCurrent }
        if left.createdAt != right.createdAt { return left.createdAt > right.createdAt }
        return left.kid < right.kid
    }
}

/// Clients and keys as they stood together at one moment.
public struct StoreSnapshot: Sendable, Equatable {
    /// In the order of their ids.
    public let clients: [StoredClient]
    /// The current key first (if there is one), then the retired ones, youngest first.
    public let keys: [SigningKeyRecord]
    /// Grows with each change of a client or key, by whichever process.
    public let generation: Int64

    /// What a store without clients and keys holds.
    public static let empty = StoreSnapshot(clients: [], keys: [], generation: 0)

    public var currentKey: SigningKeyRecord? { keys.first { $0.isCurrent } }
}

/// A nonce whose timestamp lies above the ceiling, and which therefore was written by itself.
public struct FutureNonce: Sendable, Hashable {
    public static let fingerprintBytes = 16

    /// The `oauth_timestamp` it came with, in seconds.
    public let timestamp: Int64
    /// 16 bytes, keyed: they say nothing of consumer, token or nonce.
    public let fingerprint: [UInt8]

    public init(timestamp: Int64, fingerprint: [UInt8]) {
        precondition(fingerprint.count == Self.fingerprintBytes, "a fingerprint has 16 bytes")
        self.timestamp = timestamp
        self.fingerprint = fingerprint
    }

    static func comesFirst(_ left: FutureNonce, _ right: FutureNonce) -> Bool {
        left.timestamp != right.timestamp
            ? left.timestamp < right.timestamp
            : left.fingerprint.lexicographicallyPrecedes(right.fingerprint)
    }
}

/// What a gateway must know of the run before its own, to accept no OAuth 1.0 nonce a second time.
///
/// The contract: a timestamp at or below the ceiling costs no write, because after a crash nothing at or
/// below the stored ceiling is accepted (`floor`); one above it is made durable by itself, before the
/// request is. A clean stop hands every live nonce on, and there is no floor.
public struct ReplayStart: Sendable, Equatable {
    /// Whether the run before ended with `endRun` (or there was none).
    public let wasClean: Bool
    /// After an unclean stop: the highest timestamp that may have been used without a trace. Nothing at or
    /// below it may be accepted. Nil: nothing is unknown.
    public let floor: Int64?
    /// The stored ceiling: timestamps up to it may be accepted without a write.
    public let ceiling: Int64?
    /// What the run before gave to `endRun`. Deleted durably before this is handed out, so that it can
    /// be used once only.
    public let savedNonces: [UInt8]
    /// Nonces written one by one above the ceiling; after a clean stop they may be in `savedNonces` as well.
    public let futureNonces: [FutureNonce]
    /// 32 random bytes, made with the store: fingerprints of one run mean the same in the next.
    public let replayKey: Secret
}
