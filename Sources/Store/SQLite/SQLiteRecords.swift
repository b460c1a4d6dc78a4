import Foundation
import GRDB
import Primitives

/// Clients and signing keys as rows.
extension SQLiteState {
    func generation() throws(StoreError) -> Int64 {
        try read(Self.generation)
    }

    func snapshot() throws(StoreError) -> StoreSnapshot {
        try read { database in
            let clients = try Row.fetchAll(database, sql: "SELECT * FROM client ORDER BY id")
            let keys = try Row.fetchAll(database, sql: "SELECT * FROM signing_key")
            return StoreSnapshot(
                clients: try clients.map { try client(of: $0) },
                keys: try keys.map { try signingKey(of: $0) }
                    .sorted(by: SigningKeyRecord.comesFirst),
                generation: try Self.generation(database))
        }
    }

    private static func generation(_ database: Database) throws -> Int64 {
        guard let value = try Int64.fetchOne(database, sql: "SELECT generation FROM change") else {
            throw StoreError.corrupt(reason: "no generation")
        }
        return value
    }

    // MARK: - Clients

    func addClient(_ client: StoredClient) throws(StoreError) {
        try write { database in
            guard try !Self.hasClient(client.id, database) else {
                throw StoreError.clientExists(id: client.id)
            }
            try database.execute(
                sql: """
                    INSERT INTO client (
                        secret_hashes, scopes, audiences, auth_method, sealed_oauth1_secret,
                        allows_plaintext, id, created_at
                    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: try columns(of: client) + [client.id, client.createdAt.seconds])
        }
    }

    func replaceClient(_ client: StoredClient) throws(StoreError) {
        try write { database in
            try database.execute(
                sql: """
                    UPDATE client SET secret_hashes = ?, scopes = ?, audiences = ?, auth_method = ?,
                        sealed_oauth1_secret = ?, allows_plaintext = ?
                    WHERE id = ?
                    """, arguments: try columns(of: client) + [client.id])
            guard database.changesCount == 1 else {
                throw StoreError.unknownClient(id: client.id)
            }
        }
    }

    func removeClient(id: String) throws(StoreError) {
        try write { database in
            try database.execute(sql: "DELETE FROM client WHERE id = ?", arguments: [id])
            guard database.changesCount == 1 else { throw StoreError.unknownClient(id: id) }
        }
    }

    private static func hasClient(_ id: String, _ database: Database) throws -> Bool {
        try Row.fetchOne(database, sql: "SELECT 1 FROM client WHERE id = ?", arguments: [id]) != nil
    }

    /// The columns that `addClient` and `replaceClient` share, in their order.
    private func columns(of client: StoredClient) throws -> StatementArguments {
        let sealed: Data? =
            if let secret = client.oauth1Secret {
                Data(try seal.close(secret, .oauth1Secret(clientID: client.id)))
            } else { nil }
        return [
            try Self.list(client.secretHashes), try Self.list(client.scopes),
            try Self.list(client.audiences), client.authMethod, sealed, client.allowsPlaintext,
        ]
    }

    private func client(of row: Row) throws -> StoredClient {
        let id: String = try row.decode(forColumn: "id")
        let sealed: Data? = try row.decode(forColumn: "sealed_oauth1_secret")
        return StoredClient(
            id: id,
            secretHashes: try Self.list(in: row, "secret_hashes"),
            scopes: try Self.list(in: row, "scopes"),
            audiences: try Self.list(in: row, "audiences"),
            authMethod: try row.decode(forColumn: "auth_method"),
            oauth1Secret: try sealed.map { try seal.open(Array($0), .oauth1Secret(clientID: id)) },
            allowsPlaintext: try row.decode(forColumn: "allows_plaintext"),
            createdAt: WallTime(seconds: try row.decode(forColumn: "created_at")))
    }

    private static func list(_ texts: [String]) throws -> String {
        String(decoding: try JSONEncoder().encode(texts), as: UTF8.self)
    }

    private static func list(in row: Row, _ column: String) throws -> [String] {
        let text: String = try row.decode(forColumn: column)
        guard let texts = try? JSONDecoder().decode([String].self, from: Data(text.utf8)) else {
            throw StoreError.corrupt(reason: "\(column) is not a list of strings")
        }
        return texts
    }

    // MARK: - Signing keys

    func addSigningKey(_ key: SigningKeyRecord, onlyIfNone: Bool) throws(StoreError) -> Bool {
        let sealed = Data(try seal.close(key.privateKeyPKCS8, .privateKey(kid: key.kid)))
        return try write { database in
            let kids = try String.fetchAll(
                database, sql: "SELECT kid FROM signing_key WHERE retired_at IS NULL OR kid = ?",
                arguments: [key.kid])
            if kids.contains(key.kid), !onlyIfNone { throw StoreError.keyExists(kid: key.kid) }
            if onlyIfNone, !kids.isEmpty { return false }
            try database.execute(
                sql: "UPDATE signing_key SET retired_at = ? WHERE retired_at IS NULL",
                arguments: [key.createdAt.seconds])
            try database.execute(
                sql: """
                    INSERT INTO signing_key (kid, algorithm, sealed_private_key, created_at)
                    VALUES (?, ?, ?, ?)
                    """,
                arguments: [key.kid, key.algorithm, sealed, key.createdAt.seconds])
            return true
        }
    }

    func removeSigningKeys(retiredBefore instant: WallTime) throws(StoreError) -> Int {
        try write { database in
            try database.execute(
                sql: "DELETE FROM signing_key WHERE retired_at < ?", arguments: [instant.seconds])
            return database.changesCount
        }
    }

    private func signingKey(of row: Row) throws -> SigningKeyRecord {
        let kid: String = try row.decode(forColumn: "kid")
        let sealed: Data = try row.decode(forColumn: "sealed_private_key")
        let retiredAt: Int64? = try row.decode(forColumn: "retired_at")
        return SigningKeyRecord(
            kid: kid, algorithm: try row.decode(forColumn: "algorithm"),
            privateKeyPKCS8: try seal.open(Array(sealed), .privateKey(kid: kid)),
            createdAt: WallTime(seconds: try row.decode(forColumn: "created_at")),
            retiredAt: retiredAt.map { WallTime(seconds: $0) })
    }
}
