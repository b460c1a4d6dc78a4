import Configuration
import Testing

/// A conf and the world around it, in memory.
struct Memory {
    /// Contents by absolute path.
    var files: [String: String] = [:]
    var environment: [String: String] = [:]
    /// Files that exist without content of interest, with their modes.
    var modes: [String: UInt32] = [:]
    /// What a pattern matches.
    var matches: [String: [String]] = [:]

    var source: ConfigurationSource {
        let memory = self
        return ConfigurationSource(
            readFile: { path, limit in
                guard let text = memory.files[path] else { return .failure(.notFound) }
                let bytes = Array(text.utf8)
                return bytes.count > limit ? .failure(.tooLarge(limit: limit)) : .success(bytes)
            },
            glob: { memory.matches[$0] ?? [] },
            environment: { memory.environment[$0] },
            inspect: { path in
                memory.modes[path].map { .success(FileFacts(mode: $0)) } ?? .failure(.notFound)
            },
            workingDirectory: "/etc/gatehouse")
    }

    func load(_ conf: String) -> LoadResult {
        var memory = self
        memory.files["/etc/gatehouse/gateway.conf"] = conf
        return ConfigurationLoader.load(path: "gateway.conf", source: memory.source)
    }

    /// Every secret and key that the tests name, with modes that draw no warning.
    static let usual = Memory(modes: [
        "/k/secret": 0o600, "/k/keys.jwks": 0o644, "/k/rsa.pem": 0o644, "/k/key": 0o600,
        "/k/open": 0o644, "/etc/gatehouse/near": 0o600,
    ])
}

/// A conf that loads without a diagnostic.
let base = """
    listener web { address 127.0.0.1:0; }
    upstream app { server 127.0.0.1:9; }
    route /base { upstream app; }

    """

extension LoadResult {
    /// `line:column: severity: message` of each.
    var summaries: [String] {
        diagnostics.map { "\($0.line):\($0.column): \($0.severity.rawValue): \($0.message)" }
    }
}

func loaded(_ conf: String, _ memory: Memory = .usual) throws -> Configuration {
    let result = memory.load(conf)
    return try #require(result.configuration, "\(result.summaries)")
}
