import Foundation
import GRDB
import Primitives

/// Clients and signing keys as rows.
extension SQLiteState {
    func marks() throws(StoreError) -> StoreMarks {
        try read { database in
            // One that cannot be read is the snapshot's failure, and not that of the revocations.
            StoreMarks(
                generation: try? Self.generation(database),
                revocations: try Self.lastRevocation(database))
        }
    }

    func snapshot() throws(StoreError) -> StoreSnapshot {
        try read { database in
            var faults: [StoreFault] = []
            let clients = try Row.fetchAll(database, sql: "SELECT * FROM client ORDER BY id")
                .compactMap { try Self.sound(try readClient($0), &faults) }
            let keys = try Row.fetchAll(database, sql: "SELECT * FROM signing_key")
                .compactMap { try Self.sound(try readSigningKey($0), &faults) }
            return StoreSnapshot(
                clients: clients, keys: keys.sorted(by: SigningKeyRecord.comesFirst),
                generation: try Self.generation(database), faults: faults)
        }
    }

    /// A record, or nil and a further fault.
    private static func sound<Record>(
        _ result: Result<Record, StoreFault>, _ faults: inout [StoreFault]
    ) throws -> Record? {
        switch result {
        case .success(let record): return record
        case .failure(let fault):
            faults.append(fault)
            return nil
        }
    }

    /// What `body` makes of a row, or the row's fault.
    ///
    /// - Throws: when the database or the machine is to blame.
    static func read<Record>(
        _ record: StoreFault.Record, _ body: () throws -> Record
    ) throws -> Result<Record, StoreFault> {
        do {
            return .success(try body())
        } catch let error as StoreError {
            guard let fault = StoreFault(record, error) else { throw error }
            return .failure(fault)
        } catch let error as DatabaseError {
            throw error
        } catch {
            // GRDB's own words would repeat the row.
            return .failure(StoreFault(record, "a column is of another type"))
        }
    }

    func readClient(_ row: Row) throws -> Result<StoredClient, StoreFault> {
        try Self.read(.client(id: Self.name(in: row, "id"))) { try client(of: row) }
    }

    func readSigningKey(_ row: Row) throws -> Result<SigningKeyRecord, StoreFault> {
        try Self.read(.signingKey(kid: Self.name(in: row, "kid"))) { try signingKey(of: row) }
    }

