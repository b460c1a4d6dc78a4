import Primitives

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
/// request is. A clean stop hands every live nonce on with the gateway's own floor, and the store has none.
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
