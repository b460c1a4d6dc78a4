import Primitives

/// Tokens, revocations and what may be used once, in memory.
struct MemoryTokens {
    /// Records of all three kinds; past it nothing more is taken in.
    static let recordLimit = 4 << 20

    private enum Key: Hashable {
        case token([UInt8])
        case once(OneTimeID.Space, [UInt8])
        case revocation(Revocation.Target)
    }

    private var tokens: [[UInt8]: StoredToken] = [:]
    private var used: [Key: OneTimeID] = [:]
    /// In the order of their sequence.
    private var revocations: [Revocation.Target: (sequence: Int64, revocation: Revocation)] = [:]
    private(set) var lastRevocation: Int64 = 0
    private var expiries = ExpiryQueue<Key>()

    mutating func perform(_ item: StoreItem) throws(StoreError) -> StoreItemResult {
        switch item {
        case .addToken(let token):
            try keep(token)
            return .done
        case .findToken(let id, let now):
            return .token(tokens[id].flatMap { $0.isLive(at: now) ? $0 : nil })
        case .exchangeToken(let id, let token, let now):
            guard let old = tokens[id], old.isLive(at: now) else { return .flag(false) }
            try keep(token)
            if id != token.id { tokens[id] = nil }
            return .flag(true)
        case .removeToken(let id):
            return .flag(tokens.removeValue(forKey: id) != nil)
        case .revoke(let revocation):
            try revoke(revocation)
            return .done
        case .recordOnce(let id, let now):
            return .verdict(try record(id, now))
        case .recordFutureNonce:
            preconditionFailure("a nonce of a run is not kept here")
        case .takeRates:
            throw .notShared
        }
    }

    func revocations(after sequence: Int64) -> StoreNews {
        let newer = revocations.values
            .filter { sequence > lastRevocation || $0.sequence > sequence }
            .sorted { $0.sequence < $1.sequence }
        return StoreNews(revocations: newer.map(\.revocation), through: lastRevocation)
    }

    func forEachRecord(
        liveAt now: WallTime, _ body: (Result<StoredRecord, StoreFault>) throws(StoreError) -> Void
    ) throws(StoreError) {
        for token in tokens.values where token.isLive(at: now) { try body(.success(.token(token))) }
        for revocation in revocations(after: 0).revocations where now < revocation.until {
            try body(.success(.revocation(revocation)))
        }
        for id in used.values where now < id.expiresAt { try body(.success(.oneTimeID(id))) }
    }

    /// - Returns: how many were removed.
    mutating func purge(expiredAt now: WallTime, limit: Int) -> Int {
        var removed = 0
        // What stands here for a record that is gone or lives longer now counts as well: it costs the same.
        for _ in 0..<limit {
            guard let key = expiries.takeExpired(at: now) else { break }
            switch key {
            case .token(let id):
                guard let token = tokens[id], !token.isLive(at: now) else { continue }
                tokens[id] = nil
            case .once:
                guard let id = used[key], id.expiresAt <= now else { continue }
                used[key] = nil
            case .revocation(let target):
                guard let found = revocations[target], found.revocation.until <= now else {
                    continue
                }
                revocations[target] = nil
            }
            removed += 1
        }
        return removed
    }

    private func makeRoom() throws(StoreError) {
        guard expiries.count < Self.recordLimit else { throw .full }
    }

    private mutating func keep(_ token: StoredToken) throws(StoreError) {
        try makeRoom()
        tokens[token.id] = token
        expiries.add(.token(token.id), expiresAt: token.expiresAt)
    }

    private mutating func revoke(_ revocation: Revocation) throws(StoreError) {
        let old = revocations[revocation.target]?.revocation
        let joined = old.map { revocation.joined(with: $0) } ?? revocation
        guard joined != old else { return }
        try makeRoom()
        lastRevocation += 1
        revocations[revocation.target] = (lastRevocation, joined)
        expiries.add(.revocation(revocation.target), expiresAt: joined.until)
    }

    private mutating func record(
        _ id: OneTimeID, _ now: WallTime
    ) throws(StoreError) -> OneTimeVerdict {
        guard now < id.expiresAt else { return .belowFloor }
        let key = Key.once(id.space, id.fingerprint)
        if let old = used[key], now < old.expiresAt { return .reused }
        try makeRoom()
        used[key] = id
        expiries.add(key, expiresAt: id.expiresAt)
        return .accepted
    }
}
