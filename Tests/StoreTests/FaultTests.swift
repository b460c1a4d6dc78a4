import Foundation
import Primitives
import Synchronization
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

    private func open(
        _ other: SecretsKey? = nil, timeout: Duration = .seconds(10)
    ) throws(StoreError) -> StateStore {
        try StateStore(
            location: .sqlite(path: path), secretsKey: other ?? key,
            pollInterval: .milliseconds(10), timeout: timeout)
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
        #expect(openingError() == .newerVersion(found: 99, known: 3))
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
        let snapshot = try store.perform(.snapshot)
        #expect(snapshot.clients.map(\.id) == ["a"])
        #expect(
            snapshot.faults == [
                StoreFault(
                    .client(id: "b"), "the OAuth 1.0 secret of the client b does not open")
            ])
        try store.perform(.removeClient(id: "b"))
        #expect(try store.perform(.snapshot).faults.isEmpty)
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

    @Test func aLockedDatabaseHoldsNobodyForLongerThanTheTimeout() throws {
        let timeout = Duration.milliseconds(600)
        let store = try open(timeout: timeout)
        _ = try store.perform(.beginRun)
        // Something to be purged, which nobody is to wait for.
        let soon = WallTime(seconds: WallTime.now().seconds + 1)
        try store.perform(
            .revoke(Revocation(.client(id: "old"), issuedBefore: soon, until: soon)))
        let (release, released) = try lock()
        let waits = Mutex<[Duration]>([])
        let answered = DispatchSemaphore(value: 0)
        let began = ContinuousClock.now
        var submitted = 0
        while ContinuousClock.now - began < timeout * 3 {
            let at = ContinuousClock.now
            let note: @Sendable (Bool) -> Void = { isFailure in
                #expect(isFailure)
                waits.withLock { $0.append(ContinuousClock.now - at) }
                answered.signal()
            }
            let timestamp = Int64(submitted)
            store.submit(.raiseCeiling(to: timestamp)) { note($0.failure != nil) }
            store.submit(.addToken(makeToken(1))) { note($0.failure != nil) }
            store.submit(.recordFutureNonce(makeNonce(timestamp, 1))) { note($0.failure != nil) }
            let client = try makeClient("\(submitted)")
            store.submit(.addClient(client)) { note($0.failure != nil) }
            submitted += 4
            _ = poll(nil, 0, 20)
        }
        for _ in 0..<submitted { #expect(answered.wait(timeout: .now() + 10) == .success) }
        let longest = try #require(waits.withLock { $0.max() })
        // What the scheduler of a busy machine adds is not the store's.
        #expect(longest < timeout + .milliseconds(300), "\(longest)")
        release.signal()
        try released.wait().get()
        // Nothing is done later of which somebody was told that it is not.
        #expect(try store.perform(.snapshot).clients.isEmpty)
        #expect(try store.perform(.token(id: makeToken(1).id, now: monday)) == nil)
        #expect(try store.count("SELECT 1 FROM future_nonce") == 0)
        #expect(try store.count("SELECT 1 FROM replay WHERE ceiling IS NOT NULL") == 0)
        try store.perform(.addClient(try makeClient("a")))
    }

    @Test func aLockedDatabaseIsBusyThenWell() throws {
        let store = try open(timeout: .seconds(1))
        let (release, released) = try lock()
        #expect(throws: StoreError.busy) { try store.perform(.addClient(try makeClient("a"))) }
        #expect(try store.perform(.snapshot).clients.isEmpty)
        release.signal()
        try released.wait().get()
        try store.perform(.addClient(try makeClient("a")))
    }

    /// Another process that writes, until it is let go.
    private func lock() throws -> (release: DispatchSemaphore, released: Answer<Void>) {
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
        return (release, released)
    }

    @Test func aDamagedClientIsToldOfAndHoldsNothingElseUp() throws {
        let store = try open()
        try store.perform(.addClient(try makeClient("a", oauth1: "shared")))
        try store.perform(.addClient(try makeClient("b")))
        let before = try store.perform(.snapshot)
        let seen = Seen()
        try store.observeChanges(since: before.generation, revocationsSince: 0) { seen.add($0) }
        for (column, reason) in [
            ("scopes", "scopes is not a list of strings"),
            ("oauth1_secrets", "oauth1_secrets is not a list of secrets"),
        ] {
            let value = "(SELECT \(column) FROM client WHERE id = 'a')"
            try store.execute("CREATE TEMP TABLE kept AS SELECT \(value) AS value")
            try store.execute("UPDATE client SET \(column) = 'not json' WHERE id = 'a'")
            let damaged = try #require(try seen.next()?.get().snapshot)
            #expect(damaged.clients.map(\.id) == ["b"])
            #expect(damaged.faults == [StoreFault(.client(id: "a"), reason)])
            try store.execute(
                "UPDATE client SET \(column) = (SELECT value FROM kept) WHERE id = 'a'")
            #expect(seen.clients() == .success(["a", "b"]))
            try store.execute("DROP TABLE kept")
        }
        // What is damaged may be taken away, or changed back to what its owner knows.
        try store.execute("UPDATE client SET audiences = '7' WHERE id = 'a'")
        _ = seen.next()
        #expect(throws: StoreError.clientExists(id: "a")) {
            try store.perform(.addClient(try makeClient("a")))
        }
        try store.perform(.removeClient(id: "a"))
        #expect(seen.clients() == .success(["b"]))
    }

    @Test func aDamagedKeyIsNotUsedAndAnotherTakesItsPlace() throws {
        let store = try open()
        for kid in ["x", "y"] { try store.perform(.addSigningKey(makeKey(kid, at: 100))) }
        try store.execute("UPDATE signing_key SET sealed_private_key = x'00' WHERE kid = 'y'")
        let damaged = try store.perform(.snapshot)
        #expect(damaged.keys.map(\.kid) == ["x"])
        #expect(damaged.faults.map(\.record) == [.signingKey(kid: "y")])
        #expect(try store.perform(.removeSigningKeys(endedBefore: WallTime(seconds: 1))) == 0)
        let next = makeKey("z", at: 200)
        #expect(
            try store.perform(.addNextSigningKey(next, ifNoneAfter: WallTime(seconds: 150))))
        #expect(try store.perform(.snapshot).keys.map(\.kid) == ["z", "x"])
        #expect(try store.perform(.removeSigningKey(kid: "y", now: monday)) == 1)
        #expect(try store.perform(.snapshot).faults.isEmpty)
    }

    @Test func whatIsLeftOfARevocationRevokes() throws {
        let store = try open()
        let token = Revocation(
            .token(issuer: "https://a/", id: "j"), issuedBefore: monday, until: monday.after(60))
        let client = Revocation(.client(id: "a"), issuedBefore: monday, until: monday.after(60))
        for revocation in [token, client] { try store.perform(.revoke(revocation)) }
        try store.execute("UPDATE revocation SET kind = 'tokan' WHERE kind = 'token'")
        let news = try store.perform(.revocations(after: 0))
        #expect(news.revocations.contains(token) && news.revocations.contains(client))
        #expect(
            news.faults == [StoreFault(.revocation(of: "j"), "it is of an unknown kind")])
        // Once more, and it is whole.
        try store.perform(.revoke(token))
        #expect(try store.perform(.revocations(after: news.through)).revocations == [token])
    }

    /// Each of them reaches whoever watches although the others cannot be read.
    @Test func revocationsAndRecordsAreToldEachByItself() throws {
        let store = try open()
        let before = try store.perform(.snapshot)
        let seen = Seen()
        try store.observeChanges(since: before.generation, revocationsSince: 0) { seen.add($0) }
        let revocation = Revocation(
            .client(id: "a"), issuedBefore: monday, until: monday.after(60))
        try store.execute("DROP TABLE client; UPDATE change SET generation = generation + 1")
        guard case .failure(.unavailable) = seen.next() else {
            Issue.record("the failure was not told")
            return
        }
        try store.perform(.revoke(revocation))
        #expect(try seen.next()?.get().revocations == [revocation])
        let other = try StateStore(
            location: .sqlite(path: folder.file("other.db")), secretsKey: key,
            pollInterval: .milliseconds(10))
        let heard = Seen()
        try other.observeChanges(
            since: try other.perform(.snapshot).generation, revocationsSince: 0
        ) { heard.add($0) }
        try other.execute("ALTER TABLE revocation RENAME TO gone")
        try other.execute("UPDATE sqlite_sequence SET name = 'revocation', seq = 7")
        try other.execute("INSERT OR REPLACE INTO sqlite_sequence VALUES ('revocation', 7)")
        try other.perform(.addClient(try makeClient("a")))
        var (clients, failure): ([String]?, StoreError?)
        while clients == nil || failure == nil, let news = heard.next() {
            switch news {
            case .success(let news): clients = news.snapshot?.clients.map(\.id) ?? clients
            case .failure(let error): failure = error
            }
        }
        #expect(clients == ["a"])
        #expect(failure != nil)
    }

    @Test func anExportNamesWhatItLeavesOut() throws {
        let store = try open()
        for id in ["a", "b"] { try store.perform(.addClient(try makeClient(id))) }
        try store.perform(.addToken(makeToken(1)))
        try store.perform(.addToken(makeToken(2)))
        try store.execute("UPDATE client SET scopes = 'not json' WHERE id = 'a'")
        try store.execute("UPDATE token SET kind = 'ticket' WHERE client_id = 'client 1'")
        let exported = try store.export(liveAt: monday) { _ in }
        #expect(exported.count == 2)
        #expect(exported.faults.map(\.record) == [.client(id: "a"), .token])
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
        .clientExists(id: "i"), .unknownClient(id: "i"), .clientChanged(id: "i"),
        .invalidClient(id: "i", reason: "r"),
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
