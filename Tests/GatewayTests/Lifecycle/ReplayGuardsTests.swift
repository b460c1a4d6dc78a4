import Configuration
import OAuth
import Primitives
import Store
import TestSupport
import Testing

@testable import Gateway

/// What one run of a gateway hands on to the next, whatever the conf is then.
struct ReplayGuardsTests {
    private static let now: Int64 = 1_800_000_000

    private static func configuration(
        _ store: StoreConfiguration, lifetime: Duration = .seconds(60)
    ) -> Configuration {
        var configuration = Configuration()
        configuration.store = store
        configuration.dpop.proofLifetime = lifetime
        configuration.oauth1.timestampWindow = lifetime
        return configuration
    }

    private static func open(_ folder: TemporaryDirectory) throws -> StateStore {
        try StateStore(
            location: .sqlite(path: folder.file("state.db")),
            secretsKey: SecretsKey.loadOrMake(path: folder.file("secrets.key")))
    }

    private static func claim(
        _ table: ReplayGuard, _ name: String, at timestamp: Int64, now: Int64 = now
    ) -> ReplayGuard.Verdict {
        table.claim(
            consumer: "c", token: "t", timestamp: timestamp, nonce: name,
            now: WallTime(seconds: now))
    }

    /// 50 of each kind at two moments, of which those of the first are dropped; then a clean stop, and a longer lifetime.
    @Test func aCleanStopHandsOnWhatWasUsedAndWhatWasDropped() throws {
        let folder = try TemporaryDirectory()
        let short = Self.configuration(.sqlite(path: ""), lifetime: .seconds(2))
        var store = try Self.open(folder)
        let first = ReplayGuards(
            short, try store.perform(.beginRun), now: WallTime(seconds: Self.now))
        let later = Self.now + 100
        first.raiseCeiling(to: later + 3)
        for table in [first.nonces, first.proofs] {
            for number in 0..<200 {
                #expect(Self.claim(table, "\(number)", at: Self.now) == .accepted)
            }
            for number in 0..<200 {
                #expect(Self.claim(table, "x\(number)", at: later, now: later) == .accepted)
            }
            #expect(table.count < 400)
        }
        try store.perform(.endRun(savedNonces: first.saved))
        store.close()

        store = try Self.open(folder)
        let second = ReplayGuards(
            Self.configuration(.sqlite(path: ""), lifetime: .seconds(300)),
            try store.perform(.beginRun), now: WallTime(seconds: later))
        second.raiseCeiling(to: later + 3)
        for table in [second.nonces, second.proofs] {
            for number in 0..<200 {
                #expect(Self.claim(table, "\(number)", at: Self.now, now: later) == .belowFloor)
                #expect(Self.claim(table, "x\(number)", at: later, now: later) == .reused)
            }
            #expect(Self.claim(table, "new", at: later, now: later) == .accepted)
        }
        // A nonce may be used again at another time, the name of a proof may not.
        #expect(Self.claim(second.nonces, "x0", at: later + 1, now: later) == .accepted)
        #expect(Self.claim(second.proofs, "x0", at: later + 1, now: later) == .reused)
        store.close()
    }

    /// Bytes of another version: as after a crash.
    @Test(arguments: [[], Array(repeating: 7, count: 32), Array("gatehouse nonces".utf8)])
    func whatCannotBeReadLetsNothingPassAgain(saved: [UInt8]) throws {
        let folder = try TemporaryDirectory()
        let configuration = Self.configuration(.sqlite(path: ""))
        var store = try Self.open(folder)
        _ = try store.perform(.beginRun)
        try store.perform(.raiseCeiling(to: Self.now + 3))
        try store.perform(.endRun(savedNonces: saved))
        store.close()
        store = try Self.open(folder)
        let guards = ReplayGuards(
            configuration, try store.perform(.beginRun), now: WallTime(seconds: Self.now))
        guards.raiseCeiling(to: Self.now + 6)
        for table in [guards.nonces, guards.proofs] {
            #expect(Self.claim(table, "n", at: Self.now + 3) == .belowFloor)
            #expect(Self.claim(table, "n", at: Self.now + 4) == .accepted)
        }
        store.close()
    }

    /// What is in memory knows nothing of the run before it, whose tokens may live; consumers of OAuth 1.0 are let in
    /// at once.
    @Test func inMemoryNoProofOfBeforeTheStartPasses() throws {
        var configuration = Self.configuration(.memory)
        configuration.dpop.clockSkew = .seconds(5)
        let store = try StateStore(location: .memory, secretsKey: SecretsKey.generate())
        let guards = ReplayGuards(
            configuration, try store.perform(.beginRun), now: WallTime(seconds: Self.now))
        guards.raiseCeiling(to: Self.now + 6)
        for offset in [-60, -1, 0, 5] as [Int64] {
            #expect(Self.claim(guards.proofs, "\(offset)", at: Self.now + offset) == .belowFloor)
            #expect(Self.claim(guards.nonces, "\(offset)", at: Self.now + offset) == .accepted)
        }
        #expect(Self.claim(guards.proofs, "n", at: Self.now + 6, now: Self.now + 6) == .accepted)
        store.close()
    }

    /// Until the first ceiling has been stored, and where it cannot be.
    @Test func nothingCountsAsDurableThatWasNotStored() throws {
        let folder = try TemporaryDirectory()
        for ceiling in [nil, Self.now] {
            let store = try Self.open(folder)
            let start = try store.perform(.beginRun)
            #expect(start.ceiling == ceiling)
            let guards = ReplayGuards(
                Self.configuration(.sqlite(path: "")), start, now: WallTime(seconds: Self.now))
            for table in [guards.nonces, guards.proofs] {
                for timestamp in [Self.now + 1, Self.now + 60] {
                    guard case .aboveCeiling = Self.claim(table, "n", at: timestamp) else {
                        Issue.record("\(timestamp) counted as durable")
                        continue
                    }
                }
            }
            try store.perform(.raiseCeiling(to: Self.now))
            store.close()
        }
    }

    /// A full table of one kind leaves the other alone.
    @Test func eachKindHasItsOwnRoom() throws {
        let store = try StateStore(location: .memory, secretsKey: SecretsKey.generate())
        let guards = ReplayGuards(
            Self.configuration(.sqlite(path: "")), try store.perform(.beginRun),
            now: WallTime(seconds: Self.now))
        guards.raiseCeiling(to: Self.now + 3)
        for number in 0..<100 {
            #expect(Self.claim(guards.proofs, "\(number)", at: Self.now) == .accepted)
        }
        #expect(guards.proofs.count == 100 && guards.nonces.count == 0)
        store.close()
    }
}
