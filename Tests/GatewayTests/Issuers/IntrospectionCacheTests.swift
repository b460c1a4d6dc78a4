import OAuth
import Primitives
import Telemetry
import Testing

@testable import Gateway

/// What is remembered of an introspection server's answers.
struct IntrospectionCacheTests {
    private func at(_ seconds: Int64) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: 1_000_000_000_000) + .seconds(seconds)
    }

    private func digest(_ text: String) -> TokenDigest {
        let bytes = Array(text.utf8)
        return TokenDigest(bytes.span)
    }

    private func active(_ client: String = "app") throws -> IntrospectionOutcome {
        let terms = IntrospectionTerms(
            name: "t", issuer: nil, audiences: [], provenIssuers: [])
        let text = #"{"active":true,"client_id":"\#(client)"}"#
        guard case .active(let token) = try IntrospectionAnswer(Array(text.utf8), terms: terms)
        else { throw IntrospectionFault.noVerdict }
        return .active(token)
    }

    private func isActive(_ outcome: IntrospectionOutcome?) -> Bool {
        if case .active = outcome { true } else { false }
    }

    @Test func anAnswerCountsForItsTime() throws {
        let cache = IntrospectionCache()
        cache.insert(digest("a"), try active(), now: at(0), for: .seconds(30))
        cache.insert(digest("b"), .refused(.unknownToken), now: at(0), for: .seconds(5))
        #expect(isActive(cache.lookup(digest("a"), now: at(29))?.outcome))
        #expect(cache.lookup(digest("a"), now: at(30)) == nil)
        guard case .refused(.unknownToken) = cache.lookup(digest("b"), now: at(4))?.outcome else {
            Issue.record("not remembered")
            return
        }
        #expect(cache.lookup(digest("b"), now: at(5)) == nil)
        #expect(cache.lookup(digest("c"), now: at(0)) == nil)
    }

    @Test func whatIsNotKnownIsNotRemembered() throws {
        let cache = IntrospectionCache()
        cache.insert(digest("a"), .unavailable, now: at(0), for: .seconds(5))
        cache.insert(digest("b"), try active(), now: at(0), for: .zero)
        cache.insert(digest("c"), .refused(.unknownToken), now: at(0), for: .zero)
        #expect(cache.lookup(digest("a"), now: at(0)) == nil)
        #expect(cache.lookup(digest("b"), now: at(0)) == nil)
        #expect(cache.lookup(digest("c"), now: at(0)) == nil)
        // That one was active is known for a while all the same, which lets it in before strangers.
        #expect(!cache.isKnown(digest("a"), now: at(0)))
        #expect(cache.isKnown(digest("b"), now: at(299)))
        #expect(!cache.isKnown(digest("b"), now: at(300)))
        #expect(!cache.isKnown(digest("c"), now: at(0)))
    }

    @Test func aTokenIsKnownForAWhileAfterItsAnswerHasEnded() throws {
        let cache = IntrospectionCache()
        cache.insert(digest("a"), try active(), now: at(0), for: .seconds(30))
        // What came since does not push it out.
        cache.insert(digest("b"), try active(), now: at(300), for: .seconds(30))
        #expect(cache.lookup(digest("a"), now: at(300)) == nil)
        #expect(cache.isKnown(digest("a"), now: at(329)))
        #expect(!cache.isKnown(digest("a"), now: at(330)))
        // One that is active no more is a stranger's.
        cache.insert(digest("b"), .refused(.unknownToken), now: at(301), for: .zero)
        #expect(!cache.isKnown(digest("b"), now: at(302)))
        #expect(cache.lookup(digest("b"), now: at(302)) == nil)
    }

    @Test func whoUsesAnAnswerInItsLastQuarterIsToldOnce() throws {
        let cache = IntrospectionCache()
        cache.insert(
            digest("a"), try active(), now: at(0), for: .seconds(40), isRenewable: true)
        cache.insert(digest("b"), try active(), now: at(0), for: .seconds(40))
        func isDue(_ text: String, _ second: Int64) -> Bool? {
            cache.lookup(digest(text), now: at(second))?.isRefreshDue
        }
        #expect(isDue("a", 29) == false)
        #expect(isDue("a", 30) == true)
        #expect(isDue("a", 31) == false)
        #expect(isDue("b", 39) == false)
        // Nobody could say: it counts to its end.
        cache.insert(digest("a"), .unavailable, now: at(32), for: .zero)
        #expect(isDue("a", 39) == false)
        #expect(isDue("a", 40) == nil)
        // The server said otherwise, and that is not to be remembered: the older answer goes all the same.
        cache.insert(digest("b"), .refused(.unknownToken), now: at(33), for: .zero)
        #expect(isDue("b", 34) == nil)
    }

    /// A token that was revoked must not live on in the room of those that are active.
    @Test func theNewerAnswerTakesThePlaceOfTheOlder() throws {
        let cache = IntrospectionCache()
        cache.insert(digest("a"), try active(), now: at(0), for: .seconds(30))
        cache.insert(digest("a"), .refused(.unknownToken), now: at(1), for: .seconds(5))
        #expect(!isActive(cache.lookup(digest("a"), now: at(2))?.outcome))
        #expect(cache.lookup(digest("a"), now: at(7)) == nil)
        cache.insert(digest("a"), try active(), now: at(8), for: .seconds(30))
        #expect(isActive(cache.lookup(digest("a"), now: at(9))?.outcome))
    }

    @Test func junkPushesOutJunkAlone() throws {
        let cache = IntrospectionCache(activeBytes: 1 << 20, refusedBytes: 64 << 10)
        cache.insert(digest("good"), try active(), now: at(0), for: .seconds(30))
        for index in 0..<100_000 {
            cache.insert(
                digest("junk-\(index)"), .refused(.unknownToken), now: at(0), for: .seconds(30))
        }
        #expect(cache.byteCount <= 1 << 20 + 64 << 10)
        #expect(isActive(cache.lookup(digest("good"), now: at(1))?.outcome))
        // The newest are there, the oldest are not.
        #expect(cache.lookup(digest("junk-0"), now: at(1)) == nil)
        #expect(cache.lookup(digest("junk-99999"), now: at(1)) != nil)
    }

    @Test func memoryIsBoundedAndComesBack() throws {
        let cache = IntrospectionCache(activeBytes: 256 << 10, refusedBytes: 64 << 10)
        for index in 0..<5000 {
            cache.insert(
                digest("t-\(index)"), try active("client-\(index)"), now: at(0), for: .seconds(30))
        }
        #expect(cache.byteCount <= 256 << 10)
        #expect(cache.byteCount > 128 << 10)
        // The same token again and again holds one place.
        for second in 0..<5000 {
            cache.insert(
                digest("again"), try active(), now: at(100 + Int64(second)), for: .seconds(30))
        }
        #expect(cache.byteCount < 16 << 10)
        cache.removeAll()
        #expect(cache.byteCount == 0)
        #expect(cache.lookup(digest("again"), now: at(5100)) == nil)
    }
}
