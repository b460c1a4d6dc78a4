import Foundation
import GRDB
import Primitives

/// Tokens, revocations and what may be used once, as rows.
extension SQLiteState {
    /// Everything that waits in one transaction, with one sync. Those that only read do without.
    func perform(_ items: [StoreItem]) throws(StoreError) -> [StoreItemResult] {
        let writes = items.count(where: \.isWrite)
        guard writes > 0 else {
            return try read { database in try items.map { try result(of: $0, database) } }
        }
        return try write { database in
            let results = try items.map { try result(of: $0, database) }
            // Two go for one that comes, so that what has expired never piles up.
            _ = try Self.purge(database, expiredAt: WallTime.now(), limit: 2 * writes)
            return results
        }
    }

    /// - Throws: when the database failed; what is wrong with the item alone is its result.
    private func result(of item: StoreItem, _ database: Database) throws -> StoreItemResult {
        do {
            return try perform(item, database)
        } catch let error as StoreError where error.isOfOneItem {
            return .failed(error)
        }
    }

    private func perform(_ item: StoreItem, _ database: Database) throws -> StoreItemResult {
        switch item {
        case .addToken(let token):
            try add(token, database)
            return .done
        case .findToken(let id, let now):
            let row = try Row.fetchOne(
                database.cachedStatement(
                    sql: "SELECT * FROM token WHERE id = ? AND expires_at > ?"),
                arguments: [Data(id), now.seconds])
            return .token(try row.map { try token(of: $0) })
        case .exchangeToken(let id, let token, let now):
            try database.execute(
                sql: "DELETE FROM token WHERE id = ? AND expires_at > ?",
                arguments: [Data(id), now.seconds])
            guard database.changesCount == 1 else { return .flag(false) }
            try add(token, database)
            return .flag(true)
        case .removeToken(let id):
            try database.execute(sql: "DELETE FROM token WHERE id = ?", arguments: [Data(id)])
            return .flag(database.changesCount == 1)
        case .revoke(let revocation):
            try revoke(revocation, database)
            return .done
        case .recordOnce(let id, let now):
            return .verdict(try Self.record(id, now, database))
        case .recordFutureNonce(let nonce):
            try record(nonce, database)
            return .done
        case .takeRates:
            throw StoreError.notShared
        }
    }

    // MARK: - Tokens

    private func add(_ token: StoredToken, _ database: Database) throws {
        let sealed = try token.secret.map { Data(try seal.close($0, .tokenSecret(id: token.id))) }
        let statement = try database.cachedStatement(
            sql: """
                INSERT OR REPLACE INTO token (
                    id, kind, client_id, scopes, audiences, issued_at, expires_at, sealed_secret,
                    certificate_thumbprint, key_thumbprint
                ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """)
        try statement.execute(arguments: [
            Data(token.id), token.kind.rawValue, token.clientID, try Self.list(token.scopes),
            try Self.list(token.audiences), token.issuedAt.seconds, token.expiresAt.seconds, sealed,
            token.certificateThumbprint.map { Data($0) }, token.keyThumbprint.map { Data($0) },
        ])
    }

    func token(of row: Row) throws -> StoredToken {
        let id: Data = try row.decode(forColumn: "id")
        let kind = StoredToken.Kind(rawValue: try row.decode(forColumn: "kind"))
        guard let kind, id.count == StoredToken.idBytes else {
            throw StoreError.corrupt(reason: "a token without a kind or an id of 32 bytes")
        }
        let sealed: Data? = try row.decode(forColumn: "sealed_secret")
        let certificate: Data? = try row.decode(forColumn: "certificate_thumbprint")
        let key: Data? = try row.decode(forColumn: "key_thumbprint")
        return StoredToken(
            id: Array(id), kind: kind, clientID: try row.decode(forColumn: "client_id"),
            scopes: try Self.list(in: row, "scopes"),
            audiences: try Self.list(in: row, "audiences"),
            issuedAt: WallTime(seconds: try row.decode(forColumn: "issued_at")),
            expiresAt: WallTime(seconds: try row.decode(forColumn: "expires_at")),
            secret: try sealed.map { try seal.open(Array($0), .tokenSecret(id: Array(id))) },
            certificateThumbprint: certificate.map { Array($0) },
            keyThumbprint: key.map { Array($0) })
    }

    // MARK: - What may be used once

    private static func record(
        _ id: OneTimeID, _ now: WallTime, _ database: Database
    ) throws -> OneTimeVerdict {
        guard now < id.expiresAt else { return .belowFloor }
        // One that is there and has expired need not be remembered: this one takes its place.
        let statement = try database.cachedStatement(
            sql: """
                INSERT INTO one_time_id (space, fingerprint, timestamp, expires_at)
                VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT DO UPDATE SET timestamp = ?3, expires_at = ?4 WHERE expires_at <= ?5
                """)
        try statement.execute(arguments: [
            id.space.rawValue, Data(id.fingerprint), id.timestamp, id.expiresAt.seconds,
            now.seconds,
        ])
        return database.changesCount == 1 ? .accepted : .reused
    }

