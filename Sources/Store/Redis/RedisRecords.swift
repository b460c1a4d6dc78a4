import Foundation
import Primitives

/// Clients and signing keys, as JSON in two hashes.
extension RedisState {
    func marks() throws(StoreError) -> StoreMarks {
        let replies = try ask([
            .command("MGET", keys.generation, keys.lastRevocation),
            .command("HGETALL", keys.epoch), .command("TIME"),
        ])
        if let error = replies.compactMap(\.error).first { throw StoreError(redis: error) }
        try noteEpoch(replies[1], time: replies[2])
        try checkPolicy()
        guard let numbers = replies[0].elements, numbers.count == 2 else {
            throw .corrupt(reason: "no generation")
        }
        // What is no number somebody has spoilt; the next change writes one again.
        return StoreMarks(
            generation: Self.number(numbers[0]), revocations: Self.number(numbers[1]))
    }

    func snapshot() throws(StoreError) -> StoreSnapshot {
        let texts = try readTexts()
        var faults: [StoreFault] = []
        var clients: [StoredClient] = []
        for (id, text) in texts.clients {
            let client = try Self.read(.client(id: id)) { () throws(StoreError) in
                try text.get().record(seal)
            }
            switch client {
            case .success(let client): clients.append(client)
            case .failure(let fault): faults.append(fault)
            }
        }
        var signingKeys: [SigningKeyRecord] = []
        for (kid, text) in texts.keys {
            switch try signingKey(kid, text) {
            case .success(let key): signingKeys.append(key)
            case .failure(let fault): faults.append(fault)
            }
        }
        return StoreSnapshot(
            clients: clients.sorted { $0.id < $1.id },
            keys: signingKeys.sorted(by: SigningKeyRecord.comesFirst),
            generation: Int64(texts.generation) ?? 0,
            faults: faults.sorted { $0.description < $1.description })
    }

    /// What `body` makes of a value, or the value's fault.
    ///
    /// - Throws: when something else is to blame.
    static func read<Record>(
        _ record: StoreFault.Record, _ body: () throws(StoreError) -> Record
    ) throws(StoreError) -> Result<Record, StoreFault> {
        do throws(StoreError) {
            return .success(try body())
        } catch {
            guard let fault = StoreFault(record, error) else { throw error }
            return .failure(fault)
        }
    }

    private func signingKey(
        _ kid: String, _ text: Result<SigningKeyText, StoreError>
    ) throws(StoreError) -> Result<SigningKeyRecord, StoreFault> {
        try Self.read(.signingKey(kid: kid)) { () throws(StoreError) in
            try text.get().record(seal)
        }
    }

    // MARK: - Changes

    func addClient(_ client: StoredClient) throws(StoreError) {
        try change { texts throws(StoreError) in
            guard texts.clients[client.id] == nil else { throw .clientExists(id: client.id) }
            return [.client(client.id, try ClientText(client, seal))]
        }
    }

    func replaceClient(_ client: StoredClient, ifStill old: StoredClient?) throws(StoreError) {
        try change { texts throws(StoreError) in
            guard let found = texts.clients[client.id] else {
                throw .unknownClient(id: client.id)
            }
            let text = try found.get()
            if let old, try text.record(seal) != old { throw .clientChanged(id: client.id) }
            let aged = client.created(at: WallTime(seconds: text.createdAt))
            return [.client(client.id, try ClientText(aged, seal))]
        }
    }

    func removeClient(id: String) throws(StoreError) {
        try change { texts throws(StoreError) in
            guard texts.clients[id] != nil else { throw .unknownClient(id: id) }
            return [.client(id, nil)]
        }
    }

    func addSigningKey(
        _ key: SigningKeyRecord, _ condition: SigningKeyCondition
    ) throws(StoreError) -> Bool {
        try change { texts throws(StoreError) in
            var records: [SigningKeyRecord] = []
            for (kid, text) in texts.keys {
                if case .success(let key) = try signingKey(kid, text) { records.append(key) }
            }
            guard condition.holds(newest: records.first { $0.retiredAt == nil }) else { return [] }
            guard texts.keys[key.kid] == nil else { throw .keyExists(kid: key.kid) }
            let replaced = records.map { $0.replaced(by: key) }
            var changes: [Change] = []
            for (old, new) in zip(records, replaced) where old != new {
                changes.append(.key(new.kid, try SigningKeyText(new, seal)))
            }
            return changes + [.key(key.kid, try SigningKeyText(key.newest(), seal))]
        } > 0
    }

    func removeSigningKeys(
        orDamaged damaged: String?, where isGone: (SigningKeyRecord) -> Bool
    ) throws(StoreError) -> Int {
        try change { texts throws(StoreError) in
            var changes: [Change] = []
            for (kid, text) in texts.keys {
                switch try signingKey(kid, text) {
                case .success(let key): if isGone(key) { changes.append(.key(kid, nil)) }
                case .failure: if kid == damaged { changes.append(.key(kid, nil)) }
                }
            }
            return changes
        }
    }

