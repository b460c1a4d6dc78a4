import Foundation
import GRDB
import Primitives

/// All of it at once, for an export, and back.
extension SQLiteState {
    func forEachRecord(
        liveAt now: WallTime, _ body: (StoredRecord) throws(StoreError) -> Void
    ) throws(StoreError) {
        try read { database in
            let clients = try Row.fetchCursor(database, sql: "SELECT * FROM client ORDER BY id")
            while let row = try clients.next() { try body(.client(try client(of: row))) }
            let keys = try Row.fetchCursor(
                database, sql: "SELECT * FROM signing_key ORDER BY activates_at")
            while let row = try keys.next() { try body(.key(try signingKey(of: row))) }
            let tokens = try Row.fetchCursor(
                database, sql: "SELECT * FROM token WHERE expires_at > ?",
                arguments: [now.seconds])
            while let row = try tokens.next() { try body(.token(try token(of: row))) }
            let revocations = try Row.fetchCursor(
                database, sql: "SELECT * FROM revocation WHERE until > ? ORDER BY sequence",
                arguments: [now.seconds])
            while let row = try revocations.next() {
                try body(.revocation(try Self.revocation(of: row)))
            }
            let ids = try Row.fetchCursor(
                database, sql: "SELECT * FROM one_time_id WHERE expires_at > ?",
                arguments: [now.seconds])
            while let row = try ids.next() { try body(.oneTimeID(try Self.oneTimeID(of: row))) }
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
