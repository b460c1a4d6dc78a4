import Foundation
import Primitives
import Synchronization
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
}
