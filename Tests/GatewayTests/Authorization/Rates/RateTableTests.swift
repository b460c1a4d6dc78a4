import Configuration
import Dispatch
import Primitives
import Synchronization
import Testing

@testable import Gateway

/// The budgets of one process: exact across threads, bounded, and none drawn on for what is refused.
struct RateTableTests {
    private static func rate(_ burst: Int, _ count: Int = 1, _ unit: RateLimit.Unit = .day)
        -> CompiledRate
    {
        CompiledRate(RateLimit(count, per: unit, burst: burst, of: .client), of: .listener("l"))
    }

    private static func claim(_ rate: CompiledRate, _ key: UInt64) -> RateTable.Claim {
        RateTable.Claim(rate: rate, key: key, id: [])
    }

    /// In the order of the shards, as `RateStep` puts them.
    private static func sorted(_ claims: RateTable.Claim...) -> [RateTable.Claim] {
        claims.sorted { RateTable.shard(of: $0.key) < RateTable.shard(of: $1.key) }
    }

    private static func passes(
        _ table: RateTable, _ claims: [RateTable.Claim], at now: UInt64 = 1_000_000
    ) -> Bool {
        if case .passes = table.take(claims, at: MonotonicInstant(nanoseconds: now)) {
            true
        } else {
            false
        }
    }

    @Test func exactlyTheBurstPassesOnManyThreads() {
        let table = RateTable()
        let rate = Self.rate(20)
        // The keys 1 and 65 share a shard, 2 does not.
        let kinds = [
            [Self.claim(rate, 1)], Self.sorted(Self.claim(rate, 2), Self.claim(rate, 129)),
            Self.sorted(Self.claim(rate, 5), Self.claim(rate, 3), Self.claim(rate, 69)),
        ]
        for claims in kinds {
            let passed = Atomic(0)
            DispatchQueue.concurrentPerform(iterations: 8) { _ in
                for _ in 0..<500 where Self.passes(table, claims) {
                    passed.add(1, ordering: .relaxed)
                }
            }
            #expect(passed.load(ordering: .relaxed) == 20)
        }
    }

    /// Two that share one budget and have one each, from both ends at once: whatever is refused takes from none.
    @Test func whatIsRefusedTakesFromNone() {
        let table = RateTable()
        let (wide, narrow) = (Self.rate(1000), Self.rate(7))
        let left = Self.sorted(Self.claim(wide, 10), Self.claim(narrow, 90))
        let right = Self.sorted(Self.claim(wide, 200), Self.claim(narrow, 90))
        let passed = Atomic(0)
        DispatchQueue.concurrentPerform(iterations: 8) { index in
            for _ in 0..<200 where Self.passes(table, index % 2 == 0 ? left : right) {
                passed.add(1, ordering: .relaxed)
            }
        }
        #expect(passed.load(ordering: .relaxed) == 7)
        var rest = 0
        for key in [UInt64(10), 200] {
            while Self.passes(table, [Self.claim(wide, key)]) { rest += 1 }
        }
        #expect(rest == 2000 - 7)
    }

    @Test func theLongestWaitIsTold() {
        let table = RateTable()
        let (slow, fast) = (Self.rate(1, 1, .hour), Self.rate(1, 1, .minute))
        let claims = Self.sorted(Self.claim(fast, 1), Self.claim(slow, 2))
        #expect(Self.passes(table, claims))
        let verdict = table.take(claims, at: MonotonicInstant(nanoseconds: 1_000_000))
        guard case .refused(let rate, let wait) = verdict else {
            Issue.record("it passed")
            return
        }
        #expect(rate === slow && wait == 3_600_000_000_000)
    }

    @Test func whatIsGivenBackIsThereAgain() {
        let table = RateTable()
        let claims = [Self.claim(Self.rate(2), 1)]
        #expect(Self.passes(table, claims) && Self.passes(table, claims))
        table.giveBack(claims)
        table.giveBack([Self.claim(Self.rate(2), 2)])
        #expect(Self.passes(table, claims))
        #expect(!Self.passes(table, claims))
    }

    // MARK: Room

