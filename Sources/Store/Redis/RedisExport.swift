import Primitives

/// All of it, for an export. It is read in steps, each within the timeout, and so not as of one moment: a token that
/// comes or goes meanwhile may be in it or not.
extension RedisState {
    private static let page = 500

    func forEachRecord(
        liveAt now: WallTime, _ body: (Result<StoredRecord, StoreFault>) throws(StoreError) -> Void
    ) throws(StoreError) {
        giveTime()
        let snapshot = try snapshot()
        for client in snapshot.clients { try body(.success(.client(client))) }
        for key in snapshot.keys { try body(.success(.key(key))) }
        giveTime()
        let revoked = try revocations(after: 0)
        for revocation in revoked.revocations where now < revocation.until {
            try body(.success(.revocation(revocation)))
        }
        for fault in snapshot.faults + revoked.faults { try body(.failure(fault)) }
        try scan(keys.tokens) { names throws(StoreError) in
            let replies = try ask(names.map { .command("GET", $0) })
            for reply in replies {
                // One that has expired since its name was read is gone.
                guard let bytes = reply.bytes else { continue }
                switch try Self.read(.token, { () throws(StoreError) in try token(of: bytes) }) {
                case .success(let token):
                    if token.isLive(at: now) { try body(.success(.token(token))) }
                case .failure(let fault): try body(.failure(fault))
                }
            }
        }
        try scan(keys.onceIDs) { names throws(StoreError) in
            let replies = try ask(
                names.flatMap { [.command("GET", $0), .command("PTTL", $0)] })
            for (index, name) in names.enumerated() {
                guard let timestamp = replies[2 * index].string,
                    let left = replies[2 * index + 1].integer, left > 0
                else { continue }
                try body(
                    try Self.read(.oneTimeID) { () throws(StoreError) in
                        .oneTimeID(try oneTimeID(name, timestamp, left, now))
                    })
            }
        }
    }

    private func giveTime() { hasTime(until: MonotonicInstant.now() + location.timeout) }

    /// The keys that begin so, a page at a time. SCAN may name one twice; to put it in twice does no harm.
    private func scan(
        _ prefix: String, _ body: ([String]) throws(StoreError) -> Void
    ) throws(StoreError) {
        let escaped = prefix.flatMap { character -> [Character] in
            "*?[]^\\-".contains(character) ? ["\\", character] : [character]
        }
        var cursor = "0"
        repeat {
            giveTime()
            let reply = try ask(
                .command("SCAN", cursor, "MATCH", String(escaped) + "*", "COUNT", "\(Self.page)"))
            guard let parts = reply.elements, parts.count == 2, let next = parts[0].string,
                let names = parts[1].elements?.compactMap(\.string)
            else { throw .unavailable(reason: "the keys cannot be listed") }
            if !names.isEmpty { try body(names) }
            cursor = next
        } while cursor != "0"
    }

    private func oneTimeID(
        _ name: String, _ timestamp: String, _ left: Int64, _ now: WallTime
    ) throws(StoreError) -> OneTimeID {
        let parts = name.dropFirst(keys.onceIDs.count).split(separator: ":")
        guard parts.count == 2, let space = OneTimeID.Space(rawValue: String(parts[0])),
            let fingerprint = HexBytes(text: String(parts[1])),
            OneTimeID.fingerprintBytes.contains(fingerprint.bytes.count)
        else { throw .corrupt(reason: "an id of an unknown kind") }
        return OneTimeID(
            space: space, fingerprint: fingerprint.bytes, timestamp: Int64(timestamp),
            expiresAt: WallTime(
                seconds: now.seconds + max(left - Self.clockDifference, 0) / 1000 + 1))
    }
}
