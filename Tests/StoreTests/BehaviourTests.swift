import Foundation
import Primitives
import Synchronization
import Testing

@testable import Store

/// What every backend does alike; each test runs on all of them.
struct BehaviourTests {
    private let bench: Bench

    init() throws { bench = try Bench() }

    private func open(_ backend: Backend) throws -> StateStore { try bench.open(backend) }

    @Test(arguments: Backend.allCases)
    func aNewStoreIsEmpty(backend: Backend) throws {
        let snapshot = try open(backend).perform(.snapshot)
        #expect(snapshot.clients.isEmpty)
        #expect(snapshot.keys.isEmpty)
        #expect(snapshot.signingKey(at: monday) == nil)
    }

    @Test(arguments: Backend.allCases)
    func aClientComesBackAsItWasGiven(backend: Backend) throws {
        let store = try open(backend)
        let clients = [
            try makeClient("b", oauth1: "shared \u{0} secret"), try makeClient("a"),
            StoredClient(id: "ünï \"quoted\" ' ; --", requiresProof: true, createdAt: monday),
        ]
        for client in clients { try store.perform(.addClient(client)) }
        #expect(try store.perform(.snapshot).clients == [clients[1], clients[0], clients[2]])
    }

    @Test(arguments: Backend.allCases)
    func aClientIsAddedOnce(backend: Backend) throws {
        let store = try open(backend)
        try store.perform(.addClient(try makeClient("a")))
        #expect(throws: StoreError.clientExists(id: "a")) {
            try store.perform(.addClient(try makeClient("a", oauth1: "another")))
        }
        #expect(try store.perform(.snapshot).clients.first?.oauth1Secrets == [])
    }

    @Test(arguments: Backend.allCases)
    func aReplacedClientKeepsItsAge(backend: Backend) throws {
        let store = try open(backend)
        var client = try makeClient("a", oauth1: "old")
        try store.perform(.addClient(client))
        client.scopes = []
        client.oauth1Secrets = [
            StoredSharedSecret(secret: Secret(utf8: "new"), createdAt: monday.after(5)),
            client.oauth1Secrets[0].expiring(at: monday.after(60)),
        ]
        client.secrets = [try makeClient("another").secrets[0]] + client.secrets
        client.jwks = #"{"keys": []}"#
        client.certificateName = "dns:robot.test"
        client.requiresProof = true
        let later = client.created(at: WallTime(seconds: monday.seconds + 60))
        try store.perform(.replaceClient(later))
        #expect(try store.perform(.snapshot).clients == [client])
    }

    @Test(arguments: Backend.allCases)
    func aChangeOfWhatIsNoLongerSoIsRefused(backend: Backend) throws {
        let (one, two) = (try open(backend), backend == .memory ? nil : try open(backend))
        let old = try makeClient("a", oauth1: "old")
        try one.perform(.addClient(old))
        var (first, second) = (old, old)
        first.scopes = ["first"]
        second.scopes = ["second"]
        try (two ?? one).perform(.replaceClient(first, ifStill: old))
        #expect(throws: StoreError.clientChanged(id: "a")) {
            try one.perform(.replaceClient(second, ifStill: old))
        }
        #expect(try one.perform(.snapshot).clients == [first])
        try one.perform(.replaceClient(second, ifStill: first))
        #expect(try one.perform(.snapshot).clients == [second])
    }

    @Test(arguments: Backend.allCases)
    func aClientThatIsNotThereIsNeitherReplacedNorRemoved(backend: Backend) throws {
        let store = try open(backend)
        #expect(throws: StoreError.unknownClient(id: "a")) {
            try store.perform(.replaceClient(try makeClient("a")))
        }
        #expect(throws: StoreError.unknownClient(id: "a")) {
            try store.perform(.removeClient(id: "a"))
        }
        try store.perform(.addClient(try makeClient("a")))
        try store.perform(.removeClient(id: "a"))
        #expect(try store.perform(.snapshot).clients.isEmpty)
    }

    @Test(arguments: Backend.allCases)
    func aSecretInTheClearAThirdSecretAndABadIDAreRefused(backend: Backend) throws {
        let store = try open(backend)
        let live = try makeClient("another").secrets[0]
        let dead = live.expiring(at: WallTime(seconds: 1))
        let shared = StoredSharedSecret(secret: Secret(utf8: "s"), createdAt: monday)
        let refused = [
            StoredClient(
                id: "a", secrets: [StoredSecret(hash: "hunter2", createdAt: monday)],
                createdAt: monday),
            StoredClient(id: "a", secrets: [live, live, live], createdAt: monday),
            StoredClient(
                id: "a", oauth1Secrets: [shared, shared, shared], createdAt: monday),
            StoredClient(
                id: "a", secrets: [StoredSecret](repeating: dead, count: 17), createdAt: monday),
            StoredClient(
                id: "a", jwks: String(repeating: " ", count: 65_537), createdAt: monday),
            StoredClient(
                id: "a", certificateName: String(repeating: "a", count: 4097), createdAt: monday),
            StoredClient(id: "", createdAt: monday),
            StoredClient(id: "a\nb", createdAt: monday),
            StoredClient(id: "a\u{0}", createdAt: monday),
            StoredClient(id: String(repeating: "a", count: 257), createdAt: monday),
        ]
        for client in refused {
            let error = #expect(throws: StoreError.self) {
                try store.perform(.addClient(client))
            }
            guard case .invalidClient = error else {
                Issue.record("\(client.id): \(String(describing: error))")
                continue
            }
        }
        try store.perform(.addClient(StoredClient(id: "a", createdAt: monday)))
        #expect(throws: StoreError.self) { try store.perform(.replaceClient(refused[0])) }
        let longest = StoredClient(id: String(repeating: "a", count: 256), createdAt: monday)
        try store.perform(.addClient(longest))
        // What has expired no longer counts.
        let rotated = StoredClient(id: "b", secrets: [live, live, dead, dead], createdAt: monday)
        try store.perform(.addClient(rotated))
        let kept = try store.perform(.snapshot).clients.first { $0.id == "b" }
        #expect(kept?.secrets == rotated.secrets)
        #expect(kept?.liveSecrets(at: monday) == [live, live])
    }

    @Test func aSecretIsLiveUntilItsEnd() {
        let secret = StoredSharedSecret(
            secret: Secret(utf8: "s"), createdAt: monday, expiresAt: monday.after(10))
        let client = StoredClient(
            id: "a", secrets: [StoredSecret(hash: "h", createdAt: monday)],
            oauth1Secrets: [secret], createdAt: monday)
        #expect(client.liveOAuth1Secrets(at: monday.after(9)) == [secret])
        #expect(client.liveOAuth1Secrets(at: monday.after(10)).isEmpty)
        #expect(client.liveSecrets(at: monday.after(1_000_000_000)).count == 1)
        #expect(secret.expiring(at: monday.after(5)).expiresAt == monday.after(5))
        #expect(secret.expiring(at: monday.after(50)).expiresAt == monday.after(10))
    }

    @Test(arguments: Backend.allCases)
    func aNewKeyRetiresTheOneBefore(backend: Backend) throws {
        let store = try open(backend)
        for (kid, seconds) in [("x", 100), ("y", 200), ("z", 300)] {
            try store.perform(.addSigningKey(makeKey(kid, at: Int64(seconds))))
        }
        let keys = try store.perform(.snapshot).keys
        #expect(keys.map(\.kid) == ["z", "y", "x"])
        #expect(keys.map(\.retiredAt?.seconds) == [nil, 300, 200])
        #expect(keys[2].privateKeyPKCS8 == Secret(utf8: "private key of x"))
        let signing = [99, 100, 199, 200, 300, 9999].map { seconds in
            (try? store.perform(.snapshot))?.signingKey(at: WallTime(seconds: seconds))?.kid
        }
        // Before the first of them it signs all the same: its maker's clock is ahead.
        #expect(signing == ["x", "x", "x", "y", "z", "z"])
        #expect(throws: StoreError.keyExists(kid: "x")) {
            try store.perform(.addSigningKey(makeKey("x", at: 400)))
        }
        #expect(try store.perform(.snapshot).keys.map(\.kid) == ["z", "y", "x"])
    }

    @Test(arguments: Backend.allCases)
    func aKeyIsPublishedBeforeItSigns(backend: Backend) throws {
        let store = try open(backend)
        try store.perform(.addSigningKey(makeKey("x", at: 100)))
        try store.perform(.addSigningKey(makeKey("y", at: 200, activatesAt: 500)))
        let snapshot = try store.perform(.snapshot)
        #expect(snapshot.keys.map(\.kid) == ["y", "x"])
        #expect(snapshot.keys.map(\.retiredAt?.seconds) == [nil, 500])
        let signing = [200, 499, 500].map { snapshot.signingKey(at: WallTime(seconds: $0))?.kid }
        #expect(signing == ["x", "x", "y"])
        // One that still signs stays, however late it was asked.
        #expect(try store.perform(.removeSigningKeys(endedBefore: WallTime(seconds: 500))) == 0)
    }

    @Test(arguments: Backend.allCases)
    func aKeyThatOvertakesTheNextOneSignsAlone(backend: Backend) throws {
        let store = try open(backend)
        try store.perform(.addSigningKey(makeKey("x", at: 100)))
        try store.perform(.addSigningKey(makeKey("y", at: 200, activatesAt: 500)))
        try store.perform(.addSigningKey(makeKey("z", at: 300)))
        let keys = try store.perform(.snapshot).keys
        #expect(keys.map(\.kid) == ["z", "y", "x"])
        #expect(keys.map(\.retiredAt?.seconds) == [nil, 300, 300])
        for seconds: Int64 in [299, 300, 499, 500, 9999] {
            let signing = keys.filter { $0.signs(at: WallTime(seconds: seconds)) }
            #expect(signing.map(\.kid) == [seconds < 300 ? "x" : "z"])
        }
    }

    /// A key that never signed need not wait for tokens to end.
    @Test(arguments: Backend.allCases)
    func aKeyThatWasOvertakenInTimeIsSpent(backend: Backend) throws {
        let store = try open(backend)
        try store.perform(.addSigningKey(makeKey("w", at: 50)))
        try store.perform(.addSigningKey(makeKey("x", at: 100, activatesAt: 359)))
        try store.perform(.addSigningKey(makeKey("y", at: 200, activatesAt: 360)))
        try store.perform(.addSigningKey(makeKey("z", at: 300)))
        // `x` was overtaken 59 s before its time: by a clock that runs ahead it may have signed.
        #expect(try store.perform(.removeSigningKeys(endedBefore: WallTime(seconds: 0))) == 1)
        #expect(try store.perform(.snapshot).keys.map(\.kid) == ["z", "x", "w"])
    }

    @Test(arguments: Backend.allCases)
    func onlyARetiredKeyIsRemovedByName(backend: Backend) throws {
        let store = try open(backend)
        try store.perform(.addSigningKey(makeKey("x", at: 100)))
        try store.perform(.addSigningKey(makeKey("y", at: 200, activatesAt: 500)))
        func remove(_ kid: String, _ now: Int64) throws -> Int {
            try store.perform(.removeSigningKey(kid: kid, now: WallTime(seconds: now)))
        }
        #expect(try remove("y", 9999) == 0)
        #expect(try remove("x", 499) == 0)
        #expect(try remove("unknown", 9999) == 0)
        #expect(try remove("x", 500) == 1)
        #expect(try store.perform(.snapshot).keys.map(\.kid) == ["y"])
    }

    /// Whoever made the first key has a clock that is ahead: better to sign with it than not at all.
    @Test func theFirstKeySignsThoughItsTimeHasNotCome() {
        let (first, next) = (makeKey("x", at: 100), makeKey("y", at: 100, activatesAt: 500))
        func signing(_ keys: [SigningKeyRecord]) -> String? {
            SigningKeyRecord.signing(keys, at: WallTime(seconds: 90))?.kid
        }
        #expect(signing([]) == nil)
        #expect(signing([first]) == "x")
        #expect(signing([next, first]) == "x")
        #expect(signing([next, makeKey("w", at: 50), first]) == "w")
        var retired = first
        retired.retiredAt = WallTime(seconds: 80)
        #expect(signing([retired]) == nil)
    }

    @Test(arguments: Backend.allCases)
    func theNextKeyIsAddedOnce(backend: Backend) throws {
        let store = try open(backend)
        func add(_ kid: String, _ activatesAt: Int64, ifNoneAfter: Int64) throws -> Bool {
            try store.perform(
                .addNextSigningKey(
                    makeKey(kid, at: 1, activatesAt: activatesAt),
                    ifNoneAfter: WallTime(seconds: ifNoneAfter)))
        }
        #expect(try add("x", 100, ifNoneAfter: 50))
        #expect(try !add("y", 100, ifNoneAfter: 50))
        #expect(try !add("y", 100, ifNoneAfter: 99))
        #expect(try add("y", 200, ifNoneAfter: 100))
        #expect(try !add("y", 300, ifNoneAfter: 199))
        #expect(throws: StoreError.keyExists(kid: "x")) {
            try add("x", 300, ifNoneAfter: 200)
        }
        #expect(try store.perform(.snapshot).keys.map(\.kid) == ["y", "x"])
    }

    @Test(arguments: Backend.allCases)
    func theFirstKeyIsAddedOnce(backend: Backend) throws {
        let store = try open(backend)
        #expect(try store.perform(.addFirstSigningKey(makeKey("x", at: 100))))
        #expect(try !store.perform(.addFirstSigningKey(makeKey("y", at: 200))))
        #expect(try !store.perform(.addFirstSigningKey(makeKey("x", at: 200))))
        #expect(try store.perform(.snapshot).keys == [makeKey("x", at: 100)])
    }

    @Test(arguments: Backend.allCases)
    func onlyKeysRetiredBeforeAreRemoved(backend: Backend) throws {
        let store = try open(backend)
        for (kid, seconds) in [("x", 100), ("y", 200), ("z", 300)] {
            try store.perform(.addSigningKey(makeKey(kid, at: Int64(seconds))))
        }
        #expect(
            try store.perform(.removeSigningKeys(endedBefore: WallTime(seconds: 200))) == 0)
        #expect(
            try store.perform(.removeSigningKeys(endedBefore: WallTime(seconds: 201))) == 1)
        #expect(
            try store.perform(.removeSigningKeys(endedBefore: WallTime(seconds: 9999))) == 1)
        #expect(try store.perform(.snapshot).keys.map(\.kid) == ["z"])
    }

    @Test(arguments: Backend.allCases)
    func theGenerationGrowsWithEachChangeAndOnlyThen(backend: Backend) throws {
        let store = try open(backend)
        var last = try store.perform(.snapshot).generation
        func grew() throws -> Bool {
            let generation = try store.perform(.snapshot).generation
            defer { last = generation }
            return generation > last
        }
        try store.perform(.addClient(try makeClient("a")))
        #expect(try grew())
        try store.perform(.replaceClient(try makeClient("a")))
        #expect(try grew())
        try store.perform(.removeClient(id: "a"))
        #expect(try grew())
        try store.perform(.addSigningKey(makeKey("x", at: 1)))
        #expect(try grew())
        #expect(throws: StoreError.self) { try store.perform(.removeClient(id: "a")) }
        #expect(throws: StoreError.self) {
            try store.perform(.addSigningKey(makeKey("x", at: 2)))
        }
        try store.perform(.addToken(makeToken(1)))
        _ = try store.perform(.recordOnce(makeOnce(1), now: monday))
        #expect(try !grew())
        guard !store.isShared else { return }
        _ = try store.perform(.beginRun)
        try store.perform(.raiseCeiling(to: 7))
        try store.record(makeNonce(9, 1))
        #expect(try !grew())
    }

    @Test(arguments: Backend.local)
    func aCleanStopHandsItsNoncesOnOnce(backend: Backend) throws {
        let store = try open(backend)
        let first = try store.perform(.beginRun)
        #expect(first.wasClean && first.floor == nil && first.ceiling == nil)
        #expect(first.savedNonces.isEmpty && first.futureNonces.isEmpty)
        #expect(first.replayKey.count == 32)
        try store.perform(.raiseCeiling(to: 100))
        try store.perform(.endRun(savedNonces: [1, 2, 3]))

        let second = try store.perform(.beginRun)
        #expect(second.wasClean && second.floor == nil && second.ceiling == 100)
        #expect(second.savedNonces == [1, 2, 3])
        #expect(second.replayKey == first.replayKey)
        try store.perform(.endRun(savedNonces: []))
        #expect(try store.perform(.beginRun).savedNonces.isEmpty)
    }

    @Test(arguments: Backend.local)
    func theCeilingNeverSinksAndTakesTheNoncesBelowItAway(backend: Backend) throws {
        let store = try open(backend)
        _ = try store.perform(.beginRun)
        try store.perform(.raiseCeiling(to: 100))
        for nonce in [makeNonce(103, 1), makeNonce(101, 2), makeNonce(102, 3), makeNonce(102, 3)] {
            try store.record(nonce)
        }
        try store.perform(.raiseCeiling(to: 101))
        try store.perform(.raiseCeiling(to: 50))
        try store.perform(.endRun(savedNonces: []))
        let next = try store.perform(.beginRun)
        #expect(next.ceiling == 101)
        #expect(next.futureNonces == [makeNonce(102, 3), makeNonce(103, 1)])
    }

    @Test(arguments: Backend.local)
    func outsideARunNothingOfItIsTaken(backend: Backend) throws {
        let store = try open(backend)
        func refuses() {
            #expect(throws: StoreError.noRun) { try store.perform(.raiseCeiling(to: 1)) }
            #expect(throws: StoreError.noRun) { try store.record(makeNonce(1, 1)) }
            #expect(throws: StoreError.noRun) { try store.perform(.endRun(savedNonces: [])) }
        }
        refuses()
        _ = try store.perform(.beginRun)
        #expect(throws: StoreError.self) { try store.perform(.beginRun) }
        try store.perform(.endRun(savedNonces: []))
        refuses()
    }

    @Test(arguments: Backend.allCases)
    func theObserverSeesWhatChangedSinceItsSnapshot(backend: Backend) throws {
        let store = try open(backend)
        let before = try store.perform(.snapshot)
        try store.perform(.addClient(try makeClient("a")))
        let seen = Seen()
        try store.observeChanges(since: before.generation, revocationsSince: 0) { seen.add($0) }
        #expect(seen.clients() == .success(["a"]))
        try store.perform(.addClient(try makeClient("b")))
        #expect(seen.clients() == .success(["a", "b"]))
        // Neither reading nor replay state is a change: had one been told, it would come first.
        _ = try store.perform(.snapshot)
        if !store.isShared { _ = try store.perform(.beginRun) }
        try store.perform(.addToken(makeToken(1)))
        try store.perform(.removeClient(id: "a"))
        #expect(seen.clients() == .success(["b"]))
        store.close()
        #expect(seen.isEmpty)
    }

    @Test(arguments: Backend.local)
    func closingFinishesWhatWaitsAndRefusesTheRest(backend: Backend) throws {
        let store = try open(backend)
        _ = try store.perform(.beginRun)
        let results = Mutex<[String]>([])
        for number in 0..<50 {
            let client = try makeClient("client \(number)")
            store.submit(.addClient(client)) { result in
                results.withLock { $0.append("\(number) \((try? result.get()) != nil)") }
            }
            store.recordFutureNonce(makeNonce(Int64(number), 1)) { result in
                results.withLock { $0.append("nonce \(number) \((try? result.get()) != nil)") }
            }
        }
        store.close()
        let expected = (0..<50).flatMap { ["\($0) true", "nonce \($0) true"] }
        #expect(results.withLock { $0 } == expected)
        #expect(throws: StoreError.closed) { try store.perform(.snapshot) }
        #expect(throws: StoreError.closed) { try store.record(makeNonce(1, 1)) }
        store.close()
    }
}

/// What an observer was told, to be waited for.
final class Seen: Sendable {
    private let told = Mutex<[Result<StoreNews, StoreError>]>([])
    private let arrived = DispatchSemaphore(value: 0)

    func add(_ result: Result<StoreNews, StoreError>) {
        told.withLock { $0.append(result) }
        arrived.signal()
    }

    /// The oldest that was not yet taken; nil when none comes within ten seconds.
    func next() -> Result<StoreNews, StoreError>? {
        guard arrived.wait(timeout: .now() + 10) == .success else { return nil }
        return told.withLock { $0.isEmpty ? nil : $0.removeFirst() }
    }

    /// The ids of the clients in the next news.
    func clients() -> Result<[String]?, StoreError>? {
        next()?.map { $0.snapshot?.clients.map(\.id) }
    }

    var isEmpty: Bool { told.withLock { $0.isEmpty } }
}