    private static func keys(_ count: Int) -> [UInt64] {
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt64.random(in: 1...UInt64.max, using: &generator) }
    }

    /// Nearly all of its places can be used before one has to go.
    @Test func itHoldsWhatItSays() {
        let table = RateTable(setsPerShard: 16)
        let room = 64 * 16 * 8
        #expect(
            RateTable.shardCount * RateTable.setsPerShard * RateTable.placesPerSet == 524_288)
        let rate = Self.rate(1)
        let keys = Self.keys(room * 8 / 10)
        for key in keys { #expect(Self.passes(table, [Self.claim(rate, key)])) }
        let known = keys.count { !Self.passes(table, [Self.claim(rate, $0)]) }
        #expect(known >= keys.count * 99 / 100, "\(known) of \(keys.count)")
    }

    /// Far more addresses than there is room for: who has used up a budget stays refused, everybody new gets in, and the
    /// table stays what it is.
    @Test func aFloodPushesOutTheFlood() {
        let table = RateTable(setsPerShard: 4)
        let room = 64 * 4 * 8
        let rate = Self.rate(10, 10, .hour)
        let used = Self.keys(20)
        for key in used {
            for _ in 0..<10 { #expect(Self.passes(table, [Self.claim(rate, key)])) }
        }
        for (number, key) in Self.keys(room * 20).enumerated() {
            #expect(Self.passes(table, [Self.claim(rate, key)], at: 1_000_000 + UInt64(number)))
        }
        #expect(table.count(at: MonotonicInstant(nanoseconds: 2_000_000)) <= room)
        for key in used { #expect(!Self.passes(table, [Self.claim(rate, key)])) }
    }

    /// The first requests of a flood under a slow line, whose budgets take hours to be full, push out none that is used up
    /// under a quick one, though it is full in minutes.
    @Test func aFloodUnderASlowLinePushesOutNothingUsedUpUnderAQuickOne() {
        let table = RateTable(setsPerShard: 4)
        let (quick, slow) = (Self.rate(10, 20, .hour), Self.rate(5, 5, .day))
        let used = Self.keys(20)
        for key in used {
            for _ in 0..<10 { #expect(Self.passes(table, [Self.claim(quick, key)])) }
        }
        for (number, key) in Self.keys(64 * 4 * 8 * 20).enumerated() {
            #expect(Self.passes(table, [Self.claim(slow, key)], at: 1_000_000 + UInt64(number)))
        }
        for key in used { #expect(!Self.passes(table, [Self.claim(quick, key)])) }
    }

    /// Not even addresses that have used up theirs take the place of a client's or a route's.
    @Test func addressesPushOutAddressesAlone() {
        let table = RateTable(setsPerShard: 4)
        let (quick, slow) = (Self.rate(1, 20, .hour), Self.rate(1, 5, .day))
        let used = Self.keys(20).map { RateTable.key($0, isOfAddress: false) }
        for key in used { #expect(Self.passes(table, [Self.claim(quick, key)])) }
        for key in Self.keys(64 * 4 * 8 * 20) {
            let key = RateTable.key(key, isOfAddress: true)
            _ = Self.passes(table, [Self.claim(slow, key)])
        }
        for key in used { #expect(!Self.passes(table, [Self.claim(quick, key)])) }
    }

    /// A budget that is full again needs no place.
    @Test func whatIsFullGoesFirst() {
        let table = RateTable(setsPerShard: 4)
        let room = 64 * 4 * 8
        let (quick, slow) = (Self.rate(1, 1000, .second), Self.rate(1))
        for key in Self.keys(room * 4) { _ = Self.passes(table, [Self.claim(quick, key)]) }
        let later: UInt64 = 1_000_000 + 2_000_000
        #expect(table.count(at: MonotonicInstant(nanoseconds: later)) == 0)
        let keys = Self.keys(room / 2)
        for key in keys { #expect(Self.passes(table, [Self.claim(slow, key)], at: later)) }
        let known = keys.count { !Self.passes(table, [Self.claim(slow, $0)], at: later) }
        #expect(known == keys.count)
    }
}
