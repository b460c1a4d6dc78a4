import Foundation
import GRDB
import OAuth
import Primitives
import Testing

@testable import Store

/// A database that the released version 1 has written.
struct MigrationTests {
    private let folder: TemporaryFolder
    private let key: SecretsKey

    init() throws {
        folder = try TemporaryFolder()
        key = try .generate()
    }

    /// The tables as version 1 made them, word for word; never to be changed with the program.
    private static let version1 = """
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
        CREATE UNIQUE INDEX signing_key_current
            ON signing_key (retired_at IS NULL) WHERE retired_at IS NULL;
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
        CREATE TRIGGER client_insert AFTER insert ON client
            BEGIN UPDATE change SET generation = generation + 1; END;
        CREATE TRIGGER client_update AFTER update ON client
            BEGIN UPDATE change SET generation = generation + 1; END;
        CREATE TRIGGER client_delete AFTER delete ON client
            BEGIN UPDATE change SET generation = generation + 1; END;
        CREATE TRIGGER signing_key_insert AFTER insert ON signing_key
            BEGIN UPDATE change SET generation = generation + 1; END;
        CREATE TRIGGER signing_key_update AFTER update ON signing_key
            BEGIN UPDATE change SET generation = generation + 1; END;
        CREATE TRIGGER signing_key_delete AFTER delete ON signing_key
            BEGIN UPDATE change SET generation = generation + 1; END;
        PRAGMA application_id = 1196705875;
        PRAGMA user_version = 1;
        """

    @Test func aDatabaseOfVersion1KeepsEverything() throws {
        let path = folder.file("state.db")
        let seal = Seal(key: key.secret)
        let hashes = try (0..<2).map { try ClientSecret.hash(Secret(utf8: "secret \($0)")) }
        let old = try DatabaseQueue(path: path)
        try old.write { database in
            try database.execute(sql: Self.version1)
            try database.execute(
                sql: "INSERT INTO canary VALUES (?)", arguments: [Data(try seal.makeCanary())])
            let shared = try seal.close(Secret(utf8: "shared"), .oauth1Secret(clientID: "a"))
            try database.execute(
                sql: "INSERT INTO client VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    "a", "[\"\(hashes[0])\",\"\(hashes[1])\"]", "[\"read\"]", "[]",
                    "client_secret_post", Data(shared), true, 100,
                ])
            try database.execute(
                sql: "INSERT INTO client VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                arguments: ["b", "[]", "[]", "[\"urn:x\"]", nil, nil, false, 200])
            for (kid, createdAt, retiredAt) in [("x", 100, 200 as Int?), ("y", 200, nil)] {
                let sealed = try seal.close(Secret(utf8: kid), .privateKey(kid: kid))
                try database.execute(
                    sql: "INSERT INTO signing_key VALUES (?, ?, ?, ?, ?)",
                    arguments: [kid, "ES256", Data(sealed), createdAt, retiredAt])
            }
            try database.execute(
                sql: "INSERT INTO replay VALUES (0, 77, ?)",
                arguments: [Data(try seal.close(Secret(utf8: "replay"), .replayKey))])
        }
        try old.close()

        let store = try StateStore(location: .sqlite(path: path), secretsKey: key)
        let snapshot = try store.perform(.snapshot)
        let hundred = WallTime(seconds: 100)
        #expect(
            snapshot.clients == [
                StoredClient(
                    id: "a",
                    secrets: hashes.map { StoredSecret(hash: $0, createdAt: hundred) },
                    scopes: ["read"], authMethod: "client_secret_post",
                    oauth1Secrets: [
                        StoredSharedSecret(secret: Secret(utf8: "shared"), createdAt: hundred)
                    ], allowsPlaintext: true, createdAt: hundred),
                StoredClient(id: "b", audiences: ["urn:x"], createdAt: WallTime(seconds: 200)),
            ])
        #expect(snapshot.keys.map(\.kid) == ["y", "x"])
        #expect(snapshot.keys.map(\.activatesAt.seconds) == [200, 100])
        #expect(snapshot.keys.map(\.retiredAt?.seconds) == [nil, 200])
        #expect(snapshot.keys.map(\.privateKeyPKCS8) == [Secret(utf8: "y"), Secret(utf8: "x")])
        #expect(snapshot.signingKey(at: WallTime(seconds: 199))?.kid == "x")
        #expect(snapshot.signingKey(at: WallTime(seconds: 200))?.kid == "y")
        let start = try store.perform(.beginRun)
        #expect(start.floor == 77 && start.replayKey == Secret(utf8: "replay"))
        // What is new in version 2 works in it.
        try store.perform(.addSigningKey(makeKey("z", at: 300, activatesAt: 400)))
        #expect(try store.perform(.snapshot).keys.map(\.retiredAt?.seconds) == [nil, 400, 200])
        try store.perform(.addToken(makeToken(1)))
        #expect(try store.perform(.token(id: makeToken(1).id, now: monday)) == makeToken(1))
        store.close()
        let again = try StateStore(location: .sqlite(path: path), secretsKey: key)
        #expect(try again.perform(.snapshot).clients == snapshot.clients)
    }
}
