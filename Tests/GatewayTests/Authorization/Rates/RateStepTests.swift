import Configuration
import OAuth
import Primitives
import Telemetry
import Testing

@testable import Gateway

/// What has a budget of its own, and what shares one.
struct RateStepTests {
    private let limiter: RateLimiter
    private static let writer = Result { try LogWriter(access: .off, error: .off) }

    init() throws {
        limiter = RateLimiter(
            storeKey: Array("key".utf8),
            errors: ErrorLog(writer: try Self.writer.get(), level: .error))
    }

    private func key(
        _ subject: RateLimit.Subject, _ client: RateSubject = .address(nil),
        from address: String? = nil, route: [UInt8] = [1], of place: RatePlace = .listener("l")
    ) -> UInt64? {
        var step = RateStep()
        let rate = CompiledRate(RateLimit(1, per: .second, of: subject), of: place)
        step.add(
            [rate], client: client, address: address.flatMap(IPAddress.init), route: route,
            to: limiter)
        return step.claims.first?.key
    }

    @Test func ofIPv6ASiteIsOne() {
        func same(_ one: String?, _ other: String?) -> Bool {
            key(.address, from: one) == key(.address, from: other)
        }
        #expect(same("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"))
        #expect(!same("2001:db8:1:2::1", "2001:db8:1:3::1"))
        #expect(!same("192.0.2.1", "192.0.2.2"))
        #expect(same("192.0.2.1", "::ffff:192.0.2.1"))
        // Behind NAT64 each address of IPv4 is one.
        #expect(same("192.0.2.1", "64:ff9b::192.0.2.1"))
        #expect(!same("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2"))
        // The rest of that /64 is no address of IPv4.
        #expect(!same("192.0.2.1", "64:ff9b::1:192.0.2.1"))
        #expect(same("64:ff9b::1:192.0.2.1", "64:ff9b:0:0:8000::9"))
        #expect(same(nil, nil) && !same(nil, "0.0.0.0") && !same(nil, "::"))
    }

