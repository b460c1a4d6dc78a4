import Cryptography
import Foundation
import GRDB
import Glibc
import Primitives

/// What replay protection must find again after a stop, clean or not.
extension SQLiteState {
    /// The saved nonces are cut into rows of this size: a busy gateway saves more than fits one value.
    private static let partBytes = 1 << 20

    func beginRun() throws(StoreError) -> ReplayStart {
        guard runLock == nil else { throw .inUse(path: path) }
        let lock = try RunLock(path: path + ".lock", database: path)
        let start = try write { database in
            let row = try replayRow(database)
            var saved: [UInt8] = []
            if row.isClean {
                let parts = try Data.fetchCursor(
                    database, sql: "SELECT bytes FROM saved_nonces ORDER BY part")
                while let part = try parts.next() { saved.append(contentsOf: part) }
            }
            // In the same transaction as the reading: whatever happens next, nobody reads them again.
            try database.execute(sql: "DELETE FROM saved_nonces")
            try database.execute(sql: "UPDATE replay SET is_clean = 0")
            return ReplayStart(
                wasClean: row.isClean, floor: row.isClean ? nil : row.ceiling,
                ceiling: row.ceiling, savedNonces: saved,
                futureNonces: try Self.futureNonces(database), replayKey: row.key)
        }
        runLock = consume lock
        return start
    }

    func raiseCeiling(to timestamp: Int64) throws(StoreError) {
        try requireRun()
        try write { database in
            // `is_clean` as well: a database that was put back from a copy during the run is not clean.
            try database.execute(
                sql: "UPDATE replay SET is_clean = 0, ceiling = max(ifnull(ceiling, ?1), ?1)",
                arguments: [timestamp])
            try Self.requireOneRow(database)
            // Those are below every later floor.
            try database.execute(
                sql: "DELETE FROM future_nonce WHERE timestamp <= (SELECT ceiling FROM replay)")
        }
    }

    func record(_ nonce: FutureNonce, _ database: Database) throws {
        try requireRun()
        try database.cachedStatement(
            sql: "INSERT OR IGNORE INTO future_nonce (timestamp, fingerprint) VALUES (?, ?)"
        ).execute(arguments: [nonce.timestamp, Data(nonce.fingerprint)])
    }

    func endRun(savedNonces: [UInt8]) throws(StoreError) {
        try requireRun()
        try write { database in
            try database.execute(sql: "DELETE FROM saved_nonces")
            for begin in stride(from: 0, to: savedNonces.count, by: Self.partBytes) {
                let end = min(begin + Self.partBytes, savedNonces.count)
                try database.execute(
                    sql: "INSERT INTO saved_nonces (bytes) VALUES (?)",
                    arguments: [Data(savedNonces[begin..<end])])
            }
            try database.execute(sql: "UPDATE replay SET is_clean = 1")
            try Self.requireOneRow(database)
        }
        runLock = nil
    }

    private func requireRun() throws(StoreError) {
        guard runLock != nil else { throw .noRun }
    }

    /// A ceiling that was written nowhere must not count as durable.
    private static func requireOneRow(_ database: Database) throws {
        guard database.changesCount == 1 else {
            throw StoreError.corrupt(reason: "the row of replay is gone")
        }
    }

    /// The one row of `replay`, made at the first run.
    private func replayRow(
        _ database: Database
    ) throws -> (isClean: Bool, ceiling: Int64?, key: Secret) {
        if let row = try Row.fetchOne(database, sql: "SELECT * FROM replay") {
            let sealed: Data = try row.decode(forColumn: "sealed_key")
            return (
                try row.decode(forColumn: "is_clean"), try row.decode(forColumn: "ceiling"),
                try seal.open(Array(sealed), .replayKey)
            )
        }
        let key = try SecretsKey.generate().secret
        try database.execute(
            sql: "INSERT INTO replay (is_clean, sealed_key) VALUES (1, ?)",
            arguments: [Data(try seal.close(key, .replayKey))])
        return (true, nil, key)
    }

    private static func futureNonces(_ database: Database) throws -> [FutureNonce] {
        let rows = try Row.fetchAll(
            database, sql: "SELECT * FROM future_nonce ORDER BY timestamp, fingerprint")
        return try rows.map { row in
            let fingerprint: Data = try row.decode(forColumn: "fingerprint")
            guard fingerprint.count == FutureNonce.fingerprintBytes else {
                throw StoreError.corrupt(reason: "a fingerprint of \(fingerprint.count) bytes")
            }
            return FutureNonce(
                timestamp: try row.decode(forColumn: "timestamp"), fingerprint: Array(fingerprint))
        }
    }
}

/// Held by the one gateway that runs on a database. Two would each accept the nonces of the other.
///
/// It lies in a file of its own: closing any descriptor of the database file would drop SQLite's locks on
/// it. The kernel lets go of it with the process, so a `kill -9` leaves nothing to clear away.
struct RunLock: ~Copyable {
    private let file: PrivateFile

    init(path: String, database: String) throws(StoreError) {
        do throws(PrivateFile.Failure) {
            file = try Self.lock(path)
        } catch {
            throw error.code == EWOULDBLOCK
                ? .inUse(path: database) : .cannotOpen(path: path, reason: error.reason)
        }
    }

    private static func lock(_ path: String) throws(PrivateFile.Failure) -> PrivateFile {
        let file = try PrivateFile(path: path, flags: O_RDWR | O_CREAT | O_NOFOLLOW)
        guard flock(file.descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw PrivateFile.Failure(code: errno)
        }
        return file
    }
}
