import Foundation
import Primitives

/// Anything that a store keeps for longer than a run.
enum StoredRecord: Sendable, Equatable {
    case client(StoredClient)
    case key(SigningKeyRecord)
    case token(StoredToken)
    case revocation(Revocation)
    case oneTimeID(OneTimeID)
}

/// A line of an export: exactly one of these, as a JSON object.
private struct ExportLine: Codable {
    struct Head: Codable {
        let version: Int
        /// Tells a wrong secrets key before anything is put in.
        let canary: HexBytes
    }

    struct RevocationText: Codable {
        let kind: String
        let issuer: String
        let subject: String
        let issuedBefore: Int64
        let until: Int64
    }

    struct OneTimeText: Codable {
        let space: String
        let fingerprint: HexBytes
        var timestamp: Int64?
        let expiresAt: Int64
    }

    var gatehouse: Head?
    var client: ClientText?
    var key: SigningKeyText?
    var token: TokenText?
    var revocation: RevocationText?
    var once: OneTimeText?

    static let version = 1

    init() {}

    init(_ record: StoredRecord, _ seal: Seal) throws(StoreError) {
        switch record {
        case .client(let record): client = try ClientText(record, seal)
        case .key(let record): key = try SigningKeyText(record, seal)
        case .token(let record): token = try TokenText(record, seal)
        case .revocation(let record):
            let (kind, issuer, subject) = record.target.columns
            revocation = RevocationText(
                kind: kind, issuer: issuer, subject: subject,
                issuedBefore: record.issuedBefore.seconds, until: record.until.seconds)
        case .oneTimeID(let record):
            once = OneTimeText(
                space: record.space.rawValue, fingerprint: HexBytes(record.fingerprint),
                timestamp: record.timestamp, expiresAt: record.expiresAt.seconds)
        }
    }

    /// - Returns: nil for a line that is none of them.
    func record(_ seal: Seal) throws(StoreError) -> StoredRecord? {
        if let client { return .client(try client.record(seal)) }
        if let key { return .key(try key.record(seal)) }
        if let token { return .token(try token.record(seal)) }
        if let revocation {
            let target = Revocation.Target(
                kind: revocation.kind, issuer: revocation.issuer, subject: revocation.subject)
            return target.map {
                .revocation(
                    Revocation(
                        $0, issuedBefore: WallTime(seconds: revocation.issuedBefore),
                        until: WallTime(seconds: revocation.until)))
            }
        }
        guard let once, let space = OneTimeID.Space(rawValue: once.space),
            OneTimeID.fingerprintBytes.contains(once.fingerprint.bytes.count)
        else { return nil }
        return .oneTimeID(
            OneTimeID(
                space: space, fingerprint: once.fingerprint.bytes, timestamp: once.timestamp,
                expiresAt: WallTime(seconds: once.expiresAt)))
    }

    var text: String? {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) }
    }
}

/// How many of each were put in.
public struct ImportedRecords: Sendable, Equatable {
    public var clients = 0
    public var keys = 0
    public var tokens = 0
    public var revocations = 0
    public var oneTimeIDs = 0
}

extension StateStore {
    /// Writes all that has not expired as lines of JSON: clients, keys, tokens, revocations and what was used
    /// once. Secrets and private keys are sealed under the secrets key, as they are at rest. The nonces that a single
    /// gateway keeps for its next run (`endRun`) are not in it.
    ///
    /// - Parameter write: takes a line, without its end; called on the store's thread.
    /// - Returns: how many records were written, and what could not be read and is not among them.
    public func export(
        liveAt now: WallTime = .now(), _ write: @escaping @Sendable (String) -> Void
    ) throws(StoreError) -> (count: Int, faults: [StoreFault]) {
        let seal = self.seal
        return try perform(
            StoreOperation<(count: Int, faults: [StoreFault])> { backend throws(StoreError) in
                var head = ExportLine()
                head.gatehouse = ExportLine.Head(
                    version: ExportLine.version, canary: HexBytes(try seal.makeCanary()))
                var count = -1
                var faults: [StoreFault] = []
                func put(_ line: ExportLine) throws(StoreError) {
                    guard let text = line.text else {
                        throw .unavailable(reason: "a record cannot be written as JSON")
                    }
                    write(text)
                    count += 1
                }
                try put(head)
                try backend.forEachRecord(liveAt: now) { record throws(StoreError) in
                    switch record {
                    case .success(let record): try put(try ExportLine(record, seal))
                    case .failure(let fault): faults.append(fault)
                    }
                }
                return (count, faults)
            })
    }

    /// Puts an export into a store without clients and keys. Clients and keys come last and all at once: after
    /// a failure before that the same import may be tried again.
    ///
    /// - Parameter line: the next line of the export, without its end; nil at the end.
    /// - Throws: `.notEmpty`, `.wrongKey` when it was written under another secrets key, `.badExport`.
    public func restore(
        now: WallTime = .now(), _ line: () -> String?
    ) throws(StoreError) -> ImportedRecords {
        let before = try perform(.snapshot)
        guard before.clients.isEmpty, before.keys.isEmpty, before.faults.isEmpty else {
            throw .notEmpty
        }
        var imported = ImportedRecords()
        var clients: [StoredClient] = []
        var keys: [SigningKeyRecord] = []
        var items: [StoreItem] = []
        var number = 0
        while let text = line() {
            number += 1
            guard let parsed = try? JSONDecoder().decode(ExportLine.self, from: Data(text.utf8))
            else { throw .badExport(line: number, reason: "it is no JSON object of an export") }
            if number == 1 {
                try check(parsed.gatehouse)
                continue
            }
            guard let record = try parsed.record(seal) else {
                throw .badExport(line: number, reason: "it is no record of a kind that is known")
            }
            switch record {
            case .client(let client):
                try client.check(at: now)
                clients.append(client)
            case .key(let key): keys.append(key)
            case .token(let token): items.append(.addToken(token))
            case .revocation(let revocation): items.append(.revoke(revocation))
            case .oneTimeID(let id): items.append(.recordOnce(id, now: now))
            }
            if items.count == Self.importBatch { try put(&items, &imported) }
        }
        try put(&items, &imported)
        guard number > 0 else { throw .badExport(line: 1, reason: "it is empty") }
        imported.clients = clients.count
        imported.keys = keys.count
        try perform(
            StoreOperation<Void> { [clients, keys] backend throws(StoreError) in
                try backend.restore(clients, keys)
            })
        return imported
    }

    private static let importBatch = 500

    private func put(
        _ items: inout [StoreItem], _ imported: inout ImportedRecords
    ) throws(StoreError) {
        guard !items.isEmpty else { return }
        let results = try perform(
            StoreOperation<[StoreItemResult]> { [items] backend throws(StoreError) in
                try backend.perform(items)
            })
        for (item, result) in zip(items, results) {
            if case .failed(let error) = result { throw error }
            switch item {
            case .addToken: imported.tokens += 1
            case .revoke: imported.revocations += 1
            // What is below a floor is refused without being remembered.
            case .recordOnce: if result.verdict == .accepted { imported.oneTimeIDs += 1 }
            case .findToken, .exchangeToken, .removeToken, .recordFutureNonce, .takeRates: break
            }
        }
        items = []
    }

    private func check(_ head: ExportLine.Head?) throws(StoreError) {
        guard let head else { throw .badExport(line: 1, reason: "it is no export of Gatehouse") }
        guard head.version <= ExportLine.version else {
            throw .newerVersion(found: head.version, known: ExportLine.version)
        }
        try seal.checkCanary(head.canary.bytes)
    }
}
