import Foundation
import Primitives

/// Tokens, revocations and what may be used once: all that wait in one round trip.
///
/// What may be used once is safe although Redis may lose its last writes (an append-only file that is synced each
/// second, a replica that lags, memory alone). A record, the epoch, holds the run_id of the process that served it, and
/// a floor. A gateway that finds it gone, or served by another process, begins a new epoch: its floor lies three
/// seconds ahead of the server's clock, and nothing passes before the clock is past it, nor anything at or below it
/// ever. So honest clients wait for three seconds, however fast the clock of another client is; but for an assertion
/// without `iat`, whose timestamp is the earliest that it may have been made at: it lies below the floor for some ten
/// minutes.
///
/// Nothing passes twice, for:
/// - What was accepted with a timestamp less than three seconds ahead of the server's clock lies at or below that floor:
///   the clock only goes on, and a gateway that has seen a later time than the new server shows raises the floor.
/// - What was accepted with one further ahead is in the memory of the gateway that accepted it. That one puts it back
///   when it joins the new epoch, before it asks for anything there; it looks for a new epoch at each poll, so that it has
///   joined, if it reaches Redis, before the floor is past: an attempt that just missed it takes a timeout, the next may
///   come a second later, at a poll half a second after that, and take a timeout itself: 2.5 seconds with the timeout
///   of half a second that is the default. One of more than 0.75 seconds is too long for that.
/// - If it does not come (it died in the same moment, or is cut off), the others know from their polls how far ahead
///   it went (`ahead:` in the epoch): up to there nothing passes at all (`doubt`) until it has joined, or time is past it.
///
/// What remains: an id that far ahead which was accepted within the last poll before Redis lost it, by a gateway that
/// did not come back either. It may pass once more.
///
/// A record lives as long as its gateway could accept the same again, and no longer. The epoch therefore knows
/// by which windows records were made, and up to which timestamp each: by a longer window nothing passes that
/// lies within those and is too old for them, since its record may be gone. So a conf may change, by reloads or
/// restarts, and where gateways differ the shortest window counts.
extension RedisState {
    func perform(_ items: [StoreItem]) throws(StoreError) -> [StoreItemResult] {
        var results = try performOnce(items, Array(items.indices))
        let strangers = results.indices.filter { results[$0] == nil }
        if !strangers.isEmpty {
            try rejoin()
            let again = try performOnce(strangers.map { items[$0] }, strangers)
            for (index, result) in zip(strangers, again) { results[index] = result }
        }
        return results.map { $0 ?? .failed(.unavailable(reason: "the epoch keeps changing")) }
    }

    /// - Returns: nil for what was not done because the epoch is another.
    private func performOnce(
        _ items: [StoreItem], _ indices: [Int]
    ) throws(StoreError) -> [StoreItemResult?] {
        var questions: [Question] = []
        var results: [StoreItemResult?] = []
        var places: [Int] = []
        for item in items {
            do throws(StoreError) {
                switch try step(item) {
                case .known(let result): results.append(result)
                case .question(let question):
                    places.append(results.count)
                    results.append(nil)
                    questions.append(question)
                }
            } catch {
                results.append(.failed(error))
            }
        }
        guard !questions.isEmpty else { return results }
        let replies = try ask(questions)
        for (place, reply) in zip(places, replies) {
            results[place] = result(of: items[place], reply)
        }
        return results
    }

    /// The clocks of two gateways may differ by so much: what one takes for expired must not be forgotten while
    /// the other would still accept it.
    static let clockDifference: Int64 = 60_000

    private enum Step {
        case known(StoreItemResult)
        case question(Question)
    }

