import GRDB

/// The tables, and how a database of an older version becomes one of this version.
///
/// The version is SQLite's `user_version`, the mark that a database is ours its `application_id`, so that
/// `file` and any SQLite shell can tell. A migration that has been released is never edited: add the next.
enum Schema {
    /// "GTHS".
    static let applicationID = 0x4754_4853
    static var version: Int { migrations.count }

    private static let migrations: [@Sendable (Database) throws -> Void] = [
        version1, version2, version3,
    ]

    /// Brings the database to this version, each step in the transaction of the caller.
    ///
    /// - Throws: `.foreignDatabase`, `.newerVersion`, or what the database says.
    static func migrate(_ database: Database, path: String) throws {
        let found = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
        let application = try Int.fetchOne(database, sql: "PRAGMA application_id") ?? 0
        let tables = try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_schema") ?? 0
        if application != applicationID {
            // Only an empty database may become ours.
            guard application == 0, found == 0, tables == 0 else {
                throw StoreError.foreignDatabase(path: path)
            }
        }
        guard found <= version else {
            throw StoreError.newerVersion(found: found, known: version)
        }
        guard found < version else { return }
        for migration in migrations[max(found, 0)...] { try migration(database) }
        try database.execute(sql: "PRAGMA application_id = \(applicationID)")
        try database.execute(sql: "PRAGMA user_version = \(version)")
    }

    /// Times are whole seconds since 1970; lists are JSON arrays of strings; `sealed_…` columns are AES-256-GCM.
    @Sendable private static func version1(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE client (
                    id TEXT NOT NULL PRIMARY KEY,
                    secret_hashes TEXT NOT NULL,
                    scopes TEXT NOT NULL,
                    audiences TEXT NOT NULL,
                    auth_method TEXT,
                    sealed_oauth1_secret BLOB,
                    allows_plaintext INTEGER NOT NULL,
                    created_at INTEGER NOT NULL
                ) STRICT;
                CREATE TABLE signing_key (
                    kid TEXT NOT NULL PRIMARY KEY,
                    algorithm TEXT NOT NULL,
                    sealed_private_key BLOB NOT NULL,
                    created_at INTEGER NOT NULL,
                    retired_at INTEGER
                ) STRICT;
                -- At most one key is current, whatever the processes that add keys believe.
                CREATE UNIQUE INDEX signing_key_current
                    ON signing_key (retired_at IS NULL) WHERE retired_at IS NULL;

                -- One row each.
                CREATE TABLE change (generation INTEGER NOT NULL) STRICT;
                INSERT INTO change VALUES (1);
                CREATE TABLE canary (sealed_text BLOB NOT NULL) STRICT;
                CREATE TABLE replay (
                    is_clean INTEGER NOT NULL,
                    ceiling INTEGER,
                    sealed_key BLOB NOT NULL
                ) STRICT;

                CREATE TABLE saved_nonces (part INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
                CREATE TABLE future_nonce (
                    timestamp INTEGER NOT NULL,
                    fingerprint BLOB NOT NULL,
                    PRIMARY KEY (timestamp, fingerprint)
                ) STRICT, WITHOUT ROWID;
                """)
        // Triggers rather than our own counting: a change made in an SQLite shell is noticed as well.
        for table in ["client", "signing_key"] {
            for event in ["insert", "update", "delete"] {
                try database.execute(
                    sql: """
                        CREATE TRIGGER \(table)_\(event) AFTER \(event) ON \(table)
                        BEGIN UPDATE change SET generation = generation + 1; END
                        """)
            }
        }
    }

    /// Secrets get their times, keys their beginning; tokens, revocations and what may be used once come in.
    ///
    /// `secrets` and `oauth1_secrets` are JSON arrays of objects with `created_at`, `expires_at` and `hash` or
    /// `sealed`, the latter in hexadecimal because that is what SQL can make of a BLOB. The secrets of a
    /// client of version 1 are as old as itself, as nobody knows better.
    @Sendable private static func version2(_ database: Database) throws {
        try database.execute(
            sql: """
                ALTER TABLE client ADD COLUMN secrets TEXT NOT NULL DEFAULT '[]';
                ALTER TABLE client ADD COLUMN oauth1_secrets TEXT NOT NULL DEFAULT '[]';
                ALTER TABLE client ADD COLUMN jwks TEXT;
                ALTER TABLE client ADD COLUMN certificate_name TEXT;
                UPDATE client SET secrets = (
                    SELECT json_group_array(
                        json_object('hash', each.value, 'created_at', client.created_at))
                    FROM json_each(client.secret_hashes) AS each);
                UPDATE client SET oauth1_secrets = json_array(
                    json_object('sealed', hex(sealed_oauth1_secret), 'created_at', created_at))
                    WHERE sealed_oauth1_secret IS NOT NULL;
                ALTER TABLE client DROP COLUMN secret_hashes;
                ALTER TABLE client DROP COLUMN sealed_oauth1_secret;

                -- A key of version 1 began when it was made, and ended when the next one was.
                ALTER TABLE signing_key ADD COLUMN activates_at INTEGER NOT NULL DEFAULT 0;
                UPDATE signing_key SET activates_at = created_at;

                CREATE TABLE token (
                    id BLOB NOT NULL PRIMARY KEY,
                    kind TEXT NOT NULL,
                    client_id TEXT NOT NULL,
                    scopes TEXT NOT NULL,
                    audiences TEXT NOT NULL,
                    issued_at INTEGER NOT NULL,
                    expires_at INTEGER NOT NULL,
                    sealed_secret BLOB,
                    certificate_thumbprint BLOB,
                    key_thumbprint BLOB
                ) STRICT, WITHOUT ROWID;
                CREATE INDEX token_expiry ON token (expires_at);

                CREATE TABLE one_time_id (
                    space TEXT NOT NULL,
                    fingerprint BLOB NOT NULL,
                    timestamp INTEGER,
                    expires_at INTEGER NOT NULL,
                    PRIMARY KEY (space, fingerprint)
                ) STRICT, WITHOUT ROWID;
                CREATE INDEX one_time_id_expiry ON one_time_id (expires_at);

                -- AUTOINCREMENT: a number is never given twice, so whoever has seen it has seen all before it.
                CREATE TABLE revocation (
                    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                    kind TEXT NOT NULL,
                    -- UTF-8; a TEXT would end at a NUL for whoever reads it, and name another token.
                    issuer BLOB NOT NULL,
                    subject BLOB NOT NULL,
                    issued_before INTEGER NOT NULL,
                    until INTEGER NOT NULL,
                    UNIQUE (kind, issuer, subject)
                ) STRICT;
                CREATE INDEX revocation_expiry ON revocation (until);
                """)
    }

    /// Clients get `dpop_bound_access_tokens`; which of them the conf declares is remembered.
    @Sendable private static func version3(_ database: Database) throws {
        try database.execute(
            sql: """
                ALTER TABLE client ADD COLUMN requires_proof INTEGER NOT NULL DEFAULT 0;
                CREATE TABLE declared_client (id TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
                """)
    }
}
