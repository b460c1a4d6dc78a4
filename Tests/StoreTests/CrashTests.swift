import Foundation
import Primitives
import Testing

@testable import Store

/// What a `kill -9` or a loss of power leaves: the database and its log as they are on the disk at that moment.
struct CrashTests {
    private let folder: TemporaryFolder
    private let key: SecretsKey

    init() throws {
        folder = try TemporaryFolder()
        key = try .generate()
    }

    private func open(_ name: String = "state.db") throws(StoreError) -> StateStore {
        try StateStore(location: .sqlite(path: folder.file(name)), secretsKey: key)
    }

    @Test func everythingAcknowledgedIsInTheCopy() throws {
        let store = try open()
        let run = try store.perform(.beginRun)
        for number in 0..<20 {
            try store.perform(.addClient(try makeClient("client \(10 + number)", oauth1: "s")))
            try store.perform(.addSigningKey(makeKey("kid \(number)", at: Int64(number))))
            try store.perform(.raiseCeiling(to: Int64(1000 + number)))
            let nonce = makeNonce(Int64(1001 + number), UInt8(number))
            try store.record(nonce)
            let acknowledged = try store.perform(.snapshot)

            let copy = "crash \(number).db"
            try folder.copyDatabase("state.db", to: copy)
            let recovered = try open(copy)
            #expect(try recovered.perform(.snapshot) == acknowledged)
            let start = try recovered.perform(.beginRun)
            #expect(!start.wasClean)
            #expect(start.floor == Int64(1000 + number))
            #expect(start.ceiling == Int64(1000 + number))
            #expect(start.futureNonces == [nonce])
            #expect(start.replayKey == run.replayKey)
            #expect(start.savedNonces.isEmpty)
        }
    }

    /// A log that was cut anywhere holds a prefix of the history: whole changes, in their order.
    @Test func aTornLogHoldsWholeChangesOnly() throws {
        let store = try open()
        for number in 0..<30 {
            try store.perform(.addClient(try makeClient("client \(10 + number)")))
        }
        let all = try store.perform(.snapshot).clients
        try folder.copyDatabase("state.db", to: "whole.db")
        let database = try folder.read("whole.db")
        let log = try folder.read("whole.db-wal")
        var counts: [Int] = []
        for cut in stride(from: 0, through: log.count, by: 3001) {
            let name = "cut \(cut).db"
            try folder.write(database, to: name)
            try folder.write(Array(log.prefix(cut)), to: name + "-wal")
            let recovered = try open(name)
            let clients = try recovered.perform(.snapshot).clients
            #expect(clients == Array(all.prefix(clients.count)))
            counts.append(clients.count)
        }
        #expect(counts.first == 0)
        #expect(counts == counts.sorted())
        #expect(Set(counts).count > 10)
        #expect(try open("whole.db").perform(.snapshot).clients == all)
    }

    @Test func aStopWithoutAnEndKeepsTheFloorOverSeveralCrashes() throws {
        var store = try open()
        _ = try store.perform(.beginRun)
        try store.perform(.raiseCeiling(to: 500))
        store.close()
        for _ in 0..<3 {
            store = try open()
            let start = try store.perform(.beginRun)
            #expect(!start.wasClean && start.floor == 500)
            store.close()
        }
    }

    /// The nonces of a clean stop were in the memory of the run that crashed; its floor must cover them.
    @Test func aCrashRightAfterACleanStartHasTheCeilingOfTheRunBeforeAsItsFloor() throws {
        let first = try open()
        _ = try first.perform(.beginRun)
        try first.perform(.raiseCeiling(to: 500))
        try first.record(makeNonce(600, 1))
        try first.perform(.endRun(savedNonces: [1, 2, 3]))
        first.close()

        let second = try open()
        #expect(try second.perform(.beginRun).savedNonces == [1, 2, 3])
        second.close()

        let third = try open()
        let start = try third.perform(.beginRun)
        #expect(!start.wasClean && start.floor == 500 && start.savedNonces.isEmpty)
        #expect(start.futureNonces == [makeNonce(600, 1)])
    }

    @Test func aCrashBeforeAnyCeilingHasNoFloor() throws {
        let first = try open()
        _ = try first.perform(.beginRun)
        try first.record(makeNonce(600, 1))
        first.close()
        let start = try open().perform(.beginRun)
        #expect(!start.wasClean && start.floor == nil)
        #expect(start.futureNonces == [makeNonce(600, 1)])
    }

    @Test func savedNoncesAreGoneFromTheDiskWhenTheyAreHandedOut() throws {
        let first = try open()
        _ = try first.perform(.beginRun)
        try first.perform(.endRun(savedNonces: [1, 2, 3]))
        #expect(try first.perform(.beginRun).savedNonces == [1, 2, 3])
        try folder.copyDatabase("state.db", to: "crash.db")
        #expect(try open("crash.db").perform(.beginRun).savedNonces.isEmpty)
    }

    @Test func manySavedNoncesComeBackInOnePiece() throws {
        let store = try open()
        _ = try store.perform(.beginRun)
        let nonces = (0..<3_500_000).map { UInt8(truncatingIfNeeded: $0 &* 7919 >> 8) }
        try store.perform(.endRun(savedNonces: nonces))
        store.close()
        #expect(try open().perform(.beginRun).savedNonces == nonces)
    }

    @Test func twoStartsOnANewDatabaseAgree() throws {
        let stores = try (0..<2).map { _ in try open() }
        let added = try stores.enumerated().map { index, store in
            try store.perform(.addFirstSigningKey(makeKey("kid \(index)", at: 1)))
        }
        #expect(added == [true, false])
        #expect(try stores[0].perform(.snapshot) == stores[1].perform(.snapshot))
    }
}
