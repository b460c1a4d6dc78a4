import Cryptography
import Dispatch
import Foundation
import Primitives
import Synchronization
import Testing

@testable import Store

/// Tokens, revocations and what may be used once: what every backend does alike.
struct TokenTests {
    private let bench: Bench

    init() throws { bench = try Bench() }

    @Test(arguments: Backend.allCases)
    func aTokenComesBackAsItWasGivenUntilItExpires(backend: Backend) throws {
        let store = try bench.open(backend)
        let tokens = [
            makeToken(1), makeToken(2, .oauth1Request, secret: "shared \u{0} secret"),
            makeToken(6, .oauth1Access, secret: ""),
        ]
        for token in tokens { try store.perform(.addToken(token)) }
        for token in tokens {
            #expect(try store.perform(.token(id: token.id, now: monday)) == token)
            #expect(try store.perform(.token(id: token.id, now: monday.after(599))) == token)
            #expect(try store.perform(.token(id: token.id, now: monday.after(600))) == nil)
        }
        #expect(try store.perform(.token(id: makeToken(3).id, now: monday)) == nil)
    }

    @Test(arguments: Backend.allCases)
    func aTokenIsRemovedOnce(backend: Backend) throws {
        let store = try bench.open(backend)
        try store.perform(.addToken(makeToken(1)))
        #expect(try store.perform(.removeToken(id: makeToken(1).id)))
        #expect(try !store.perform(.removeToken(id: makeToken(1).id)))
        #expect(try store.perform(.token(id: makeToken(1).id, now: monday)) == nil)
    }

    @Test(arguments: Backend.allCases)
    func aTokenIsExchangedOnceAndNotWhenItHasExpired(backend: Backend) throws {
        let store = try bench.open(backend)
        let request = makeToken(1, .oauth1Request, secret: "a")
        let access = makeToken(2, .oauth1Access, secret: "b")
        try store.perform(.addToken(request))
        let late = monday.after(600)
        #expect(try !store.perform(.exchangeToken(id: request.id, for: access, now: late)))
        #expect(try store.perform(.token(id: access.id, now: monday)) == nil)
        #expect(try store.perform(.exchangeToken(id: request.id, for: access, now: monday)))
        #expect(try store.perform(.token(id: request.id, now: monday)) == nil)
        #expect(try store.perform(.token(id: access.id, now: monday)) == access)
        #expect(try !store.perform(.exchangeToken(id: request.id, for: access, now: monday)))
    }

    @Test(arguments: Backend.allCases)
    func somethingIsUsedOnceInItsSpace(backend: Backend) throws {
        let store = try bench.open(backend)
        for space in OneTimeID.Space.allCases {
            #expect(try store.perform(.recordOnce(makeOnce(1, space), now: monday)) == .accepted)
        }
        for space in OneTimeID.Space.allCases {
            #expect(try store.perform(.recordOnce(makeOnce(1, space), now: monday)) == .reused)
        }
        #expect(try store.perform(.recordOnce(makeOnce(2), now: monday)) == .accepted)
        let withoutTimestamp = OneTimeID(
            space: .dpop, fingerprint: [UInt8](repeating: 8, count: 32), timestamp: nil,
            expiresAt: monday.after(60))
        #expect(try store.perform(.recordOnce(withoutTimestamp, now: monday)) == .accepted)
        #expect(try store.perform(.recordOnce(withoutTimestamp, now: monday)) == .reused)
    }

    @Test(arguments: Backend.allCases)
    func whatHasExpiredIsNeverAccepted(backend: Backend) throws {
        let store = try bench.open(backend)
        let id = makeOnce(1)
        #expect(try store.perform(.recordOnce(id, now: monday.after(600))) == .belowFloor)
        #expect(try store.perform(.recordOnce(id, now: monday.after(599))) == .accepted)
        #expect(try store.perform(.recordOnce(id, now: monday.after(600))) == .belowFloor)
    }

