/// What a route asks of a request: `authenticate` and `require`.
extension Interpreter {
    /// `authenticate [any|all] bearer oauth1 certificate;` or `authenticate none;`
    mutating func authentication(_ arguments: [Argument]) -> AuthenticationPolicy? {
        var rest = arguments[...]
        var needsAll = false
        if let first = rest.first, ["any", "all"].contains(first.text) {
            needsAll = first.text == "all"
            rest = rest.dropFirst()
            guard !rest.isEmpty else {
                sink.error(
                    "\(shown(first.text)) names no credential", at: first.span.after,
                    "expected bearer or oauth1")
                return nil
            }
        }
        if let none = rest.first(where: { $0.text == "none" }) {
            guard arguments.count == 1 else {
                sink.error(
                    "'none' stands alone", at: none.span, "expected authenticate none;")
                return nil
            }
            return .open
        }
        let names = CredentialKind.allCases.map(\.rawValue) + ["none"]
        let kinds = list(Array(rest)) { reader, argument in
            reader.choice(argument, names, later: ["session"])
                .flatMap(CredentialKind.init(rawValue:))
        }
        if let certificate = rest.first(where: { $0.text == "certificate" }) {
            certificateUses.append(certificate.span)
        }
        return kinds.map { needsAll ? .all($0) : .any($0) }
    }

    /// `require scope NAME… [on METHOD…];`, `require audience NAME;`, `require claim NAME =
    /// VALUE…;`, `require client ID… [of ISSUER];`, `require certificate_bound;`, `require dpop;`
    mutating func requirement(_ statement: Statement) -> Requirement? {
        let kind = statement.arguments[0]
        let rest = Array(statement.arguments.dropFirst())
        let known = choice(
            kind, ["scope", "audience", "claim", "client", "certificate_bound", "dpop"])
        guard let known else { return nil }
        if ["certificate_bound", "dpop"].contains(known) {
            if let extra = rest.first {
                sink.error(
                    "'require \(known)' takes no argument", at: extra.span,
                    "expected require \(known);")
            }
            if known == "dpop" { return .dpop }
            certificateUses.append(kind.span)
            return .certificateBound
        }
        guard let first = rest.first else {
            sink.error(
                "'require \(known)' needs an argument", at: kind.span.after,
                "expected require \(requirementForms[known] ?? known);")
            return nil
        }
        switch known {
        case "scope": return scopeRequirement(kind, rest)
        case "client": return clientRequirement(kind, rest)
        case "claim": return claimRequirement(kind, rest)
        default:
            guard rest.count == 1 else {
                sink.error(
                    "'require audience' takes one name", at: rest[1].span,
                    "expected require audience NAME;")
                return nil
            }
            return text(first).map { .audience($0) }
        }
    }

    private var requirementForms: [String: String] {
        [
            "scope": "scope NAME… [on METHOD…]", "audience": "audience NAME",
            "claim": "claim NAME = VALUE…", "client": "client ID… [of ISSUER]",
        ]
    }

    private mutating func scopeRequirement(_ kind: Argument, _ rest: [Argument]) -> Requirement? {
        // A scope of the name "on" is written in quotes.
        let on = rest.firstIndex { $0.text == "on" && !$0.isQuoted }
        let names = Array(rest[..<(on ?? rest.count)])
        guard !names.isEmpty else {
            sink.error(
                "'require scope' names no scope", at: kind.span.after, "expected NAME… before 'on'")
            return nil
        }
        let scopes = list(names) { $0.scope($1) }
        guard let on else { return scopes.map { .scopes($0, methods: []) } }
        guard on + 1 < rest.count else {
            sink.error("'on' names no method", at: rest[on].span.after, "expected METHOD…")
            return nil
        }
        let methods = list(Array(rest[(on + 1)...])) { $0.method($1) }
        guard let scopes, let methods else { return nil }
        return .scopes(scopes, methods: methods)
    }

    private mutating func clientRequirement(_ kind: Argument, _ rest: [Argument]) -> Requirement? {
        // A client of the name "of" is written in quotes.
        let of = rest.firstIndex { $0.text == "of" && !$0.isQuoted }
        let names = Array(rest[..<(of ?? rest.count)])
        guard !names.isEmpty else {
            sink.error(
                "'require client' names no client", at: kind.span.after, "expected ID… before 'of'")
            return nil
        }
        let ids = list(names) { $0.text($1) }
        guard let of else {
            unqualifiedClients.append(kind.span)
            return ids.map { .clients($0) }
        }
        guard of + 2 == rest.count else {
            let span = of + 1 < rest.count ? rest[of + 2].span : rest[of].span.after
            sink.error("'of' takes one name", at: span, "expected of ISSUER;")
            return nil
        }
        clientIssuers.append(rest[of + 1])
        return ids.map { .clients($0, of: rest[of + 1].text) }
    }

    private mutating func claimRequirement(_ kind: Argument, _ rest: [Argument]) -> Requirement? {
        guard rest.count >= 3, rest[1].text == "=" else {
            sink.error(
                "'require claim' compares a claim with values", at: kind.span,
                "expected require claim NAME = VALUE…;")
            return nil
        }
        let name = text(rest[0])
        let values = list(Array(rest[2...])) { $0.text($1) }
        guard let name, let values else { return nil }
        return .claim(name: name, values: values)
    }

    /// Contradictions between what a route asks and what it takes.
    mutating func checkPolicy(of route: RouteConfiguration, _ block: Block, _ statement: Statement)
    {
        if route.authenticate == .open,
            let first = block.statements.first(where: { $0.name.text == "require" })
        {
            sink.error(
                "'require' on a route with 'authenticate none'", at: first.name.span,
                "a request without a credential cannot hold it")
        }
        let needsBearer =
            switch route.authenticate {
            case .open: false
            case .any(let kinds): kinds == [.bearer]
            case .all(let kinds): kinds.contains(.bearer)
            }
        if needsBearer { bearerOnlyRoutes.append(statement.name.span) }
        if case .all(let kinds) = route.authenticate, kinds.contains(.bearer), kinds.count > 1 {
            twofoldRoutes.append(statement.name.span)
        }
        if !route.authenticate.takesTokens, route.requirements.contains(.dpop) {
            let line = block.statements.first { $0.arguments.first?.text == "dpop" }
            sink.error(
                "'require dpop' on a route that takes no token",
                at: line?.name.span ?? statement.name.span,
                "expected authenticate … bearer …")
        }
    }
}

extension AuthenticationPolicy {
    /// Whether an access token is one of the credentials that count; an open route is another mistake.
    fileprivate var takesTokens: Bool {
        switch self {
        case .open: true
        case .any(let kinds), .all(let kinds): kinds.contains(.bearer)
        }
    }
}
