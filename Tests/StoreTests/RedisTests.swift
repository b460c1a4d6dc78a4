import Dispatch
import Foundation
import Primitives
import Synchronization
import TestSupport
import Testing

@testable import Store

/// What only a store that several gateways share can show.
struct RedisTests {
    private let bench: Bench
    private let server: TestRedis

    init() throws {
        bench = try Bench()
        server = try CommonRedis.shared.get().server
    }

    private func open() throws -> StateStore { try bench.open(.redis) }

    /// Submits one operation for each number on both stores at once; how many of them both, one or none took.
    private func race<Value: Sendable>(
        _ count: Int, _ stores: [StateStore],
        _ operation: @escaping @Sendable (_ number: Int, _ store: Int) -> StoreOperation<Value>,
        isWin: @escaping @Sendable (Value) -> Bool
    ) -> [Int] {
        let wins = Mutex([Int](repeating: 0, count: count))
        let answered = DispatchSemaphore(value: 0)
        DispatchQueue.concurrentPerform(iterations: stores.count) { index in
            for number in 0..<count {
                stores[index].submit(operation(number, index)) { result in
                    if case .success(let value) = result, isWin(value) {
                        wins.withLock { $0[number] += 1 }
                    }
                    answered.signal()
                }
            }
        }
        for _ in 0..<(count * stores.count) { _ = answered.wait(timeout: .now() + 30) }
        return wins.withLock { $0 }
    }

    private func id(_ number: Int, _ mark: Int = 0) -> [UInt8] {
        (0..<32).map { UInt8(truncatingIfNeeded: (number << 2 | mark) >> (8 * ($0 % 4))) }
    }

    @Test func ofTwoExchangesAtOnceOneWins() throws {
        let stores = [try open(), try open()]
        let token: @Sendable (Int, Int) -> StoredToken = { number, mark in
            StoredToken(
                id: id(number, mark), kind: .oauth1Request, clientID: "a", issuedAt: monday,
                expiresAt: monday.after(60), secret: Secret(utf8: "s"))
        }
        for number in 0..<1000 { try stores[0].perform(.addToken(token(number, 0))) }
        let wins = race(1000, stores) { number, store in
            .exchangeToken(id: id(number), for: token(number, store + 1), now: monday)
        } isWin: {
            $0
        }
        #expect(wins == [Int](repeating: 1, count: 1000))
        for number in stride(from: 0, to: 1000, by: 50) {
            let kept = try (0..<3).map { mark in
                try stores[0].perform(.token(id: id(number, mark), now: monday)) != nil
            }
            #expect(!kept[0] && kept[1] != kept[2])
        }
    }

    @Test func ofTwoUsesAtOnceOneIsAccepted() throws {
        let stores = [try open(), try open()]
        let wins = race(1000, stores) { number, _ in
            let once = OneTimeID(
                space: .oauth1Nonce, fingerprint: id(number), timestamp: monday.seconds,
                expiresAt: monday.after(60))
            return .recordOnce(once, now: monday)
        } isWin: {
            (verdict: OneTimeVerdict) in
            verdict == .accepted
        }
        #expect(wins == [Int](repeating: 1, count: 1000))
    }

    @Test func ofTwoRotationsAtOnceOneAddsItsKey() throws {
        let stores = [try open(), try open()]
        let wins = race(1, stores) { _, store in
            .addFirstSigningKey(makeKey("first \(store)", at: 100))
        } isWin: {
            $0
        }
        #expect(wins == [1])
        let next = race(20, stores) { number, store in
            .addNextSigningKey(
                makeKey("next \(number) \(store)", at: 200, activatesAt: Int64(300 + number)),
                ifNoneAfter: WallTime(seconds: Int64(299 + number)))
        } isWin: {
            $0
        }
        #expect(next == [Int](repeating: 1, count: 20))
        let keys = try stores[0].perform(.snapshot).keys
        #expect(keys.filter { $0.retiredAt == nil }.count == 1)
        #expect(keys.count == 21)
    }