    func restore(_ clients: [StoredClient], _ keys: [SigningKeyRecord]) throws(StoreError) {
        try change { texts throws(StoreError) in
            guard texts.clients.isEmpty, texts.keys.isEmpty else { throw .notEmpty }
            var changes: [Change] = []
            for client in clients {
                changes.append(.client(client.id, try ClientText(client, seal)))
            }
            for key in keys { changes.append(.key(key.kid, try SigningKeyText(key, seal))) }
            return changes
        }
    }

    // MARK: - Runs

    // A run is one gateway's alone; gateways that share a store record every nonce.
    func beginRun() throws(StoreError) -> ReplayStart { throw .noRun }
    func raiseCeiling(to timestamp: Int64) throws(StoreError) { throw .noRun }
    func endRun(savedNonces: [UInt8]) throws(StoreError) { throw .noRun }

    // MARK: - Texts

    private struct Texts {
        /// As it was read; '' where there is none.
        var generation: String
        /// Those that are not what was written are there, and are failures.
        var clients: [String: Result<ClientText, StoreError>]
        var keys: [String: Result<SigningKeyText, StoreError>]
    }

    private enum Change {
        /// Nil takes it away.
        case client(String, ClientText?)
        case key(String, SigningKeyText?)
    }

    /// A gateway that is asked for nothing joins a new epoch, too: others may wait for what it knows.
    private func noteEpoch(_ epoch: RedisValue, time: RedisValue) throws(StoreError) {
        let fields = Self.fields(epoch).map { field in
            (name: field.0, value: String(decoding: field.1, as: UTF8.self))
        }
        guard fields.contains(where: { $0.name == "id" && $0.value == self.epoch }) else {
            return try rejoin()
        }
        if let seconds = time.elements?.first?.string.flatMap({ Int64($0) }) {
            memory.saw(serverTime: seconds)
        }
        memory.note(fields)
    }

    /// Clients and keys as they stand together.
    private func readTexts() throws(StoreError) -> Texts {
        let reply = try ask(
            .script(.read, keys: [keys.generation, keys.clients, keys.signingKeys]))
        guard let parts = reply.elements, parts.count == 3 else {
            throw .corrupt(reason: "clients and keys cannot be read")
        }
        var clients: [String: Result<ClientText, StoreError>] = [:]
        for (id, bytes) in Self.fields(parts[1]) {
            // A value that was copied there gives nobody another's rights.
            clients[id] = text(bytes) { $0.id == id }
        }
        var signingKeys: [String: Result<SigningKeyText, StoreError>] = [:]
        for (kid, bytes) in Self.fields(parts[2]) {
            signingKeys[kid] = text(bytes) { $0.kid == kid }
        }
        return Texts(
            generation: parts[0].string ?? "", clients: clients, keys: signingKeys)
    }

    private func text<Text: Decodable>(
        _ bytes: [UInt8], _ isOwn: (Text) -> Bool
    ) -> Result<Text, StoreError> {
        do throws(StoreError) {
            let text = try value(Text.self, of: bytes, "it")
            guard isOwn(text) else { throw .corrupt(reason: "it is another's") }
            return .success(text)
        } catch {
            return .failure(error)
        }
    }

    /// Tries this often when others change something at the same time.
    private static let attempts = 20

    /// Decides by what is there, and writes if that is still what is there.
    ///
    /// - Returns: how many changes were made.
    @discardableResult
    private func change(
        _ decide: (Texts) throws(StoreError) -> [Change]
    ) throws(StoreError) -> Int {
        for _ in 0..<Self.attempts {
            let texts = try readTexts()
            let changes = try decide(texts)
            guard !changes.isEmpty else { return 0 }
            var arguments = [Array(texts.generation.utf8)]
            for change in changes {
                switch change {
                case .client(let id, let text):
                    arguments += [Array("2".utf8), Array(id.utf8)]
                    arguments.append(try text.map(bytes) ?? [])
                case .key(let kid, let text):
                    arguments += [Array("3".utf8), Array(kid.utf8)]
                    arguments.append(try text.map(bytes) ?? [])
                }
            }
            let reply = try ask(
                .script(
                    .change, keys: [keys.generation, keys.clients, keys.signingKeys],
                    arguments: arguments))
            if reply.integer == 1 { return changes.count }
        }
        throw .busy
    }

    private static func fields(_ reply: RedisValue) -> [(String, [UInt8])] {
        let all = (reply.elements ?? []).map { $0.bytes ?? [] }
        return stride(from: 0, to: all.count - 1, by: 2).map { index in
            (String(decoding: all[index], as: UTF8.self), all[index + 1])
        }
    }

    private static func number(_ reply: RedisValue) -> Int64 {
        reply.string.flatMap { Int64($0) } ?? 0
    }

    // MARK: - JSON

    private func bytes<Value: Encodable>(_ value: Value) throws(StoreError) -> [UInt8] {
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return Array(try encoder.encode(value))
        } catch {
            throw .unavailable(reason: "a record cannot be written as JSON")
        }
    }

    func json(_ value: some Encodable) throws(StoreError) -> String {
        String(decoding: try bytes(value), as: UTF8.self)
    }

    func value<Value: Decodable>(
        _ type: Value.Type, of bytes: [UInt8], _ what: String
    ) throws(StoreError) -> Value {
        guard let value = try? JSONDecoder().decode(type, from: Data(bytes)) else {
            throw .corrupt(reason: "\(what) is not what was written")
        }
        return value
    }
}
