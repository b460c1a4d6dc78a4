import Primitives

/// Something to ask of the store: a value that `StateStore.perform` waits for and `StateStore.submit`
/// answers through a callback, so that each exists once.
public struct StoreOperation<Value: Sendable>: Sendable {
    enum Work: Sendable {
        case alone(@Sendable (any StateBackend) throws(StoreError) -> Value)
        /// Done together with others that wait; the closure takes out of the result what is of its kind.
        case item(StoreItem, @Sendable (StoreItemResult) -> Value?)
    }

    let work: Work
    /// Less than others have: it is not worth that they wait for it.
    private(set) var timeout: Duration?

    init(_ run: @escaping @Sendable (any StateBackend) throws(StoreError) -> Value) {
        work = .alone(run)
    }

    fileprivate init(_ item: StoreItem, _ value: @escaping @Sendable (StoreItemResult) -> Value?) {
        work = .item(item, value)
    }
}

extension StoreOperation where Value == StoreSnapshot {
    public static var snapshot: Self {
        Self { backend throws(StoreError) in try backend.snapshot() }
    }
}

extension StoreOperation where Value == Void {
    /// - Parameter now: by which its secrets are live or not.
    /// - Throws: `.clientExists`, or `.invalidClient` when a secret is not hashed or there are too many.
    public static func addClient(_ client: StoredClient, now: WallTime = .now()) -> Self {
        Self { backend throws(StoreError) in
            try client.check(at: now)
            try backend.addClient(client)
        }
    }

    /// Puts `client` in the place of the one with its id; `createdAt` stays as it was.
    ///
    /// - Parameter old: what it must still be: of two changes at once, on whichever hosts, neither undoes the other.
    /// - Throws: `.unknownClient`, `.clientChanged`, or `.invalidClient` as for `addClient`.
    public static func replaceClient(
        _ client: StoredClient, ifStill old: StoredClient? = nil, now: WallTime = .now()
    ) -> Self {
        Self { backend throws(StoreError) in
            try client.check(at: now)
            try backend.replaceClient(client, ifStill: old)
        }
    }

    /// - Throws: `.unknownClient`.
    public static func removeClient(id: String) -> Self {
        Self { backend throws(StoreError) in try backend.removeClient(id: id) }
    }

    /// Says which clients a gateway's conf declares, so that one which leaves the conf does not find its old tokens live
    /// when it comes back. Whoever is in the store is none that has left.
    ///
    /// A store of the machine's own belongs to one gateway: a client that its conf declares no more has left. Of a fleet
    /// the confs change one after the other: there a client has left when no gateway has said for
    /// `DeclaredClients.absence` that it declares it; each says so at least every `DeclaredClients.interval`.
    ///
    /// - Parameter until: when every token has ended that lives now.
    public static func declareClients(
        _ ids: Set<String>, now: WallTime, until: WallTime
    ) -> Self {
        Self { backend throws(StoreError) in
            try backend.declareClients(ids, now: now, until: until)
        }
    }

    /// Makes `key` the newest one. The one before signs until `key` begins to; one that was to begin later
    /// never does.
    ///
    /// - Throws: `.keyExists` when its kid is there, retired or not.
    public static func addSigningKey(_ key: SigningKeyRecord) -> Self {
        Self { backend throws(StoreError) in
            _ = try backend.addSigningKey(key, .always)
        }
    }

    /// Keeps a token; one with its id, which only a second try of the same would have, goes. Batched.
    public static func addToken(_ token: StoredToken) -> Self { Self(.addToken(token), \.isDone) }

    /// Makes a revocation known to every gateway on this store. What was revoked before stays so: of two for
    /// one target the later moments count. Batched.
    public static func revoke(_ revocation: Revocation) -> Self {
        Self(.revoke(revocation), \.isDone)
    }

    /// Makes a nonce above the ceiling durable; only then may its request be accepted. Batched.
    ///
    /// - Throws: `.noRun` outside a run.
    public static func recordFutureNonce(_ nonce: FutureNonce) -> Self {
        Self(.recordFutureNonce(nonce), \.isDone)
    }

    /// Makes durable that timestamps up to this one may be accepted without a write. A ceiling never sinks;
    /// nonces that were written one by one and lie at or below it are no longer needed and go.
    ///
    /// - Throws: `.noRun` outside a run.
    public static func raiseCeiling(to timestamp: Int64) -> Self {
        var operation = Self { backend throws(StoreError) in
            try backend.raiseCeiling(to: timestamp)
        }
        // It runs ahead, and is tried again.
        operation.timeout = .milliseconds(500)
        return operation
    }

