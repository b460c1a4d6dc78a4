import Dispatch
import Foundation
import GRDB
import Glibc
import Primitives
import Synchronization

/// The state in a SQLite database: WAL, synchronous FULL, so that a change is on the disk when it returns.
///
/// The rows of clients and keys are in `SQLiteRecords.swift`, replay protection in `SQLiteReplay.swift`.
final class SQLiteState: StateBackend {
    let path: String
    let seal: Seal
    /// Held from `beginRun` to `endRun`.
    var runLock: RunLock?

    private let patience: Patience
    /// Nil after a failure that the connection may not get over; the next use opens the file again.
    private var connection: DatabaseQueue?

    /// - Parameter timeout: how long the opening may wait for another process that writes.
    init(path: String, secretsKey: SecretsKey, timeout: Duration) throws(StoreError) {
        self.path = path
        self.seal = Seal(key: secretsKey.secret)
        patience = Patience(until: MonotonicInstant.now() + timeout)
        try Self.makeFile(path: path)
        self.connection = try Self.open(path: path, seal: seal, patience)
    }

    func hasTime(until deadline: MonotonicInstant) { patience.end(at: deadline) }

    /// After a failure that closed the file nothing is open until somebody asks for something.
    var isOpen: Bool { connection != nil }

    func close() {
        try? connection?.close()
        connection = nil
        runLock = nil
    }

    /// Runs `body` in one transaction, which is kept when it returns and undone when it throws.
    func write<Value>(_ body: (Database) throws -> Value) throws(StoreError) -> Value {
        try use { connection in try connection.write(body) }
    }

    /// Runs `body` in one transaction that sees one state of the database, whoever writes meanwhile.
    func read<Value>(_ body: (Database) throws -> Value) throws(StoreError) -> Value {
        try use { connection in try connection.read(body) }
    }

    private func use<Value>(_ body: (DatabaseQueue) throws -> Value) throws(StoreError) -> Value {
        let connection: DatabaseQueue
        if let open = self.connection {
            connection = open
        } else {
            // Not made anew when it is gone: an empty store in place of a full one would forget clients,
            // keys and the ceiling without a word.
            guard unsafe access(path, F_OK) == 0 else {
                throw .cannotOpen(path: path, reason: "it is gone")
            }
            connection = try Self.open(path: path, seal: seal, patience)
            self.connection = connection
        }
        do {
            return try body(connection)
        } catch {
            let known = StoreError(error, path: path)
            if known.needsNewConnection {
                // A file that was put back in order, or replaced, is read afresh.
                try? connection.close()
                self.connection = nil
            }
            throw known
        }
    }

    // MARK: - Opening

    private static func open(
        path: String, seal: Seal, _ patience: Patience
    ) throws(StoreError) -> DatabaseQueue {
        var configuration = Configuration()
        configuration.label = "gatehouse.store"
        configuration.busyMode = .callback { patience.waits(afterTries: $0) }
        configuration.prepareDatabase { database in
            // A schema that someone else wrote runs no function with side effects in our process.
            try database.execute(sql: "PRAGMA trusted_schema = OFF")
        }
        do {
            let connection = try DatabaseQueue(path: path, configuration: configuration)
            try connection.writeWithoutTransaction { database in
                try refuseForeign(database, path: path)
                // Set by hand: GRDB's own WAL mode lowers `synchronous` to NORMAL, which may lose the last
                // commits when the power fails. What was answered to a client must be there.
                let mode = try String.fetchOne(database, sql: "PRAGMA journal_mode = WAL")
                guard mode == "wal" else {
                    throw StoreError.cannotOpen(path: path, reason: "no write-ahead log there")
                }
                try database.execute(sql: "PRAGMA synchronous = FULL")
                // The log is cut back after a large commit, such as the nonces of a clean stop.
                try database.execute(sql: "PRAGMA journal_size_limit = 16777216")
            }
            try connection.write { database in
                try Schema.migrate(database, path: path)
                try checkCanary(database, seal: seal)
            }
            return connection
        } catch {
            throw StoreError(opening: error, path: path)
        }
    }

    /// Before the first write, even of the journal mode: another program's file stays as it is.
    private static func refuseForeign(_ database: Database, path: String) throws {
        let application = try Int.fetchOne(database, sql: "PRAGMA application_id") ?? 0
        guard application != Schema.applicationID else { return }
        let tables = try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_schema") ?? 0
        guard application == 0, tables == 0 else { throw StoreError.foreignDatabase(path: path) }
    }

    /// Makes the file ourselves, because SQLite would make it readable by all; its log and shared
    /// memory take the file's mode and owner.
    private static func makeFile(path: String) throws(StoreError) {
        do throws(PrivateFile.Failure) {
            _ = try PrivateFile.create(path: path)
            try PrivateFile.syncFolder(of: path)
        } catch {
            // There already: SQLite says whether it is any good.
            guard error.code != EEXIST else { return }
            throw .cannotOpen(path: path, reason: error.reason)
        }
    }

    /// Nothing is written under a key that does not open what is there.
    private static func checkCanary(_ database: Database, seal: Seal) throws {
        if let sealed = try Data.fetchOne(database, sql: "SELECT sealed_text FROM canary") {
            return try seal.checkCanary(Array(sealed))
        }
        try database.execute(
            sql: "INSERT INTO canary VALUES (?)", arguments: [Data(try seal.makeCanary())])
    }
}

/// How long to wait for a lock that another process has: until whoever has asked is told no. SQLite's own timeout would
/// begin anew with each statement, and one request would wait for all those before it.
private final class Patience: Sendable {
    private let deadline: Mutex<MonotonicInstant>

    init(until deadline: MonotonicInstant) {
        self.deadline = Mutex(deadline)
    }

    func end(at deadline: MonotonicInstant) { self.deadline.withLock { $0 = deadline } }

    /// Waits for a moment, longer each time.
    ///
    /// - Returns: false when there is no time left.
    func waits(afterTries count: Int) -> Bool {
        let left = (deadline.withLock { $0 } - MonotonicInstant.now()).wholeNanoseconds
        guard left > 0 else { return false }
        let step = min(Int64(count + 1), 25) * 1_000_000
        usleep(UInt32(min(step, Int64(clamping: left)) / 1000 + 1))
        return true
    }
}

extension StoreError {
    /// What a failure of SQLite means here.
    init(_ error: any Error, path: String) {
        if let known = error as? StoreError {
            self = known
            return
        }
        guard let failure = error as? DatabaseError else {
            self = .unavailable(reason: String(describing: error))
            return
        }
        let reason = failure.message ?? "SQLite error \(failure.extendedResultCode.rawValue)"
        switch failure.resultCode {
        case .SQLITE_FULL: self = .full
        case .SQLITE_BUSY, .SQLITE_LOCKED: self = .busy
        case .SQLITE_READONLY: self = .readOnly
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: self = .corrupt(reason: reason)
        case .SQLITE_CANTOPEN, .SQLITE_PERM, .SQLITE_AUTH:
            self = .cannotOpen(path: path, reason: reason)
        default: self = .unavailable(reason: reason)
        }
    }

    /// The same while the file is opened, when a file that may not be written is one that cannot be opened.
    fileprivate init(opening error: any Error, path: String) {
        let known = StoreError(error, path: path)
        self = known == .readOnly ? .cannotOpen(path: path, reason: "it is read-only") : known
    }

    fileprivate var needsNewConnection: Bool {
        switch self {
        case .corrupt, .unavailable, .cannotOpen, .readOnly: true
        default: false
        }
    }
}