    @Test func manyChangesAtOnceAreAllKept() throws {
        let stores = [try open(), try open()]
        let clients = try (0..<20).map { try makeClient("client \(10 + $0)") }
        let wins = race(20, stores) { number, store in
            StoreOperation<Bool> { backend throws(StoreError) in
                do throws(StoreError) {
                    try backend.addClient(clients[number])
                    return true
                } catch {
                    guard error == .clientExists(id: clients[number].id) else { throw error }
                    return false
                }
            }
        } isWin: {
            $0
        }
        #expect(wins == [Int](repeating: 1, count: 20))
        #expect(try stores[1].perform(.snapshot).clients == clients)
    }

    @Test func theOtherGatewaySeesChangesWithinASecond() throws {
        // At the interval of the real thing.
        let (first, second) = (
            try open(), try bench.open(.redis, pollInterval: .milliseconds(500))
        )
        let before = try second.perform(.snapshot)
        let seen = Seen()
        try second.observeChanges(since: before.generation, revocationsSince: 0) { seen.add($0) }
        let began = ContinuousClock.now
        try first.perform(.addClient(try makeClient("a", oauth1: "shared")))
        #expect(seen.clients() == .success(["a"]))
        #expect(ContinuousClock.now - began < .seconds(1))
        let again = ContinuousClock.now
        let revocation = Revocation(
            .client(id: "a"), issuedBefore: monday, until: monday.after(60))
        try first.perform(.revoke(revocation))
        #expect(try seen.next()?.get().revocations == [revocation])
        #expect(ContinuousClock.now - again < .seconds(1))
    }

    @Test func aSharedStoreHasNoRuns() throws {
        let store = try open()
        #expect(store.isShared)
        #expect(throws: StoreError.noRun) { try store.perform(.beginRun) }
        #expect(throws: StoreError.noRun) { try store.perform(.raiseCeiling(to: 1)) }
        #expect(throws: StoreError.noRun) { try store.perform(.endRun(savedNonces: [])) }
        #expect(throws: StoreError.noRun) { try store.record(makeNonce(1, 1)) }
    }

