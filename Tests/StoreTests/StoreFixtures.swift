import Foundation
import OAuth
import Primitives
import Synchronization

@testable import Store

/// A folder that goes with the test.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory
            .appendingPathComponent("gatehouse-store-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    func write(_ bytes: [UInt8], to name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
    }

    func read(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: file(name))))
    }

    /// What a crash at this moment would leave: the database and its log, not the shared memory.
    func copyDatabase(_ name: String, to copy: String) throws {
        for suffix in ["", "-wal"] where FileManager.default.fileExists(atPath: file(name + suffix))
        {
            try write(try read(name + suffix), to: copy + suffix)
        }
    }

    func mode(_ name: String) throws -> Int {
        let attributes = try FileManager.default.attributesOfItem(atPath: file(name))
        return attributes[.posixPermissions] as? Int ?? -1
    }
}

/// Ahead of every clock that a test runs by, so that nothing has expired that a test did not let expire.
let monday = WallTime(seconds: 7_000_000_000)

extension WallTime {
    func after(_ seconds: Int64) -> WallTime { WallTime(seconds: self.seconds + seconds) }
}

func makeClient(_ id: String, oauth1: String? = nil) throws -> StoredClient {
    StoredClient(
        id: id,
        secrets: [
            StoredSecret(
                hash: try ClientSecret.hash(Secret(utf8: "secret of \(id)")), createdAt: monday)
        ], scopes: ["read", "write"], audiences: ["https://api.example/", "urn:with space"],
        authMethod: "client_secret_basic",
        oauth1Secrets: oauth1.map {
            [StoredSharedSecret(secret: Secret(utf8: $0), createdAt: monday)]
        } ?? [], allowsPlaintext: oauth1 != nil, createdAt: monday)
}

func makeKey(_ kid: String, at seconds: Int64, activatesAt: Int64? = nil) -> SigningKeyRecord {
    SigningKeyRecord(
        kid: kid, algorithm: "ES256", privateKeyPKCS8: Secret(utf8: "private key of \(kid)"),
        createdAt: WallTime(seconds: seconds),
        activatesAt: activatesAt.map { WallTime(seconds: $0) })
}

/// - Parameter byte: of which its id is made.
func makeToken(
    _ byte: UInt8, _ kind: StoredToken.Kind = .access, secret: String? = nil, lives: Int64 = 600
) -> StoredToken {
    StoredToken(
        id: [UInt8](repeating: byte, count: StoredToken.idBytes), kind: kind,
        clientID: "client \(byte)", scopes: ["read", "write"], audiences: ["https://api.example/"],
        issuedAt: monday, expiresAt: monday.after(lives), secret: secret.map { Secret(utf8: $0) },
        certificateThumbprint: byte % 2 == 0 ? [UInt8](repeating: 7, count: 32) : nil,
        keyThumbprint: byte % 3 == 0 ? [UInt8](repeating: 9, count: 32) : nil)
}

func makeOnce(
    _ byte: UInt8, _ space: OneTimeID.Space = .oauth1Nonce, timestamp: Int64? = nil,
    lives: Int64 = 600
) -> OneTimeID {
    OneTimeID(
        space: space, fingerprint: [UInt8](repeating: byte, count: 16),
        timestamp: timestamp ?? monday.seconds, expiresAt: monday.after(lives))
}

func makeNonce(_ timestamp: Int64, _ byte: UInt8) -> FutureNonce {
    FutureNonce(timestamp: timestamp, fingerprint: [UInt8](repeating: byte, count: 16))
}

extension StateStore {
    /// SQL on the store's own connection, in a transaction of its own.
    func execute(_ sql: String) throws {
        try perform(
            StoreOperation<Void> { backend throws(StoreError) in
                guard let state = backend as? SQLiteState else { throw .closed }
                try state.write { try $0.execute(sql: sql) }
            })
    }

    /// How many rows a query of the store's own connection has.
    func count(_ sql: String) throws -> Int {
        try execute("CREATE TEMP TABLE counted AS \(sql)")
        defer { try? execute("DROP TABLE counted") }
        let rows = Mutex(0)
        try perform(
            StoreOperation<Void> { backend throws(StoreError) in
                guard let state = backend as? SQLiteState else { throw .closed }
                try state.write { database in
                    try database.execute(sql: "UPDATE counted SET rowid = rowid")
                    rows.withLock { $0 = database.changesCount }
                }
            })
        return rows.withLock { $0 }
    }

    func record(_ nonce: FutureNonce) throws {
        let answer = Answer<Void>()
        recordFutureNonce(nonce) { answer.give($0) }
        try answer.wait().get()
    }
}
