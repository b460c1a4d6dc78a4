import Primitives
import Synchronization

/// The budgets that were drawn on, for all workers: what is not here is full.
///
/// Of a budget a keyed hash and one moment are kept, 16 bytes, in 64 shards with a lock each. A shard is sets of eight
/// places; a budget lies in one of two sets that its hash names, in the one with more room where it comes new. So the
/// table never grows and nothing has to be swept: it is 8 MiB when every shard was used, for 524,288 budgets. Half of the
/// shards are for addresses, of which anybody can bring any number: they push out no client's budget and no route's.
///
/// A new one takes the place of one that is full again; where both sets have none, of the one among the sixteen of which
/// the smallest share is used: whoever floods it with new addresses pushes out the flood. Not of the one that would be full
/// soonest: a first request under a slow line would push out what is used up under a quick one.
///
/// The locks of a request are taken in the order of the shards, so that all of its budgets are judged as of one moment.
final class RateTable: Sendable {
    struct Claim: Sendable {
        let rate: CompiledRate
        /// Keyed: nobody can make two budgets one.
        let key: UInt64
        /// For a store that is shared; empty where this gateway counts alone.
        let id: [UInt8]

        var isShared: Bool { !id.isEmpty }
    }

    enum Verdict {
        case passes
        case refused(CompiledRate, wait: UInt64)
    }

    /// As many as 64-bit spans have lengths.
    static let shardCount = 64
    static let setsPerShard = 1024
    static let placesPerSet = 8

    private struct Entry {
        /// In the place of its lowest bits, which are the shard's number, how many bits its line's span has.
        private let keyAndBits: UInt64
        /// 0 or past: the budget is full.
        var arrival: UInt64

        static let none = Entry(0, CellRate(interval: 1, burst: 1), arrival: 0)

        init(_ key: UInt64, _ cells: CellRate, arrival: UInt64) {
            let bits = UInt64.bitWidth - 1 - cells.span.leadingZeroBitCount
            keyAndBits = key & ~UInt64(RateTable.shardCount - 1) | UInt64(bits)
            self.arrival = arrival
        }

        func isOf(_ key: UInt64) -> Bool { (keyAndBits ^ key) < UInt64(RateTable.shardCount) }

        /// How much of the budget is used; as its span is known to the power of two, up to twice as much is told.
        func share(at now: UInt64) -> Double {
            guard arrival > now else { return 0 }
            return Double(arrival - now)
                / Double(UInt64(1) << (keyAndBits & UInt64(RateTable.shardCount - 1)))
        }
    }

    private struct Shard {
        /// None until one is needed.
        var entries: [Entry] = []
    }

    /// A lock with its shard; a class, because locks cannot live in an array.
    private final class LockedShard: Sendable {
        let state = Mutex(Shard())
    }

    private let shards: [LockedShard]
    private let sets: Int

    /// - Parameter setsPerShard: two at least.
    init(setsPerShard: Int = RateTable.setsPerShard) {
        sets = max(2, setsPerShard)
        shards = (0..<RateTable.shardCount).map { _ in LockedShard() }
    }

    /// Where a key lies, and in which order locks are taken.
    static func shard(of key: UInt64) -> Int { Int(key % UInt64(shardCount)) }

    /// - Parameter hash: keyed, of all that the budget is known by.
    static func key(_ hash: UInt64, isOfAddress: Bool) -> UInt64 {
        hash & ~1 | (isOfAddress ? 1 : 0)
    }

    /// Draws on every budget, or on none.
    ///
    /// - Parameter claims: in the order of their shards.
    func take(_ claims: [Claim], at now: MonotonicInstant) -> Verdict {
        var refused: (rate: CompiledRate, wait: UInt64)?
        take(claims, from: 0, at: now.nanoseconds, &refused)
        return refused.map { .refused($0.rate, wait: $0.wait) } ?? .passes
    }

