import Primitives

/// Where the state lies. Lives on the store's thread alone, so it may block and needs no lock.
///
/// Every change is all or nothing, and durable (where the backend is durable at all) when the call returns.
protocol StateBackend: AnyObject {
    func generation() throws(StoreError) -> Int64
    func snapshot() throws(StoreError) -> StoreSnapshot

    func addClient(_ client: StoredClient) throws(StoreError)
    func replaceClient(_ client: StoredClient) throws(StoreError)
    func removeClient(id: String) throws(StoreError)

    /// Makes `key` the current one and retires the one before, at the time that `key` was made.
    ///
    /// - Parameter onlyIfNone: leave all as it is when there is a current key.
    /// - Returns: whether the key was added.
    func addSigningKey(_ key: SigningKeyRecord, onlyIfNone: Bool) throws(StoreError) -> Bool
    /// - Returns: how many retired keys were removed.
    func removeSigningKeys(retiredBefore instant: WallTime) throws(StoreError) -> Int

    func beginRun() throws(StoreError) -> ReplayStart
    func raiseCeiling(to timestamp: Int64) throws(StoreError)
    func recordFutureNonces(_ nonces: [FutureNonce]) throws(StoreError)
    func endRun(savedNonces: [UInt8]) throws(StoreError)

    /// Lets go of what is open. A run that was not ended stays unclean.
    func close()
}
