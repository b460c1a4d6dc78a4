import Primitives

/// The blocks of those whose word about a token is taken: `issuer`, `introspection`.
extension Interpreter {
    /// `issuer NAME { issuer URL; audience NAME…; jwks_uri URL; algorithms …; … }`
    mutating func issuer(_ statement: Statement) {
        let argument = statement.arguments[0]
        if name(argument) != nil, !issuerNames.insert(argument.text).inserted {
            sink.error("there is another issuer \(shown(argument.text))", at: argument.span)
        }
        var issuer = IssuerConfiguration(name: argument.text, issuer: "", keys: .file(""))
        let block = accept(statement.block ?? [], in: .issuer)
        demand("issuer", of: block, statement)
        // Fail closed: without an audience a token meant for any other service would be let in.
        demand("audience", of: block, statement)
        var sources: [(KeySource, Argument)] = []
        for inner in block.statements {
            let value = inner.arguments[0]
            switch inner.name.text {
            case "issuer": issuer.issuer = issuerURL(value) ?? ""
            case "audience": issuer.audiences = list(inner.arguments, { $0.text($1) }) ?? []
            case "jwks_file": sources.append((.file(existingFile(value, .open) ?? ""), value))
            case "jwks_uri": sources.append((.uri(askedURL(value) ?? ""), value))
            case "discovery": if flag(value) == true { sources.append((.discovery, value)) }
            case "ca": issuer.ca = existingFile(value, .open)
            case "algorithms":
                issuer.algorithms =
                    list(inner.arguments, { $0.algorithm($1) }) ?? issuer.algorithms
            case "typ": issuer.type = mediaType(value)
            case "clock_skew":
                issuer.clockSkew = duration(value, .zero ... .seconds(3600)) ?? issuer.clockSkew
            case "client_claim":
                issuer.clientClaims = list(inner.arguments, { $0.text($1) }) ?? issuer.clientClaims
            case "scope_claim":
                issuer.scopeClaims = list(inner.arguments, { $0.text($1) }) ?? issuer.scopeClaims
            default: unread(inner)
            }
        }
        if let source = sources.first {
            issuer.keys = source.0
            checkKeys(issuer, source.1, hasOneSource: sources.count == 1, block, statement)
        } else if block.names.isDisjoint(with: ["jwks_file", "jwks_uri"]) {
            sink.error(
                "the issuer \(shown(argument.text)) has no keys", at: statement.name.span,
                "expected jwks_file FILE; jwks_uri URL; or discovery on;")
        }
        configuration.issuers.append(issuer)
    }

    private mutating func checkKeys(
        _ issuer: IssuerConfiguration, _ source: Argument, hasOneSource: Bool, _ block: Block,
        _ statement: Statement
    ) {
        if !hasOneSource {
            sink.error(
                "an issuer has one of 'jwks_file', 'jwks_uri' and 'discovery on'",
                at: statement.name.span)
        }
        let isSymmetric = issuer.algorithms.contains { $0.hasPrefix("HS") }
        switch issuer.keys {
        case .file(let path):
            // The set holds secrets where it is for HMAC, and only there.
            if isSymmetric, case .success(let facts) = self.source.inspect(path) {
                warnIfExposed(facts, path, source)
            }
            if block.names.contains("ca") {
                sink.error(
                    "'ca' is for keys that are fetched", at: statement.name.span,
                    "expected jwks_uri URL; or discovery on;")
            }
        case .uri, .discovery:
            if isSymmetric {
                sink.error(
                    "the shared keys of HMAC are in no set that is fetched",
                    at: statement.name.span, "expected jwks_file FILE; for HS256, HS384 and HS512")
            }
            if issuer.keys == .discovery, !issuer.issuer.isEmpty, !isAskable(issuer.issuer) {
                sink.error(
                    "\(shown(issuer.issuer)) is http, and not of this machine", at: source.span,
                    "'discovery on' asks the issuer by https; by http on localhost, 127.0.0.1 and [::1] alone"
                )
            }
        }
    }

    /// `introspection NAME { endpoint URL; client_id ID; client_secret_file FILE; cache 30s; … }`
    mutating func introspection(_ statement: Statement) {
        let argument = statement.arguments[0]
        _ = name(argument)
        var server = IntrospectionConfiguration(name: argument.text)
        let block = accept(statement.block ?? [], in: .introspection)
        for name in ["endpoint", "client_id", "client_secret_file"] {
            demand(name, of: block, statement)
        }
        for inner in block.statements {
            let value = inner.arguments[0]
            switch inner.name.text {
            case "endpoint": server.endpoint = askedURL(value) ?? ""
            case "client_id": server.clientID = text(value) ?? ""
            case "client_secret_file":
                server.clientSecretFile = existingFile(value, .secret) ?? ""
            case "cache": server.cache = duration(value, .zero ... .seconds(86_400)) ?? server.cache
            case "negative_cache":
                server.negativeCache =
                    duration(value, .zero ... .seconds(3600)) ?? server.negativeCache
            case "timeout":
                server.timeout =
                    duration(value, .milliseconds(10) ... .seconds(60)) ?? server.timeout
            case "issuer": server.issuer = url(value)
            case "audience": server.audiences = list(inner.arguments, { $0.text($1) }) ?? []
            case "ca": server.ca = existingFile(value, .open)
            default: unread(inner)
            }
        }
        configuration.introspection = server
    }

    private static let algorithms = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
        "HS256", "HS384", "HS512",
    ]

    private mutating func algorithm(_ argument: Argument) -> String? {
        guard argument.text.lowercased() != "none" else {
            sink.error(
                "'none' is never accepted", at: argument.span,
                "RFC 8725 section 3.2: a token without a signature proves nothing")
            return nil
        }
        return choice(argument, Interpreter.algorithms)
    }

    private mutating func mediaType(_ argument: Argument) -> String? {
        guard argument.text.split(separator: "/", omittingEmptySubsequences: false).count <= 2,
            argument.text.split(separator: "/", omittingEmptySubsequences: false)
                .allSatisfy({ isToken(String($0)) })
        else {
            sink.error(
                "\(shown(argument.text)) is no media type", at: argument.span,
                "expected a type such as at+jwt or application/at+jwt")
            return nil
        }
        return argument.text
    }
}
