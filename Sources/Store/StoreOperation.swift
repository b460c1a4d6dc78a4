import Primitives

/// Something to ask of the store: a value that `StateStore.perform` waits for and `StateStore.submit`
/// answers through a callback, so that each exists once.
public struct StoreOperation<Value: Sendable>: Sendable {
    let run: @Sendable (any StateBackend) throws(StoreError) -> Value

    init(_ run: @escaping @Sendable (any StateBackend) throws(StoreError) -> Value) {
        self.run = run
    }
}

extension StoreOperation where Value == StoreSnapshot {
    public static var snapshot: Self {
        Self { backend throws(StoreError) in try backend.snapshot() }
    }
}

extension StoreOperation where Value == Void {
    /// - Throws: `.clientExists`, or `.invalidClient` when a secret is not hashed or there are too many.
    public static func addClient(_ client: StoredClient) -> Self {
        Self { backend throws(StoreError) in
            try client.check()
            try backend.addClient(client)
        }
    }

    /// Puts `client` in the place of the one with its id; `createdAt` stays as it was.
    ///
    /// - Throws: `.unknownClient`, or `.invalidClient` as for `addClient`.
    public static func replaceClient(_ client: StoredClient) -> Self {
        Self { backend throws(StoreError) in
            try client.check()
            try backend.replaceClient(client)
        }
    }

    /// - Throws: `.unknownClient`.
    public static func removeClient(id: String) -> Self {
        Self { backend throws(StoreError) in try backend.removeClient(id: id) }
    }

    /// Makes `key` the current one and retires the one before.
    ///
    /// - Throws: `.keyExists` when its kid is there, current or retired.
    public static func addSigningKey(_ key: SigningKeyRecord) -> Self {
        Self { backend throws(StoreError) in
            _ = try backend.addSigningKey(key, onlyIfNone: false)
        }
    }

    /// Makes durable that timestamps up to this one may be accepted without a write. A ceiling never sinks;
    /// nonces that were written one by one and lie at or below it are no longer needed and go.
    ///
    /// - Throws: `.noRun` outside a run.
    public static func raiseCeiling(to timestamp: Int64) -> Self {
        Self { backend throws(StoreError) in try backend.raiseCeiling(to: timestamp) }
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
    /// Adds `key` as the current one only where there is none, so that of two processes which start on a
    /// new store at once one gets its key in and the other reads it from the snapshot.
    ///
    /// - Returns: whether it was added.
    public static func addFirstSigningKey(_ key: SigningKeyRecord) -> Self {
        Self { backend throws(StoreError) in
            try backend.addSigningKey(key, onlyIfNone: true)
        }
    }
}

extension StoreOperation where Value == Int {
    /// Removes the keys that were retired before `instant`: no token that they signed lives any more.
    ///
    /// - Returns: how many were removed.
    public static func removeSigningKeys(retiredBefore instant: WallTime) -> Self {
        Self { backend throws(StoreError) in
            try backend.removeSigningKeys(retiredBefore: instant)
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
