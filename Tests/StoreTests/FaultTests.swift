import Foundation
import Primitives
import Testing

@testable import Store

/// What goes wrong with a database: one `StoreError`, no crash, and well again when the cause is gone.
struct FaultTests {
    private let folder: TemporaryFolder
    private let key: SecretsKey
    private let path: String

    init() throws {
        folder = try TemporaryFolder()
        key = try .generate()
        path = folder.file("state.db")
    }

    private func open(_ other: SecretsKey? = nil) throws(StoreError) -> StateStore {
        try StateStore(
            location: .sqlite(path: path), secretsKey: other ?? key,
            pollInterval: .milliseconds(10), busyTimeout: .milliseconds(20))
    }

    private func openingError(_ other: SecretsKey? = nil) -> StoreError? {
        do throws(StoreError) {
            try open(other).close()
            return nil
        } catch {
            return error
        }
    }

    @Test func aPathThatIsNoFileCannotBeOpened() throws {
        for bad in [folder.path, folder.file("missing/state.db"), "/dev/null/state.db", ""] {
            let error = #expect(throws: StoreError.self) {
                try StateStore(location: .sqlite(path: bad), secretsKey: key)
            }
            guard case .cannotOpen(bad, _) = error else {
                Issue.record("\(bad): \(String(describing: error))")
                continue
            }
        }
    }

    @Test func aFileThatIsNoDatabaseIsCorruptAndLeftAsItIs() throws {
        let text = Array("this is a letter to my aunt, not a database\n".utf8)
        try folder.write(Array(repeatElement(text, count: 200).joined()), to: "state.db")
        let before = try folder.read("state.db")
        guard case .corrupt = openingError() else {
            Issue.record("\(String(describing: openingError()))")
            return
        }
        #expect(try folder.read("state.db") == before)
    }

    @Test func aDatabaseOfAnotherProgramIsLeftAsItIs() throws {
        let store = try open()
        try store.execute("PRAGMA application_id = 77")
        store.close()
        let before = try folder.read("state.db")
        #expect(openingError() == .foreignDatabase(path: path))
        #expect(try folder.read("state.db") == before)
    }

    @Test func aDatabaseWithoutAMarkButWithTablesIsForeign() throws {
        let store = try open()
        try store.execute("PRAGMA application_id = 0; PRAGMA user_version = 0")
        store.close()
        #expect(openingError() == .foreignDatabase(path: path))
    }

    @Test func aDatabaseOfANewerVersionIsRefused() throws {
        let store = try open()
        try store.execute("PRAGMA user_version = 99")
        store.close()
        #expect(openingError() == .newerVersion(found: 99, known: 2))
    }

    @Test func aWrongKeyShowsAtOpenAndTheRightOneStillOpens() throws {
        let store = try open()
        try store.perform(.addClient(try makeClient("a", oauth1: "shared")))
        store.close()
        #expect(openingError(try .generate()) == .wrongKey)
        #expect(try open().perform(.snapshot).clients.first?.oauth1Secrets.count == 1)
    }

    @Test func aSealedValueDoesNotOpenInAnotherRow() throws {
        let store = try open()
        try store.perform(.addClient(try makeClient("a", oauth1: "secret of a")))
        try store.perform(.addClient(try makeClient("b", oauth1: "secret of b")))
        try store.execute(
            """
            UPDATE client SET oauth1_secrets =
                (SELECT oauth1_secrets FROM client WHERE id = 'a') WHERE id = 'b'
            """)
        #expect(
            throws: StoreError.corrupt(
                reason: "the OAuth 1.0 secret of the client b does not open")
        ) { try store.perform(.snapshot) }
        try store.perform(.removeClient(id: "b"))
        #expect(try store.perform(.snapshot).clients.map(\.id) == ["a"])
    }

    @Test func secretsLieSealedInTheFiles() throws {
        let store = try open()
        let secret = "a shared secret that is easily found"
        try store.perform(.addClient(try makeClient("findable", oauth1: secret)))
        try store.perform(.addSigningKey(makeKey("kid", at: 1)))
        let replayKey = try store.perform(.beginRun).replayKey.exposed
        let bytes = Data(try folder.read("state.db") + folder.read("state.db-wal"))
        #expect(bytes.range(of: Data("findable".utf8)) != nil)
        #expect(bytes.range(of: Data(secret.utf8)) == nil)
        #expect(bytes.range(of: Data("private key of kid".utf8)) == nil)
        #expect(bytes.range(of: Data(replayKey)) == nil)
    }

    @Test func aFullDiskLosesNothingAndHeals() throws {
        let store = try open()
        _ = try store.perform(.beginRun)
        try store.execute("PRAGMA max_page_count = 30")
        var added: [String] = []
        var failure: StoreError?
        for number in 0..<1000 where failure == nil {
            let id = "client \(1000 + number)"
            do throws(StoreError) {
                guard let client = try? makeClient(id, oauth1: "shared") else { continue }
                try store.perform(.addClient(client))
                added.append(id)
            } catch {
                failure = error
            }
        }
        #expect(failure == .full)
        #expect(!added.isEmpty)
        #expect(throws: StoreError.full) {
            try store.perform(.endRun(savedNonces: [UInt8](repeating: 1, count: 200_000)))
        }
        #expect(try store.perform(.snapshot).clients.map(\.id) == added)
        try store.execute("PRAGMA max_page_count = 100000")
        try store.perform(.endRun(savedNonces: [UInt8](repeating: 1, count: 200_000)))
        #expect(try store.perform(.beginRun).savedNonces.count == 200_000)
    }

    @Test func aLockedDatabaseIsBusyThenWell() throws {
        let store = try open()
        let holder = try open()
        let locked = DispatchSemaphore(value: 0)
        let release = DispatchSemaphore(value: 0)
        let released = Answer<Void>()
        holder.submit(
            StoreOperation<Void> { backend throws(StoreError) in
                guard let state = backend as? SQLiteState else { throw .closed }
                try state.write { _ in
                    locked.signal()
                    release.wait()
                }
            }
        ) { released.give($0) }
        locked.wait()
        #expect(throws: StoreError.busy) { try store.perform(.addClient(try makeClient("a"))) }
        #expect(try store.perform(.snapshot).clients.isEmpty)
        release.signal()
        try released.wait().get()
        try store.perform(.addClient(try makeClient("a")))
    }

    @Test func aDamageWhileItRunsIsToldOnceAndHealsWithTheFile() throws {
        let store = try open()
        try store.perform(.addClient(try makeClient("a", oauth1: "shared")))
        let before = try store.perform(.snapshot)
        let seen = Seen()
        try store.observeChanges(since: before.generation, revocationsSince: 0) { seen.add($0) }
        try store.execute("UPDATE client SET scopes = 'not json'")
        #expect(seen.next() == .failure(.corrupt(reason: "scopes is not a list of strings")))
        try store.execute("UPDATE client SET scopes = '[]'")
        #expect(seen.next()?.map { $0.snapshot?.clients.map(\.scopes) } == .success([[]]))
    }

    @Test func aTableThatIsGoneIsAnErrorAndNoCrash() throws {
        let store = try open()
        try store.execute("DROP TABLE client")
        let error = #expect(throws: StoreError.self) { try store.perform(.snapshot) }
        guard case .unavailable = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func aFileThatIsGoneIsNotMadeAnew() throws {
        let store = try open()
        try store.execute("DROP TABLE client")
        // The failure lets go of the connection; the next use opens the file again.
        #expect(throws: StoreError.self) { try store.perform(.snapshot) }
        for suffix in ["", "-wal", "-shm"] {
            try? FileManager.default.removeItem(atPath: path + suffix)
        }
        #expect(throws: StoreError.cannotOpen(path: path, reason: "it is gone")) {
            try store.perform(.snapshot)
        }
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test func aFileThatIsPutBackIsReadAgain() throws {
        let store = try open()
        try store.perform(.addClient(try makeClient("a")))
        try folder.copyDatabase("state.db", to: "backup.db")
        try store.execute("DROP TABLE client")
        #expect(throws: StoreError.self) { try store.perform(.snapshot) }
        for suffix in ["", "-wal", "-shm"] {
            try? FileManager.default.removeItem(atPath: path + suffix)
        }
        try folder.copyDatabase("backup.db", to: "state.db")
        #expect(try store.perform(.snapshot).clients.map(\.id) == ["a"])
    }

    @Test func aCeilingThatIsWrittenNowhereIsNoSuccess() throws {
        let store = try open()
        _ = try store.perform(.beginRun)
        try store.execute("DELETE FROM replay")
        let gone = StoreError.corrupt(reason: "the row of replay is gone")
        #expect(throws: gone) { try store.perform(.raiseCeiling(to: 1)) }
        #expect(throws: gone) { try store.perform(.endRun(savedNonces: [])) }
    }

    @Test func aSecondGatewayOnOneDatabaseIsRefusedUntilTheFirstEnds() throws {
        let first = try open()
        let second = try open()
        _ = try first.perform(.beginRun)
        #expect(throws: StoreError.inUse(path: path)) { try second.perform(.beginRun) }
        #expect(throws: StoreError.noRun) { try second.perform(.raiseCeiling(to: 1)) }
        try second.perform(.addClient(try makeClient("a")))
        try first.perform(.endRun(savedNonces: [7]))
        #expect(try second.perform(.beginRun).savedNonces == [7])
    }

    @Test func anotherProcessIsSeen() throws {
        let gateway = try open()
        let command = try open()
        let seen = Seen()
        let before = try gateway.perform(.snapshot)
        try gateway.observeChanges(since: before.generation, revocationsSince: 0) { seen.add($0) }
        try command.perform(.addClient(try makeClient("a")))
        #expect(seen.clients() == .success(["a"]))
        // In an SQLite shell as well.
        try command.execute("DELETE FROM client")
        #expect(seen.clients() == .success([]))
    }

    @Test func onlyTheOwnerMayReadTheFiles() throws {
        let store = try open()
        _ = try store.perform(.beginRun)
        for name in ["state.db", "state.db-wal", "state.db-shm", "state.db.lock"] {
            #expect(try folder.mode(name) == 0o600, "\(name)")
        }
    }

    @Test func whatIsAnsweredIsSynced() throws {
        let store = try open()
        // 2 is FULL; it would be 1 where GRDB's own WAL mode lowered it.
        #expect(try store.count("SELECT 1 FROM pragma_synchronous WHERE synchronous = 2") == 1)
        #expect(
            try store.count("SELECT 1 FROM pragma_journal_mode WHERE journal_mode = 'wal'") == 1)
    }

    @Test func aQueueThatIsFullRefusesAtOnce() throws {
        let store = try open()
        let begun = DispatchSemaphore(value: 0)
        let release = DispatchSemaphore(value: 0)
        store.submit(
            StoreOperation<Void> { _ throws(StoreError) in
                begun.signal()
                release.wait()
            }
        ) { _ in }
        begun.wait()
        for number in 0...StoreThread.jobLimit {
            store.submit(.removeClient(id: "nobody")) { result in
                let isRefused = number == StoreThread.jobLimit
                #expect((result.failure == .busy) == isRefused)
            }
        }
        release.signal()
        store.close()
    }

    @Test(arguments: [
        StoreError.full, .busy, .wrongKey, .readOnly, .closed, .noRun,
        .cannotOpen(path: "/p", reason: "r"), .foreignDatabase(path: "/p"),
        .newerVersion(found: 2, known: 1), .corrupt(reason: "r"),
        .keyFile(path: "/p", reason: "r"), .unavailable(reason: "r"), .inUse(path: "/p"),
        .clientExists(id: "i"), .unknownClient(id: "i"), .invalidClient(id: "i", reason: "r"),
        .keyExists(kid: "k"), .notEmpty, .badExport(line: 1, reason: "r"),
    ])
    func anErrorIsOneLine(error: StoreError) {
        let line = "\(error)"
        #expect(!line.contains("\n") && line.count > 10)
    }
}

extension Result {
    var failure: Failure? {
        if case .failure(let error) = self { error } else { nil }
    }
}
