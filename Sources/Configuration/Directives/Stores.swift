import Primitives

extension Interpreter {
    /// `store sqlite { path FILE; }`, `store redis { address HOST:PORT…; … }` or `store memory;`
    mutating func store(_ statement: Statement) {
        storeSpan = statement.name.span
        switch choice(statement.arguments[0], ["sqlite", "redis", "memory"]) {
        case "memory":
            configuration.store = .memory
            if statement.block != nil {
                sink.error(
                    "'store memory' takes no block", at: statement.name.span,
                    "expected store memory;")
            }
        case "sqlite":
            for inner in accept(statement.block ?? [], in: .sqlite).statements {
                switch inner.name.text {
                case "path":
                    guard let path = path(inner.arguments[0]) else { continue }
                    configuration.store = .sqlite(path: path)
                default: unread(inner)
                }
            }
        case "redis": redis(statement)
        default: break
        }
    }

    private mutating func redis(_ statement: Statement) {
        var redis = RedisConfiguration()
        let block = accept(statement.block ?? [], in: .redis)
        if !block.names.contains("address") {
            sink.error(
                "'store redis' needs 'address'", at: statement.name.span,
                "expected store redis { address HOST:PORT…; }")
        }
        for inner in block.statements {
            let value = inner.arguments[0]
            switch inner.name.text {
            case "address":
                redis.addresses = list(inner.arguments) { $0.storeEndpoint($1) } ?? redis.addresses
            case "sentinel": redis.sentinel = name(value)
            case "username":
                redis.username = text(value, limit: 256)
                needs("password_file", with: inner, in: block)
            case "password_file": redis.passwordFile = existingFile(value, .secret)
            case "tls": redis.usesTLS = flag(value) ?? redis.usesTLS
            case "ca": redis.ca = existingFile(value, .open)
            case "database": redis.database = integer(value, 0...65_535) ?? redis.database
            case "prefix": redis.prefix = text(value, limit: 128) ?? redis.prefix
            case "timeout":
                redis.timeout =
                    duration(value, .milliseconds(10) ... .seconds(60)) ?? redis.timeout
            default: unread(inner)
            }
        }
        if let ca = block.statements.first(where: { $0.name.text == "ca" }), !redis.usesTLS {
            sink.error("'ca' needs TLS", at: ca.name.span, "expected tls on;")
        }
        configuration.store = .redis(redis)
    }

    private mutating func storeEndpoint(_ argument: Argument) -> Endpoint? {
        guard let endpoint = endpoint(argument) else { return nil }
        guard endpoint.port != 0 else {
            sink.error("a server has no port 0", at: argument.span)
            return nil
        }
        return endpoint
    }

    private mutating func needs(_ name: String, with inner: Statement, in block: Block) {
        guard !block.names.contains(name) else { return }
        sink.error("\(shown(inner.name.text)) needs \(shown(name))", at: inner.name.span)
    }

    /// A secrets key that each gateway made for itself would open nothing that another has written.
    mutating func checkStore() {
        guard case .redis = configuration.store, configuration.secretsKeyFile == nil,
            let storeSpan
        else { return }
        sink.error(
            "'store redis' has no key for its secrets", at: storeSpan,
            "expected secrets { key_file FILE; } with the same key on every gateway")
    }
}
