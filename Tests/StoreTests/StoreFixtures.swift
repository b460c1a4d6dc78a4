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

let monday = WallTime(seconds: 1_800_000_000)

func makeClient(_ id: String, oauth1: String? = nil) throws -> StoredClient {
    StoredClient(
        id: id, secretHashes: [try ClientSecret.hash(Secret(utf8: "secret of \(id)"))],
        scopes: ["read", "write"], audiences: ["https://api.example/", "urn:with space"],
        authMethod: "client_secret_basic", oauth1Secret: oauth1.map { Secret(utf8: $0) },
        allowsPlaintext: oauth1 != nil, createdAt: monday)
}

func makeKey(_ kid: String, at seconds: Int64) -> SigningKeyRecord {
    SigningKeyRecord(
        kid: kid, algorithm: "ES256", privateKeyPKCS8: Secret(utf8: "private key of \(kid)"),
        createdAt: WallTime(seconds: seconds))
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
