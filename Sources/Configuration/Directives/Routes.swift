import Primitives

extension Interpreter {
    /// `host NAME… { route … }`
    mutating func host(_ statement: Statement) {
        var host = HostConfiguration(names: [])
        for argument in statement.arguments {
            let name = argument.text.lowercased()
            guard isHostPattern(name) else {
                sink.error(
                    "\(shown(argument.text)) is no host name", at: argument.span,
                    "expected a name without port, such as api.example.com or *.example.com")
                continue
            }
            guard hostNames.insert(name).inserted else {
                sink.error("\(shown(argument.text)) has routes already", at: argument.span)
                continue
            }
            host.names.append(name)
        }
        let block = accept(statement.block ?? [], in: .host)
        demand("route", of: block, statement)
        for inner in block.statements {
            switch inner.name.text {
            case "route":
                if let route = route(inner, host: configuration.hosts.count) {
                    host.routes.append(route)
                }
            default: unread(inner)
            }
        }
        configuration.hosts.append(host)
    }

    /// `route [=]PATH {…}`; `host` is the number of the host block around it.
    mutating func route(_ statement: Statement, host: Int?) -> RouteConfiguration? {
        guard let (isExact, path) = routePath(statement) else { return nil }
        var route = RouteConfiguration(path: path.text)
        route.isExact = isExact
        let file = sink.files[statement.name.span.file]
        route.source = "\(file.name):\(file.lineNumber(at: statement.name.span.start))"
        if !routeKeys.insert("\(host ?? -1) \(isExact) \(path.text)").inserted {
            sink.error("there is another route \(shown(path.text)) of this kind", at: path.span)
        }
        let block = accept(statement.block ?? [], in: .route)
        demand("upstream", of: block, statement)
        for inner in block.statements { read(inner, into: &route) }
        checkPolicy(of: route, block, statement)
        if host == nil, route.requirements.contains(.dpop) {
            let line = block.statements.first { $0.arguments.first?.text == "dpop" }
            openProofs.append(line?.name.span ?? statement.name.span)
        }
        return route
    }

    /// `= PATH`, `=PATH` or `PATH`
    private mutating func routePath(_ statement: Statement) -> (isExact: Bool, path: Argument)? {
        var path = statement.arguments[0]
        var isExact = false
        if statement.arguments.count == 2 {
            guard path.text == "=" else {
                sink.error(
                    "'route' takes one path", at: statement.arguments[1].span,
                    "expected route PATH {…} or route = PATH {…}")
                return nil
            }
            isExact = true
            path = statement.arguments[1]
        } else if path.text.hasPrefix("="), !path.isQuoted {
            isExact = true
            path.text.removeFirst()
        }
        return canonicalPath(path).map { _ in (isExact, path) }
    }

    /// A path as it will be after the request's has been made canonical; anything else could never
    /// match.
    private mutating func canonicalPath(_ argument: Argument) -> String? {
        guard let fault = pathFault(argument.text) else { return argument.text }
        sink.error(
            "\(shown(argument.text)) is no canonical path: \(fault)", at: argument.span,
            "expected a path that begins with '/'")
        return nil
    }

    private mutating func read(_ statement: Statement, into route: inout RouteConfiguration) {
        let value = statement.arguments.first ?? statement.name
        switch statement.name.text {
        case "upstream":
            route.upstream = value.text
            routeUpstreams.append(value)
        case "strip_prefix": route.stripPrefix = canonicalPath(value)
        case "rewrite":
            guard let from = canonicalPath(value), let to = canonicalPath(statement.arguments[1])
            else { return }
            route.rewrites.append(Rewrite(from: from, to: to))
        case "set_header": setHeader(statement, &route)
        case "remove_header":
            guard let name = headerName(value, forbidden: framingFields.union(["host"])) else {
                return
            }
            route.removeHeaders.append(name)
        case "methods": route.methods = list(statement.arguments, { $0.method($1) }) ?? []
        case "authenticate":
            route.authenticate = authentication(statement.arguments) ?? route.authenticate
        case "require": requirement(statement).map { route.requirements.append($0) }
        case "allow", "deny":
            guard let prefixes = list(statement.arguments, { $0.prefix($1) }) else { return }
            route.addressRules.append(
                AddressRule(allows: statement.name.text == "allow", prefixes: prefixes))
        case "authorization":
            route.authorization =
                choice(value, RouteConfiguration.AuthorizationForwarding.self, later: ["assert"])
                ?? route.authorization
        case "limits":
            for inner in accept(statement.block ?? [], in: .routeLimits).statements {
                switch inner.name.text {
                case "body": route.bodyBytes = bodySize(inner.arguments[0])
                default: unread(inner)
                }
            }
        case "timeout": route.timeout = duration(value)
        case "request_buffering", "shadow": offOnly(statement)
        case "request_trailers":
            route.passesRequestTrailers = flag(value) ?? route.passesRequestTrailers
        case "websocket": route.allowsWebSocket = flag(value) ?? route.allowsWebSocket
        case "end_streams_with_credential": endOfStreams(statement, &route)
        case "rate_limit": rateLimit(statement, into: &route.rateLimits)
        default: unread(statement)
        }
    }

