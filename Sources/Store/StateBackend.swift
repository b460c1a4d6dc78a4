import Primitives

/// Where the state lies. Lives on the store's thread alone, so it may block and needs no lock.
///
/// Every change is all or nothing, and durable (where the backend is durable at all) when the call returns.
protocol StateBackend: AnyObject {
    /// What follows should be over by then; the job that asks for it was promised so.
    func hasTime(until deadline: MonotonicInstant)

    /// How far the state has come: one cheap read.
    func marks() throws(StoreError) -> StoreMarks
    func snapshot() throws(StoreError) -> StoreSnapshot
    /// - Parameter sequence: `through` of the last answer; one that the store has never reached asks for all.
    func revocations(after sequence: Int64) throws(StoreError) -> StoreNews

    func addClient(_ client: StoredClient) throws(StoreError)
    /// - Parameter old: what it must still be.
    func replaceClient(_ client: StoredClient, ifStill old: StoredClient?) throws(StoreError)
    func removeClient(id: String) throws(StoreError)

    /// Takes note of the clients that a conf declares, and revokes the tokens of those that have left.
    func declareClients(
        _ ids: Set<String>, now: WallTime, until: WallTime
    ) throws(StoreError)

    /// Makes `key` the newest one; the others end when it begins. A damaged one counts as none.
    ///
    /// - Returns: whether the key was added.
    func addSigningKey(
        _ key: SigningKeyRecord, _ condition: SigningKeyCondition
    ) throws(StoreError) -> Bool
    /// - Parameter kid: goes too if it is damaged: nobody can say then what it is.
    /// - Returns: how many keys were removed.
    func removeSigningKeys(
        orDamaged kid: String?, where isGone: (SigningKeyRecord) -> Bool
    ) throws(StoreError) -> Int

    /// Does all of them, in their order.
    ///
    /// - Returns: as many results, in the same order.
    /// - Throws: when the store itself failed; then nobody knows what was done.
    func perform(_ items: [StoreItem]) throws(StoreError) -> [StoreItemResult]

    /// Removes some of what has expired at `now`.
    ///
    /// - Returns: how many records were removed, at most `limit`.
    func purge(expiredAt now: WallTime, limit: Int) throws(StoreError) -> Int

    /// Hands over all that has not expired at `now`, one by one, and what cannot be read in its turn.
    func forEachRecord(
        liveAt now: WallTime, _ body: (Result<StoredRecord, StoreFault>) throws(StoreError) -> Void
    ) throws(StoreError)

    /// Puts clients and keys in as they are, all or none.
    ///
    /// - Throws: `.notEmpty` where there are any.
    func restore(_ clients: [StoredClient], _ keys: [SigningKeyRecord]) throws(StoreError)

    func beginRun() throws(StoreError) -> ReplayStart
    func raiseCeiling(to timestamp: Int64) throws(StoreError)
    func endRun(savedNonces: [UInt8]) throws(StoreError)

    /// Lets go of what is open. A run that was not ended stays unclean.
    func close()
}

extension StateBackend {
    /// A backend on this machine is as fast as it can be.
    func hasTime(until deadline: MonotonicInstant) {}
}
