import Dispatch
import Primitives
import Synchronization
import TestSupport
import Testing

@testable import Store

/// Rates that several gateways count together.
struct RateTests {
    private static let hour: UInt64 = 3_600_000_000_000
    private let bench: Bench
    private let server: TestRedis

    init() throws {
        bench = try Bench()
        server = try CommonRedis.shared.get().server
    }

    private func claim(_ byte: UInt8, _ burst: Int = 3, every interval: UInt64 = hour) -> RateClaim
    {
        RateClaim(id: [UInt8](repeating: byte, count: 16), interval: interval, burst: burst)
    }

    private func key(_ claim: RateClaim) -> String {
        RedisKeys(prefix: bench.prefix).rate(claim.id)
    }

    /// Whatever a Redis that is not ours says, it takes no gateway down.
    @Test func whatIsNoVerdictIsNone() {
        func read(_ numbers: Int64...) -> RateVerdict? {
            RateVerdict(.array(numbers.map(RedisValue.integer)), limits: 2)
        }
        #expect(read(0, 0) == .passes)
        #expect(read(2, 7) == .refused(index: 1, wait: 7000))
        #expect(read(1, Int64.max / 1000) != nil)
        let wrong: [(Int64, Int64)] = [(3, 1), (-1, 1), (1, -1), (.max, 1)]
        for (index, wait) in wrong { #expect(read(index, wait) == nil) }
        // As nanoseconds it would not fit.
        #expect(read(1, .max) == nil)
        #expect(read(1) == nil && read(1, 1, 1) == nil)
        #expect(RateVerdict(.status("OK"), limits: 2) == nil)
    }

    /// How many of so many at once pass, from all of the stores.
    private func storm(_ count: Int, _ stores: [StateStore], _ claims: [[RateClaim]]) -> Int {
        let passed = Atomic(0)
        let answered = DispatchSemaphore(value: 0)
        DispatchQueue.concurrentPerform(iterations: stores.count) { index in
            for number in 0..<count {
                stores[index].submit(.takeRates(claims[number % claims.count])) { result in
                    if case .success(.passes) = result { passed.add(1, ordering: .relaxed) }
                    answered.signal()
                }
            }
        }
        for _ in 0..<(count * stores.count) { _ = answered.wait(timeout: .now() + 30) }
        return passed.load(ordering: .relaxed)
    }

    @Test(arguments: [Backend.redis, .redisWithTLS, .redisWithACL])
    func exactlyTheBurstPassesOfAStorm(backend: Backend) throws {
        let stores = [try bench.open(backend), try bench.open(backend), try bench.open(backend)]
        #expect(storm(1000, stores, [[claim(1, 37)]]) == 37)
        let verdict = try stores[0].perform(.takeRates([claim(1, 37)]))
        guard case .refused(0, let wait) = verdict else {
            Issue.record("\(verdict)")
            return
        }
        #expect(wait > Self.hour * 99 / 100 && wait <= Self.hour)
    }

    /// Two kinds of requests that share one limit and have one each.
    @Test func whatIsRefusedTakesFromNone() throws {
        let stores = [try bench.open(.redis), try bench.open(.redis)]
        let (left, right, shared) = (claim(1, 50), claim(2, 50), claim(3, 7))
        #expect(storm(200, stores, [[left, shared], [shared, right]]) == 7)
        #expect(storm(200, stores, [[left], [right]]) == 100 - 7)
    }

    @Test func theLongestWaitIsTold() throws {
        let store = try bench.open(.redis)
        let claims = [claim(1, 1, every: Self.hour / 60), claim(2, 1), claim(3, 9)]
        #expect(try store.perform(.takeRates(claims)) == .passes)
        guard case .refused(1, let wait) = try store.perform(.takeRates(claims)) else {
            Issue.record("it passed, or another is waited for longer")
            return
        }
        #expect(wait > Self.hour / 2)
    }

    /// By the server's clock, down to fractions of a microsecond.
    @Test func itFillsEvenly() throws {
        let store = try bench.open(.redis)
        let quick = claim(1, 1, every: 20_000_000)
        #expect(try store.perform(.takeRates([quick])) == .passes)
        #expect(
            try eventually(within: .seconds(5)) {
                try store.perform(.takeRates([quick])) == .passes
            })
        // A million in a second: none of these is refused for long.
        let million = claim(2, 2, every: 1001)
        #expect(storm(200, [store], [[million]]) >= 20)
        let odd = claim(3, 2, every: 10_000_000_333)
        #expect(try store.perform(.takeRates([odd])) == .passes)
        #expect(try server.command("GET", key(odd)).hasSuffix(" 10000000.333"))
    }

    @Test func whatIsFullAgainIsForgotten() throws {
        let store = try bench.open(.redis)
        _ = try store.perform(.takeRates([claim(1, 2), claim(2, 9, every: 10_000_000)]))
        let left = try #require(Int(server.command("PTTL", key(claim(1)))))
        #expect(left > 3_590_000 && left <= 3_600_001)
        let isGone = try eventually(within: .seconds(5)) {
            try server.command("EXISTS", key(claim(2))) == "0"
        }
        #expect(isGone)
    }

    /// A primary whose clock is behind the one before: time stands still until it is known there, nobody is shut out for
    /// longer, and nothing is given away.
    @Test func aClockThatGoesBack() throws {
        let store = try bench.open(.redis)
        let slow = claim(1, 2, every: 200_000_000)
        let ahead = Int64(WallTime.now().seconds + 86_400) * 1_000_000
        try server.command("SET", key(slow), "\(ahead) 400000.000", "PX", "100000000")
        guard case .refused(0, let wait) = try store.perform(.takeRates([slow])) else {
            Issue.record("it passed")
            return
        }
        #expect(wait == 200_000_000)
        let time = try #require(Int64(server.command("GET", key(slow)).prefix { $0 != " " }))
        #expect(time < ahead)
        #expect(
            try eventually(within: .seconds(5)) { try store.perform(.takeRates([slow])) == .passes }
        )
    }

    /// What is no record of ours counts as none.
    @Test(arguments: ["", "x", "1 2 3", "-5 -5", "9e99 1", "nan nan"])
    func aDamagedRecordIsWrittenAnew(text: String) throws {
        let store = try bench.open(.redis)
        let one = claim(1, 1)
        try server.command("SET", key(one), text)
        #expect(try store.perform(.takeRates([one])) == .passes)
        #expect(try store.perform(.takeRates([one])) != .passes)
        // More is never owed than the whole burst.
        let now = WallTime.now().nanoseconds / 1000
        try server.command("SET", key(one), "\(now) 99999999999999999999")
        guard case .refused(0, let wait) = try store.perform(.takeRates([one])) else {
            Issue.record("it passed")
            return
        }
        #expect(wait <= Self.hour)
    }

    @Test(arguments: Backend.local)
    func aGatewaysOwnStoreCountsNone(backend: Backend) throws {
        let store = try bench.open(backend)
        #expect(throws: StoreError.notShared) { try store.perform(.takeRates([claim(1)])) }
        try store.perform(.addToken(makeToken(1)))
    }

    @Test func anExportHasNone() throws {
        let store = try bench.open(.redis)
        #expect(try store.perform(.takeRates([claim(1)])) == .passes)
        #expect(try store.export { _ in }.count == 0)
    }
}