    /// `end_streams_with_credential on|off [grace DURATION];`
    private mutating func endOfStreams(
        _ statement: Statement, _ route: inout RouteConfiguration
    ) {
        let arguments = statement.arguments
        guard let isOn = flag(arguments[0]) else { return }
        guard arguments.count > 1 else {
            route.streamGrace = isOn ? route.streamGrace ?? .seconds(5) : nil
            return
        }
        guard isOn, arguments[1].text == "grace", arguments.count == 3 else {
            sink.error(
                "\(shown(arguments[1].text)) does not belong here", at: arguments[1].span,
                "expected on grace DURATION, or off")
            return
        }
        route.streamGrace = duration(arguments[2]) ?? route.streamGrace
    }

    /// `set_header NAME VALUE;`
    private mutating func setHeader(_ statement: Statement, _ route: inout RouteConfiguration) {
        guard let name = headerName(statement.arguments[0], forbidden: framingFields) else {
            return
        }
        let value = statement.arguments[1]
        // Field content of RFC 9110 section 5.5: a line break here would be a field of its own.
        let isLegal = value.text.unicodeScalars.allSatisfy { !isControl($0) || $0 == "\t" }
        guard isLegal, !" \t".contains(value.text.first ?? "-"),
            !" \t".contains(value.text.last ?? "-")
        else {
            sink.error(
                "\(shown(value.text)) is no field value", at: value.span,
                "expected text without control characters and without blanks at its ends")
            return
        }
        guard !route.setHeaders.contains(where: { $0.name.lowercased() == name.lowercased() })
        else {
            sink.error("\(shown(name)) is set twice", at: statement.arguments[0].span)
            return
        }
        route.setHeaders.append(HeaderSetting(name: name, value: value.text))
    }

    /// What frames the message is the gateway's alone: a second opinion is request smuggling.
    private var framingFields: Set<String> {
        [
            "connection", "content-length", "expect", "keep-alive", "proxy-connection", "te",
            "trailer", "transfer-encoding", "upgrade",
        ]
    }

    private mutating func headerName(_ argument: Argument, forbidden: Set<String>) -> String? {
        guard isToken(argument.text), argument.text.utf8.count <= 256 else {
            sink.error(
                "\(shown(argument.text)) is no field name", at: argument.span,
                "expected a token (RFC 9110 section 5.1)")
            return nil
        }
        // Many servers read `_` as `-`, so the identity fields are ours in both spellings.
        let name = argument.text.lowercased()
        let folded = String(name.map { $0 == "_" ? "-" : $0 })
        guard !folded.hasPrefix("x-auth-") else {
            sink.error(
                "\(shown(argument.text)) carries the identity that the gateway has proven",
                at: argument.span, "X-Auth-* cannot be set or removed")
            return nil
        }
        guard !forbidden.contains(folded) else {
            sink.error(
                "\(shown(argument.text)) is set by the gateway alone", at: argument.span,
                "framing, connection and (for removal) Host fields cannot be changed")
            return nil
        }
        return argument.text
    }

    /// A method name; methods are case-sensitive (RFC 9110 section 9.1).
    mutating func method(_ argument: Argument) -> String? {
        guard isToken(argument.text), argument.text.utf8.count <= 32 else {
            sink.error(
                "\(shown(argument.text)) is no method", at: argument.span, "expected GET, POST, …")
            return nil
        }
        let upper = argument.text.uppercased()
        guard upper != "CONNECT", upper != "TRACE" else {
            sink.error("\(shown(argument.text)) is never let through", at: argument.span)
            return nil
        }
        let common: Set = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]
        guard argument.text == upper || !common.contains(upper) else {
            sink.error(
                "\(shown(argument.text)) is not the method \(upper)", at: argument.span,
                "did you mean \(shown(upper))? Methods are case-sensitive")
            return nil
        }
        return argument.text
    }
}

/// A host, or `*.` and a name: an address has no names below it.
private func isHostPattern(_ text: String) -> Bool {
    guard text.hasPrefix("*.") else { return isHost(text) }
    let name = String(text.dropFirst(2))
    return isHost(name) && IPAddress(name) == nil && !name.hasPrefix("[")
}

/// What keeps a path from being its own canonical form (RFC 3986 section 6.2.2); `nil` when it is
/// one.
private func pathFault(_ text: String) -> String? {
    let bytes = Array(text.utf8)
    guard bytes.first == UInt8(ascii: "/") else { return "it does not begin with '/'" }
    guard bytes.count <= 4096 else { return "it is longer than 4096 bytes" }
    var index = 0
    while index < bytes.count {
        let byte = bytes[index]
        if byte == UInt8(ascii: "%") {
            guard index + 2 < bytes.count, let high = upperHex(bytes[index + 1]),
                let low = upperHex(bytes[index + 2])
            else { return "'%' is not followed by two upper-case hex digits" }
            let decoded = high << 4 | low
            guard decoded > 0x20, decoded != 0x7F, decoded != UInt8(ascii: "/"),
                decoded != UInt8(ascii: "\\")
            else { return "an encoded '/', '\\', blank or control can be read in two ways" }
            guard !isUnreserved(decoded) else {
                return "it encodes a character that needs no encoding"
            }
            index += 3
            continue
        }
        guard isUnreserved(byte) || "/!$&'()*+,;=:@".utf8.contains(byte) else {
            return byte == UInt8(ascii: "?") ? "it has a query" : "it holds a byte that no path has"
        }
        index += 1
    }
    let segments = text.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
    guard !segments.dropLast().contains("") else { return "it has an empty segment" }
    guard !segments.contains("."), !segments.contains("..") else { return "it has a dot segment" }
    return nil
}

private func upperHex(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}

/// RFC 3986 section 2.3.
private func isUnreserved(_ byte: UInt8) -> Bool {
    isASCIILetterOrDigit(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
        || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "~")
}