    private static func name(in row: Row, _ column: String) -> String {
        String.fromDatabaseValue(row[column] ?? .null) ?? "?"
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
            try insert(client, database)
        }
    }

    func insert(_ client: StoredClient, _ database: Database) throws {
        try database.execute(
            sql: """
                INSERT INTO client (
                    secrets, scopes, audiences, auth_method, oauth1_secrets, allows_plaintext,
                    jwks, certificate_name, requires_proof, id, created_at
                ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: try columns(of: client) + [client.id, client.createdAt.seconds])
    }

    func replaceClient(_ client: StoredClient, ifStill old: StoredClient?) throws(StoreError) {
        try write { database in
            if let old,
                let row = try Row.fetchOne(
                    database, sql: "SELECT * FROM client WHERE id = ?", arguments: [client.id]),
                try readClient(row) != .success(old)
            {
                throw StoreError.clientChanged(id: client.id)
            }
            try database.execute(
                sql: """
                    UPDATE client SET secrets = ?, scopes = ?, audiences = ?, auth_method = ?,
                        oauth1_secrets = ?, allows_plaintext = ?, jwks = ?, certificate_name = ?,
                        requires_proof = ?
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

    static func hasClient(_ id: String, _ database: Database) throws -> Bool {
        try Row.fetchOne(database, sql: "SELECT 1 FROM client WHERE id = ?", arguments: [id]) != nil
    }

    /// The columns that `addClient` and `replaceClient` share, in their order.
    private func columns(of client: StoredClient) throws -> StatementArguments {
        let texts = try ClientText(client, seal)
        return [
            try Self.text(texts.secrets), try Self.list(client.scopes),
            try Self.list(client.audiences), client.authMethod, try Self.text(texts.oauth1Secrets),
            client.allowsPlaintext, client.jwks, client.certificateName, client.requiresProof,
        ]
    }

    private func client(of row: Row) throws -> StoredClient {
        try ClientText(
            id: try row.decode(forColumn: "id"),
            secrets: try Self.value(in: row, "secrets", as: "a list of secrets"),
            scopes: try Self.list(in: row, "scopes"),
            audiences: try Self.list(in: row, "audiences"),
            authMethod: try row.decode(forColumn: "auth_method"),
            oauth1Secrets: try Self.value(in: row, "oauth1_secrets", as: "a list of secrets"),
            allowsPlaintext: try row.decode(forColumn: "allows_plaintext"),
            jwks: try row.decode(forColumn: "jwks"),
            certificateName: try row.decode(forColumn: "certificate_name"),
            requiresProof: try row.decode(forColumn: "requires_proof"),
            createdAt: try row.decode(forColumn: "created_at")
        ).record(seal)
    }

    private static func text(_ value: some Encodable) throws -> String {
        String(decoding: try JSONEncoder().encode(value), as: UTF8.self)
    }

    private static func value<Value: Decodable>(
        in row: Row, _ column: String, as what: String
    ) throws -> Value {
        let text: String = try row.decode(forColumn: column)
        guard let value = try? JSONDecoder().decode(Value.self, from: Data(text.utf8)) else {
            throw StoreError.corrupt(reason: "\(column) is not \(what)")
        }
        return value
    }

    static func list(_ texts: [String]) throws -> String { try text(texts) }

    static func list(in row: Row, _ column: String) throws -> [String] {
        try value(in: row, column, as: "a list of strings")
    }

    // MARK: - Signing keys

    func addSigningKey(
        _ key: SigningKeyRecord, _ condition: SigningKeyCondition
    ) throws(StoreError) -> Bool {
        let sealed = Data(try seal.close(key.privateKeyPKCS8, .privateKey(kid: key.kid)))
        return try write { database in
            let newest = try Row.fetchOne(
                database, sql: "SELECT * FROM signing_key WHERE retired_at IS NULL")
            let sound = try newest.map { try readSigningKey($0) }
            guard condition.holds(newest: try? sound?.get()) else { return false }
            let isKnown = try Row.fetchOne(
                database, sql: "SELECT 1 FROM signing_key WHERE kid = ?", arguments: [key.kid])
            guard isKnown == nil else { throw StoreError.keyExists(kid: key.kid) }
            try database.execute(
                sql: """
                    UPDATE signing_key SET retired_at = min(ifnull(retired_at, ?1), ?1)
                    WHERE retired_at IS NULL OR retired_at > ?1
                    """, arguments: [key.activatesAt.seconds])
            try database.execute(
                sql: """
                    INSERT INTO signing_key (
                        kid, algorithm, sealed_private_key, created_at, activates_at
                    ) VALUES (?, ?, ?, ?, ?)
                    """,
                arguments: [
                    key.kid, key.algorithm, sealed, key.createdAt.seconds, key.activatesAt.seconds,
                ])
            return true
        }
    }

    func removeSigningKeys(
        orDamaged kid: String?, where isGone: (SigningKeyRecord) -> Bool
    ) throws(StoreError) -> Int {
        try write { database in
            let rows = try Row.fetchAll(database, sql: "SELECT * FROM signing_key")
            var kids: [String] = []
            for row in rows {
                switch try readSigningKey(row) {
                case .success(let key): if isGone(key) { kids.append(key.kid) }
                case .failure(let fault):
                    if let kid, fault.record == .signingKey(kid: kid) { kids.append(kid) }
                }
            }
            for kid in kids {
                try database.execute(
                    sql: "DELETE FROM signing_key WHERE kid = ?", arguments: [kid])
            }
            return kids.count
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
            activatesAt: WallTime(seconds: try row.decode(forColumn: "activates_at")),
            retiredAt: retiredAt.map { WallTime(seconds: $0) })
    }
}