    /// Ends the run cleanly: the next one gets these bytes, and no floor. When this fails the stop is an
    /// unclean one, which refuses more, never less.
    ///
    /// - Throws: `.noRun` outside a run.
    public static func endRun(savedNonces: [UInt8]) -> Self {
        Self { backend throws(StoreError) in try backend.endRun(savedNonces: savedNonces) }
    }
}

extension StoreOperation where Value == Bool {
    /// Adds `key` only where there is none, so that of two processes which start on a
    /// new store at once one gets its key in and the other reads it from the snapshot.
    ///
    /// - Returns: whether it was added.
    public static func addFirstSigningKey(_ key: SigningKeyRecord) -> Self {
        Self { backend throws(StoreError) in
            try backend.addSigningKey(key, .ifNone)
        }
    }

    /// Adds `key`, which will sign from its `activatesAt` on, only where no key begins to after `instant`:
    /// gateways that rotate at once end with one next key.
    ///
    /// - Returns: whether it was added.
    /// - Throws: `.keyExists` when it would be added and its kid is there.
    public static func addNextSigningKey(
        _ key: SigningKeyRecord, ifNoneAfter instant: WallTime
    ) -> Self {
        Self { backend throws(StoreError) in
            try backend.addSigningKey(key, .ifNoneActivatesAfter(instant))
        }
    }

    /// Takes the live token `id` away and keeps `token` in its place, both or neither. Batched.
    ///
    /// - Returns: false where there is no such token or it has expired: of two exchanges at once, on
    ///   whichever gateways, one gets true.
    public static func exchangeToken(
        id: [UInt8], for token: StoredToken, now: WallTime
    ) -> Self { Self(.exchangeToken(id: id, for: token, now: now), \.flag) }

    /// Batched.
    ///
    /// - Returns: whether it was there.
    public static func removeToken(id: [UInt8]) -> Self { Self(.removeToken(id: id), \.flag) }
}

extension StoreOperation where Value == Int {
    /// Removes the keys of which no token lives any more, by `SigningKeyRecord.isSpent`.
    ///
    /// - Returns: how many were removed.
    public static func removeSigningKeys(endedBefore instant: WallTime) -> Self {
        Self { backend throws(StoreError) in
            try backend.removeSigningKeys(orDamaged: nil) { $0.isSpent(endedBefore: instant) }
        }
    }

    /// Removes a key that signs no more, and will not, or a damaged one, which is not used either: the tokens that it
    /// signed are refused from then on.
    ///
    /// - Returns: 1; 0 where there is no such key, or it still signs or is to.
    public static func removeSigningKey(kid: String, now: WallTime) -> Self {
        Self { backend throws(StoreError) in
            try backend.removeSigningKeys(orDamaged: kid) { key in
                key.kid == kid && key.retiredAt.map { $0 <= now || $0 <= key.activatesAt } ?? false
            }
        }
    }
}

extension StoreOperation where Value == ReplayStart {
    /// Begins the run of a gateway. From here until `endRun` a stop, however it comes, is an unclean one.
    ///
    /// - Throws: `.inUse` when another gateway runs on this store.
    public static var beginRun: Self {
        Self { backend throws(StoreError) in try backend.beginRun() }
    }
}

extension StoreOperation where Value == StoredToken? {
    /// The live token with this id. Batched.
    ///
    /// - Returns: nil where there is none, or it has expired.
    /// - Throws: `.corrupt` for one that cannot be read.
    public static func token(id: [UInt8], now: WallTime) -> Self {
        Self(.findToken(id: id, now: now), \.token)
    }
}

extension StoreOperation where Value == OneTimeVerdict {
    /// Records that something is used which may be used once. Only `.accepted` lets its request pass, and of
    /// two at once, on whichever gateways, one gets it. Batched.
    ///
    /// - Parameter now: an id that has expired by now is `.belowFloor`, since nobody would remember it.
    public static func recordOnce(_ id: OneTimeID, now: WallTime) -> Self {
        Self(.recordOnce(id, now: now), \.verdict)
    }
}

extension StoreOperation where Value == RateVerdict {
    /// Counts a request in each of its limits, or in none: on whichever gateways they come, no more pass than the limits
    /// let. The store's clock counts alone. Batched.
    ///
    /// - Throws: `.notShared` where one gateway alone has the store, which counts in its own memory.
    public static func takeRates(_ claims: [RateClaim]) -> Self {
        Self(.takeRates(claims), \.rates)
    }
}

extension StoreOperation where Value == StoreNews {
    /// What was revoked after `sequence`, for a gateway that starts (0 is everything).
    ///
    /// - Returns: `snapshot` is nil.
    public static func revocations(after sequence: Int64) -> Self {
        Self { backend throws(StoreError) in try backend.revocations(after: sequence) }
    }
}
