import OAuth
import Primitives
import Testing

@testable import Gateway

struct TokenCacheTests {
    private let now = Principals.now
    /// 300 s after `now`, and the 30 s of skew.
    private static let end = WallTime(seconds: 1_767_225_930)

    /// Tokens that differ in their `jti`, proven; what they are found by need not be what they are.
    private func proven(_ count: Int) throws -> [([UInt8], Principal)] {
        try (0..<count).map { number in
            let text = "token \(number) " + String(repeating: "x", count: 300)
            return (Array(text.utf8), try Principals.bearer(claims: ",\"jti\":\"\(number)\""))
        }
    }

    @Test func aTokenIsFoundByAllItsBytes() throws {
        let cache = TokenCache(byteLimit: 1 << 20)
        let (token, verified) = try proven(1)[0]
        #expect(cache.lookup(token.span, now: now) == nil)
        cache.insert(token.span, verified)
        #expect(cache.lookup(token.span, now: now) === verified)
        for index in token.indices {
            var changed = token
            changed[index] ^= 1
            #expect(cache.lookup(changed.span, now: now) == nil)
        }
        #expect(cache.lookup((token + [0x41]).span, now: now) == nil)
        #expect(cache.lookup(Array(token.dropLast()).span, now: now) == nil)
        #expect(cache.counters.hits == 1)
        #expect(cache.counters.misses == UInt64(token.count) + 3)
    }

    @Test func aTokenIsGoneWhenItEnds() throws {
        let cache = TokenCache(byteLimit: 1 << 20)
        let empty = cache.byteCount
        let (token, verified) = try proven(1)[0]
        cache.insert(token.span, verified)
        #expect(cache.lookup(token.span, now: WallTime(seconds: Self.end.seconds - 1)) === verified)
        #expect(cache.lookup(token.span, now: Self.end) == nil)
        #expect(cache.count == 0)
        #expect(cache.byteCount == empty)
        // Gone, not hidden: it does not come back with the clock.
        #expect(cache.lookup(token.span, now: now) == nil)
    }

    /// A segment in each step; whatever is asked of it from the first step on finds nothing.
    @Test func whatIsGivenBackGoesInSteps() throws {
        let cache = TokenCache(byteLimit: 4 << 20)
        let empty = cache.byteCount
        weak var first: Principal?
        weak var last: Principal?
        var tokens: [[UInt8]] = []
        try {
            let all = try proven(600)
            for (token, principal) in all { cache.insert(token.span, principal) }
            (first, last) = (all.first?.1, all.last?.1)
            tokens = all.map(\.0)
        }()
        #expect(cache.count == 600)
        #expect(tokens.allSatisfy { cache.lookup($0.span, now: now) != nil })
        #expect(cache.discardSome())
        #expect(first != nil && last == nil)
        #expect(cache.count == 0 && cache.byteCount < empty)
        #expect(tokens.allSatisfy { cache.lookup($0.span, now: now) == nil })
        let (token, principal) = try proven(1)[0]
        cache.insert(token.span, principal)
        cache.remove { _ in true }
        cache.removeEnded(at: Self.end, steps: 1000)
        #expect(cache.count == 0 && cache.lookup(token.span, now: now) == nil)
        #expect(cache.discardSome())
        #expect(first != nil)
        #expect(!cache.discardSome())
        #expect(first == nil)
    }

    @Test func endedTokensGiveTheirMemoryBackUnasked() throws {
        let cache = TokenCache(byteLimit: 1 << 20)
        let empty = cache.byteCount
        for (token, verified) in try proven(100) { cache.insert(token.span, verified) }
        cache.removeEnded(at: now, steps: 1000)
        #expect(cache.count == 100)
        cache.removeEnded(at: Self.end, steps: 40)
        #expect(cache.count == 60)
        cache.removeEnded(at: Self.end, steps: 60)
        #expect(cache.count == 0)
        #expect(cache.byteCount == empty)
    }

    @Test func theLimitInBytesHolds() throws {
        let limit = 64 << 10
        let cache = TokenCache(byteLimit: limit)
        let tokens = try proven(200)
        for (token, verified) in tokens {
            cache.insert(token.span, verified)
            #expect(cache.byteCount <= limit)
            #expect(cache.lookup(token.span, now: now) === verified)
        }
        #expect(cache.count > 10)
        #expect(cache.count < 200)
        #expect(cache.counters.evictions == UInt64(200 - cache.count))
        let found = tokens.count { cache.lookup($0.0.span, now: now) === $0.1 }
        #expect(found == cache.count)
    }

    @Test func whatIsUsedStaysLongerThanWhatCameOnce() throws {
        let cache = TokenCache(byteLimit: 64 << 10)
        let tokens = try proven(300)
        let (often, verified) = tokens[0]
        cache.insert(often.span, verified)
        for (token, once) in tokens.dropFirst() {
            #expect(cache.lookup(often.span, now: now) === verified)
            cache.insert(token.span, once)
        }
        #expect(cache.counters.evictions > 200)
    }

    @Test func whatIsChosenIsForgottenAndTheRestStays() throws {
        let cache = TokenCache(byteLimit: 1 << 20)
        let tokens = try proven(50)
        for (token, verified) in tokens { cache.insert(token.span, verified) }
        cache.remove { $0.tokenID.flatMap { Int($0) }.map { $0 % 2 == 0 } ?? false }
        #expect(cache.count == 25)
        for (index, (token, verified)) in tokens.enumerated() {
            let found = cache.lookup(token.span, now: now)
            #expect(index % 2 == 0 ? found == nil : found === verified)
        }
        // The places are used again.
        for (token, verified) in tokens where cache.lookup(token.span, now: now) == nil {
            cache.insert(token.span, verified)
        }
        #expect(cache.count == 50)
    }

    @Test(arguments: [0, -1, 1000])
    func aCacheTooSmallForAnEntryHoldsNone(limit: Int) throws {
        let cache = TokenCache(byteLimit: limit)
        let (token, verified) = try proven(1)[0]
        cache.insert(token.span, verified)
        #expect(cache.count == 0)
        #expect(cache.lookup(token.span, now: now) == nil)
    }

    /// The same operations on a plain dictionary must find the same tokens.
    @Test func chainsAndFreeSlotsStayWhole() throws {
        let cache = TokenCache(byteLimit: 1 << 20)
        let tokens = try proven(60)
        var model: [Int: Bool] = [:]
        var random = SystemRandomNumberGenerator()
        for _ in 0..<3000 {
            let index = Int.random(in: tokens.indices, using: &random)
            let (token, verified) = tokens[index]
            if model[index] == true, Bool.random(using: &random) {
                // Asked for after its end: removed.
                #expect(cache.lookup(token.span, now: Self.end) == nil)
                model[index] = false
            } else if cache.lookup(token.span, now: now) == nil {
                #expect(model[index] != true)
                cache.insert(token.span, verified)
                model[index] = true
            } else {
                #expect(model[index] == true)
            }
            #expect(cache.count == model.values.count { $0 })
        }
    }
}
