/// A block of the conf that has directives of its own.
enum Place: String, CaseIterable {
    case top, listener, listenerTLS, listenerLimits, admin, log, sqlite, redis, secrets, authority
    case client, issuer, introspection, oauth1, dpop
    case upstream, upstreamTLS, host, route, routeLimits

    /// `in 'route'`, for messages and for the headings of docs/directives.md.
    var title: String {
        switch self {
        case .top: "at the top level"
        case .listenerTLS: "in 'tls' of a listener"
        case .upstreamTLS: "in 'tls' of an upstream"
        case .listenerLimits: "in 'limits' of a listener"
        case .routeLimits: "in 'limits' of a route"
        case .sqlite: "in 'store sqlite'"
        case .redis: "in 'store redis'"
        case .listener, .admin, .log, .secrets, .authority, .client, .issuer, .introspection,
            .oauth1, .dpop, .upstream, .host, .route:
            "in '\(rawValue)'"
        }
    }
}

/// One line of the directive table: what may stand where, and in which form.
struct Directive {
    enum Body {
        /// Ended by `;`.
        case none
        case required
        case optional
    }
    let name: String
    /// The form that messages show as expected.
    let syntax: String
    let argumentCount: ClosedRange<Int>
    var body = Body.none
    var isRepeatable = false
    /// Known, but refused by name: it comes with a later version.
    var isLater = false

    static func one(_ name: String, _ arguments: String, repeatable: Bool = false) -> Directive {
        Directive(
            name: name, syntax: "\(name) \(arguments);", argumentCount: 1...1,
            isRepeatable: repeatable)
    }

    static func list(_ name: String, _ arguments: String, repeatable: Bool = false) -> Directive {
        Directive(
            name: name, syntax: "\(name) \(arguments);",
            argumentCount: 1...Parser.argumentCountLimit, isRepeatable: repeatable)
    }

    static func block(
        _ name: String, _ argument: String? = nil, repeatable: Bool = false
    ) -> Directive {
        Directive(
            name: name, syntax: argument.map { "\(name) \($0) {…}" } ?? "\(name) {…}",
            argumentCount: argument == nil ? 0...0 : 1...1, body: .required,
            isRepeatable: repeatable)
    }

    static func later(_ name: String) -> Directive {
        Directive(
            name: name, syntax: "", argumentCount: 0...Parser.argumentCountLimit, body: .optional,
            isRepeatable: true, isLater: true)
    }
}

