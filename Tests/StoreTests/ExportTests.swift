import Dispatch
import Foundation
import Primitives
import Synchronization
import TestSupport
import Testing

@testable import Store

/// What leaves one store by an export is all in another, of whatever kind.
struct ExportTests {
    private static let kinds: [Backend] = [.memory, .sqlite, .redis, .redisWithACL]

    private let source: Bench
    private let target: Bench

    init() throws {
        source = try Bench()
        target = try Bench(key: source.key)
    }

    private func lines(_ store: StateStore) throws -> [String] {
        let lines = Mutex<[String]>([])
        let exported = try store.export(liveAt: monday) { line in lines.withLock { $0.append(line) }
        }
        #expect(exported.count == lines.withLock { $0.count } - 1 && exported.faults.isEmpty)
        return lines.withLock { $0 }
    }

    private func restore(_ lines: [String], _ store: StateStore) throws -> ImportedRecords {
        var rest = lines[...]
        return try store.restore(now: monday) { rest.popFirst() }
    }

    private let revocation = Revocation(
        .token(issuer: "https://a/", id: "jti \u{0}"), issuedBefore: monday,
        until: monday.after(60))

    private func fill(_ store: StateStore) throws {
        try store.perform(.addClient(try makeClient("a", oauth1: "a secret to be found")))
        var bound = try makeClient("b")
        bound.requiresProof = true
        try store.perform(.addClient(bound))
        for (kid, begin) in [("x", 100), ("y", 200), ("z", 300)] {
            try store.perform(.addSigningKey(makeKey(kid, at: 100, activatesAt: Int64(begin))))
        }
        try store.perform(.addToken(makeToken(1, .oauth1Access, secret: "a token's secret")))
        try store.perform(.addToken(makeToken(2)))
        try store.perform(.revoke(revocation))
        _ = try store.perform(.recordOnce(makeOnce(7, .dpop), now: monday))
    }