    @Test(arguments: Backend.allCases)
    func manyThatWaitTogetherAreDoneInTheirOrder(backend: Backend) throws {
        let store = try bench.open(backend)
        let count = 3 * StoreThread.batchLimit + 7
        let verdicts = Mutex<[OneTimeVerdict?]>([])
        let done = DispatchSemaphore(value: 0)
        for number in 0..<count {
            // Each is used twice, one behind the other.
            let half = UInt64(number / 2)
            let id = OneTimeID(
                space: .dpop,
                fingerprint: (0..<16).map { UInt8(truncatingIfNeeded: half >> (8 * ($0 % 8))) },
                timestamp: monday.seconds, expiresAt: monday.after(600))
            store.submit(.recordOnce(id, now: monday)) { result in
                verdicts.withLock { $0.append(try? result.get()) }
                if number == count - 1 { done.signal() }
            }
        }
        #expect(done.wait(timeout: .now() + 30) == .success)
        let expected = (0..<count).map { $0 % 2 == 0 ? OneTimeVerdict.accepted : .reused }
        #expect(verdicts.withLock { $0 } == expected)
    }

    @Test(arguments: Backend.allCases)
    func revocationsAreToldOnceAndNeverNarrowed(backend: Backend) throws {
        let store = try bench.open(backend)
        let first = try store.perform(.revocations(after: 0))
        #expect(first.revocations.isEmpty && first.snapshot == nil)
        let token = Revocation(
            .token(issuer: "https://a/", id: "jti \u{0} 1"), issuedBefore: monday,
            until: monday.after(60))
        let client = Revocation(.client(id: "a"), issuedBefore: monday, until: monday.after(600))
        try store.perform(.revoke(token))
        try store.perform(.revoke(client))
        let both = try store.perform(.revocations(after: first.through))
        #expect(both.revocations == [token, client])
        #expect(try store.perform(.revocations(after: both.through)).revocations.isEmpty)

        // The same again, or less of it, is no news.
        try store.perform(.revoke(client))
        let narrower = Revocation(
            .client(id: "a"), issuedBefore: monday.after(-5), until: monday.after(5))
        try store.perform(.revoke(narrower))
        #expect(try store.perform(.revocations(after: both.through)).revocations.isEmpty)

        let later = Revocation(
            .client(id: "a"), issuedBefore: monday.after(5), until: monday.after(5))
        try store.perform(.revoke(later))
        let wider = Revocation(
            .client(id: "a"), issuedBefore: monday.after(5), until: monday.after(600))
        #expect(try store.perform(.revocations(after: both.through)).revocations == [wider])
        #expect(try store.perform(.revocations(after: 0)).revocations == [token, wider])
        // Whoever has seen more than there is has seen another store: all of it is told.
        let all = try store.perform(.revocations(after: .max))
        #expect(all.revocations == [token, wider])
    }

    @Test(arguments: Backend.allCases)
    func theObserverHearsOfRevocationsAndNothingElseOfThem(backend: Backend) throws {
        let store = try bench.open(backend)
        let before = try store.perform(.snapshot)
        let known = Revocation(.client(id: "known"), issuedBefore: monday, until: monday.after(60))
        try store.perform(.revoke(known))
        let through = try store.perform(.revocations(after: 0)).through
        let seen = Seen()
        try store.observeChanges(since: before.generation, revocationsSince: through) {
            seen.add($0)
        }
        let new = Revocation(.client(id: "new"), issuedBefore: monday, until: monday.after(60))
        try store.perform(.revoke(new))
        let news = try #require(try seen.next()?.get())
        #expect(news.snapshot == nil && news.revocations == [new] && news.through > through)
        try store.perform(.addClient(try makeClient("a")))
        let second = try #require(try seen.next()?.get())
        #expect(second.snapshot?.clients.map(\.id) == ["a"] && second.revocations.isEmpty)
        #expect(second.through == news.through)
    }

    @Test(arguments: Backend.local)
    func whatHasExpiredGoesInSmallSteps(backend: Backend) throws {
        // No step of the thread's own comes in between.
        let store = try bench.open(backend, pollInterval: .seconds(3600))
        for byte in 0..<UInt8(200) {
            try store.perform(.addToken(makeToken(byte, lives: 10)))
            _ = try store.perform(.recordOnce(makeOnce(byte, lives: 20), now: monday))
            try store.perform(
                .revoke(
                    Revocation(
                        .client(id: "\(byte)"), issuedBefore: monday, until: monday.after(30))))
        }
        try store.perform(.addToken(makeToken(255, lives: 1000)))
        func purge(_ seconds: Int64, limit: Int) throws -> Int {
            try store.perform(
                StoreOperation<Int> { backend throws(StoreError) in
                    try backend.purge(expiredAt: monday.after(seconds), limit: limit)
                })
        }
        #expect(try purge(9, limit: 500) == 0)
        #expect(try purge(10, limit: 150) == 150)
        #expect(try purge(10, limit: 150) == 50)
        var steps: [Int] = []
        repeat { steps.append(try purge(30, limit: 70)) } while steps.last != 0
        #expect(steps.reduce(0, +) == 400)
        #expect(steps.allSatisfy { $0 <= 70 })
        #expect(try store.perform(.token(id: makeToken(255).id, now: monday)) != nil)
        #expect(try store.perform(.revocations(after: 0)).revocations.isEmpty)
    }

