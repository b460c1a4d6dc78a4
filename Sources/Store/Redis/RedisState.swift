import Cryptography
import Primitives

/// The state in a Redis, for gateways that work together. Redis's own rules of durability apply; what it loses
/// it never lets pass twice (`RedisItems.swift`).
///
/// Clients and keys are in `RedisRecords.swift`.
final class RedisState: StateBackend {
    static let version = 1

    let location: RedisLocation
    let seal: Seal
    let keys: RedisKeys
    private var finder: RedisFinder
    private var server: RedisServer?
    /// What is asked of us must be over by then.
    private(set) var deadline: MonotonicInstant
    /// Nobody tries to connect before.
    private var retryAt: MonotonicInstant
    private var retryDelay = RedisState.shortestDelay
    private var lastFailure = StoreError.closed
    private var policyIsDue = MonotonicInstant.now()

    /// The epoch that this gateway has joined, '' for none.
    private(set) var epoch = ""
    var memory = RedisMemory()

    private static let shortestDelay: Duration = .milliseconds(50)
    /// With it a gateway is back before the floor of a new epoch is past (`RedisItems.swift`).
    static let longestDelay: Duration = .seconds(1)
    private static let policyPause: Duration = .seconds(2)

    /// - Parameter mayBeAway: it may come later; what a wrong password or another key says is told all the same.
    init(
        _ location: RedisLocation, secretsKey: SecretsKey, mayBeAway: Bool
    ) throws(StoreError) {
        self.location = location
        seal = Seal(key: secretsKey.secret)
        keys = RedisKeys(prefix: location.prefix)
        finder = RedisFinder(location)
        retryAt = MonotonicInstant.now()
        // A start has more time than a request.
        deadline = MonotonicInstant.now() + max(location.timeout * 4, .seconds(2))
        do throws(StoreError) {
            _ = try connected()
        } catch {
            guard case .unavailable = error, mayBeAway else { throw error }
        }
    }

    func close() { server = nil }

    func hasTime(until deadline: MonotonicInstant) { self.deadline = deadline }

    // MARK: - Asking

    /// What is asked of Redis: a command, or a script with its keys and arguments.
    enum Question {
        case command(RedisCommand)
        case script(RedisScript, keys: [String], arguments: [[UInt8]])

        static func command(_ words: String...) -> Question {
            .command(RedisCommand(words.map { Array($0.utf8) }))
        }

        static func script(
            _ script: RedisScript, keys: [String], _ arguments: String...
        ) -> Question {
            .script(script, keys: keys, arguments: arguments.map { Array($0.utf8) })
        }

        fileprivate func command(_ server: RedisServer, inFull: Bool) -> RedisCommand {
            switch self {
            case .command(let command): return command
            case .script(let script, let keys, let arguments):
                let what =
                    inFull ? Array(script.rawValue.utf8) : server.digests[script] ?? []
                let head = [
                    Array((inFull ? "EVAL" : "EVALSHA").utf8), what, Array("\(keys.count)".utf8),
                ]
                return RedisCommand(head + keys.map { Array($0.utf8) } + arguments)
            }
        }
    }

    /// Asks all of it in one round trip.
    ///
    /// - Returns: a reply to each; those that are errors are about that question alone.
    func ask(_ questions: [Question]) throws(StoreError) -> [RedisValue] {
        try ask(questions, try connected())
    }

    func ask(_ question: Question) throws(StoreError) -> RedisValue {
        let reply = try ask([question])[0]
        if let error = reply.error { throw StoreError(redis: error) }
        return reply
    }

    private func ask(
        _ questions: [Question], _ server: RedisServer
    ) throws(StoreError) -> [RedisValue] {
        do throws(StoreError) {
            let commands = questions.map { $0.command(server, inFull: false) }
            var replies = try server.connection.exchange(commands, by: deadline)
            // Somebody has emptied the script cache. None of these was run, so each may be asked again.
            let unknown = replies.indices.filter {
                replies[$0].error?.hasPrefix("NOSCRIPT") == true
            }
            if !unknown.isEmpty {
                let again = unknown.map { questions[$0].command(server, inFull: true) }
                let answers = try server.connection.exchange(again, by: deadline)
                for (index, answer) in zip(unknown, answers) { replies[index] = answer }
            }
            // It is no primary any more, or not ready to be one: look for another.
            let signs = ["READONLY", "LOADING", "MASTERDOWN", "NOAUTH", "UNBLOCKED"]
            if let error = replies.compactMap(\.error).first(where: { error in
                signs.contains(where: error.hasPrefix)
            }) {
                throw .unavailable(reason: "\(server.connection.endpoint): \(error)")
            }
            return replies
        } catch {
            drop(error)
            throw error
        }
    }

