import Primitives

extension Interpreter {
    /// Reads the whole conf: every statement of the top level, then what only the whole can show.
    mutating func interpret(_ statements: [Statement]) {
        // After a syntax error something that seems missing may merely not have been understood.
        let isComplete = sink.errorCount == 0
        setDefaultStore()
        let block = accept(statements, in: .top)
        for statement in block.statements {
            guard !sink.isFull else { return }
            switch statement.name.text {
            case "workers": workers(statement)
            case "token_cache": tokenCache(statement)
            case "shutdown_timeout":
                configuration.shutdownTimeout =
                    duration(statement.arguments[0], .zero ... .seconds(86_400))
                    ?? configuration.shutdownTimeout
            case "listener": listener(statement)
            case "admin": admin(statement)
            case "log": log(statement)
            case "store": store(statement)
            case "secrets": secrets(statement)
            case "authority": authority(statement)
            case "client": client(statement)
            case "issuer": issuer(statement)
            case "introspection": introspection(statement)
            case "oauth1": oauth1(statement)
            case "dpop": dpop(statement)
            case "upstream": upstream(statement)
            case "route":
                if let route = route(statement, host: nil) { configuration.routes.append(route) }
            case "host": host(statement)
            default: unread(statement)
            }
        }
        checkWhole(block.names, isComplete: isComplete)
    }

    /// `workers auto|N;`
    private mutating func workers(_ statement: Statement) {
        let argument = statement.arguments[0]
        configuration.workers = argument.text == "auto" ? nil : integer(argument, 1...1024)
    }

    /// `token_cache SIZE|off;`
    private mutating func tokenCache(_ statement: Statement) {
        let argument = statement.arguments[0]
        configuration.tokenCacheBytes =
            argument.text == "off" ? 0 : size(argument, 64 << 10...64 << 30) ?? 0
    }

    /// systemd may name several state directories, with colons between; the first is ours.
    private mutating func setDefaultStore() {
        guard let list = source.environment("STATE_DIRECTORY"),
            let directory = list.split(separator: ":").first, directory.hasPrefix("/")
        else { return }
        configuration.store = .sqlite(path: "\(directory)/gatehouse.db")
    }

    /// `secrets { key_file FILE; }`
    private mutating func secrets(_ statement: Statement) {
        let block = accept(statement.block ?? [], in: .secrets)
        demand("key_file", of: block, statement)
        for inner in block.statements {
            switch inner.name.text {
            case "key_file": configuration.secretsKeyFile = keyFile(inner.arguments[0])
            default: unread(inner)
            }
        }
    }

    /// `log { access PATH|stdout|off; error PATH|stderr LEVEL; access_format json|combined; }`
    private mutating func log(_ statement: Statement) {
        for inner in accept(statement.block ?? [], in: .log).statements {
            let target = inner.arguments[0]
            switch inner.name.text {
            case "access":
                switch target.text {
                case "stdout": configuration.log.access = .stdout
                case "off": configuration.log.access = .off
                case "stderr":
                    sink.error(
                        "the access log does not go to stderr", at: target.span,
                        "expected PATH, stdout or off")
                default: path(target).map { configuration.log.access = .file($0) }
                }
            case "error":
                switch target.text {
                case "stderr": configuration.log.error = .stderr
                case "stdout", "off":
                    sink.error(
                        "the error log does not go to \(shown(target.text))", at: target.span,
                        "expected PATH or stderr")
                default: path(target).map { configuration.log.error = .file($0) }
                }
                guard inner.arguments.count > 1 else { continue }
                configuration.log.errorLevel =
                    choice(inner.arguments[1], LogLevel.self) ?? configuration.log.errorLevel
            case "access_format":
                configuration.log.accessFormat =
                    choice(target, LogConfiguration.Format.self) ?? configuration.log.accessFormat
            default: unread(inner)
            }
        }
    }
}