    /// Each is sealed by a key of its own; those of before, by the one key, still open.
    @Test func theSecretsOfTokensSharePlacesAndKeysWithNobody() throws {
        let key = try SecretsKey.generate().secret
        let seal = Seal(key: key)
        let secret = Secret(utf8: "a token's secret")
        let (one, two) = (makeToken(1).id, makeToken(2).id)
        let sealed = try seal.close(secret, .tokenSecret(id: one))
        #expect(try seal.open(sealed, .tokenSecret(id: one)) == secret)
        #expect(throws: StoreError.self) { try seal.open(sealed, .tokenSecret(id: two)) }
        let place = Array("token.secret\0".utf8) + one
        #expect(throws: CryptographyError.notAuthentic) {
            try AESGCM.open(sealed, key: key, additionalData: place)
        }
        let old = try AESGCM.seal(secret.exposed, key: key, additionalData: place)
        #expect(try seal.open(old, .tokenSecret(id: one)) == secret)
        #expect(throws: StoreError.self) { try seal.open(old, .tokenSecret(id: two)) }
    }

    @Test(arguments: Backend.local)
    func theThreadPurgesByItself(backend: Backend) throws {
        let store = try bench.open(backend, pollInterval: .milliseconds(5))
        let past = WallTime(seconds: 1000)
        for number in 0..<(3 * StoreThread.purgeLimit) {
            let revocation = Revocation(.client(id: "\(number)"), issuedBefore: past, until: past)
            store.submit(.revoke(revocation)) { _ in }
        }
        let deadline = MonotonicInstant.now() + .seconds(20)
        while try !store.perform(.revocations(after: 0)).revocations.isEmpty {
            try #require(MonotonicInstant.now() < deadline)
        }
    }

    @Test(arguments: Backend.local)
    func aNonceOutsideARunFailsAlone(backend: Backend) throws {
        let store = try bench.open(backend)
        let held = DispatchSemaphore(value: 0)
        store.submit(
            StoreOperation<Void> { _ throws(StoreError) in held.wait() }
        ) { _ in }
        let first = Answer<OneTimeVerdict>()
        let nonce = Answer<Void>()
        let second = Answer<OneTimeVerdict>()
        store.submit(.recordOnce(makeOnce(1), now: monday)) { first.give($0) }
        store.recordFutureNonce(makeNonce(1, 1)) { nonce.give($0) }
        store.submit(.recordOnce(makeOnce(2), now: monday)) { second.give($0) }
        held.signal()
        #expect(first.wait() == .success(.accepted))
        #expect(nonce.wait().failure == .noRun)
        #expect(second.wait() == .success(.accepted))
    }

    @Test func withoutAStoreEverythingFails() throws {
        let store = try StateStore(location: .absent, secretsKey: .generate())
        let away = StoreError.unavailable(reason: "started without store")
        #expect(throws: away) { try store.perform(.snapshot) }
        #expect(throws: away) { try store.perform(.beginRun) }
        #expect(throws: away) { try store.perform(.addToken(makeToken(1))) }
        #expect(throws: away) { try store.perform(.token(id: makeToken(1).id, now: monday)) }
        #expect(throws: away) { try store.perform(.recordOnce(makeOnce(1), now: monday)) }
        #expect(throws: away) { try store.perform(.addClient(try makeClient("a"))) }
        #expect(throws: away) { try store.perform(.addFirstSigningKey(makeKey("k", at: 1))) }
        let seen = Seen()
        try store.observeChanges(since: 0, revocationsSince: 0) { seen.add($0) }
        #expect(seen.next() == .failure(away))
        #expect(!store.isShared)
    }
}
