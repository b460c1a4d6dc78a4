import Primitives

extension Interpreter {
    /// `listener NAME { address …; protocols …; limits {…} }`
    mutating func listener(_ statement: Statement) {
        let argument = statement.arguments[0]
        var listener = ListenerConfiguration(name: argument.text)
        if name(argument) != nil, !listenerNames.insert(argument.text).inserted {
            sink.error("there is another listener \(shown(argument.text))", at: argument.span)
        }
        let block = accept(statement.block ?? [], in: .listener)
        demand("address", of: block, statement)
        var protocols: (listed: [ListenerProtocol], span: SourceSpan)?
        for inner in block.statements {
            switch inner.name.text {
            case "address":
                guard let address = ownAddress(inner.arguments[0]) else { continue }
                listener.addresses.append(address)
            case "protocols":
                let listed = list(inner.arguments) { $0.choice($1, ListenerProtocol.self) }
                protocols = listed.map { ($0, inner.name.span) }
            case "limits": limits(inner, &listener.limits)
            case "tls": tls(inner, &listener)
            case "proxy_protocol":
                listener.requiresProxyHeader =
                    flag(inner.arguments[0]) ?? listener.requiresProxyHeader
            case "trusted_proxies":
                listener.trustedProxies += list(inner.arguments, { $0.prefix($1) }) ?? []
            case "rate_limit": rateLimit(inner, into: &listener.rateLimits)
            default: unread(inner)
            }
        }
        listener.protocols = self.protocols(protocols, isTLS: block.names.contains("tls"))
        configuration.listeners.append(listener)
    }

    /// What is spoken where none is named: with TLS both by ALPN, in clear HTTP/1.1. In clear `h2` can only mean prior
    /// knowledge, as with nginx.
    private mutating func protocols(
        _ named: (listed: [ListenerProtocol], span: SourceSpan)?, isTLS: Bool
    ) -> [ListenerProtocol] {
        guard let named else { return isTLS ? [.h2, .http11] : [.http11] }
        guard isTLS else {
            let clear: [ListenerProtocol] = named.listed.map { $0 == .h2 ? .h2c : $0 }
            return clear.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
        }
        if named.listed.contains(.h2c) {
            sink.error(
                "'h2c' is HTTP/2 in clear, and this listener has a 'tls' block", at: named.span,
                "expected h2")
        }
        return named.listed
    }

    /// An address that we listen on; no two of them are the same, so that the admin listener can
    /// never be public by accident. Port 0, any free port, may be written more than once.
    private mutating func ownAddress(_ argument: Argument) -> Endpoint? {
        guard let address = ownEndpoint(argument) else { return nil }
        if address.port != 0, addresses.updateValue(argument.span, forKey: address) != nil {
            sink.error(
                "\(shown(argument.text)) is another listener's address too", at: argument.span)
            return nil
        }
        return address
    }

    /// `limits { request_head 32k; … }` of a listener
    private mutating func limits(_ statement: Statement, _ limits: inout LimitsConfiguration) {
        var headSpan = statement.name.span
        for inner in accept(statement.block ?? [], in: .listenerLimits).statements {
            let value = inner.arguments[0]
            switch inner.name.text {
            case "request_head":
                limits.requestHeadBytes = size(value, 1 << 10...1 << 20) ?? limits.requestHeadBytes
                headSpan = value.span
            case "headers": limits.headers = integer(value, 1...10_000) ?? limits.headers
            case "request_line":
                limits.requestLineBytes = size(value, 64...1 << 20) ?? limits.requestLineBytes
                headSpan = value.span
            case "body": limits.bodyBytes = bodySize(value) ?? limits.bodyBytes
            case "header_timeout": limits.headerTimeout = duration(value) ?? limits.headerTimeout
            case "body_timeout": limits.bodyTimeout = duration(value) ?? limits.bodyTimeout
            case "idle_timeout": limits.idleTimeout = duration(value) ?? limits.idleTimeout
            case "connections":
                limits.connections = integer(value, 1...10_000_000) ?? limits.connections
            case "streams": limits.streams = integer(value, 1...100_000) ?? limits.streams
            default: unread(inner)
            }
        }
        if limits.requestLineBytes > limits.requestHeadBytes {
            let (line, head) = (
                sizeText(limits.requestLineBytes), sizeText(limits.requestHeadBytes)
            )
            sink.error(
                "'request_line' (\(line)) is more than 'request_head' (\(head))", at: headSpan,
                "the head holds the request line")
        }
    }

    mutating func bodySize(_ argument: Argument) -> Int? {
        size(argument, 0...1 << 40)
    }

    /// `admin { address …; allow CIDR…; }`
    mutating func admin(_ statement: Statement) {
        var admin = AdminConfiguration()
        let block = accept(statement.block ?? [], in: .admin)
        demand("address", of: block, statement)
        for inner in block.statements {
            switch inner.name.text {
            case "address":
                let argument = inner.arguments[0]
                guard let address = ownAddress(argument) else { continue }
                admin.addresses.append(address)
                if !isLocal(address), !block.names.contains("allow") {
                    sink.error(
                        "\(shown(argument.text)) can be reached from other machines",
                        at: argument.span,
                        "expected a loopback address or unix socket, or allow CIDR…; beside it")
                }
            case "allow":
                admin.allow += list(inner.arguments, { $0.prefix($1) }) ?? []
            default: unread(inner)
            }
        }
        configuration.admin = admin
    }

    private func isLocal(_ address: Endpoint) -> Bool {
        switch address {
        // Of a socket that systemd binds only systemd's conf tells; that is the operator's too.
        case .unix, .activated: true
        case .name(let host, _): host.lowercased() == "localhost"
        case .ip(let ip, _):
            switch ip.unmapped {
            case .v4(let value): value >> 24 == 127
            case .v6(let high, let low): high == 0 && low == 1
            }
        }
    }
}
