import Primitives

extension Interpreter {
    /// `upstream NAME { server HOST:PORT; keepalive 64; … }`
    mutating func upstream(_ statement: Statement) {
        let argument = statement.arguments[0]
        if name(argument) != nil,
            upstreamNames.updateValue(argument.span, forKey: argument.text) != nil
        {
            sink.error("there is another upstream \(shown(argument.text))", at: argument.span)
        }
        var upstream = UpstreamConfiguration(name: argument.text)
        let block = accept(statement.block ?? [], in: .upstream)
        demand("server", of: block, statement)
        var protocolSpan = statement.name.span
        for inner in block.statements {
            let value = inner.arguments.first ?? inner.name
            switch inner.name.text {
            case "server":
                guard let server = server(inner) else { continue }
                if upstream.servers.contains(server) {
                    sink.error("\(shown(value.text)) is here twice", at: value.span)
                }
                upstream.servers.append(server)
            case "balance":
                _ = choice(value, ["round_robin"], later: ["least_requests", "random_two", "hash"])
            case "protocol":
                upstream.version = choice(value, UpstreamProtocol.self) ?? upstream.version
                protocolSpan = value.span
            case "tls": upstream.tls = upstreamTLS(inner)
            case "keepalive": upstream.keepalive = integer(value, 0...65_536) ?? upstream.keepalive
            case "connect_timeout":
                upstream.connectTimeout = duration(value) ?? upstream.connectTimeout
            case "response_timeout":
                upstream.responseTimeout = duration(value) ?? upstream.responseTimeout
            case "idle_timeout": upstream.idleTimeout = duration(value) ?? upstream.idleTimeout
            case "retries": upstream.retries = integer(value, 0...16) ?? upstream.retries
            case "retry_on":
                _ = list(inner.arguments) {
                    $0.choice($1, ["connect"], later: ["502", "503", "504"])
                }
            default: unread(inner)
            }
        }
        if upstream.version == .auto, !block.names.contains("tls") {
            sink.error(
                "'auto' is settled by TLS, and there is no 'tls' block here", at: protocolSpan,
                "expected http/1.1, or h2 for HTTP/2 in clear")
        }
        checkServerName(upstream, statement)
        configuration.upstreams.append(upstream)
    }

    private mutating func server(_ statement: Statement) -> Endpoint? {
        for option in statement.arguments.dropFirst() {
            let name = option.text.hasPrefix("weight=") ? "weight" : option.text
            if ["weight", "backup"].contains(name) {
                sink.error("\(shown(name)) is not in this version of Gatehouse", at: option.span)
            } else {
                sink.error(
                    "'server' takes no such argument", at: option.span,
                    "expected server HOST:PORT|unix:/path;")
            }
            return nil
        }
        guard let server = endpoint(statement.arguments[0]) else { return nil }
        guard server.port != 0 else {
            sink.error("a server has no port 0", at: statement.arguments[0].span)
            return nil
        }
        return server
    }
}
