import Dispatch
import Foundation
import Primitives
import Synchronization
import TestSupport
import Testing

@testable import Store

/// A Redis that dies, hangs, forgets or changes places: refused while it lasts, nothing passes twice, well again after.
@Suite(.serialized)
struct RedisFaultTests {
    private let key: SecretsKey

    init() throws { key = try .generate() }

    private func open(_ location: RedisLocation) throws(StoreError) -> StateStore {
        try StateStore(
            location: .redis(location), secretsKey: key, pollInterval: .milliseconds(20))
    }

    private func once(_ byte: UInt8, at timestamp: Int64) -> OneTimeID {
        OneTimeID(
            space: .oauth1Nonce, fingerprint: [UInt8](repeating: byte, count: 16),
            timestamp: timestamp, expiresAt: WallTime(seconds: timestamp + 600))
    }

    /// As a gateway does.
    private func watch(_ store: StateStore) throws {
        try store.observeChanges(since: -1, revocationsSince: 0) { _ in }
    }

    private func keyOf(_ id: OneTimeID) -> String { RedisKeys(prefix: "gatehouse:").once(id) }

    private func record(_ id: OneTimeID, _ store: StateStore) throws(StoreError) -> OneTimeVerdict {
        try store.perform(.recordOnce(id, now: .now()))
    }

    /// Asks until the store answers.
    private func healed<Value>(
        _ store: StateStore, _ operation: StoreOperation<Value>
    ) throws -> Value {
        var value: Value?
        let isHealed = eventually(within: .seconds(30)) {
            value = try? store.perform(operation)
            return value != nil
        }
        #expect(isHealed)
        return try #require(value)
    }

