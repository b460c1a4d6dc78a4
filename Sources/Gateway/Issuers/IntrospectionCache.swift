import Cryptography
import OAuth
import Primitives
import Synchronization
import Telemetry

/// SHA-256 of a token: what it is found by. No two tokens have the same.
struct TokenDigest: Sendable, Hashable {
    private let words: (UInt64, UInt64, UInt64, UInt64)

    init(_ token: Span<UInt8>) {
        let digest = Digest.hash(token, .sha256)
        func word(_ index: Int) -> UInt64 {
            digest[index * 8..<index * 8 + 8].reduce(0) { $0 << 8 | UInt64($1) }
        }
        words = (word(0), word(1), word(2), word(3))
    }

    static func == (left: TokenDigest, right: TokenDigest) -> Bool { left.words == right.words }

    /// Half of them spread the tokens well enough; `==` compares all.
    func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
        hasher.combine(words.1)
    }
}

/// What became of a question about a token.
enum IntrospectionOutcome: Sendable {
    case active(VerifiedToken)
    case refused(Reason)
    /// Nobody could say.
    case unavailable

    /// The memory it holds, near enough for a limit.
    fileprivate var footprint: Int {
        if case .active(let token) = self { 128 + token.footprint } else { 128 }
    }
}

/// What the introspection server said of tokens, for all workers. What it said is kept, never a verdict, and not what it
/// failed to say. Answers about tokens that are not active have their own room: a flood of junk pushes out junk.
final class IntrospectionCache: Sendable {
    /// How long a token is known for having been active, once that counts no more.
    static let acquaintance: Duration = .seconds(300)

    private struct Entry {
        let outcome: IntrospectionOutcome
        let until: MonotonicInstant
        /// From then on whoever uses it has it asked about anew, once.
        var refreshAt: MonotonicInstant?
        let footprint: Int
        let number: UInt64
    }

    /// The oldest goes first; all of a room have nearly the same lifetime.
    private struct Room {
        let limitBytes: Int
        /// How long an entry stays once it counts no more.
        let afterlife: Duration
        private(set) var byteCount = 0
        private var entries: [TokenDigest: Entry] = [:]
        /// As they came in. A place whose number is not its entry's belongs to one that was replaced.
        private var order: [(digest: TokenDigest, number: UInt64)] = []
        private var first = 0
        private var lastNumber: UInt64 = 0

        init(limitBytes: Int, afterlife: Duration) {
            self.limitBytes = limitBytes
            self.afterlife = afterlife
        }

        subscript(_ digest: TokenDigest) -> Entry? { entries[digest] }

        /// Whether it is time to ask anew; true once.
        mutating func takeRefresh(_ digest: TokenDigest, now: MonotonicInstant) -> Bool {
            guard let at = entries[digest]?.refreshAt, at <= now else { return false }
            entries[digest]?.refreshAt = nil
            return true
        }

        mutating func insert(
            _ digest: TokenDigest, _ outcome: IntrospectionOutcome, until: MonotonicInstant,
            refreshAt: MonotonicInstant?
        ) {
            let footprint = outcome.footprint
            guard footprint <= limitBytes / 8 else { return }
            while byteCount + footprint > limitBytes, first < order.count { removeFirst() }
            lastNumber += 1
            entries[digest] = Entry(
                outcome: outcome, until: until, refreshAt: refreshAt, footprint: footprint,
                number: lastNumber)
            order.append((digest, lastNumber))
            byteCount += footprint
        }

        mutating func remove(_ digest: TokenDigest) {
            guard let entry = entries.removeValue(forKey: digest) else { return }
            byteCount -= entry.footprint
        }

        /// Takes away what is over among the oldest, so that memory comes back though nobody asks.
        mutating func removeEnded(at now: MonotonicInstant) {
            while first < order.count {
                let (digest, number) = order[first]
                if let entry = entries[digest], entry.number == number,
                    entry.until + afterlife > now
                {
                    break
                }
                removeFirst()
            }
            if first > 1024 || first == order.count {
                order.removeFirst(first)
                first = 0
            }
        }

        private mutating func removeFirst() {
            let (digest, number) = order[first]
            first += 1
            if entries[digest]?.number == number { remove(digest) }
        }
    }

    private struct Rooms {
        var active: Room
        var refused: Room

        init(activeBytes: Int, refusedBytes: Int) {
            active = Room(limitBytes: activeBytes, afterlife: acquaintance)
            refused = Room(limitBytes: refusedBytes, afterlife: .zero)
        }
    }

    private let rooms: Mutex<Rooms>
    private let activeBytes: Int
    private let refusedBytes: Int

    init(activeBytes: Int = 32 << 20, refusedBytes: Int = 2 << 20) {
        self.activeBytes = activeBytes
        self.refusedBytes = refusedBytes
        rooms = Mutex(Rooms(activeBytes: activeBytes, refusedBytes: refusedBytes))
    }

    /// What was said of the token, as long as it counts.
    ///
    /// - Returns: with it, whether it soon counts no more, and whoever was told so now should have it asked about anew.
    func lookup(
        _ digest: TokenDigest, now: MonotonicInstant
    ) -> (outcome: IntrospectionOutcome, isRefreshDue: Bool)? {
        rooms.withLock { rooms in
            if let entry = rooms.active[digest] {
                guard now < entry.until else { return nil }
                return (entry.outcome, rooms.active.takeRefresh(digest, now: now))
            }
            guard let entry = rooms.refused[digest], now < entry.until else { return nil }
            return (entry.outcome, false)
        }
    }

    /// Whether the token was active when it was last asked about, a while ago at most.
    func isKnown(_ digest: TokenDigest, now: MonotonicInstant) -> Bool {
        rooms.withLock { rooms in
            guard let entry = rooms.active[digest] else { return false }
            return now < entry.until + IntrospectionCache.acquaintance
        }
    }

    /// Remembers an answer for a time; a newer one takes its place. What the server failed to say changes nothing.
    ///
    /// - Parameter isRenewable: the server may say the same for longer: it is asked anew before the last quarter of the time
    ///   is over, if the token is used then.
    func insert(
        _ digest: TokenDigest, _ outcome: IntrospectionOutcome, now: MonotonicInstant,
        for lifetime: Duration, isRenewable: Bool = false
    ) {
        if case .unavailable = outcome { return }
        let until = now + max(.zero, lifetime)
        rooms.withLock { rooms in
            rooms.active.removeEnded(at: now)
            rooms.refused.removeEnded(at: now)
            rooms.active.remove(digest)
            rooms.refused.remove(digest)
            switch outcome {
            case .active:
                let refreshAt = isRenewable ? now + lifetime * 3 / 4 : nil
                rooms.active.insert(digest, outcome, until: until, refreshAt: refreshAt)
            case .refused where lifetime > .zero:
                rooms.refused.insert(digest, outcome, until: until, refreshAt: nil)
            case .refused, .unavailable:
                break
            }
        }
    }

    /// Forgets everything: another server, or other terms.
    func removeAll() {
        rooms.withLock { $0 = Rooms(activeBytes: activeBytes, refusedBytes: refusedBytes) }
    }

    /// Memory of the answers that are kept.
    var byteCount: Int { rooms.withLock { $0.active.byteCount + $0.refused.byteCount } }
}