    /// Holds the locks of `claims[start...]` while it is decided.
    private func take(
        _ claims: [Claim], from start: Int, at now: UInt64,
        _ refused: inout (rate: CompiledRate, wait: UInt64)?
    ) {
        guard start < claims.count else { return }
        let end = endOfShard(claims, start)
        locked(claims[start]).state.withLock { shard in
            for claim in claims[start..<end] {
                let arrival = arrival(of: claim.key, shard)
                guard case .refused(let wait, let kept) = claim.rate.cells.judge(arrival, at: now)
                else { continue }
                if kept != arrival { keep(kept, of: claim, at: now, &shard) }
                if wait > refused?.wait ?? 0 { refused = (claim.rate, wait) }
            }
            take(claims, from: end, at: now, &refused)
            guard refused == nil else { return }
            for claim in claims[start..<end] {
                let arrival = arrival(of: claim.key, shard)
                guard case .passes(let next) = claim.rate.cells.judge(arrival, at: now) else {
                    continue
                }
                keep(next, of: claim, at: now, &shard)
            }
        }
    }

    /// The request was refused elsewhere: gives back what `take` drew.
    func giveBack(_ claims: [Claim]) {
        for claim in claims {
            locked(claim).state.withLock { shard in
                guard let place = place(of: claim.key, shard) else { return }
                let arrival = shard.entries[place].arrival
                shard.entries[place].arrival = claim.rate.cells.takenBack(arrival)
            }
        }
    }

    /// The request was refused elsewhere for the sake of this budget: nothing passes here either before it does there.
    func useUp(_ claim: Claim, wait: UInt64, at now: MonotonicInstant) {
        locked(claim).state.withLock { shard in
            let arrival = claim.rate.cells.usedUp(
                arrival(of: claim.key, shard), wait: wait, at: now.nanoseconds)
            keep(arrival, of: claim, at: now.nanoseconds, &shard)
        }
    }

    /// How many budgets are not full.
    func count(at now: MonotonicInstant) -> Int {
        shards.reduce(0) { sum, shard in
            sum
                + shard.state.withLock { shard in
                    shard.entries.count { $0.arrival > now.nanoseconds }
                }
        }
    }

    // MARK: Places

    private func locked(_ claim: Claim) -> LockedShard {
        shards[RateTable.shard(of: claim.key)]
    }

    private func endOfShard(_ claims: [Claim], _ start: Int) -> Int {
        let shard = RateTable.shard(of: claims[start].key)
        var end = start + 1
        while end < claims.count, RateTable.shard(of: claims[end].key) == shard { end += 1 }
        return end
    }

    /// The places of both sets.
    private func places(of key: UInt64) -> (Range<Int>, Range<Int>) {
        let first = Int((key >> 8) % UInt64(sets))
        var second = Int((key >> 36) % UInt64(sets))
        if second == first { second = (first + 1) % sets }
        let size = RateTable.placesPerSet
        return (first * size..<(first + 1) * size, second * size..<(second + 1) * size)
    }

    private func place(of key: UInt64, _ shard: borrowing Shard) -> Int? {
        guard !shard.entries.isEmpty else { return nil }
        let (first, second) = places(of: key)
        for place in first where shard.entries[place].isOf(key) { return place }
        for place in second where shard.entries[place].isOf(key) { return place }
        return nil
    }

    private func arrival(of key: UInt64, _ shard: borrowing Shard) -> UInt64 {
        place(of: key, shard).map { shard.entries[$0].arrival } ?? 0
    }

    private func keep(
        _ arrival: UInt64, of claim: Claim, at now: UInt64, _ shard: inout Shard
    ) {
        if shard.entries.isEmpty {
            shard.entries = Array(repeating: Entry.none, count: sets * RateTable.placesPerSet)
        }
        let place = place(of: claim.key, shard) ?? roomiest(for: claim.key, at: now, shard)
        shard.entries[place] = Entry(claim.key, claim.rate.cells, arrival: arrival)
    }

    /// A place for a new budget.
    private func roomiest(for key: UInt64, at now: UInt64, _ shard: borrowing Shard) -> Int {
        let (first, second) = places(of: key)
        func look(_ places: Range<Int>) -> (room: Int, least: Int, share: Double) {
            var (room, least, share) = (0, places.lowerBound, Double.infinity)
            for place in places {
                let entry = shard.entries[place]
                if entry.arrival <= now { room += 1 }
                if entry.share(at: now) < share { (least, share) = (place, entry.share(at: now)) }
            }
            return (room, least, share)
        }
        let (one, other) = (look(first), look(second))
        if one.room != other.room { return one.room > other.room ? one.least : other.least }
        return one.share <= other.share ? one.least : other.least
    }
}