    @Test func whatARestartedEmptyRedisForgotDoesNotPassAgain() throws {
        let server = try TestRedis()
        let stores = [
            try open(server.location(timeout: .seconds(1))),
            try open(server.location(timeout: .seconds(1))),
        ]
        for store in stores { try watch(store) }
        let now = WallTime.now().seconds
        // Clients whose clocks run ahead, each through its own gateway; the second one further.
        let first = once(1, at: now + 100)
        let second = once(2, at: now + 200)
        let past = once(3, at: now)
        let near = once(6, at: now + 2)
        #expect(try record(past, stores[0]) == .forgotten)
        try server.forgetTheLoss()
        #expect(try record(first, stores[0]) == .accepted)
        #expect(try record(second, stores[1]) == .accepted)
        for id in [past, near] { #expect(try record(id, stores[0]) == .accepted) }
        server.kill()
        for store in stores {
            #expect(throws: StoreError.self) { try record(once(4, at: now + 300), store) }
        }
        try server.start()
        // One that knows nothing comes first: it lets nothing pass before the others had time to come.
        let stranger = try open(server.location())
        let all = [first, second, past, near]
        for id in all { #expect(try record(id, stranger) == .forgotten) }
        let fresh = try lastingVerdicts([first, second], stores + [stranger])
        for id in [past, near] {
            for store in stores { #expect(try record(id, store) == .forgotten) }
        }
        // Nobody else waits for the clients with the fast clocks.
        #expect(fresh < now + 60)
        #expect(try record(once(5, at: now + 201), stores[0]) == .accepted)
        #expect(try record(once(5, at: now + 201), stores[1]) == .reused)
        // What is not a nonce is gone, and says so.
        #expect(try stores[0].perform(.snapshot).clients.isEmpty)
    }

    /// Asks until ids of the present pass, and sees to it that these do not at any moment, and are known in the end.
    ///
    /// - Returns: the timestamp of the first that passed.
    private func lastingVerdicts(_ used: [OneTimeID], _ stores: [StateStore]) throws -> Int64 {
        var timestamp: Int64 = 0
        var verdicts: Set<OneTimeVerdict> = []
        let isOpen = eventually(within: .seconds(20)) {
            for store in stores {
                for id in used {
                    if let verdict = try? record(id, store) { verdicts.insert(verdict) }
                }
            }
            timestamp = WallTime.now().seconds
            let fresh = OneTimeID(
                space: .oauth1Nonce, fingerprint: (0..<16).map { _ in .random(in: 0...255) },
                timestamp: timestamp, expiresAt: WallTime(seconds: timestamp + 600))
            return stores.contains { (try? record(fresh, $0)) == .accepted }
        }
        #expect(isOpen)
        #expect(!verdicts.contains(.accepted))
        for store in stores {
            for id in used {
                #expect(try healed(store, .recordOnce(id, now: .now())) == .reused)
            }
        }
        return timestamp
    }

    /// What only a gateway knew that does not come back, nothing may pass for.
    @Test func aGatewayThatDiedWithRedisHoldsItsTimeClosed() throws {
        let server = try TestRedis()
        let location = server.location(timeout: .seconds(1))
        let (dead, store) = (try open(location), try open(location))
        for store in [dead, store] { try watch(store) }
        try server.forgetTheLoss()
        let now = WallTime.now().seconds
        let used = once(1, at: now + 8)
        #expect(try record(used, dead) == .accepted)
        let isKnown = try eventually {
            try store.perform(
                StoreOperation<Bool> { backend throws(StoreError) in
                    (backend as? RedisState)?.memory.others.values.first == now + 8
                })
        }
        #expect(isKnown)
        dead.close()
        server.kill()
        try server.start()
        var byte: UInt8 = 10
        var passed: Int64 = 0
        var hasPassed = false
        let isOpen = eventually(within: .seconds(30)) {
            if (try? record(used, store)) == .accepted { hasPassed = true }
            byte &+= 1
            passed = WallTime.now().seconds
            return (try? record(once(byte, at: passed), store)) == .accepted
        }
        #expect(isOpen && passed > now + 8 && !hasPassed)
    }

    @Test func theServersClockIsTheFloorForThoseWhoSawNothing() throws {
        let server = try TestRedis()
        let store = try open(server.location())
        let now = WallTime.now().seconds
        let floor = try #require(Int64(try server.command("HGET", "gatehouse:epoch", "floor")))
        #expect((now + 2...now + 3).contains(floor))
        for timestamp in [now - 1, now + 60] {
            #expect(try record(once(1, at: timestamp), store) == .forgotten)
        }
        try server.forgetTheLoss()
        #expect(try record(once(1, at: now + 60), store) == .accepted)
        let late = try open(server.location())
        #expect(try record(once(1, at: now + 60), late) == .reused)
    }

    /// By the poll and the timeout that are the defaults.
    @Test func aGatewayIsBackBeforeTheFloorIsPast() {
        let (timeout, poll) = (Duration.milliseconds(500), Duration.milliseconds(500))
        let longest = timeout + RedisState.longestDelay + poll + timeout
        #expect(longest < .seconds(RedisMemory.floorLead))
    }

    @Test func whatCouldNotBePutBackIsNotTaken() throws {
        var memory = RedisMemory()
        memory.saw(serverTime: 1000)
        for number in 0..<RedisMemory.limit {
            #expect(!memory.isFull(for: 1100))
            memory.keep(
                "\(number)", RedisMemory.AheadID(timestamp: 1100, expiresAt: monday))
        }
        #expect(memory.isFull(for: 1003) && !memory.isFull(for: 1002) && !memory.isFull(for: nil))
        memory.saw(serverTime: 1100)
        memory.note([])
        #expect(!memory.isFull(for: 2000) && memory.ahead.isEmpty)
        memory.saw(serverTime: .max)
        #expect(memory.floor == .max)
    }

    @Test func anEpochThatIsTakenAwayIsBegunAnew() throws {
        let server = try TestRedis()
        let stores = [try open(server.location()), try open(server.location())]
        for store in stores { try watch(store) }
        try server.forgetTheLoss()
        let now = WallTime.now().seconds
        let used = once(1, at: now + 100)
        #expect(try record(used, stores[0]) == .accepted)
        #expect(try server.command("FLUSHALL") == "OK")
        _ = try lastingVerdicts([used], stores)
        // Somebody else's epoch is joined, too.
        #expect(try server.command("DEL", keyOf(used)) == "1")
        try server.command("HSET", "gatehouse:epoch", "id", "another")
        // The one that knows of it puts it back at its next look.
        #expect(try eventually { try server.command("EXISTS", keyOf(used)) == "1" })
        _ = try lastingVerdicts([used], stores)
    }

    /// What was recorded for a short time is forgotten after it; a longer window, of another conf or of the next one, lets
    /// none of it pass.
    @Test func aLongerWindowLetsNothingPassThatAShorterOneForgot() throws {
        let server = try TestRedis()
        let stores = [try open(server.location()), try open(server.location())]
        let now = WallTime.now().seconds
        _ = try record(once(9, at: now), stores[0])
        try server.command("HSET", "gatehouse:epoch", "floor", "0")
        func use(_ byte: UInt8, at timestamp: Int64, window: Int64, _ index: Int) throws
            -> OneTimeVerdict
        {
            let id = OneTimeID(
                space: .dpop, fingerprint: [UInt8](repeating: byte, count: 16),
                timestamp: timestamp, expiresAt: WallTime(seconds: now + 600),
                windowSeconds: window)
            return try record(id, stores[index])
        }
        func forget() throws {
            let script = """
                for _, key in ipairs(redis.call('KEYS', 'gatehouse:once:*')) do
                    redis.call('DEL', key)
                end
                """
            try server.command("EVAL", script, "0")
        }
        #expect(try use(1, at: now - 50, window: 40, 0) == .accepted)
        #expect(try use(2, at: now - 70, window: 40, 0) == .accepted)
        #expect(try use(2, at: now - 70, window: 40, 1) == .reused)
        try forget()
        for timestamp in [now - 50, now - 51, now - 3000] {
            #expect(try use(1, at: timestamp, window: 3600, 1) == .belowFloor)
        }
        // Later than all of those, or not yet too old for them.
        #expect(try use(3, at: now - 49, window: 3600, 1) == .accepted)
        #expect(try use(3, at: now - 49, window: 40, 0) == .reused)
        #expect(try use(4, at: now + 5, window: 40, 0) == .accepted)
        #expect(try use(5, at: now - 20, window: 3600, 1) == .accepted)
        #expect(try use(6, at: now - 49, window: 3600, 1) == .belowFloor)
        // Each space for itself.
        #expect(try server.command("HGET", "gatehouse:epoch", "windows:dpop") == "40:\(now + 5)")
        let nonce = OneTimeID(
            space: .oauth1Nonce, fingerprint: [UInt8](repeating: 1, count: 16),
            timestamp: now - 3000, expiresAt: WallTime(seconds: now + 600), windowSeconds: 3600)
        #expect(try record(nonce, stores[0]) == .accepted)
    }

    /// However often the conf changes, what is kept of it is short, and never too little.
    @Test func theWindowsThatAreKnownStayFew() throws {
        let server = try TestRedis()
        let store = try open(server.location())
        let now = WallTime.now().seconds
        _ = try record(once(99, at: now), store)
        try server.command("HSET", "gatehouse:epoch", "floor", "0")
        for number in 1...9 {
            let id = OneTimeID(
                space: .dpop, fingerprint: [UInt8](repeating: UInt8(number), count: 16),
                timestamp: now + Int64(number), expiresAt: WallTime(seconds: now + 600),
                windowSeconds: Int64(100 * number))
            #expect(try record(id, store) == .accepted)
            let text = try server.command("HGET", "gatehouse:epoch", "windows:dpop")
            #expect(text.split(separator: " ").count == (number == 9 ? 1 : number))
            if number == 9 { #expect(text == "100:\(now + 9)") }
        }
    }

    @Test func theObserverHearsThatAllIsGone() throws {
        let server = try TestRedis()
        let store = try open(server.location(timeout: .milliseconds(500)))
        try store.perform(.addClient(try makeClient("a")))
        try store.perform(
            .revoke(Revocation(.client(id: "a"), issuedBefore: monday, until: monday)))
        let before = try store.perform(.snapshot)
        let through = try store.perform(.revocations(after: 0)).through
        let seen = Seen()
        try store.observeChanges(since: before.generation, revocationsSince: through) {
            seen.add($0)
        }
        server.kill()
        guard case .failure(.unavailable) = seen.next() else {
            Issue.record("the failure was not told")
            return
        }
        try server.start()
        var news = seen.next()
        while case .failure = news { news = seen.next() }
        #expect(try news?.get().snapshot?.clients == [])
        #expect(try news?.get().snapshot?.generation != before.generation)
        try store.perform(.addClient(try makeClient("b")))
        #expect(seen.clients() == .success(["b"]))
    }

    @Test func aFrozenRedisHoldsNobodyForLongerThanTheTimeout() throws {
        let server = try TestRedis()
        let timeout = Duration.milliseconds(400)
        let store = try open(server.location(timeout: timeout))
        try server.forgetTheLoss()
        _ = try store.perform(.snapshot)
        server.freeze()
        let waits = Mutex<[Duration]>([])
        let answered = DispatchSemaphore(value: 0)
        let began = ContinuousClock.now
        // Of both kinds, behind one another, for longer than one timeout.
        var submitted = 0
        while ContinuousClock.now - began < timeout * 3 {
            let at = ContinuousClock.now
            let note: @Sendable (Bool) -> Void = { isFailure in
                #expect(isFailure)
                waits.withLock { $0.append(ContinuousClock.now - at) }
                answered.signal()
            }
            store.submit(.snapshot) { note($0.failure != nil) }
            store.submit(.recordOnce(once(1, at: monday.seconds), now: monday)) {
                note($0.failure != nil)
            }
            submitted += 2
            _ = poll(nil, 0, 20)
        }
        for _ in 0..<submitted { #expect(answered.wait(timeout: .now() + 10) == .success) }
        let longest = try #require(waits.withLock { $0.max() })
        // What the scheduler of a busy machine adds is not the store's.
        #expect(longest < timeout + .milliseconds(300), "\(longest)")
        // Most are refused at once: only an attempt that is due waits.
        let quick = waits.withLock { $0.count { $0 < timeout / 2 } }
        #expect(quick * 3 > submitted, "\(quick) of \(submitted)")
        server.thaw()
        _ = try healed(store, .snapshot)
        #expect(try record(once(9, at: WallTime.now().seconds + 50), store) == .accepted)
    }

    @Test func aServerThatTakesConnectionsAndIsSilentIsGivenUp() throws {
        let server = try TestRedis()
        server.freeze()
        let location = server.location(timeout: .milliseconds(100))
        let began = ContinuousClock.now
        #expect(throws: StoreError.self) { try open(location) }
        #expect(ContinuousClock.now - began < .seconds(4))
    }

    @Test func aWrongPasswordAndAnUnknownUserAreSaidAtOpen() throws {
        let server = try TestRedis(
            ["--requirepass", "the-password"], clientArguments: ["-a", "the-password"])
        var location = server.location()
        for (user, password) in [(nil, nil), (nil, "wrong"), ("nobody", "the-password")] {
            location.username = user
            location.password = password.map { Secret(utf8: $0) }
            let error = #expect(throws: StoreError.self) { try open(location) }
            guard case .cannotOpen(_, let reason) = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
            #expect(reason.contains("NOAUTH") || reason.contains("WRONGPASS"))
            #expect(!"\(String(describing: error))".contains("the-password"))
        }
        location.username = nil
        location.password = Secret(utf8: "the-password")
        #expect(try open(location).perform(.snapshot).clients.isEmpty)
    }

    /// Redis repeats the arguments of a command that it does not know.
    @Test func aPasswordIsNotRepeated() throws {
        let server = try TestRedis(["--rename-command", "AUTH", ""])
        let said = try server.command("AUTH", "gate", "Sup3rSecret")
        #expect(said.contains("Sup3rSecret"))
        var location = server.location(timeout: .seconds(2))
        (location.username, location.password) = ("gate", Secret(utf8: "Sup3rSecret"))
        expectNoPassword(#expect(throws: StoreError.self) { try open(location) })
        // Nor what a Sentinel says.
        let sentinel = try ManualServer()
        location.addresses = [.ip(.v4(0x7F00_0001), port: sentinel.port)]
        location.sentinel = "fleet"
        let answer = Answer<Void>()
        let key = self.key
        DispatchQueue.global().async { [location] in
            do throws(StoreError) {
                _ = try StateStore(location: .redis(location), secretsKey: key)
                answer.give(.success(()))
            } catch {
                answer.give(.failure(error))
            }
        }
        let client = try sentinel.accept()
        for reply in ["-NOAUTH needed\r\n", "-\(said)\r\n-NOAUTH needed\r\n"] {
            _ = try client.read(through: "fleet\r\n")
            try client.send(reply)
        }
        expectNoPassword(answer.wait().failure)
    }

    private func expectNoPassword(_ error: StoreError?) {
        let line = "\(String(describing: error))"
        #expect(line.contains("AUTH was refused"), "\(line)")
        #expect(!line.contains("Sup3r") && !line.contains("gate'"), "\(line)")
    }

    @Test func aServerThatProvesToBeAnotherIsRefused() throws {
        let common = try CommonRedis.shared.get()
        var location = try common.location(.redisWithTLS, prefix: "gatehouse-none:")
        // Its certificate is for the address alone.
        location.addresses = [.name("localhost", port: location.addresses[0].port ?? 0)]
        let error = #expect(throws: StoreError.self) { try open(location) }
        #expect("\(String(describing: error))".contains("TLS"))
    }

    @Test func aRedisThatThrowsThingsAwayIsRefused() throws {
        let server = try TestRedis(["--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"])
        let error = #expect(throws: StoreError.self) { try open(server.location()) }
        guard case .cannotOpen(_, let reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(reason.contains("maxmemory-policy"))
        try server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        let store = try open(server.location())
        try watch(store)
        // Also while the connection is open.
        try server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        let isRefused = eventually(within: .seconds(10)) {
            do throws(StoreError) {
                _ = try store.perform(.snapshot)
                return false
            } catch {
                return "\(error)".contains("maxmemory-policy")
            }
        }
        #expect(isRefused)
        try server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        _ = try healed(store, .snapshot)
    }

    /// SYNs that nobody answers: the queue of the listening socket is full, and the kernel drops them.
    @Test func aBlackHoleHoldsNobodyForLongerThanTheTimeout() throws {
        let hole = try ManualServer(backlog: 0)
        let filler = try TCPClient(port: hole.port)
        defer { withExtendedLifetime(filler) {} }
        let timeout = Duration.milliseconds(400)
        let location = RedisLocation(
            addresses: [.ip(.v4(0x7F00_0001), port: hole.port)], timeout: timeout)
        let store = try StateStore(
            location: .redis(location), secretsKey: key, pollInterval: .milliseconds(20),
            mayBeAway: true)
        try watch(store)
        var longest = Duration.zero
        let end = ContinuousClock.now + timeout * 5
        while ContinuousClock.now < end {
            let began = ContinuousClock.now
            #expect(throws: StoreError.self) { try store.perform(.snapshot) }
            longest = max(longest, ContinuousClock.now - began)
        }
        #expect(longest < timeout + .milliseconds(300), "\(longest)")
    }

    @Test func aFullRedisLosesNothingAndHeals() throws {
        let server = try TestRedis()
        let store = try open(server.location())
        try server.forgetTheLoss()
        try store.perform(.addClient(try makeClient("a")))
        try server.command("CONFIG", "SET", "maxmemory", "1")
        #expect(throws: StoreError.full) { try store.perform(.addClient(try makeClient("b"))) }
        #expect(throws: StoreError.full) { try store.perform(.addToken(makeToken(1))) }
        #expect(throws: StoreError.full) {
            try record(once(1, at: WallTime.now().seconds + 9), store)
        }
        #expect(try store.perform(.snapshot).clients.map(\.id) == ["a"])
        try server.command("CONFIG", "SET", "maxmemory", "0")
        #expect(try record(once(1, at: WallTime.now().seconds + 9), store) == .accepted)
    }

    @Test func ofSeveralAddressesThePrimaryIsUsed() throws {
        let primary = try TestRedis()
        let replica = try TestRedis(["--replicaof", "127.0.0.1", "\(primary.port)"])
        let dead = try freePort()
        var location = primary.location()
        location.addresses = [dead, replica.port, primary.port].map {
            .ip(.v4(0x7F00_0001), port: $0)
        }
        let store = try open(location)
        try primary.forgetTheLoss()
        let now = WallTime.now().seconds
        let used = once(1, at: now + 100)
        #expect(try record(used, store) == .accepted)
        // Another is the primary from now on, without whatever had not reached it.
        #expect(try replica.command("REPLICAOF", "NO", "ONE") == "OK")
        primary.kill()
        #expect(try lastingVerdicts([used], [store]) < now + 60)
        #expect(try record(once(2, at: now + 101), store) == .accepted)
    }

    @Test func aPrimaryThatBecomesAReplicaIsLeft() throws {
        let first = try TestRedis()
        let second = try TestRedis(["--replicaof", "127.0.0.1", "\(first.port)"])
        var location = first.location(timeout: .seconds(2))
        location.addresses = [first.port, second.port].map { .ip(.v4(0x7F00_0001), port: $0) }
        let store = try open(location)
        #expect(try second.command("REPLICAOF", "NO", "ONE") == "OK")
        #expect(try first.command("REPLICAOF", "127.0.0.1", "\(second.port)") == "OK")
        // The connection to it is as good as before; what it says is not.
        _ = try healed(store, .addClient(try makeClient("a")))
        #expect(try second.command("HEXISTS", "gatehouse:clients", "a") == "1")
    }

    @Test(arguments: ["by command", "by death"])
    func aFailoverOfTheSentinelsIsFollowed(how: String) throws {
        let primary = try TestRedis()
        let replica = try TestRedis(["--replicaof", "127.0.0.1", "\(primary.port)"])
        let sentinel = try TestRedis(
            sentinelConf: """
                sentinel monitor fleet 127.0.0.1 \(primary.port) 1
                sentinel down-after-milliseconds fleet 500
                sentinel failover-timeout fleet 5000
                """)
        var location = sentinel.location(timeout: .seconds(2))
        location.sentinel = "nobody"
        #expect(throws: StoreError.self) { try open(location) }
        location.sentinel = "fleet"
        // A Sentinel that is away does no harm.
        location.addresses.insert(.ip(.v4(0x7F00_0001), port: try freePort()), at: 0)
        let store = try open(location)
        try primary.forgetTheLoss()
        let now = WallTime.now().seconds
        let used = once(1, at: now + 100)
        #expect(try record(used, store) == .accepted)
        try store.perform(.addClient(try makeClient("a")))
        // The Sentinel knows of the replica once both have told it.
        #expect(
            try eventually(within: .seconds(60)) {
                try sentinel.command("SENTINEL", "REPLICAS", "fleet").contains("\(replica.port)")
            })
        if how == "by death" {
            #expect(
                try eventually(within: .seconds(20)) {
                    try replica.command("HLEN", "gatehouse:clients") == "1"
                })
            primary.kill()
        } else {
            #expect(
                try eventually(within: .seconds(60)) {
                    try sentinel.command("SENTINEL", "FAILOVER", "fleet") == "OK"
                })
        }
        #expect(
            try eventually(within: .seconds(60)) {
                try sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "fleet")
                    .contains("\(replica.port)")
            })
        let isReplicas = eventually(within: .seconds(30)) {
            (try? store.perform(.addClient(try makeClient("b \(UUID().uuidString)")))) != nil
                && (try? replica.command("HLEN", "gatehouse:clients")) == "2"
        }
        #expect(isReplicas)
        _ = try lastingVerdicts([used], [store])
        #expect(try record(once(2, at: now + 101), store) == .accepted)
    }
}