    @Test(arguments: kinds, kinds)
    func allOfItComesBack(from: Backend, to: Backend) throws {
        let old = try source.open(from)
        try fill(old)
        let lines = try lines(old)
        let text = lines.joined()
        #expect(!text.contains("a secret to be found") && !text.contains("a token's secret"))
        #expect(!text.contains("private key of"))

        let new = try target.open(to)
        let imported = try restore(lines, new)
        #expect(
            imported
                == ImportedRecords(
                    clients: 2, keys: 3, tokens: 2, revocations: 1, oneTimeIDs: 1))
        let (before, after) = (try old.perform(.snapshot), try new.perform(.snapshot))
        #expect(after.clients == before.clients && after.keys == before.keys)
        let token = makeToken(1, .oauth1Access, secret: "a token's secret")
        #expect(try new.perform(.token(id: token.id, now: monday)) == token)
        #expect(try new.perform(.revocations(after: 0)).revocations == [revocation])
        #expect(try new.perform(.recordOnce(makeOnce(7, .dpop), now: monday)) == .reused)
        #expect(throws: StoreError.notEmpty) { try restore(lines, new) }
    }

    @Test(arguments: [Backend.sqlite, .redis])
    func aSpoiltExportLeavesClientsAndKeysOut(backend: Backend) throws {
        let old = try source.open(.memory)
        try fill(old)
        let whole = try lines(old)
        let new = try target.open(backend)
        for (number, line) in [(3, "not JSON"), (2, "{}"), (1, "{}"), (4, "")] {
            var spoilt = whole
            spoilt[number - 1] = line
            let error = #expect(throws: StoreError.self) { try restore(spoilt, new) }
            guard case .badExport(number, _) = error else {
                Issue.record("\(number): \(String(describing: error))")
                continue
            }
        }
        #expect(throws: StoreError.badExport(line: 1, reason: "it is empty")) {
            try restore([], new)
        }
        // A sealed secret in another client's line does not open there.
        var moved = whole
        moved[1] = whole[1].replacing(#""id":"a""#, with: #""id":"c""#)
        #expect(throws: StoreError.self) { try restore(moved, new) }
        #expect(try new.perform(.snapshot).clients.isEmpty)
        #expect(try restore(whole, new).clients == 2)
    }

    @Test func anotherSecretsKeyIsRefusedBeforeAnything() throws {
        let old = try source.open(.memory)
        try fill(old)
        let other = try Bench().open(.sqlite)
        let lines = try lines(old)
        #expect(throws: StoreError.wrongKey) { try restore(lines, other) }
        #expect(try other.perform(.revocations(after: 0)).revocations.isEmpty)
    }

    @Test func whatHasExpiredIsLeftOut() throws {
        let store = try source.open(.sqlite)
        try fill(store)
        let lines = Mutex<[String]>([])
        _ = try store.export(liveAt: monday.after(601)) { line in
            lines.withLock { $0.append(line) }
        }
        // The head, two clients, three keys.
        #expect(lines.withLock { $0.count } == 6)
    }

    /// Others write all the time: what was there before is in it, clients and keys stand as they did at one moment, and
    /// another store takes it.
    @Test(arguments: [Backend.redis, .sqlite])
    func aStoreInUseIsExportedWhole(backend: Backend) throws {
        let (store, other) = (try source.open(backend), try source.open(backend))
        let before = (0..<1500).map { number in
            StoredToken(
                id: Array(repeating: UInt8(number >> 8), count: 31) + [UInt8(number & 0xFF)],
                kind: .access, clientID: "before", issuedAt: monday, expiresAt: monday.after(600))
        }
        for token in before { try store.perform(.addToken(token)) }
        for id in ["left", "right"] { try store.perform(.addClient(try makeClient(id))) }
        try store.perform(.addSigningKey(makeKey("0", at: 100)))
        try store.perform(.revoke(revocation))
        _ = try store.perform(.recordOnce(makeOnce(7, .dpop), now: monday))

        let state = Mutex((isOver: false, rounds: 0, fault: nil as (any Error)?))
        let writer = DispatchGroup()
        DispatchQueue.global().async(group: writer) {
            while !state.withLock({ $0.isOver }) {
                do {
                    try change(other, state.withLock { $0.rounds })
                } catch {
                    state.withLock { $0.fault = error }
                    return
                }
                state.withLock { $0.rounds += 1 }
            }
        }
        // Each while something was written.
        for _ in 0..<3 {
            let rounds = state.withLock { $0.rounds }
            #expect(eventually { state.withLock { $0.rounds > rounds || $0.fault != nil } })
            try expectWhole(lines(store), before)
        }
        state.withLock { $0.isOver = true }
        writer.wait()
        #expect(state.withLock { $0.fault } == nil)
    }

    /// Everything that gateways and commands do: tokens come and go, a client goes and comes, another is changed, keys
    /// change.
    private func change(_ store: StateStore, _ round: Int) throws {
        let id = (0..<32).map { UInt8(truncatingIfNeeded: round &* 31 &+ $0) | 0x80 }
        let token = StoredToken(
            id: id, kind: .access, clientID: "during", issuedAt: monday,
            expiresAt: monday.after(600))
        try store.perform(.addToken(token))
        if round % 2 == 0 { _ = try store.perform(.removeToken(id: id)) }
        _ = try store.perform(
            .recordOnce(
                OneTimeID(
                    space: .dpop, fingerprint: id, timestamp: monday.seconds,
                    expiresAt: monday.after(600)), now: monday))
        try store.perform(
            .revoke(
                Revocation(
                    .token(issuer: "during", id: "\(round)"), issuedBefore: monday,
                    until: monday.after(60))))
        // Never both away: one goes when the other has come.
        let (gone, come) = round % 2 == 0 ? ("left", "right") : ("right", "left")
        if round > 1 { try store.perform(.addClient(try makeClient(come))) }
        if round > 0 { try store.perform(.removeClient(id: gone)) }
        let key = makeKey("\(round + 1)", at: 200 + Int64(round))
        try store.perform(.addSigningKey(key))
        _ = try store.perform(
            .removeSigningKeys(endedBefore: WallTime(seconds: 200 + Int64(round) - 5)))
    }

    private func expectWhole(_ lines: [String], _ before: [StoredToken]) throws {
        let new = try Bench(key: source.key).open(.sqlite)
        let imported = try restore(lines, new)
        #expect(imported.tokens >= before.count && imported.clients >= 1)
        for token in before {
            #expect(try new.perform(.token(id: token.id, now: monday)) == token)
        }
        #expect(try new.perform(.revocations(after: 0)).revocations.contains(revocation))
        #expect(try new.perform(.recordOnce(makeOnce(7, .dpop), now: monday)) == .reused)
        let snapshot = try new.perform(.snapshot)
        #expect(snapshot.keys.count { $0.retiredAt == nil } == 1)
        // Each one ends when the next begins.
        for (newer, older) in zip(snapshot.keys, snapshot.keys.dropFirst()) {
            #expect(older.retiredAt == newer.activatesAt)
        }
    }
}
