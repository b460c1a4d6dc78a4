import Foundation
import Primitives
import TestSupport
import Testing

@testable import Store

/// Clients of a conf that leave it: their tokens end for good, in a fleet only when no gateway has them any more.
struct DeclaredTests {
    private static let end = monday.after(1_000_000)
    private static let fleet = [Backend.redis, .redisWithACL]

    private let bench: Bench

    init() throws { bench = try Bench() }

    private func declare(_ ids: Set<String>, at now: WallTime = monday, _ store: StateStore) throws
    {
        try store.perform(.declareClients(ids, now: now, until: Self.end))
    }

    private func revocations(_ store: StateStore) throws -> [Revocation] {
        try store.perform(.revocations(after: 0)).revocations
    }

    // MARK: One gateway

    @Test(arguments: Backend.local)
    func whoIsDeclaredNoMoreHasLeft(backend: Backend) throws {
        let store = try bench.open(backend)
        try declare([], store)
        try declare(["a", "b"], store)
        try declare(["a", "b"], store)
        try declare(["a", "b", "c"], store)
        #expect(try revocations(store).isEmpty)
        try declare(["c", "b"], store)
        let left = Revocation(.client(id: "a"), issuedBefore: monday.after(5), until: Self.end)
        #expect(try revocations(store) == [left])
        // It is told once, and coming back changes nothing of it.
        try declare(["c", "b"], at: monday.after(100), store)
        try declare(["c", "b", "a"], at: monday.after(200), store)
        #expect(try revocations(store) == [left])
        try declare([], at: monday.after(300), store)
        let all = try revocations(store)
        #expect(all.count == 3 && all.allSatisfy { $0.issuedBefore == monday.after(305) })
    }

    @Test(arguments: Backend.local)
    func whoLivesOnInTheStoreHasNotLeft(backend: Backend) throws {
        let store = try bench.open(backend)
        try declare(["a", "b"], store)
        try store.perform(.addClient(try makeClient("a")))
        try declare(["b"], store)
        try store.perform(.removeClient(id: "a"))
        try declare([], store)
        #expect(try revocations(store).map(\.target) == [.client(id: "b")])
    }

    @Test func whoLeavesWhileNobodyRunsHasLeft() throws {
        let store = try bench.open(.sqlite)
        try declare(["a", "b"], store)
        store.close()
        let again = try bench.open(.sqlite)
        try declare(["b"], again)
        #expect(try revocations(again).map(\.target) == [.client(id: "a")])
    }

    // MARK: A fleet

    private func set(_ fields: String...) throws {
        let server = try CommonRedis.shared.get().server
        for pair in fields {
            let parts = pair.split(separator: "=").map(String.init)
            try server.command("HSET", bench.prefix + "declared", parts[0], parts[1])
        }
    }

    /// When a gateway has declared the client last.
    private func declared(_ id: String) throws -> Int64? {
        Int64(
            try CommonRedis.shared.get().server
                .command("HGET", bench.prefix + "declared", "client:\(id)"))
    }

    /// Confs change one after the other: what one does not have may be on its way in, or out.
    @Test(arguments: fleet)
    func nobodyHasLeftWhomAnotherDeclares(backend: Backend) throws {
        let (one, two) = (try bench.open(backend), try bench.open(backend))
        try declare(["a", "b"], one)
        try declare(["a"], two)
        try declare(["a", "c"], two)
        try declare(["a"], one)
        #expect(try revocations(one).isEmpty)
        #expect(try declared("b") != nil && declared("c") != nil)
    }