    // MARK: - Connecting

    /// The connection that is open, or a new one if it is time for that.
    private func connected() throws(StoreError) -> RedisServer {
        if let server { return server }
        guard MonotonicInstant.now() >= retryAt else { throw lastFailure }
        do throws(StoreError) {
            let server = try finder.find(by: deadline)
            try open(server)
            try join(server)
            self.server = server
            retryDelay = Self.shortestDelay
            return server
        } catch {
            drop(error)
            throw error
        }
    }

    private func drop(_ error: StoreError) {
        server = nil
        lastFailure = error
        // Gateways that lost it together do not come back together.
        let jitter = Double.random(in: 0.5...1)
        retryAt = MonotonicInstant.now() + retryDelay * jitter
        retryDelay = min(retryDelay * 2, Self.longestDelay)
    }

    /// Sees to it that what is under the prefix is ours, and sealed with our key.
    private func open(_ server: RedisServer) throws(StoreError) {
        let canary = HexBytes(try seal.makeCanary()).text
        let reply = try once(
            .script(
                .open,
                keys: [
                    keys.store, keys.epoch, keys.clients, keys.signingKeys, keys.generation,
                    keys.revocations, keys.lastRevocation, keys.revocationOrder,
                    keys.revocationExpiry, keys.declared,
                ], "\(Self.version)", canary), server)
        let fields = reply.elements?.map(\.string) ?? []
        guard fields.count == 3, fields[0] == "gatehouse",
            let version = fields[1].flatMap({ Int($0) })
        else { throw .foreignDatabase(path: "\(location.name) \(keys.prefix)") }
        guard version <= Self.version else {
            throw .newerVersion(found: version, known: Self.version)
        }
        guard let sealed = fields[2].flatMap({ HexBytes(text: $0) }) else { throw .wrongKey }
        try seal.checkCanary(sealed.bytes)
    }

    private func join(_ server: RedisServer) throws(StoreError) {
        let fresh: [UInt8]
        do throws(CryptographyError) {
            fresh = try RandomBytes.make(count: 16)
        } catch {
            throw .unavailable(reason: "no random bytes")
        }
        var names = [keys.epoch]
        var words = [
            epoch, server.runID, HexBytes(fresh).text, memory.name, "\(memory.highest)",
            "\(memory.floor)", "\(memory.others.count)",
        ]
        for (name, highest) in memory.others { words += [name, "\(highest)"] }
        let now = WallTime.now()
        for (key, id) in memory.ahead {
            names.append(key)
            words += ["\(id.timestamp)", "\(Self.lifetime(from: now, to: id.expiresAt))"]
        }
        let reply = try once(
            .script(.join, keys: names, arguments: words.map { Array($0.utf8) }), server)
        guard let id = reply.string, !id.isEmpty else {
            throw .corrupt(reason: "the epoch has no id")
        }
        epoch = id
    }

    /// Joins anew while the connection is open: the epoch was taken away or is another's now.
    func rejoin() throws(StoreError) {
        let server = try connected()
        do throws(StoreError) {
            try join(server)
        } catch {
            drop(error)
            throw error
        }
    }

    /// What was right when the connection opened may be configured otherwise since.
    func checkPolicy() throws(StoreError) {
        let now = MonotonicInstant.now()
        guard now >= policyIsDue else { return }
        policyIsDue = now + Self.policyPause
        let server = try connected()
        let facts = RedisFinder.facts(try ask(.command("INFO", "memory")))
        do throws(StoreError) {
            try finder.refuseEviction(server.connection.endpoint, facts)
        } catch {
            drop(error)
            throw error
        }
    }

    private func once(
        _ question: Question, _ server: RedisServer
    ) throws(StoreError) -> RedisValue {
        let command = question.command(server, inFull: false)
        let reply = try server.connection.exchange([command], by: deadline)[0]
        if let error = reply.error { throw StoreError(redis: error) }
        return reply
    }
}

extension StoreError {
    /// What an error of Redis means here.
    init(redis text: String) {
        if text.hasPrefix("OOM") {
            self = .full
        } else if text.hasPrefix("WRONGTYPE") || text.contains("-WRONGTYPE") {
            self = .corrupt(reason: "a key of ours is of another type")
        } else if text.hasPrefix("CORRUPT ") {
            self = .corrupt(reason: String(text.dropFirst(8)))
        } else {
            self = .unavailable(reason: "redis: \(text)")
        }
    }
}