    @Test func clientsOfTwoIssuersAreTwo() throws {
        func key(_ principal: Principal?) -> UInt64? {
            self.key(.client, RateSubject(principal, address: IPAddress("192.0.2.1")))
        }
        let ours = Principals.oauth1("a")
        #expect(key(ours) == key(try Principals.bearer("a")))
        #expect(key(ours) != key(Principals.oauth1("b")))
        #expect(key(ours) != key(try Principals.bearer("a", isOurs: false)))
        #expect(
            key(try Principals.bearer("a", subject: "x", isOurs: false))
                == key(try Principals.bearer("a", subject: "y", isOurs: false)))
        #expect(key(nil) != key(ours))
        // Nobody is proven: the address stands for the client.
        #expect(key(nil) == self.key(.client, .address(IPAddress("192.0.2.1"))))
        #expect(key(nil) != self.key(.client, .address(IPAddress("192.0.2.2"))))
    }

    @Test func aLineIsWhatItSaysWhereItStands() {
        func identity(_ limit: RateLimit, _ place: RatePlace) -> [UInt8] {
            CompiledRate(limit, of: place).identity
        }
        let limit = RateLimit(5, per: .second, of: .client)
        var exact = RouteConfiguration(path: "/a")
        exact.isExact = true
        let places: [RatePlace] = [
            .listener("a"), .listener("b"), .client("a"),
            .route(RouteConfiguration(path: "/a"), host: nil),
            .route(exact, host: nil), .route(RouteConfiguration(path: "/a"), host: "a"),
            .route(RouteConfiguration(path: "/b"), host: "a"),
        ]
        #expect(Set(places.map { identity(limit, $0) }).count == places.count)
        let limits = [
            limit, RateLimit(6, per: .second, of: .client), RateLimit(5, per: .minute, of: .client),
            RateLimit(5, per: .second, burst: 6, of: .client),
            RateLimit(5, per: .second, of: .address),
        ]
        #expect(Set(limits.map { identity($0, .listener("a")) }).count == limits.count)
        // Whatever else changes in the route.
        var changed = RouteConfiguration(path: "/a")
        changed.websocket()
        #expect(identity(limit, .route(changed, host: nil)) == identity(limit, places[3]))
    }

    @Test func whereThereIsNoRouteThatKindIsNotMet() {
        #expect(key(.route, route: []) == nil)
        #expect(key(.route, route: [1]) != key(.route, route: [2]))
    }

    /// What a store is shown says nothing of whom it is about, and is the same on each gateway.
    @Test func theStoresIDsAreTheFleets() throws {
        let other = RateLimiter(
            storeKey: Array("key".utf8),
            errors: ErrorLog(writer: try Self.writer.get(), level: .error))
        let alone = RateLimiter(
            storeKey: nil, errors: ErrorLog(writer: try Self.writer.get(), level: .error))
        let rate = CompiledRate(RateLimit(1, per: .second, of: .client), of: .listener("l"))
        func claim(_ limiter: RateLimiter) -> RateTable.Claim {
            limiter.claim(rate, Array("client".utf8), isOfAddress: false)
        }
        #expect(claim(limiter).id == claim(other).id && claim(limiter).id.count == 16)
        #expect(claim(limiter).key != claim(other).key)
        #expect(claim(alone).id.isEmpty)
        let now = MonotonicInstant(nanoseconds: 10)
        #expect(!alone.asksStore(at: now))
    }

    /// Of addresses there are any number: none takes room in the store, not where one stands for a client either.
    @Test func ofAddressesTheStoreHearsNothing() throws {
        let address = IPAddress("2001:db8::1")
        func isShared(_ subject: RateLimit.Subject, _ client: RateSubject) -> Bool? {
            var step = RateStep()
            let limit = RateLimit(1, per: .second, of: subject)
            let rate = CompiledRate(limit, of: .listener("l"))
            step.add([rate], client: client, address: address, route: [1], to: limiter)
            return step.claims.first?.isShared
        }
        let proven = RateSubject(Principals.oauth1("a"), address: address)
        #expect(isShared(.client, proven) == true)
        #expect(isShared(.route, .address(address)) == true)
        #expect(isShared(.address, proven) == false)
        #expect(isShared(.client, RateSubject(nil, address: address)) == false)
    }

    /// A budget that others have used up is refused here too, unasked, and all that was drawn beside it is there again.
    @Test func whatTheStoreRefusesIsKnown() {
        func claim(_ subject: RateLimit.Subject, _ burst: Int) -> RateTable.Claim {
            let limit = RateLimit(1, per: .hour, burst: burst, of: subject)
            let rate = CompiledRate(limit, of: .listener("l"))
            return limiter.claim(rate, rate.identity, isOfAddress: false)
        }
        let (client, route) = (claim(.client, 9), claim(.route, 3))
        let claims = [client, route].sorted {
            RateTable.shard(of: $0.key) < RateTable.shard(of: $1.key)
        }
        let index = claims[0].key == client.key ? 0 : 1
        func takes(_ some: [RateTable.Claim]) -> Bool {
            if case .passes = limiter.table.take(some, at: .now()) { true } else { false }
        }
        #expect(takes(claims) && takes(claims))
        limiter.settle(claims, claims, .success(.refused(index: index, wait: 1_800_000_000_000)))
        // The answer to the other, which was asked at the same time, takes nothing of that away.
        limiter.settle(claims, claims, .success(.refused(index: index, wait: 1_799_000_000_000)))
        guard case .refused(let rate, let wait) = limiter.table.take(claims, at: .now()) else {
            Issue.record("it passed")
            return
        }
        #expect(rate === client.rate)
        #expect((1_790_000_000_000...1_800_000_000_000).contains(wait))
        #expect(takes([route]) && takes([route]) && takes([route]) && !takes([route]))
        // However long the store says, no longer than until one more would be there.
        limiter.settle([route], [route], .success(.refused(index: 0, wait: .max)))
        guard case .refused(_, let most) = limiter.table.take([route], at: .now()) else {
            Issue.record("it passed")
            return
        }
        #expect(most <= 3_600_000_000_000)
    }

    /// While the store is away one request in a second asks for it.
    @Test func aStoreThatIsAwayIsAskedOnceInASecond() {
        func asks(_ milliseconds: UInt64) -> Bool {
            limiter.asksStore(at: MonotonicInstant(nanoseconds: milliseconds * 1_000_000))
        }
        #expect(asks(5) && asks(5))
        limiter.storeFailed(.closed, at: MonotonicInstant(nanoseconds: 5_000_000))
        #expect(!asks(6) && !asks(1004))
        #expect(asks(1005) && !asks(1005) && !asks(2004) && asks(2005))
        // It counts as back once it has answered three of these in a row; several answers at once are one.
        for _ in 0..<5 { limiter.storeAnswered() }
        #expect(!asks(2006) && asks(3005))
        limiter.storeAnswered()
        #expect(!asks(3006) && asks(4005))
        limiter.storeFailed(.closed, at: MonotonicInstant(nanoseconds: 4_500_000_000))
        for due: UInt64 in [5500, 6500, 7500] {
            #expect(!asks(due - 1) && asks(due) && !asks(due + 1))
            limiter.storeAnswered()
        }
        #expect(asks(7502) && asks(7502))
    }

    /// What waits here for too long a queue says nothing of the store.
    @Test func aQueueThatIsFullIsNoStoreThatIsAway() {
        limiter.settle([], [], .failure(.busy))
        #expect(limiter.asksStore(at: .now()) && limiter.asksStore(at: .now()))
        limiter.settle([], [], .failure(.closed))
        #expect(!limiter.asksStore(at: .now()))
    }
}

extension RouteConfiguration {
    fileprivate mutating func websocket() {
        allowsWebSocket = true
        methods = ["GET"]
    }
}
