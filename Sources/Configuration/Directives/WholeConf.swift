import Primitives

/// What only the whole conf can show: references, and what must be there at least once.
extension Interpreter {
    /// - Parameters:
    ///   - names: what stood at the top level, readable or not.
    ///   - isComplete: the text had no syntax error, so what is not there is really missing.
    mutating func checkWhole(_ names: Set<String>, isComplete: Bool) {
        checkReferences()
        checkClientIssuers()
        if isComplete {
            checkPresence(names)
            settleClientIssuers(names)
        }
        if !names.contains("secrets") { checkStore() }
        checkAuthority()
        checkProofTargets()
        let takesCertificates = configuration.listeners.contains {
            ($0.tls?.clientCertificate ?? .off) != .off
        }
        if !takesCertificates {
            for span in certificateUses {
                sink.warning(
                    "no listener asks a client for a certificate", at: span,
                    "expected client_certificate request|require; in a 'tls' block")
            }
        }
        if !names.contains("authority") {
            for span in twofoldRoutes {
                sink.warning(
                    "no token can be of the client that has signed: there is no authority",
                    at: span,
                    "an issuer's clients are not ours; expected an 'authority' block")
            }
        }
        let hasTokens = !names.isDisjoint(with: ["authority", "issuer", "introspection"])
        if !hasTokens {
            for span in bearerOnlyRoutes {
                sink.warning(
                    "this route needs a bearer token, but there is no issuer of any", at: span,
                    "expected an 'issuer', 'introspection' or 'authority' block")
            }
        }
    }

    // MARK: Whose clients `require client` means

    private mutating func checkClientIssuers() {
        let issuers = Set(configuration.issuers.map(\.name))
        let server = configuration.introspection?.name
        for argument in clientIssuers {
            let isServer = argument.text == server
            switch (issuers.contains(argument.text), isServer) {
            case (true, false), (false, true): break
            case (true, true):
                sink.error(
                    "\(shown(argument.text)) is an 'issuer' and an 'introspection' block",
                    at: argument.span, "give one of them another name")
            case (false, false):
                sink.error(
                    "there is no 'issuer' or 'introspection' block \(shown(argument.text))",
                    at: argument.span,
                    nearestName(
                        to: argument.text, among: issuers.union([server].compactMap(\.self))
                    )
                    .map { "did you mean \(shown($0))?" } ?? "expected the name of one")
            }
        }
    }

    /// Without `of` our own clients are meant, or, where there are none, those of the only one that vouches for any.
    private mutating func settleClientIssuers(_ names: Set<String>) {
        guard names.isDisjoint(with: ["authority", "client"]) else { return }
        let vouching =
            configuration.issuers.map(\.name)
            + [configuration.introspection?.name].compactMap(\.self)
        guard vouching.count < 2 else {
            for span in unqualifiedClients {
                sink.error(
                    "whose client is meant: \(listed(vouching.map(shown)))?", at: span,
                    "expected require client ID… of ISSUER;")
            }
            return
        }
        guard let only = vouching.first else { return }
        for index in configuration.routes.indices {
            configuration.routes[index].settleClients(of: only)
        }
        for host in configuration.hosts.indices {
            for index in configuration.hosts[host].routes.indices {
                configuration.hosts[host].routes[index].settleClients(of: only)
            }
        }
    }

    private mutating func checkReferences() {
        for argument in routeUpstreams where upstreamNames[argument.text] == nil {
            sink.error(
                "there is no upstream \(shown(argument.text))", at: argument.span,
                nearestName(to: argument.text, among: upstreamNames.keys)
                    .map { "did you mean \(shown($0))?" }
                    ?? "expected the name of an 'upstream' block")
        }
        for route in configuration.routes + configuration.hosts.flatMap(\.routes)
        where route.allowsWebSocket {
            let upstream = configuration.upstreams.first { $0.name == route.upstream }
            guard upstream?.version == .h2,
                let span = routeUpstreams.first(where: { $0.text == route.upstream })?.span
            else { continue }
            sink.error(
                "'websocket on' needs HTTP/1.1, and \(shown(route.upstream)) has 'protocol h2'",
                at: span, "expected protocol http/1.1 or auto")
        }
        let used = Set(routeUpstreams.map(\.text))
        for (name, span) in upstreamNames where !used.contains(name) {
            sink.warning("no route leads to the upstream \(shown(name))", at: span)
        }
        for argument in authorityListeners where !listenerNames.contains(argument.text) {
            sink.error(
                "there is no listener \(shown(argument.text))", at: argument.span,
                nearestName(to: argument.text, among: listenerNames)
                    .map { "did you mean \(shown($0))?" }
                    ?? "expected the name of a 'listener' block")
        }
    }

    private mutating func checkPresence(_ names: Set<String>) {
        // The first file is the conf itself; it has been opened if we are here.
        if !names.contains("listener") {
            sink.error("there is no listener", at: .whole(0))
        }
        if names.isDisjoint(with: ["route", "host", "authority"]) {
            sink.error("there is neither a route nor an authority", at: .whole(0))
        }
    }

    private mutating func checkAuthority() {
        guard let authority = configuration.authority, let span = authoritySpan else { return }
        if configuration.store == .memory, configuration.secretsKeyFile == nil {
            sink.error(
                "'authority' with 'store memory' has no key for its secrets", at: span,
                "expected secrets { key_file FILE; } or store sqlite")
        }
        guard !authority.scopes.isEmpty else { return }
        for argument in clientScopes where !authority.scopes.contains(argument.text) {
            sink.warning(
                "the authority never grants the scope \(shown(argument.text))", at: argument.span,
                "its 'scopes' do not name it")
        }
    }
}

extension RouteConfiguration {
    fileprivate mutating func settleClients(of issuer: String) {
        requirements = requirements.map { requirement in
            if case .clients(let ids, of: nil) = requirement {
                .clients(ids, of: issuer)
            } else {
                requirement
            }
        }
    }
}