    @Test func anotherSecretsKeyShowsAtOpen() throws {
        try open().perform(.addClient(try makeClient("a", oauth1: "shared")))
        let location = server.location(prefix: bench.prefix)
        #expect(throws: StoreError.wrongKey) {
            try StateStore(location: .redis(location), secretsKey: .generate())
        }
        #expect(try open().perform(.snapshot).clients.count == 1)
    }

    @Test func secretsLieSealed() throws {
        let store = try open()
        let secret = "a shared secret that is easily found"
        try store.perform(.addClient(try makeClient("findable", oauth1: secret)))
        try store.perform(.addSigningKey(makeKey("kid", at: 1)))
        try store.perform(.addToken(makeToken(1, .oauth1Access, secret: secret)))
        let id = HexBytes(makeToken(1).id).text
        let all = [
            try server.command("HGETALL", bench.prefix + "clients"),
            try server.command("HGETALL", bench.prefix + "signing_keys"),
            try server.command("GET", bench.prefix + "token:" + id),
        ].joined()
        #expect(all.contains("findable") && all.contains("client 1") && all.contains("kid"))
        #expect(!all.contains(secret) && !all.contains("private key of"))
    }

    @Test(arguments: ["store", "clients", "generation"])
    func anotherProgramsDataIsLeftAsItIs(name: String) throws {
        try server.command("SET", bench.prefix + name, "a letter to my aunt")
        let location = server.location(prefix: bench.prefix)
        #expect(throws: StoreError.foreignDatabase(path: "\(location.name) \(bench.prefix)")) {
            try StateStore(location: .redis(location), secretsKey: bench.key)
        }
        #expect(try server.command("GET", bench.prefix + name) == "a letter to my aunt")
        try server.command("DEL", bench.prefix + name)
        try server.command("HSET", bench.prefix + "store", "application", "wiki")
        #expect(throws: StoreError.self) {
            try StateStore(location: .redis(location), secretsKey: bench.key)
        }
    }

    @Test func aNewerVersionIsRefused() throws {
        try open().close()
        try server.command("HSET", bench.prefix + "store", "version", "99")
        #expect(throws: StoreError.newerVersion(found: 99, known: 1)) { try open() }
    }

    @Test func recordsThatSomebodySpoiltHoldNoOthersUp() throws {
        let store = try open()
        try store.perform(.addClient(try makeClient("good")))
        try store.perform(.addSigningKey(makeKey("good", at: 100)))
        let sound = try server.command("HGET", bench.prefix + "clients", "good")
        let cases: [(String, StoreFault.Record)] = [
            ("clients", .client(id: "bad")), ("signing_keys", .signingKey(kid: "bad")),
        ]
        for (name, record) in cases {
            for text in ["not JSON", "[]", "{}", #"{"id":"b"}"#, sound] {
                try server.command("HSET", bench.prefix + name, "bad", text)
                let snapshot = try store.perform(.snapshot)
                #expect(snapshot.faults.map(\.record).contains(record), "\(text)")
                #expect(snapshot.clients.map(\.id) == ["good"])
                #expect(snapshot.keys.map(\.kid) == ["good"])
            }
        }
        try store.perform(.addSigningKey(makeKey("next", at: 200)))
        #expect(try store.perform(.removeSigningKeys(endedBefore: WallTime(seconds: 201))) == 1)
        #expect(try store.perform(.removeSigningKey(kid: "bad", now: monday)) == 1)
        try store.perform(.removeClient(id: "bad"))
        let healed = try store.perform(.snapshot)
        #expect(healed.faults.isEmpty && healed.keys.map(\.kid) == ["next"])
    }

    @Test func whatIsLeftOfARevocationRevokes() throws {
        let store = try open()
        let before = WallTime.now()
        let good = Revocation(
            .token(issuer: "i", id: "good"), issuedBefore: monday, until: monday.after(60))
        let client = Revocation(.client(id: "a"), issuedBefore: before, until: monday)
        for revocation in [good, client] { try store.perform(.revoke(revocation)) }
        // Whatever was meant: what has been issued until it was revoked.
        for text in ["not JSON", "{}", ""] {
            try server.command(
                "HSET", bench.prefix + "revocations", #"["client","","a"]"#, text)
            let news = try store.perform(.revocations(after: 0))
            #expect(news.revocations.first == good)
            #expect(news.faults.map(\.record) == [.revocation(of: "a")])
            let left = try #require(news.revocations.last)
            #expect(left.target == .client(id: "a") && left.until > monday)
            #expect(left.issuedBefore > WallTime.now())
            #expect(left.issuedBefore < before.after(120))
        }
        try server.command(
            "EVAL", "return redis.call('ZADD', KEYS[1], '99999999999999', 'x')", "1",
            bench.prefix + "revocations:order")
        #expect(
            try store.perform(.revocations(after: 0)).faults.map(\.record) == [
                .revocation(of: "x"), .revocation(of: "a"),
            ])
        // Nor do numbers that are none keep anything back.
        for name in ["revocations:last", "generation"] {
            try server.command("SET", bench.prefix + name, "letter")
        }
        let seen = Seen()
        try store.observeChanges(since: -1, revocationsSince: 1) { seen.add($0) }
        try store.perform(
            .revoke(Revocation(.client(id: "b"), issuedBefore: monday, until: monday)))
        var told: [Revocation] = []
        while !told.contains(where: { $0.target == .client(id: "b") }) {
            let news = try #require(seen.next())
            told += try news.get().revocations
        }
        #expect(told.contains(good))
    }

    /// Without them nobody may know by which keys and of which clients tokens are good; once they were read, each is told by
    /// itself.
    @Test func nothingIsToldBeforeTheRevocationsHaveBeenRead() throws {
        let store = try open()
        let revocation = Revocation(
            .client(id: "gone"), issuedBefore: monday, until: monday.after(60))
        try store.perform(.revoke(revocation))
        // Not even where the mark says that there are none.
        try server.command("DEL", bench.prefix + "revocations:last")
        let order = bench.prefix + "revocations:order"
        let failure = StoreError.corrupt(reason: "a key of ours is of another type")
        try server.command("RENAME", order, order + ":kept")
        try server.command("SET", order, "a string")
        let seen = Seen()
        try store.observeChanges(since: -1, revocationsSince: nil) { seen.add($0) }
        #expect(seen.next() == .failure(failure))
        try store.perform(.addClient(try makeClient("a")))
        // The look after that change is over before this is done.
        _ = try store.perform(.snapshot)
        #expect(seen.isEmpty)
        try server.command("RENAME", order + ":kept", order)
        #expect(try seen.next()?.get().revocations == [revocation])
        #expect(seen.clients() == .success(["a"]))
    }

    @Test func whatIsStillWrongIsToldAgainAfterGoodNews() throws {
        let store = try open()
        let seen = Seen()
        let before = try store.perform(.snapshot)
        try store.observeChanges(since: before.generation, revocationsSince: 0) { seen.add($0) }
        let order = bench.prefix + "revocations:order"
        try server.command("SET", order, "a string")
        try server.command("SET", bench.prefix + "revocations:last", "7")
        let failure = StoreError.corrupt(reason: "a key of ours is of another type")
        #expect(seen.next() == .failure(failure))
        for ids in [["a"], ["a", "b"]] {
            try store.perform(.addClient(try makeClient(try #require(ids.last))))
            #expect(seen.clients() == .success(ids))
            #expect(seen.next() == .failure(failure))
        }
        try server.command("DEL", order)
        #expect(seen.clients() == .success(["a", "b"]))
    }

    /// More than are read at a time, whatever became of the number that was given last, and by whatever numbers they are.
    @Test(arguments: [nil, "letter", "3"], [1, 1e20])
    func allPagesOfRevocationsAreReadOnce(last: String?, factor: Double) throws {
        let store = try open()
        let script = """
            for i = 1, 10001 do
                local target = '["client","","c' .. i .. '"]'
                redis.call('HSET', KEYS[1], target, '{"issued_before":1,"until":2}')
                redis.call('ZADD', KEYS[2], string.format('%.0f', i * ARGV[1]), target)
            end
            """
        try server.command(
            "EVAL", script, "2", bench.prefix + "revocations", bench.prefix + "revocations:order",
            "\(factor)")
        if let last { try server.command("SET", bench.prefix + "revocations:last", last) }
        for sequence in [0, 7] as [Int64] {
            let news = try store.perform(.revocations(after: sequence))
            #expect(news.revocations.count == 10_001)
            #expect(Set(news.revocations.map(\.target)).count == 10_001)
            #expect(news.faults.isEmpty)
        }
    }

    /// Where a double has no room for the next number, and where an integer has none.
    @Test(arguments: ["9007199254740993000", "9223372036854774784", "1e300", "inf", "nan"])
    func aNumberFarAheadSilencesNothing(number: String) throws {
        let store = try open()
        let damaged = #"["client","","damaged"]"#
        try server.command("HSET", bench.prefix + "revocations", damaged, "not JSON")
        if number != "nan" {
            try server.command("ZADD", bench.prefix + "revocations:order", number, damaged)
        }
        for name in ["revocations:last", "generation"] {
            try server.command("SET", bench.prefix + name, number)
        }
        let seen = Seen()
        try store.observeChanges(since: -1, revocationsSince: nil) { seen.add($0) }
        for id in ["x", "y"] {
            try store.perform(
                .revoke(Revocation(.client(id: id), issuedBefore: monday, until: monday)))
            try store.perform(.addClient(try makeClient(id)))
            var (isRevoked, isAdded) = (false, false)
            while !isRevoked || !isAdded {
                let news = try #require(seen.next()).get()
                if news.revocations.contains(where: { $0.target == .client(id: id) }) {
                    isRevoked = true
                }
                if news.snapshot?.clients.contains(where: { $0.id == id }) == true {
                    isAdded = true
                }
            }
        }
    }

    /// Texts where numbers were written keep nobody from revoking.
    @Test func aRevocationWithMomentsThatAreNoNumbersIsWrittenAnew() throws {
        let store = try open()
        let revocation = Revocation(.client(id: "a"), issuedBefore: monday, until: monday.after(60))
        try server.command(
            "HSET", bench.prefix + "revocations", #"["client","","a"]"#,
            #"{"issued_before":"1","until":"2"}"#)
        try store.perform(.revoke(revocation))
        #expect(try store.perform(.revocations(after: 0)).revocations == [revocation])
    }

    @Test func tokensThatSomebodySpoiltAreErrorsOfTheirOwn() throws {
        let store = try open()
        let (bad, good) = (makeToken(1), makeToken(2))
        try store.perform(.addToken(good))
        for text in ["not JSON", "[]", "{}", "\"x\"", "7", "null"] {
            try server.command("SET", bench.prefix + "token:" + HexBytes(bad.id).text, text)
            for error in [
                #expect(throws: StoreError.self) {
                    try store.perform(.token(id: bad.id, now: monday))
                },
                #expect(throws: StoreError.self) {
                    try store.perform(.exchangeToken(id: bad.id, for: good, now: monday))
                },
            ] {
                guard case .corrupt = error else {
                    Issue.record("\(text): \(String(describing: error))")
                    continue
                }
            }
            #expect(try store.perform(.token(id: good.id, now: monday)) == good)
        }
        // A sound token in another's place is not that token.
        let sound = try server.command("GET", bench.prefix + "token:" + HexBytes(good.id).text)
        try server.command("SET", bench.prefix + "token:" + HexBytes(bad.id).text, sound)
        #expect(throws: StoreError.self) { try store.perform(.token(id: bad.id, now: monday)) }
        try server.command("DEL", bench.prefix + "clients")
        try server.command("SET", bench.prefix + "clients", "a string")
        #expect(throws: StoreError.corrupt(reason: "a key of ours is of another type")) {
            try store.perform(.snapshot)
        }
        try server.command("DEL", bench.prefix + "clients")
        #expect(try store.perform(.snapshot).clients.isEmpty)
    }

    @Test func scriptsThatAreGoneAreSentAgain() throws {
        let store = try open()
        try store.perform(.addToken(makeToken(1)))
        try server.command("SCRIPT", "FLUSH")
        #expect(try store.perform(.recordOnce(makeOnce(1), now: monday)) == .accepted)
        #expect(try store.perform(.recordOnce(makeOnce(1), now: monday)) == .reused)
        try store.perform(.addClient(try makeClient("a")))
        #expect(
            try store.perform(
                .exchangeToken(id: makeToken(1).id, for: makeToken(2), now: monday)))
    }

    @Test func revocationsThatHaveEndedGoInSmallSteps() throws {
        let store = try bench.open(.redis, pollInterval: .seconds(3600))
        for number in 0..<120 {
            try store.perform(
                .revoke(
                    Revocation(
                        .client(id: "\(number)"), issuedBefore: monday,
                        until: monday.after(number < 100 ? 10 : 1000))))
        }
        func purge(_ limit: Int) throws -> Int {
            try store.perform(
                StoreOperation<Int> { backend throws(StoreError) in
                    try backend.purge(expiredAt: monday.after(10), limit: limit)
                })
        }
        #expect(try [purge(70), purge(70), purge(70)] == [70, 30, 0])
        #expect(try store.perform(.revocations(after: 0)).revocations.count == 20)
    }

    @Test func moreRevocationsThanOnePageAreAllRead() throws {
        let store = try open()
        let count = 11_000
        let done = DispatchSemaphore(value: 0)
        for number in 0..<count {
            let revocation = Revocation(
                .token(issuer: "i", id: "\(number)"), issuedBefore: monday, until: monday.after(60))
            store.submit(.revoke(revocation)) { _ in if number == count - 1 { done.signal() } }
        }
        #expect(done.wait(timeout: .now() + 30) == .success)
        let news = try store.perform(.revocations(after: 0))
        #expect(
            news.revocations.map(\.target) == (0..<count).map { .token(issuer: "i", id: "\($0)") })
        #expect(try store.perform(.revocations(after: news.through)).revocations.isEmpty)
    }
}
