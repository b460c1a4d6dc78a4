import Cryptography
import Primitives

/// The state in memory: for a gateway whose clients are all in its conf file, and for tests.
final class MemoryState: StateBackend {
    private var clients: [String: StoredClient] = [:]
    private var keys: [SigningKeyRecord] = []
    private var declared: Set<String> = []
    private var changes: Int64 = 0

    private enum Run {
        case ended(savedNonces: [UInt8])
        case running
    }

    private var run = Run.ended(savedNonces: [])
    private var ceiling: Int64?
    private var futureNonces: Set<FutureNonce> = []
    private let replayKey: Secret
    private var tokens = MemoryTokens()

    init() throws(StoreError) {
        replayKey = try SecretsKey.generate().secret
    }

    func marks() -> StoreMarks {
        StoreMarks(generation: changes, revocations: tokens.lastRevocation)
    }

    func revocations(after sequence: Int64) -> StoreNews { tokens.revocations(after: sequence) }

    func snapshot() -> StoreSnapshot {
        StoreSnapshot(
            clients: clients.values.sorted { $0.id < $1.id },
            keys: keys.sorted(by: SigningKeyRecord.comesFirst), generation: changes)
    }

    func addClient(_ client: StoredClient) throws(StoreError) {
        guard clients[client.id] == nil else { throw .clientExists(id: client.id) }
        clients[client.id] = client
        changes += 1
    }

    func replaceClient(_ client: StoredClient, ifStill old: StoredClient?) throws(StoreError) {
        guard let found = clients[client.id] else { throw .unknownClient(id: client.id) }
        guard old == nil || old == found else { throw .clientChanged(id: client.id) }
        clients[client.id] = client.created(at: found.createdAt)
        changes += 1
    }

    func removeClient(id: String) throws(StoreError) {
        guard clients.removeValue(forKey: id) != nil else { throw .unknownClient(id: id) }
        changes += 1
    }

    func declareClients(
        _ ids: Set<String>, now: WallTime, until: WallTime
    ) throws(StoreError) {
        for id in declared.subtracting(ids) {
            if clients[id] == nil {
                let revocation = DeclaredClients.revocation(of: id, leftAt: now, until: until)
                _ = try tokens.perform(.revoke(revocation))
            }
            declared.remove(id)
        }
        declared.formUnion(ids)
    }

    func addSigningKey(
        _ key: SigningKeyRecord, _ condition: SigningKeyCondition
    ) throws(StoreError) -> Bool {
        guard condition.holds(newest: keys.first { $0.retiredAt == nil }) else { return false }
        guard !keys.contains(where: { $0.kid == key.kid }) else { throw .keyExists(kid: key.kid) }
        keys = keys.map { $0.replaced(by: key) } + [key.newest()]
        changes += 1
        return true
    }

    func removeSigningKeys(
        orDamaged kid: String?, where isGone: (SigningKeyRecord) -> Bool
    ) -> Int {
        let before = keys.count
        keys.removeAll(where: isGone)
        if keys.count != before { changes += 1 }
        return before - keys.count
    }

    func perform(_ items: [StoreItem]) -> [StoreItemResult] {
        let results = items.map { item -> StoreItemResult in
            do throws(StoreError) {
                guard case .recordFutureNonce(let nonce) = item else {
                    return try tokens.perform(item)
                }
                try requireRun()
                futureNonces.insert(nonce)
                return .done
            } catch {
                return .failed(error)
            }
        }
        // Two go for one that comes, so that what has expired never piles up.
        _ = tokens.purge(expiredAt: WallTime.now(), limit: 2 * items.count)
        return results
    }

    func purge(expiredAt now: WallTime, limit: Int) -> Int {
        tokens.purge(expiredAt: now, limit: limit)
    }

    func forEachRecord(
        liveAt now: WallTime, _ body: (Result<StoredRecord, StoreFault>) throws(StoreError) -> Void
    ) throws(StoreError) {
        let snapshot = snapshot()
        for client in snapshot.clients { try body(.success(.client(client))) }
        for key in snapshot.keys { try body(.success(.key(key))) }
        try tokens.forEachRecord(liveAt: now, body)
    }

    func restore(_ clients: [StoredClient], _ keys: [SigningKeyRecord]) throws(StoreError) {
        guard self.clients.isEmpty, self.keys.isEmpty else { throw .notEmpty }
        for client in clients { self.clients[client.id] = client }
        self.keys = keys
        changes += 1
    }

    func beginRun() throws(StoreError) -> ReplayStart {
        guard case .ended(let saved) = run else { throw .inUse(path: "memory") }
        run = .running
        return ReplayStart(
            wasClean: true, floor: nil, ceiling: ceiling, savedNonces: saved,
            futureNonces: futureNonces.sorted(by: FutureNonce.comesFirst), replayKey: replayKey)
    }

    func raiseCeiling(to timestamp: Int64) throws(StoreError) {
        try requireRun()
        let raised = max(ceiling ?? timestamp, timestamp)
        ceiling = raised
        futureNonces = futureNonces.filter { $0.timestamp > raised }
    }

    func endRun(savedNonces: [UInt8]) throws(StoreError) {
        try requireRun()
        run = .ended(savedNonces: savedNonces)
    }

    func close() {}

    private func requireRun() throws(StoreError) {
        guard case .running = run else { throw .noRun }
    }
}