    @Test(arguments: fleet)
    func whomNobodyHasDeclaredForLongHasLeft(backend: Backend) throws {
        let store = try bench.open(backend)
        let now = WallTime.now().seconds
        try declare(["a", "b", "c"], at: WallTime(seconds: now), store)
        try store.perform(.addClient(try makeClient("c")))
        // All the time somebody was there, and for b and c it was not.
        try set(
            "client:a=\(now - 170)", "client:b=\(now - 190)", "client:c=\(now - 190)",
            "since=\(now - 1000)", "seen=\(now - 20)")
        try declare(["d"], at: WallTime(seconds: now), store)
        let left = Revocation(
            .client(id: "b"), issuedBefore: WallTime(seconds: now - 100), until: Self.end)
        #expect(try revocations(store) == [left])
        #expect(try declared("b") == nil && declared("c") == nil)
        #expect(try declared("a") == now - 170)
        try declare(["b"], at: WallTime(seconds: now), store)
        #expect(try revocations(store) == [left])
    }

    /// Whoever brings it back is the one who notices.
    @Test func whoComesBackAfterLongHasLeft() throws {
        let store = try bench.open(.redis)
        let now = WallTime.now().seconds
        try set("client:a=\(now - 500)", "since=\(now - 1000)", "seen=\(now - 10)")
        try declare(["a"], at: WallTime(seconds: now), store)
        #expect(
            try revocations(store).map(\.issuedBefore) == [WallTime(seconds: now - 410)])
        #expect(try declared("a") ?? 0 >= now)
    }

    /// A fleet that was stopped as a whole, or its Redis: nobody could declare anything.
    @Test func whileNobodyLookedNobodyLeft() throws {
        let store = try bench.open(.redis)
        let now = WallTime.now().seconds
        try set("client:a=\(now - 500)", "since=\(now - 1000)", "seen=\(now - 500)")
        try declare(["b"], at: WallTime(seconds: now), store)
        try declare(["b"], at: WallTime(seconds: now), store)
        #expect(try revocations(store).isEmpty)
        #expect(try declared("a") == now - 500)
        // Spoilt by hand: it revokes nothing that could be live, and goes.
        try set("client:x=then", "since=\(now - 1000)")
        try declare(["b"], at: WallTime(seconds: now), store)
        #expect(try revocations(store).map(\.issuedBefore.seconds).sorted() == [90, now - 410])
        #expect(try declared("x") == nil)
    }

    /// Nor is the store needed for every token: while it was away, those who were declared went on getting some.
    @Test func tokensOfTheTimeWhenNobodyCouldDeclareEnd() throws {
        let store = try bench.open(.redis)
        let now = WallTime.now().seconds
        try set("client:a=\(now - 900)", "since=\(now - 300)", "seen=\(now - 10)")
        try declare(["b"], at: WallTime(seconds: now), store)
        #expect(
            try revocations(store).map(\.issuedBefore) == [WallTime(seconds: now - 210)])
        // By this gateway's clock it may not be over yet.
        try set("client:c=\(now - 900)")
        try declare(["b"], at: WallTime(seconds: now - 220), store)
        #expect(
            try revocations(store).map(\.issuedBefore.seconds).sorted() == [now - 220, now - 210])
    }

    /// Who is declared does not look as if it had left only because what others left behind cannot be written.
    @Test func whoIsDeclaredStaysWhileNothingCanBeRevoked() throws {
        let server = try CommonRedis.shared.get().server
        let store = try bench.open(.redis)
        let now = WallTime.now().seconds
        try set(
            "client:a=\(now - 500)", "client:b=\(now - 100)", "client:c=\(now - 500)",
            "since=\(now - 1000)", "seen=\(now - 10)")
        let order = bench.prefix + "revocations:order"
        try server.command("SET", order, "spoilt")
        for _ in 0..<2 {
            #expect(throws: StoreError.self) {
                try declare(["b", "c"], at: WallTime(seconds: now), store)
            }
        }
        #expect(try declared("b") ?? 0 >= now)
        // What is to be revoked is not forgotten, of those who are back neither.
        #expect(try declared("a") == now - 500 && declared("c") == now - 500)
        try server.command("DEL", order)
        try declare(["b", "c"], at: WallTime(seconds: now), store)
        #expect(Set(try revocations(store).map(\.target)) == [.client(id: "a"), .client(id: "c")])
        #expect(try declared("a") == nil && declared("c") ?? 0 >= now)
    }
}
