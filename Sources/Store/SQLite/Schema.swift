import GRDB

/// The tables, and how a database of an older version becomes one of this version.
///
/// The version is SQLite's `user_version`, the mark that a database is ours its `application_id`, so that
/// `file` and any SQLite shell can tell. A migration that has been released is never edited: add the next.
enum Schema {
    /// "GTHS".
    static let applicationID = 0x4754_4853
    static var version: Int { migrations.count }

    private static let migrations: [@Sendable (Database) throws -> Void] = [version1]

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
}