    private func step(_ item: StoreItem) throws(StoreError) -> Step {
        switch item {
        case .addToken(let token):
            let lifetime = Self.milliseconds(from: WallTime.now(), to: token.expiresAt)
            guard lifetime > 0 else { return .known(.done) }
            return .question(
                .command("SET", keys.token(token.id), try text(of: token), "PX", "\(lifetime)"))
        case .findToken(let id, _):
            return .question(.command("GET", keys.token(id)))
        case .exchangeToken(let id, let token, let now):
            let lifetime = Self.milliseconds(from: WallTime.now(), to: token.expiresAt)
            return .question(
                .script(
                    .exchange, keys: [keys.token(id), keys.token(token.id)], "\(now.seconds)",
                    try text(of: token), "\(lifetime)"))
        case .removeToken(let id):
            return .question(.command("DEL", keys.token(id)))
        case .revoke(let revocation):
            return .question(
                .script(
                    .revoke,
                    keys: [
                        keys.lastRevocation, keys.revocations, keys.revocationOrder,
                        keys.revocationExpiry,
                    ], try json(revocation.target.words), "\(revocation.issuedBefore.seconds)",
                    "\(revocation.until.seconds)"))
        case .recordOnce(let id, let now):
            guard now < id.expiresAt else { return .known(.verdict(.belowFloor)) }
            guard !memory.isFull(for: id.timestamp) else { return .known(.failed(.busy)) }
            return .question(
                .script(
                    .once, keys: [keys.epoch, keys.once(id)], epoch,
                    id.timestamp.map { "\($0)" } ?? "",
                    "\(Self.lifetime(from: now, to: id.expiresAt))", memory.name,
                    id.windowSeconds.map { "\($0)" } ?? "", "windows:\(id.space.rawValue)"))
        case .recordFutureNonce:
            return .known(.failed(.noRun))
        case .takeRates(let claims):
            return .question(
                .script(
                    .rates, keys: claims.map { keys.rate($0.id) },
                    arguments: claims.flatMap { [Self.microseconds($0.interval), "\($0.burst)"] }
                        .map { Array($0.utf8) }))
        }
    }

    /// - Returns: nil when the epoch is another.
    private func result(of item: StoreItem, _ reply: RedisValue) -> StoreItemResult? {
        if let error = reply.error { return .failed(StoreError(redis: error)) }
        switch item {
        case .addToken, .revoke, .recordFutureNonce: return .done
        case .exchangeToken, .removeToken: return .flag(reply.integer == 1)
        case .findToken(let id, let now):
            guard let bytes = reply.bytes else { return .token(nil) }
            do throws(StoreError) {
                let token = try token(of: bytes)
                guard token.id == id else {
                    throw .corrupt(reason: "a token lies in another's place")
                }
                return .token(token.isLive(at: now) ? token : nil)
            } catch {
                return .failed(error)
            }
        case .recordOnce(let id, _):
            let parts = reply.elements?.map(\.string) ?? []
            guard parts.count == 2, let word = parts[0], let time = parts[1].flatMap({ Int64($0) })
            else { return .failed(.corrupt(reason: "a verdict that is not known")) }
            memory.saw(serverTime: time)
            switch word {
            case "accepted": return .verdict(.accepted)
            case "ahead":
                memory.keep(
                    keys.once(id),
                    RedisMemory.AheadID(timestamp: id.timestamp ?? 0, expiresAt: id.expiresAt))
                return .verdict(.accepted)
            case "reused": return .verdict(.reused)
            case "forgotten": return .verdict(.forgotten)
            case "window": return .verdict(.belowFloor)
            case "epoch": return nil
            default: return .failed(.corrupt(reason: "a verdict that is not known"))
            }
        case .takeRates(let claims):
            return RateVerdict(reply, limits: claims.count).map(StoreItemResult.rates)
                ?? .failed(.corrupt(reason: "a verdict that is not known"))
        }
    }

    /// Of nanoseconds, as Lua reads it.
    private static func microseconds(_ nanoseconds: UInt64) -> String {
        let rest = String(nanoseconds % 1000)
        return "\(nanoseconds / 1000).\(String(repeating: "0", count: 3 - rest.count))\(rest)"
    }

    /// How long the id of a request is kept, in milliseconds.
    static func lifetime(from now: WallTime, to end: WallTime) -> Int64 {
        max(milliseconds(from: now, to: end), 0) + clockDifference
    }

    /// Rounded up: what must be remembered is, until the very end.
    private static func milliseconds(from now: WallTime, to end: WallTime) -> Int64 {
        let (left, overflow) = end.nanoseconds.subtractingReportingOverflow(now.nanoseconds)
        guard !overflow else { return end < now ? 0 : .max / 1_000_000_000 }
        return left <= 0 ? 0 : (left - 1) / 1_000_000 + 1
    }

