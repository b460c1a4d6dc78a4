import Foundation
import Primitives
import Synchronization
import Testing

@testable import Store

/// What every backend does alike; each test runs on all of them.
struct BehaviourTests {
    enum Backend: CaseIterable { case memory, sqlite }

    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func open(_ backend: Backend) throws -> StateStore {
        try StateStore(
            location: backend == .memory ? .memory : .sqlite(path: folder.file("state.db")),
            secretsKey: .generate(), pollInterval: .milliseconds(10))
    }

    @Test(arguments: Backend.allCases)
    func aNewStoreIsEmpty(backend: Backend) throws {
        let snapshot = try open(backend).perform(.snapshot)
        #expect(snapshot.clients.isEmpty)
        #expect(snapshot.keys.isEmpty)
        #expect(snapshot.currentKey == nil)
    }

    @Test(arguments: Backend.allCases)
    func aClientComesBackAsItWasGiven(backend: Backend) throws {
        let store = try open(backend)
        let clients = [
            try makeClient("b", oauth1: "shared \u{0} secret"), try makeClient("a"),
            StoredClient(id: "ünï \"quoted\" ' ; --", createdAt: monday),
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
        #expect(try store.perform(.snapshot).clients.first?.oauth1Secret == nil)
    }

    @Test(arguments: Backend.allCases)
    func aReplacedClientKeepsItsAge(backend: Backend) throws {
        let store = try open(backend)
        var client = try makeClient("a", oauth1: "old")
        try store.perform(.addClient(client))
        client.scopes = []
        client.oauth1Secret = Secret(utf8: "new")
        client.secretHashes.append(try ClientSecretHash.another())
        let later = client.created(at: WallTime(seconds: monday.seconds + 60))
        try store.perform(.replaceClient(later))
        #expect(try store.perform(.snapshot).clients == [client])
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
        let hash = try ClientSecretHash.another()
        let refused = [
            StoredClient(id: "a", secretHashes: ["hunter2"], createdAt: monday),
            StoredClient(id: "a", secretHashes: [hash, hash, hash], createdAt: monday),
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
        #expect(try store.perform(.snapshot).currentKey?.kid == "z")
        #expect(throws: StoreError.keyExists(kid: "x")) {
            try store.perform(.addSigningKey(makeKey("x", at: 400)))
        }
        #expect(try store.perform(.snapshot).currentKey?.kid == "z")
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
            try store.perform(.removeSigningKeys(retiredBefore: WallTime(seconds: 200))) == 0)
        #expect(
            try store.perform(.removeSigningKeys(retiredBefore: WallTime(seconds: 201))) == 1)
        #expect(
            try store.perform(.removeSigningKeys(retiredBefore: WallTime(seconds: 9999))) == 1)
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
        _ = try store.perform(.beginRun)
        try store.perform(.raiseCeiling(to: 7))
        try store.record(makeNonce(9, 1))
        #expect(try !grew())
    }

    @Test(arguments: Backend.allCases)
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

    @Test(arguments: Backend.allCases)
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

    @Test(arguments: Backend.allCases)
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
        try store.observeChanges(since: before.generation) { seen.add($0) }
        #expect(seen.next()?.map { $0.clients.map(\.id) } == .success(["a"]))
        try store.perform(.addClient(try makeClient("b")))
        #expect(seen.next()?.map { $0.clients.map(\.id) } == .success(["a", "b"]))
        // Neither reading nor replay state is a change: had one been told, it would come first.
        _ = try store.perform(.snapshot)
        _ = try store.perform(.beginRun)
        try store.perform(.removeClient(id: "a"))
        #expect(seen.next()?.map { $0.clients.map(\.id) } == .success(["b"]))
        store.close()
        #expect(seen.isEmpty)
    }

    @Test(arguments: Backend.allCases)
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

enum ClientSecretHash {
    static func another() throws -> String {
        try makeClient("another").secretHashes[0]
    }
}

/// What an observer was told, to be waited for.
final class Seen: Sendable {
    private let told = Mutex<[Result<StoreSnapshot, StoreError>]>([])
    private let arrived = DispatchSemaphore(value: 0)

    func add(_ result: Result<StoreSnapshot, StoreError>) {
        told.withLock { $0.append(result) }
        arrived.signal()
    }

    /// The oldest that was not yet taken; nil when none comes within ten seconds.
    func next() -> Result<StoreSnapshot, StoreError>? {
        guard arrived.wait(timeout: .now() + 10) == .success else { return nil }
        return told.withLock { $0.isEmpty ? nil : $0.removeFirst() }
    }

    var isEmpty: Bool { told.withLock { $0.isEmpty } }
}
