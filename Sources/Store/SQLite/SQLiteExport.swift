import Foundation
import GRDB
import Primitives

/// All of it at once, for an export, and back.
extension SQLiteState {
    func forEachRecord(
        liveAt now: WallTime, _ body: (Result<StoredRecord, StoreFault>) throws(StoreError) -> Void
    ) throws(StoreError) {
        try read { database in
            let clients = try Row.fetchCursor(database, sql: "SELECT * FROM client ORDER BY id")
            while let row = try clients.next() { try body(try readClient(row).map { .client($0) }) }
            let keys = try Row.fetchCursor(
                database, sql: "SELECT * FROM signing_key ORDER BY activates_at")
            while let row = try keys.next() {
                try body(try readSigningKey(row).map { .key($0) })
            }
            let tokens = try Row.fetchCursor(
                database, sql: "SELECT * FROM token WHERE expires_at > ?",
                arguments: [now.seconds])
            while let row = try tokens.next() {
                try body(try Self.read(.token) { .token(try token(of: row)) })
            }
            let revocations = try Row.fetchCursor(
                database, sql: "SELECT * FROM revocation WHERE until > ? ORDER BY sequence",
                arguments: [now.seconds])
            while let row = try revocations.next() {
                let read = try Self.revocations(of: row)
                for revocation in read.revocations { try body(.success(.revocation(revocation))) }
                if let fault = read.fault { try body(.failure(fault)) }
            }
            let ids = try Row.fetchCursor(
                database, sql: "SELECT * FROM one_time_id WHERE expires_at > ?",
                arguments: [now.seconds])
            while let row = try ids.next() {
                try body(try Self.read(.oneTimeID) { .oneTimeID(try Self.oneTimeID(of: row)) })
            }
        }
    }

    private static func oneTimeID(of row: Row) throws -> OneTimeID {
        let fingerprint: Data = try row.decode(forColumn: "fingerprint")
        let space = OneTimeID.Space(rawValue: try row.decode(forColumn: "space"))
        guard let space, OneTimeID.fingerprintBytes.contains(fingerprint.count) else {
            throw StoreError.corrupt(reason: "an id of an unknown kind")
        }
        return OneTimeID(
            space: space, fingerprint: Array(fingerprint),
            timestamp: try row.decode(forColumn: "timestamp"),
            expiresAt: WallTime(seconds: try row.decode(forColumn: "expires_at")))
    }

    func restore(_ clients: [StoredClient], _ keys: [SigningKeyRecord]) throws(StoreError) {
        try write { database in
            let isEmpty = try Bool.fetchOne(
                database,
                sql: """
                    SELECT NOT EXISTS (SELECT 1 FROM client)
                        AND NOT EXISTS (SELECT 1 FROM signing_key)
                    """)
            guard isEmpty == true else { throw StoreError.notEmpty }
            for client in clients { try insert(client, database) }
            for key in keys {
                let sealed = try seal.close(key.privateKeyPKCS8, .privateKey(kid: key.kid))
                try database.execute(
                    sql: """
                        INSERT INTO signing_key (
                            kid, algorithm, sealed_private_key, created_at, activates_at, retired_at
                        ) VALUES (?, ?, ?, ?, ?, ?)
                        """,
                    arguments: [
                        key.kid, key.algorithm, Data(sealed), key.createdAt.seconds,
                        key.activatesAt.seconds, key.retiredAt?.seconds,
                    ])
            }
        }
    }
}