    private func text(of token: StoredToken) throws(StoreError) -> String {
        try json(TokenText(token, seal))
    }

    func token(of bytes: [UInt8]) throws(StoreError) -> StoredToken {
        try value(TokenText.self, of: bytes, "a token").record(seal)
    }

    // MARK: - Revocations

    /// So many are read at a time: a script holds up everybody.
    private static let revocationPage = 5000

    func revocations(after sequence: Int64) throws(StoreError) -> StoreNews {
        var (revocations, faults): ([Revocation], [StoreFault]) = ([], [])
        // As Redis has it: it may be no number that fits into ours, and each page still begins behind the one before.
        var from = "\(sequence)"
        var isFirst = true
        while true {
            let reply = try ask(
                .script(
                    .revocations,
                    keys: [keys.lastRevocation, keys.revocations, keys.revocationOrder],
                    from, "\(Self.revocationPage)", isFirst ? "1" : "0"))
            guard let parts = reply.elements?.map({ $0.string ?? "" }), let first = parts.first
            else { throw .corrupt(reason: "the revocations cannot be read") }
            for index in stride(from: 1, to: parts.count - 2, by: 3) {
                from = parts[index]
                let read = self.revocations(
                    parts[index + 1], parts[index + 2], number: Int64(from) ?? .max)
                revocations += read.revocations
                if let fault = read.fault { faults.append(fault) }
            }
            guard parts.count > 3 * Self.revocationPage else {
                return StoreNews(
                    revocations: revocations, through: Int64(first) ?? 0, faults: faults)
            }
            isFirst = false
        }
    }

    /// - Parameter number: the microsecond in which it was revoked, or a later one.
    private func revocations(
        _ target: String, _ text: String, number: Int64
    ) -> (revocations: [Revocation], fault: StoreFault?) {
        let decoder = JSONDecoder()
        let words = try? decoder.decode([String].self, from: Data(target.utf8))
        guard let words, words.count == 3 else {
            return ([], StoreFault(.revocation(of: target), "nobody can say what it revokes"))
        }
        let moments = try? decoder.decode(RevocationMoments.self, from: Data(text.utf8))
        return Revocation.Remains(
            kind: words[0], issuer: words[1], subject: words[2],
            issuedBefore: moments.map { WallTime(seconds: $0.issuedBefore) },
            until: moments.map { WallTime(seconds: $0.until) },
            // A client's removal revokes what is issued in the minute after it, too.
            latest: WallTime(seconds: number / 1_000_000 + Self.clockDifference / 1000 + 1)
        ).read()
    }

    func purge(expiredAt now: WallTime, limit: Int) throws(StoreError) -> Int {
        let reply = try ask(
            .script(
                .purge, keys: [keys.revocations, keys.revocationOrder, keys.revocationExpiry],
                "\(now.seconds)", "\(limit)"))
        return Int(reply.integer ?? 0)
    }
}

/// What Redis keeps of a revocation beside its target.
private struct RevocationMoments: Codable {
    let issuedBefore: Int64
    let until: Int64

    enum CodingKeys: String, CodingKey {
        case issuedBefore = "issued_before"
        case until
    }
}

extension Revocation.Target {
    fileprivate var words: [String] {
        let (kind, issuer, subject) = columns
        return [kind, issuer, subject]
    }
}

extension RateVerdict {
    /// What the script `rates` answers: which limit refuses, from 1 on, or 0; and for how many microseconds.
    ///
    /// - Returns: `nil` for anything else, and for a time that none of ours lasts.
    init?(_ reply: RedisValue, limits: Int) {
        let numbers = reply.elements?.compactMap(\.integer) ?? []
        guard numbers.count == 2, let index = Int(exactly: numbers[0]), 0...limits ~= index,
            let wait = UInt64(exactly: numbers[1]), wait <= .max / 1000
        else { return nil }
        self = index == 0 ? .passes : .refused(index: index - 1, wait: wait * 1000)
    }
}