    // MARK: - Revocations

    func revoke(_ revocation: Revocation, _ database: Database) throws {
        let (kind, issuerText, subjectText) = revocation.target.columns
        let (issuer, subject) = (Data(issuerText.utf8), Data(subjectText.utf8))
        let row = try Row.fetchOne(
            database,
            sql: "SELECT * FROM revocation WHERE kind = ? AND issuer = ? AND subject = ?",
            arguments: [kind, issuer, subject])
        let old = try row.map { row in
            Revocation(
                revocation.target,
                issuedBefore: WallTime(seconds: try row.decode(forColumn: "issued_before")),
                until: WallTime(seconds: try row.decode(forColumn: "until")))
        }
        let joined = old.map { revocation.joined(with: $0) } ?? revocation
        guard joined != old else { return }
        // A new row, with a new number, so that whoever has seen the old one hears of it.
        try database.execute(
            sql: """
                INSERT OR REPLACE INTO revocation (kind, issuer, subject, issued_before, until)
                VALUES (?, ?, ?, ?, ?)
                """,
            arguments: [
                kind, issuer, subject, joined.issuedBefore.seconds, joined.until.seconds,
            ])
    }

    func revocations(after sequence: Int64) throws(StoreError) -> StoreNews {
        try read { database in
            let through = try Self.lastRevocation(database)
            let rows = try Row.fetchAll(
                database, sql: "SELECT * FROM revocation WHERE sequence > ? ORDER BY sequence",
                arguments: [sequence > through ? 0 : sequence])
            var (revocations, faults): ([Revocation], [StoreFault]) = ([], [])
            for row in rows {
                let read = try Self.revocations(of: row)
                revocations += read.revocations
                if let fault = read.fault { faults.append(fault) }
            }
            return StoreNews(revocations: revocations, through: through, faults: faults)
        }
    }

    /// The highest number ever given, whether or not its row is still there.
    static func lastRevocation(_ database: Database) throws -> Int64 {
        try Int64.fetchOne(
            database, sql: "SELECT seq FROM sqlite_sequence WHERE name = 'revocation'") ?? 0
    }

    /// The table is STRICT and takes no NULL: whatever a row says, it says in the types of its columns.
    static func revocations(
        of row: Row
    ) throws -> (revocations: [Revocation], fault: StoreFault?) {
        let issuer: Data = try row.decode(forColumn: "issuer")
        let subject: Data = try row.decode(forColumn: "subject")
        let issuedBefore = WallTime(seconds: try row.decode(forColumn: "issued_before"))
        return Revocation.Remains(
            kind: try row.decode(forColumn: "kind"),
            issuer: String(decoding: issuer, as: UTF8.self),
            subject: String(decoding: subject, as: UTF8.self), issuedBefore: issuedBefore,
            until: WallTime(seconds: try row.decode(forColumn: "until")), latest: issuedBefore
        ).read()
    }

    // MARK: - What has expired

    func purge(expiredAt now: WallTime, limit: Int) throws(StoreError) -> Int {
        guard isOpen else { return 0 }
        // A look first: it takes no lock from a command that writes.
        let isDue = try read { database in
            try Bool.fetchOne(
                database,
                sql: """
                    SELECT EXISTS (SELECT 1 FROM token WHERE expires_at <= ?1)
                        OR EXISTS (SELECT 1 FROM one_time_id WHERE expires_at <= ?1)
                        OR EXISTS (SELECT 1 FROM revocation WHERE until <= ?1)
                    """, arguments: [now.seconds]) ?? false
        }
        guard isDue else { return 0 }
        // Whoever writes now is not waited for, and nobody waits behind this.
        hasTime(until: .now())
        return try write { database in
            try Self.purge(database, expiredAt: now, limit: limit)
        }
    }

    private static func purge(
        _ database: Database, expiredAt now: WallTime, limit: Int
    ) throws -> Int {
        var removed = 0
        for statement in [
            """
            DELETE FROM token WHERE id IN
                (SELECT id FROM token WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
            """,
            """
            DELETE FROM one_time_id WHERE (space, fingerprint) IN
                (SELECT space, fingerprint FROM one_time_id
                    WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
            """,
            """
            DELETE FROM revocation WHERE sequence IN
                (SELECT sequence FROM revocation WHERE until <= ? ORDER BY until LIMIT ?)
            """,
        ] where removed < limit {
            try database.cachedStatement(sql: statement)
                .execute(arguments: [now.seconds, limit - removed])
            removed += database.changesCount
        }
        return removed
    }
}

extension Revocation.Target {
    /// As rows and texts name it.
    var columns: (kind: String, issuer: String, subject: String) {
        switch self {
        case .token(let issuer, let id): ("token", issuer, id)
        case .client(let id): ("client", "", id)
        }
    }

    init?(kind: String, issuer: String, subject: String) {
        switch kind {
        case "token": self = .token(issuer: issuer, id: subject)
        case "client": self = .client(id: subject)
        default: return nil
        }
    }
}
