import Primitives

/// Clients and keys as they stood together at one moment.
public struct StoreSnapshot: Sendable, Equatable {
    /// In the order of their ids.
    public let clients: [StoredClient]
    /// Newest first; the newest may be one that does not sign yet.
    public let keys: [SigningKeyRecord]
    /// Grows with each change of a client or key, by whichever process.
    public let generation: Int64
    /// Clients and keys that cannot be read; they are not among the others.
    public let faults: [StoreFault]

    init(
        clients: [StoredClient], keys: [SigningKeyRecord], generation: Int64,
        faults: [StoreFault] = []
    ) {
        self.clients = clients
        self.keys = keys
        self.generation = generation
        self.faults = faults
    }

    /// What a store without clients and keys holds.
    public static let empty = StoreSnapshot(clients: [], keys: [], generation: -1)

    /// When the next secret of a client ends.
    public func nextExpiry(after now: WallTime) -> WallTime? {
        let ends = clients.flatMap { client in
            client.secrets.map(\.expiresAt) + client.oauth1Secrets.map(\.expiresAt)
        }
        return ends.compactMap(\.self).filter { $0 > now }.min()
    }

    /// The key that tokens are signed with at `now`.
    public func signingKey(at now: WallTime) -> SigningKeyRecord? {
        SigningKeyRecord.signing(keys, at: now)
    }
}

/// What has changed since somebody last looked.
public struct StoreNews: Sendable, Equatable {
    /// Clients and keys, where any of them differs.
    public let snapshot: StoreSnapshot?
    /// What was revoked since then, oldest first; none is told twice, but for one that became wider, and
    /// after a loss of the store all that it still has.
    public let revocations: [Revocation]
    /// Where the revocations end: ask for those after this next time.
    public let through: Int64
    /// Revocations that cannot be read, or not whole: what of them can be is among the others.
    public let faults: [StoreFault]

    public init(
        snapshot: StoreSnapshot? = nil, revocations: [Revocation], through: Int64,
        faults: [StoreFault] = []
    ) {
        self.snapshot = snapshot
        self.revocations = revocations
        self.through = through
        self.faults = faults
    }
}

/// How far a store has come; whoever has seen this has seen all.
struct StoreMarks: Sendable, Equatable {
    /// Of the snapshot; nil where it cannot be read.
    var generation: Int64?
    /// Of the revocations.
    var revocations: Int64
}
