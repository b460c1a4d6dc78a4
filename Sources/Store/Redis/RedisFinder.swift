import Primitives
import Transport

/// A primary that was found: open, authenticated, with the scripts loaded.
struct RedisServer {
    let connection: RedisConnection
    /// Of the process: another one has perhaps not all that this one had.
    let runID: String
    let digests: [RedisScript: [UInt8]]
}

/// Looks for the primary: at each address in turn, or through the Sentinels there.
struct RedisFinder {
    let location: RedisLocation
    /// Where it was found last.
    private var first = 0

    init(_ location: RedisLocation) {
        self.location = location
    }

    /// - Throws: why it was not found at the address that looked most promising: one that said something comes
    ///   before one that said nothing.
    mutating func find(by deadline: MonotonicInstant) throws(StoreError) -> RedisServer {
        var failure = StoreError.unavailable(reason: "no address")
        let count = location.addresses.count
        for step in 0..<count {
            let index = (first + step) % count
            let now = MonotonicInstant.now()
            guard now < deadline else { break }
            // A silent one leaves time for the others.
            let until = now + (deadline - now) / (count - step)
            do throws(StoreError) {
                let endpoint = try primary(named: location.addresses[index], by: until)
                let server = try open(endpoint, by: until)
                first = index
                return server
            } catch {
                if case .cannotOpen = failure { continue }
                failure = error
            }
        }
        throw failure
    }

    /// - Parameter address: of a server, which is taken at its word, or of a Sentinel, which is asked.
    private func primary(
        named address: Endpoint, by deadline: MonotonicInstant
    ) throws(StoreError) -> Endpoint {
        guard let name = location.sentinel else { return address }
        let connection = try RedisConnection(to: address, tls: location.tls, by: deadline)
        let question = RedisCommand("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
        var reply = try connection.exchange([question], by: deadline)[0]
        if reply.error?.hasPrefix("NOAUTH") == true, let authentication {
            let replies = try connection.exchange([authentication, question], by: deadline)
            try checkAuthentication(replies[0], address)
            reply = replies[1]
        }
        if let error = reply.error { throw refusal(address, error) }
        guard let parts = reply.elements?.compactMap(\.string), parts.count == 2 else {
            throw .unavailable(reason: "the Sentinel \(address) knows no primary \(name)")
        }
        let host = parts[0].contains(":") ? "[\(parts[0])]" : parts[0]
        guard let endpoint = Endpoint("\(host):\(parts[1])") else {
            throw .unavailable(reason: "the Sentinel \(address) names no address")
        }
        return endpoint
    }

    private func open(
        _ endpoint: Endpoint, by deadline: MonotonicInstant
    ) throws(StoreError) -> RedisServer {
        let connection = try RedisConnection(to: endpoint, tls: location.tls, by: deadline)
        var greeting = [RedisCommand("CLIENT", "SETNAME", "gatehouse")]
        if location.database != 0 {
            greeting.insert(RedisCommand("SELECT", "\(location.database)"), at: 0)
        }
        if let authentication { greeting.insert(authentication, at: 0) }
        let questions = [
            RedisCommand("ROLE"), RedisCommand("INFO", "server"), RedisCommand("INFO", "memory"),
        ]
        let scripts = RedisScript.allCases
        let loads = scripts.map { RedisCommand("SCRIPT", "LOAD", $0.rawValue) }
        let replies = try connection.exchange(greeting + questions + loads, by: deadline)
        if authentication != nil { try checkAuthentication(replies[0], endpoint) }
        for (index, reply) in replies.enumerated() {
            // Its own name is a convenience that a user need not be allowed.
            guard let error = reply.error, index != greeting.count - 1 else { continue }
            throw refusal(endpoint, error)
        }
        let answers = Array(replies[greeting.count...])
        guard answers[0].elements?.first?.string == "master" else {
            throw .unavailable(reason: "\(endpoint) is no primary")
        }
        try refuseEviction(endpoint, Self.facts(answers[2]))
        guard let runID = Self.facts(answers[1])["run_id"], !runID.isEmpty else {
            throw .cannotOpen(path: location.name, reason: "\(endpoint) tells no run_id")
        }
        let digests = zip(scripts, answers[questions.count...].map { $0.bytes ?? [] })
        return RedisServer(
            connection: connection, runID: runID, digests: Dictionary(uniqueKeysWithValues: digests)
        )
    }

    private var authentication: RedisCommand? {
        guard let password = location.password else { return nil }
        var command = RedisCommand("AUTH")
        if let username = location.username { command.arguments.append(Array(username.utf8)) }
        command.arguments.append(password.exposed)
        return command
    }

    /// What a server says to AUTH may repeat the password, as it does of a command that it does not know: no text of it is
    /// told but the code, and that only if it is one of Redis's.
    private func checkAuthentication(
        _ reply: RedisValue, _ endpoint: Endpoint
    ) throws(StoreError) {
        guard let error = reply.error else { return }
        let code = ["WRONGPASS", "NOAUTH", "NOPERM", "LOADING", "ERR"].first(where: error.hasPrefix)
        throw refusal(endpoint, "\(code ?? "an error"): AUTH was refused")
    }

    /// A server that throws away what it likes when its memory is full forgets nonces without a word.
    func refuseEviction(
        _ endpoint: Endpoint, _ facts: [String: String]
    ) throws(StoreError) {
        guard let policy = facts["maxmemory_policy"], policy != "noeviction",
            facts["maxmemory"].flatMap({ Int($0) }) != 0
        else { return }
        throw .cannotOpen(
            path: location.name,
            reason: "\(endpoint) has maxmemory-policy \(policy) and would forget what was used; "
                + "it must be noeviction")
    }

    private func refusal(_ endpoint: Endpoint, _ error: String) -> StoreError {
        let passes = ["LOADING", "MASTERDOWN", "READONLY", "BUSY", "TRYAGAIN"]
        if passes.contains(where: error.hasPrefix) {
            return .unavailable(reason: "\(endpoint): \(error)")
        }
        return .cannotOpen(path: location.name, reason: "\(endpoint): \(error)")
    }

    /// The lines `name:value` of INFO.
    static func facts(_ reply: RedisValue) -> [String: String] {
        var facts: [String: String] = [:]
        for line in (reply.string ?? "").split(whereSeparator: \.isNewline) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            facts[String(line[..<colon])] = String(line[line.index(after: colon)...])
        }
        return facts
    }
}
