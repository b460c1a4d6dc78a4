import Primitives

/// No state at all: every operation fails. What a gateway does without its store can be tried with it.
final class AbsentState: StateBackend {
    private static let reason = StoreError.unavailable(reason: "started without store")

    func marks() throws(StoreError) -> StoreMarks { throw Self.reason }
    func snapshot() throws(StoreError) -> StoreSnapshot { throw Self.reason }
    func revocations(after sequence: Int64) throws(StoreError) -> StoreNews { throw Self.reason }

    func addClient(_ client: StoredClient) throws(StoreError) { throw Self.reason }
    func replaceClient(_ client: StoredClient, ifStill old: StoredClient?) throws(StoreError) {
        throw Self.reason
    }
    func removeClient(id: String) throws(StoreError) { throw Self.reason }

    func declareClients(
        _ ids: Set<String>, now: WallTime, until: WallTime
    ) throws(StoreError) { throw Self.reason }

    func addSigningKey(
        _ key: SigningKeyRecord, _ condition: SigningKeyCondition
    ) throws(StoreError) -> Bool { throw Self.reason }
    func removeSigningKeys(
        orDamaged kid: String?, where isGone: (SigningKeyRecord) -> Bool
    ) throws(StoreError) -> Int { throw Self.reason }

    func perform(_ items: [StoreItem]) throws(StoreError) -> [StoreItemResult] {
        throw Self.reason
    }
    func purge(expiredAt now: WallTime, limit: Int) throws(StoreError) -> Int { 0 }

    func forEachRecord(
        liveAt now: WallTime, _ body: (Result<StoredRecord, StoreFault>) throws(StoreError) -> Void
    ) throws(StoreError) { throw Self.reason }
    func restore(_ clients: [StoredClient], _ keys: [SigningKeyRecord]) throws(StoreError) {
        throw Self.reason
    }

    func beginRun() throws(StoreError) -> ReplayStart { throw Self.reason }
    func raiseCeiling(to timestamp: Int64) throws(StoreError) { throw Self.reason }
    func endRun(savedNonces: [UInt8]) throws(StoreError) { throw Self.reason }

    func close() {}
}