extension Directive {
    /// The directive table.
    static let table: [Place: [Directive]] = [
        .top: [
            .one("workers", "auto|N"), .one("token_cache", "SIZE|off"),
            .one("shutdown_timeout", "DURATION"), .block("listener", "NAME", repeatable: true),
            .block("admin"), .block("log"),
            Directive(
                name: "store",
                syntax: "store memory; or store sqlite { path FILE; } or store redis {…}",
                argumentCount: 1...1, body: .optional),
            .block("secrets"), .block("authority"), .block("client", "ID", repeatable: true),
            .block("issuer", "NAME", repeatable: true), .block("introspection", "NAME"),
            .block("oauth1"), .block("dpop"),
            .block("upstream", "NAME", repeatable: true), route,
            Directive(
                name: "host", syntax: "host NAME… {…}",
                argumentCount: 1...Parser.argumentCountLimit, body: .required, isRepeatable: true),
        ],
        .listener: [
            .one("address", "HOST:PORT|[V6]:PORT|unix:/path|systemd:NAME", repeatable: true),
            .block("tls", repeatable: true), .list("protocols", "h2|http/1.1|h2c…"),
            .block("limits"), .one("proxy_protocol", "on|off"),
            .list("trusted_proxies", "CIDR…", repeatable: true), rateLimit,
        ],
        .listenerTLS: [
            .one("certificate", "FILE"), .one("key", "FILE"), .one("stapling_file", "FILE"),
            .one("client_ca", "FILE"), .one("client_certificate", "off|request|require"),
            .one("min_version", "1.2|1.3"), .list("ciphers", "NAME…"),
            .one("session_tickets", "on|off"),
        ],
        .listenerLimits: [
            .one("request_head", "SIZE"), .one("headers", "N"), .one("request_line", "SIZE"),
            .one("body", "SIZE"), .one("header_timeout", "DURATION"),
            .one("body_timeout", "DURATION"), .one("idle_timeout", "DURATION"),
            .one("connections", "N"), .one("streams", "N"),
        ],
        .admin: [
            .one("address", "HOST:PORT|[V6]:PORT|unix:/path|systemd:NAME", repeatable: true),
            .list("allow", "CIDR…", repeatable: true),
        ],
        .log: [
            .one("access", "PATH|stdout|off"),
            Directive(
                name: "error", syntax: "error PATH|stderr debug|info|notice|warn|error;",
                argumentCount: 1...2),
            .one("access_format", "json|combined"),
        ],
        .sqlite: [.one("path", "FILE")],
        .redis: [
            .list("address", "HOST:PORT|unix:/path…"), .one("sentinel", "NAME"),
            .one("username", "NAME"), .one("password_file", "FILE"), .one("tls", "on|off"),
            .one("ca", "FILE"), .one("database", "N"), .one("prefix", "TEXT"),
            .one("timeout", "DURATION"),
        ],
        .secrets: [.one("key_file", "FILE")],
        .authority: [
            .one("issuer", "URL"), .list("audience", "NAME…"), .one("token_lifetime", "DURATION"),
            .one("token_format", "jwt|opaque"), .one("signing_algorithm", "ES256|EdDSA|RS256"),
            .one("key_rotation", "DURATION|off"), .one("oauth1_token_lifetime", "DURATION"),
            .list("scopes", "NAME…"), .list("listeners", "NAME…"),
        ],
        .client: [
            .one("secret_file", "FILE"), .one("secret_hash", "sha256$SALT$DIGEST"),
            .list("scopes", "NAME…"), .list("audience", "NAME…"),
            .one(
                "auth_method",
                "client_secret_basic|client_secret_post|private_key_jwt|tls_client_auth"),
            .one("jwks_file", "FILE"),
            .one("tls_client_auth_subject_dn", "NAME"), .one("tls_client_auth_san_dns", "NAME"),
            .one("tls_client_auth_san_uri", "URI"), .one("tls_client_auth_san_ip", "ADDRESS"),
            .one("tls_client_auth_san_email", "NAME"),
            .one("oauth1_secret_file", "FILE"), .one("oauth1_rsa_key", "FILE"),
            .one("allow_plaintext", "on|off"), .one("dpop_bound_access_tokens", "on|off"),
            rateLimit,
        ],
        .issuer: [
            .one("issuer", "URL"), .list("audience", "NAME…"), .one("jwks_file", "FILE"),
            .list("algorithms", "NAME…"), .one("typ", "TYPE"), .one("clock_skew", "DURATION"),
            .list("client_claim", "NAME…"), .list("scope_claim", "NAME…"), .one("jwks_uri", "URL"),
            .one("discovery", "on|off"), .one("ca", "FILE"),
        ],
        .introspection: [
            .one("endpoint", "URL"), .one("client_id", "ID"), .one("client_secret_file", "FILE"),
            .one("cache", "DURATION"), .one("negative_cache", "DURATION"),
            .one("timeout", "DURATION"), .one("issuer", "URL"), .list("audience", "NAME…"),
            .one("ca", "FILE"),
        ],
        .oauth1: [
            .list("signature_methods", "NAME…"), .one("timestamp_window", "DURATION"),
            .one("realm", "NAME"), .one("body_hash", "optional|require"),
            .list("public_url", "URL…"), .one("held_body", "SIZE"),
            .one("on_store_failure", "refuse|local"),
        ],
        .dpop: [
            .one("proof_lifetime", "DURATION"), .one("clock_skew", "DURATION"),
            .one("require_nonce", "on|off"), .one("nonce_rotation", "DURATION"),
            .list("public_url", "URL…"), .one("on_store_failure", "refuse|local"),
        ],
        .upstream: [
            .list("server", "HOST:PORT|unix:/path", repeatable: true),
            .list("balance", "round_robin"), .one("protocol", "http/1.1|h2|auto"),
            .block("tls"), .one("keepalive", "N"),
            .one("connect_timeout", "DURATION"), .one("response_timeout", "DURATION"),
            .one("idle_timeout", "DURATION"), .one("retries", "N"), .list("retry_on", "connect"),
            .later("health"), .later("outlier"), .later("max_connections"),
            .later("queue"), .later("queue_timeout"),
        ],
        .upstreamTLS: [
            .one("ca", "FILE"), .one("server_name", "NAME"), .one("verify", "on|off"),
            .one("certificate", "FILE"), .one("key", "FILE"), .one("min_version", "1.2|1.3"),
            .list("ciphers", "NAME…"),
        ],
        .host: [route],
        .route: [
            .one("upstream", "NAME"), .one("strip_prefix", "PREFIX"),
            Directive(
                name: "rewrite", syntax: "rewrite FROM TO;", argumentCount: 2...2,
                isRepeatable: true),
            Directive(
                name: "set_header", syntax: "set_header NAME VALUE;", argumentCount: 2...2,
                isRepeatable: true),
            .one("remove_header", "NAME", repeatable: true), .list("methods", "NAME…"),
            .list("authenticate", "[any|all] bearer oauth1 certificate, or authenticate none"),
            .list(
                "require", "scope|audience|claim|client|certificate_bound|dpop …", repeatable: true),
            .list("allow", "CIDR…", repeatable: true), .list("deny", "CIDR…", repeatable: true),
            .one("authorization", "strip|forward"), .block("limits"), .one("timeout", "DURATION"),
            .one("request_buffering", "off"), .one("request_trailers", "on|off"),
            .one("websocket", "on|off"), .one("shadow", "off"),
            Directive(
                name: "end_streams_with_credential",
                syntax: "end_streams_with_credential on|off [grace DURATION];",
                argumentCount: 1...3),
            rateLimit, .later("cors"), .later("deprecate"),
        ],
        .routeLimits: [.one("body", "SIZE")],
    ]

    private static let rateLimit = Directive(
        name: "rate_limit", syntax: "rate_limit RATE [burst N] per client|address|route;",
        argumentCount: 3...5, isRepeatable: true)

    private static let route = Directive(
        name: "route", syntax: "route [=]PATH {…}", argumentCount: 1...2, body: .required,
        isRepeatable: true)

    /// The same, for looking up.
    static let byPlace: [Place: [String: Directive]] = table.mapValues { directives in
        Dictionary(directives.map { ($0.name, $0) }) { first, _ in first }
    }

    /// Every name anywhere, `include` too.
    static let names = Set(table.values.joined().map(\.name)).union(["include"])

    /// The places where a name may stand, in the order of `Place`.
    static func places(of name: String) -> [Place] {
        Place.allCases.filter { byPlace[$0]?[name] != nil }
    }
}
