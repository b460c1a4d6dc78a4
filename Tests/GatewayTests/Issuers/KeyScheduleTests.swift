import Primitives
import Testing

@testable import Gateway

/// When keys are fetched, and what an answer says about it.
struct KeyScheduleTests {
    private func at(_ seconds: Int64) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: 1_000_000_000_000) + .seconds(seconds)
    }

    @Test(arguments: [
        (nil, 3600), (0, 300), (1, 300), (299, 300), (301, 301), (86_400, 86_400),
        (86_401, 86_400), (1 << 40, 86_400),
    ])
    func theIssuerChoosesWithinBounds(maxAge: Int64?, seconds: Int64) {
        #expect(KeySchedule.lifetime(maxAge.map { .seconds($0) }) == .seconds(seconds))
        var schedule = KeySchedule(now: at(0))
        schedule.succeeded(now: at(0), maxAge: maxAge.map { .seconds($0) }, jitter: 0)
        #expect(schedule.dueAt == at(seconds))
        // Up to a tenth sooner, so that many do not come at once.
        schedule.succeeded(now: at(0), maxAge: maxAge.map { .seconds($0) }, jitter: 1)
        #expect(schedule.dueAt == at(0) + .seconds(seconds) * 9 / 10)
    }

    @Test func failuresAreTriedAgainLessAndLessOften() {
        var schedule = KeySchedule(now: at(0))
        #expect(schedule.dueAt == at(0))
        for wait: Int64 in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            schedule.failed(now: at(0), jitter: 0)
            #expect(schedule.dueAt == at(wait))
        }
        schedule.failed(now: at(0), jitter: 1)
        #expect(schedule.dueAt == at(75))
        // What succeeds begins anew.
        schedule.succeeded(now: at(0), maxAge: nil, jitter: 0)
        schedule.failed(now: at(5000), jitter: 0)
        #expect(schedule.dueAt == at(5001))
    }

    /// A day past the time at which they should have been fetched again; the log is told six hours before.
    @Test func keysEndUnlessTheyAreFetched() {
        var schedule = KeySchedule(now: at(0))
        #expect(schedule.takeAging(now: at(1 << 30)) == nil)
        schedule.succeeded(now: at(0), maxAge: .seconds(600), jitter: 1)
        let end: Int64 = 600 + 86_400
        #expect(schedule.takeAging(now: at(end - 6 * 3600 - 1)) == nil)
        #expect(schedule.takeAging(now: at(end - 6 * 3600)) == .nearsEnd)
        schedule.failed(now: at(end - 10), jitter: 0)
        #expect(schedule.takeAging(now: at(end - 1)) == nil)
        #expect(schedule.takeAging(now: at(end)) == .ended)
        #expect(schedule.takeAging(now: at(end + 1)) == nil)
        // What comes has its time again.
        schedule.succeeded(now: at(end + 2), maxAge: nil, jitter: 0)
        #expect(schedule.takeAging(now: at(end + 3)) == nil)
        #expect(schedule.takeAging(now: at(end + 2 + 3600 + 86_400 - 1)) == .nearsEnd)
        schedule.succeeded(now: at(end + 2 + 3600 + 86_400), maxAge: nil, jitter: 0)
        #expect(schedule.takeAging(now: at(end + 2 + 3600 + 86_400 + 1)) == nil)
    }

    @Test func tokensHaveOneFetchInTenSeconds() {
        var schedule = KeySchedule(now: at(0))
        var taken: [Int64] = []
        for second: Int64 in 0..<35 {
            if schedule.takeDemand(now: at(second)) { taken.append(second) }
            // The background's own fetches neither give nor take any.
            schedule.failed(now: at(second), jitter: 0)
            if schedule.takeDemand(now: at(second)) { taken.append(second) }
        }
        #expect(taken == [0, 10, 20, 30])
    }

    @Test(
        arguments: [
            ([], nil), (["public"], nil), (["max-age=60"], 60), (["public, Max-Age=60"], 60),
            (["max-age=\"60\""], 60), (["max-age=60, max-age=30"], 30),
            (["max-age=60", "max-age=90"], 60),
            (["no-store"], 0), (["max-age=60, no-cache"], 0), (["no-cache=\"Set-Cookie\""], 0),
            (["max-age=-1"], nil), (["max-age=1.5"], nil), (["max-age="], nil), (["max-age"], nil),
            (["s-maxage=60"], nil), ([",,;="], nil),
        ] as [([String], Int64?)])
    func whatCacheControlSays(values: [String], seconds: Int64?) {
        #expect(CacheControl.maxAge(values) == seconds.map { .seconds($0) })
    }

    @Test func moreSecondsThanAnIntegerHoldsAreALongTime() throws {
        let age = try #require(CacheControl.maxAge(["max-age=99999999999999999999999"]))
        #expect(KeySchedule.lifetime(age) == KeySchedule.longest)
    }
}

/// The URLs that are asked.
struct WebAddressTests {
    @Test(arguments: [
        ("https://a.test", "a.test:443", "a.test", "/"),
        ("https://a.test/", "a.test:443", "a.test", "/"),
        ("https://a.test:8443/x/y?p=q", "a.test:8443", "a.test:8443", "/x/y?p=q"),
        ("https://a.test?p=q", "a.test:443", "a.test", "/?p=q"),
        ("https://192.0.2.1/k", "192.0.2.1:443", "192.0.2.1", "/k"),
        ("https://[2001:db8::1]/k", "[2001:db8::1]:443", "[2001:db8::1]", "/k"),
        ("https://[2001:db8::1]:8443/k", "[2001:db8::1]:8443", "[2001:db8::1]:8443", "/k"),
        ("http://localhost/k", "localhost:80", "localhost", "/k"),
        ("http://127.3.2.1:8080/k", "127.3.2.1:8080", "127.3.2.1:8080", "/k"),
        ("http://[::1]:8080/k", "[::1]:8080", "[::1]:8080", "/k"),
    ])
    func isTakenApart(url: String, endpoint: String, authority: String, target: String) throws {
        let address = try #require(WebAddress(url))
        #expect(address.isTLS == url.hasPrefix("https:"))
        #expect(address.endpoint.description == endpoint)
        #expect(address.authority == authority)
        #expect(address.target == target)
    }

    @Test(arguments: [
        "", "a.test", "ftp://a.test/", "file:///etc/passwd", "http://a.test/", "http://10.0.0.1/",
        "http://localhost.evil.test/", "http://127.0.0.1.evil.test/", "http://127.0.0.1@evil.test/",
        "https://user@a.test/", "https://", "https:///k", "https://a.test:0/",
        "https://a.test:99999/",
        "https://a.test:x/", "https://a.test/#x", "https://a.test/a b", "https://a.test/\r\nX: y",
        "https://a.test/\u{00E9}", "https://a.test\\@b.test/", "HTTPS://a.test/", "https://[::1/k",
        "http://0.0.0.0/", "http://[::]/",
    ])
    func isNotAsked(url: String) {
        #expect(WebAddress(url) == nil)
    }
}
