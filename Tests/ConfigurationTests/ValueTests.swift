import Primitives
import Testing

@testable import Configuration

/// What each directive of this version puts into the configuration.
@Suite struct ValueTests {
    struct Value: Sendable, CustomTestStringConvertible {
        /// `place.directive`
        var directive: String
        var conf: String
        var holds: @Sendable (Configuration) -> Bool
        var testDescription: String { directive }

        init(
            _ directive: String, _ conf: String,
            _ holds: @escaping @Sendable (Configuration) -> Bool
        ) {
            (self.directive, self.conf, self.holds) = (directive, conf, holds)
        }
    }

    static func route(_ text: String) -> String { "route /x { upstream app; \(text) }" }
    static func listener(_ text: String) -> String { "listener l { address [::1]:0; \(text) }" }
    static func limits(_ text: String) -> String { listener("limits { \(text) }") }
    static func tls(_ text: String) -> String {
        listener("tls { certificate /k/rsa.pem; key /k/key; \(text) }")
    }
    static let certificates = listener(
        "tls { certificate /k/open; key /k/key; client_ca /k/open; client_certificate request; }")
    static func certified(_ text: String) -> String {
        certificates + " client c { auth_method tls_client_auth; \(text) }"
    }
    static func authority(_ text: String) -> String { "authority { issuer https://a; \(text) }" }
    static func client(_ text: String) -> String {
        "client c { oauth1_rsa_key /k/rsa.pem; \(text) }"
    }
    static func upstream(_ text: String) -> String {
        "upstream u { server s:1; \(text) } route /u { upstream u; }"
    }
    static func issuer(_ text: String) -> String {
        "issuer i { issuer https://i; audience a; jwks_file /k/keys.jwks; \(text) }"
    }

    static func fetched(_ text: String) -> String {
        "issuer i { issuer https://i; audience a; \(text) }"
    }
    static func introspection(_ text: String) -> String {
        "introspection x { endpoint https://x/i?a=b; client_id me; client_secret_file /k/secret; \(text) }"
    }

    static let values: [Value] = [
        Value("top.workers", "workers 4;") { $0.workers == 4 },
        Value("top.workers", "workers auto;") { $0.workers == nil },
        Value("top.token_cache", "token_cache 64m;") { $0.tokenCacheBytes == 64 << 20 },
        Value("top.token_cache", "token_cache off;") { $0.tokenCacheBytes == 0 },
        Value("top.shutdown_timeout", "shutdown_timeout 0s;") { $0.shutdownTimeout == .zero },
        Value("top.listener", listener("")) { $0.listeners.map(\.name) == ["web", "l"] },
        Value("top.admin", "admin { address 127.0.0.1:9; }") { $0.admin?.addresses.count == 1 },
        Value("top.log", "log { }") { $0.log == LogConfiguration() },
        Value("top.store", "store memory;") { $0.store == .memory },
        Value("top.store", "store sqlite;") {
            $0.store == .sqlite(path: "/var/lib/gatehouse/gatehouse.db")
        },
        Value("top.secrets", "secrets { key_file /k/new; }") { $0.secretsKeyFile == "/k/new" },
        Value("top.authority", authority("")) { $0.authority?.issuer == "https://a" },
        Value("top.client", "client \"a b\" { secret_file /k/secret; }") {
            $0.clients[0].id == "a b"
        },
        Value("top.issuer", issuer("")) { $0.issuers[0].name == "i" },
        Value("top.oauth1", "oauth1 { }") { $0.oauth1 == OAuth1Configuration() },
        Value("top.upstream", upstream("")) { $0.upstreams.map(\.name) == ["app", "u"] },
        Value("top.route", "route = /x { upstream app; }") { $0.routes[1].isExact },
        Value("top.route", "route =/x%20y { upstream app; }".replacing("%20", with: "%C3%BC")) {
            $0.routes[1].isExact && $0.routes[1].path == "/x%C3%BCy"
                && $0.routes[1].source == "gateway.conf:4"
        },
        Value("top.host", "host A.example *.b.example [::1] { route / { upstream app; } }") {
            $0.hosts[0].names == ["a.example", "*.b.example", "[::1]"]
        },
        Value(
            "host.route", "host a { route /base { upstream app; } route = /base { upstream app; } }"
        ) {
            $0.hosts[0].routes.map(\.isExact) == [false, true]
        },
        Value(
            "listener.address",
            listener("address unix:/s; address 0.0.0.0:80; address localhost:81;")
        ) {
            $0.listeners[1].addresses.map(\.description)
                == ["[::1]:0", "unix:/s", "0.0.0.0:80", "localhost:81"]
        },
        Value("listener.protocols", listener("protocols h2c http/1.1;")) {
            $0.listeners.map(\.protocols) == [[.http11], [.h2c, .http11]]
        },
        Value("listener.proxy_protocol", listener("proxy_protocol off;")) {
            $0.listeners.count == 2
        },
        Value("listener.limits", listener("limits { }")) {
            $0.listeners[1].limits == LimitsConfiguration()
        },
        Value("listenerLimits.request_head", limits("request_head 64k;")) {
            $0.listeners[1].limits.requestHeadBytes == 65_536
        },
        Value("listenerLimits.headers", limits("headers 7;")) {
            $0.listeners[1].limits.headers == 7
        },
        Value("listenerLimits.request_line", limits("request_line 512;")) {
            $0.listeners[1].limits.requestLineBytes == 512
        },
        Value("listenerLimits.body", limits("body 2g;")) {
            $0.listeners[1].limits.bodyBytes == 2 << 30
        },
        Value("listenerLimits.header_timeout", limits("header_timeout 250ms;")) {
            $0.listeners[1].limits.headerTimeout == .milliseconds(250)
        },
        Value("listenerLimits.body_timeout", limits("body_timeout 5s;")) {
            $0.listeners[1].limits.bodyTimeout == .seconds(5)
        },
        Value("listenerLimits.idle_timeout", limits("idle_timeout 1h;")) {
            $0.listeners[1].limits.idleTimeout == .seconds(3600)
        },
        Value("listenerLimits.connections", limits("connections 9;")) {
            $0.listeners[1].limits.connections == 9
        },
        Value("listenerLimits.streams", limits("streams 9;")) {
            $0.listeners[1].limits.streams == 9
        },
        Value("admin.address", "admin { address unix:/a; address [::1]:9; address 127.9.0.1:9; }") {
            $0.admin?.addresses.count == 3
        },
        Value("admin.allow", "admin { address 10.0.0.1:9; allow 10.0.0.0/8 ::1; }") {
            $0.admin?.allow.map(Optional.some) == [IPPrefix("10.0.0.0/8"), IPPrefix("::1/128")]
        },
        Value("log.access", "log { access logs/a.log; }") {
            $0.log.access == .file("/etc/gatehouse/logs/a.log")
        },
        Value("log.access", "log { access off; }") { $0.log.access == .off },
        Value("log.error", "log { error /l warn; }") {
            $0.log.error == .file("/l") && $0.log.errorLevel == .warn
        },
        Value("log.access_format", "log { access_format combined; }") {
            $0.log.accessFormat == .combined
        },
        Value("sqlite.path", "store sqlite { path state.db; }") {
            $0.store == .sqlite(path: "/etc/gatehouse/state.db")
        },
        Value("redis.address", redis("address a:1 [::1]:2 unix:/run/redis.sock;", address: "")) {
            let expected = ["a:1", "[::1]:2", "unix:/run/redis.sock"].compactMap { Endpoint($0) }
            var redis = RedisConfiguration()
            redis.addresses = expected
            return $0.store == .redis(redis)
        },
        Value("redis.sentinel", redis("sentinel fleet;")) { $0.redis?.sentinel == "fleet" },
        Value("redis.username", redis("username \"a b\"; password_file /k/secret;")) {
            $0.redis?.username == "a b"
        },
        Value("redis.password_file", redis("password_file /k/secret;")) {
            $0.redis?.passwordFile == "/k/secret"
        },
        Value("redis.tls", redis("tls on;")) { $0.redis?.usesTLS == true },
        Value("redis.ca", redis("tls on; ca /k/open;")) { $0.redis?.ca == "/k/open" },
        Value("redis.database", redis("database 15;")) { $0.redis?.database == 15 },
        Value("redis.prefix", redis("prefix \"{a}:\";")) { $0.redis?.prefix == "{a}:" },
        Value("redis.timeout", redis("timeout 2s;")) { $0.redis?.timeout == .seconds(2) },
        Value("secrets.key_file", "secrets { key_file /k/key; }") { $0.secretsKeyFile == "/k/key" },
        Value("authority.issuer", "authority { issuer http://[::1]:8080/a; }") {
            $0.authority?.issuer == "http://[::1]:8080/a"
        },
        Value("authority.audience", authority("audience x \"y z\";")) {
            $0.authority?.audiences == ["x", "y z"]
        },
        Value("authority.token_lifetime", authority("token_lifetime 7d;")) {
            $0.authority?.tokenLifetime == .seconds(7 * 86_400)
        },
        Value("authority.token_format", authority("token_format opaque;")) {
            $0.authority?.tokenFormat == .opaque
        },
        Value("authority.key_rotation", authority("key_rotation 12h;")) {
            $0.authority?.keyRotation == .seconds(43_200)
        },
        Value("authority.key_rotation", authority("key_rotation off;")) {
            $0.authority.map { $0.keyRotation == nil } == true
        },
        Value("authority.oauth1_token_lifetime", authority("oauth1_token_lifetime 5m;")) {
            $0.authority?.oauth1TokenLifetime == .seconds(300)
        },
        Value("authority.signing_algorithm", authority("signing_algorithm EdDSA;")) {
            $0.authority?.signingAlgorithm == .eddsa
        },
        Value("authority.scopes", authority("scopes a b:c;")) {
            $0.authority?.scopes == ["a", "b:c"]
        },
        Value("authority.listeners", authority("listeners web;")) {
            $0.authority?.listeners == ["web"]
        },
        Value("client.secret_file", "client c { secret_file near; }") {
            $0.clients[0].secretFile == "/etc/gatehouse/near"
        },
        Value(
            "client.secret_hash",
            "client c { secret_hash sha256$AAAAAAAAAAA$\(String(repeating: "A", count: 43)); }"
        ) { $0.clients[0].secretHash?.hasPrefix("sha256$AAAAAAAAAAA$") == true },
        Value("client.scopes", client("scopes a b;")) { $0.clients[0].scopes == ["a", "b"] },
        Value("client.audience", client("audience a;")) { $0.clients[0].audiences == ["a"] },
        Value(
            "client.auth_method",
            "client c { secret_file /k/secret; auth_method client_secret_post; }"
        ) {
            $0.clients[0].authMethod == .post
        },
        Value(
            "client.jwks_file",
            "client c { auth_method private_key_jwt; jwks_file /k/keys.jwks; }"
        ) {
            $0.clients[0].authMethod == .privateKeyJWT && $0.clients[0].jwksFile == "/k/keys.jwks"
        },
        Value("client.oauth1_secret_file", "client c { oauth1_secret_file /k/secret; }") {
            $0.clients[0].oauth1SecretFile == "/k/secret"
        },
        Value("client.oauth1_rsa_key", client("")) {
            $0.clients[0].oauth1RSAKeyFile == "/k/rsa.pem"
        },
        Value("client.allow_plaintext", client("allow_plaintext on;")) {
            $0.clients[0].allowPlaintext
        },
        Value("client.dpop_bound_access_tokens", client("dpop_bound_access_tokens on;")) {
            $0.clients[0].requiresProof
        },
        Value("issuer.issuer", issuer("")) { $0.issuers[0].issuer == "https://i" },
        Value("issuer.audience", issuer("")) { $0.issuers[0].audiences == ["a"] },
        Value("issuer.jwks_file", issuer("")) { $0.issuers[0].jwksFile == "/k/keys.jwks" },
        Value("issuer.jwks_uri", fetched("jwks_uri https://keys.test:8443/jwks?p=a;")) {
            $0.issuers[0].keys == .uri("https://keys.test:8443/jwks?p=a")
        },
        Value("issuer.jwks_uri", fetched("jwks_uri http://[::1]:8080/jwks;")) {
            $0.issuers[0].keys == .uri("http://[::1]:8080/jwks")
        },
        Value("issuer.discovery", fetched("discovery on;")) { $0.issuers[0].keys == .discovery },
        Value("issuer.discovery", issuer("discovery off;")) {
            $0.issuers[0].jwksFile == "/k/keys.jwks"
        },
        Value("issuer.ca", fetched("discovery on; ca /k/open;")) {
            $0.issuers[0].ca == "/k/open"
        },
        Value("top.introspection", introspection("")) { $0.introspection?.name == "x" },
        Value("introspection.endpoint", introspection("")) {
            $0.introspection?.endpoint == "https://x/i?a=b"
        },
        Value("introspection.client_id", introspection("")) {
            $0.introspection?.clientID == "me"
        },
        Value("introspection.client_secret_file", introspection("")) {
            $0.introspection?.clientSecretFile == "/k/secret"
        },
        Value("introspection.cache", introspection("cache 0s;")) {
            $0.introspection?.cache == .zero
        },
        Value("introspection.negative_cache", introspection("negative_cache 1m;")) {
            $0.introspection?.negativeCache == .seconds(60)
        },
        Value("introspection.timeout", introspection("timeout 500ms;")) {
            $0.introspection?.timeout == .milliseconds(500)
        },
        Value("introspection.issuer", introspection("issuer https://other;")) {
            $0.introspection?.issuer == "https://other"
        },
        Value("introspection.audience", introspection("audience a b;")) {
            $0.introspection?.audiences == ["a", "b"]
        },
        Value("introspection.ca", introspection("ca /k/open;")) {
            $0.introspection?.ca == "/k/open"
        },
        Value("issuer.algorithms", issuer("algorithms PS512 EdDSA;")) {
            $0.issuers[0].algorithms == ["PS512", "EdDSA"]
        },
        Value("issuer.typ", issuer("typ application/at+jwt;")) {
            $0.issuers[0].type == "application/at+jwt"
        },
        Value("issuer.clock_skew", issuer("clock_skew 0s;")) { $0.issuers[0].clockSkew == .zero },
        Value("issuer.client_claim", issuer("client_claim azp;")) {
            $0.issuers[0].clientClaims == ["azp"]
        },
        Value("issuer.scope_claim", issuer("scope_claim roles scp;")) {
            $0.issuers[0].scopeClaims == ["roles", "scp"]
        },
        Value("oauth1.signature_methods", "oauth1 { signature_methods RSA-SHA512 HMAC-SHA1; }") {
            $0.oauth1.signatureMethods == ["RSA-SHA512", "HMAC-SHA1"]
        },
        Value("oauth1.timestamp_window", "oauth1 { timestamp_window 30d; }") {
            $0.oauth1.timestampWindow == .seconds(30 * 86_400)
        },
        Value("oauth1.realm", "oauth1 { realm \"Our API\"; }") { $0.oauth1.realm == "Our API" },
        Value("oauth1.body_hash", "oauth1 { body_hash require; }") { $0.oauth1.bodyHashRequired },
        Value("oauth1.public_url", "oauth1 { public_url https://a http://b:81/c; }") {
            $0.oauth1.publicURLs == ["https://a", "http://b:81/c"]
        },
        Value("oauth1.held_body", "oauth1 { held_body 2m; }") {
            $0.oauth1.heldBodyBytes == 2 << 20
        },
        Value("oauth1.on_store_failure", "oauth1 { on_store_failure local; }") {
            $0.oauth1.onStoreFailure == .local
        },
        Value("route.require", route("require dpop;") + "dpop { public_url https://a; }") {
            $0.routes[1].requirements == [.dpop]
        },
        Value("top.dpop", "dpop { }") { $0.dpop == DPoPConfiguration() },
        Value("dpop.proof_lifetime", "dpop { proof_lifetime 2m; }") {
            $0.dpop.proofLifetime == .seconds(120)
        },
        Value("dpop.clock_skew", "dpop { clock_skew 0s; }") { $0.dpop.clockSkew == .zero },
        Value("dpop.require_nonce", "dpop { require_nonce on; }") { $0.dpop.requiresNonce },
        Value("dpop.nonce_rotation", "dpop { nonce_rotation 1m; }") {
            $0.dpop.nonceRotation == .seconds(60)
        },
        Value("dpop.public_url", "dpop { public_url https://a http://b:81/c; }") {
            $0.dpop.publicURLs == ["https://a", "http://b:81/c"]
        },
        Value("dpop.on_store_failure", "dpop { on_store_failure local; }") {
            $0.dpop.onStoreFailure == .local
        },
        Value("oauth1.on_store_failure", "oauth1 { on_store_failure refuse; }") {
            $0.oauth1 == OAuth1Configuration()
        },
        Value("upstream.server", upstream("server unix:/s; server 10.0.0.1:80;")) {
            $0.upstreams[1].servers.map(\.description) == ["s:1", "unix:/s", "10.0.0.1:80"]
        },
        Value("upstream.balance", upstream("balance round_robin;")) { $0.upstreams.count == 2 },
        Value("upstream.protocol", upstream("protocol http/1.1;")) { $0.upstreams.count == 2 },
        Value("upstream.keepalive", upstream("keepalive 0;")) { $0.upstreams[1].keepalive == 0 },
        Value("upstream.connect_timeout", upstream("connect_timeout 2s;")) {
            $0.upstreams[1].connectTimeout == .seconds(2)
        },
        Value("upstream.response_timeout", upstream("response_timeout 2m;")) {
            $0.upstreams[1].responseTimeout == .seconds(120)
        },
        Value("upstream.idle_timeout", upstream("idle_timeout 600s;")) {
            $0.upstreams[1].idleTimeout == .seconds(600)
        },
        Value("upstream.retries", upstream("retries 3;")) { $0.upstreams[1].retries == 3 },
        Value("upstream.retry_on", upstream("retry_on connect;")) { $0.upstreams.count == 2 },
        Value("route.upstream", route("")) { $0.routes[1].upstream == "app" },
        Value("route.strip_prefix", route("strip_prefix /x;")) { $0.routes[1].stripPrefix == "/x" },
        Value("route.rewrite", route("rewrite /x/a /b; rewrite /x /c/;")) {
            $0.routes[1].rewrites == [
                Rewrite(from: "/x/a", to: "/b"), Rewrite(from: "/x", to: "/c/"),
            ]
        },
        Value("route.set_header", route(#"set_header Host "in\"side"; set_header X-A "";"#)) {
            $0.routes[1].setHeaders == [
                HeaderSetting(name: "Host", value: "in\"side"),
                HeaderSetting(name: "X-A", value: ""),
            ]
        },
        Value("route.remove_header", route("remove_header Cookie;")) {
            $0.routes[1].removeHeaders == ["Cookie"]
        },
        Value("route.methods", route("methods GET M-SEARCH;")) {
            $0.routes[1].methods == ["GET", "M-SEARCH"]
        },
        Value("route.authenticate", route("authenticate none;")) {
            $0.routes[1].authenticate == .open
        },
        Value("route.authenticate", route("authenticate oauth1;")) {
            $0.routes[1].authenticate == .any([.oauth1])
        },
        Value("route.authenticate", authority("") + route("authenticate all oauth1 bearer;")) {
            $0.routes[1].authenticate == .all([.oauth1, .bearer])
        },
        Value(
            "route.require",
            route(
                """
                require scope a "on" on PUT POST; require scope b; require audience "x y";
                require claim "dep t" = a =; require client a b;
                """)
        ) {
            $0.routes[1].requirements == [
                .scopes(["a", "on"], methods: ["PUT", "POST"]), .scopes(["b"], methods: []),
                .audience("x y"), .claim(name: "dep t", values: ["a", "="]), .clients(["a", "b"]),
            ]
        },
        // Whose clients are meant where the conf has none of its own.
        Value("route.require", issuer("") + route("require client a;")) {
            $0.routes[1].requirements == [.clients(["a"], of: $0.issuers[0].name)]
        },
        Value("route.require", authority("") + issuer("") + route("require client a;")) {
            $0.routes[1].requirements == [.clients(["a"])]
        },
        Value(
            "route.require",
            authority("") + issuer("") + route(#"require client a "of" of i; require client "of";"#)
        ) {
            $0.routes[1].requirements == [.clients(["a", "of"], of: "i"), .clients(["of"])]
        },
        Value("route.allow", route("allow 10.0.0.0/8 ::/0;")) {
            $0.routes[1].addressRules.map(\.allows) == [true]
                && $0.routes[1].addressRules[0].prefixes.count == 2
        },
        Value("route.deny", route("allow 10.0.0.0/8; deny 0.0.0.0/0;")) {
            $0.routes[1].addressRules.map(\.allows) == [true, false]
        },
        Value("route.authorization", route("authorization forward;")) {
            $0.routes[1].authorization == .forward
        },
        Value("route.limits", route("limits { }")) { $0.routes[1].bodyBytes == nil },
        Value("routeLimits.body", route("limits { body 1k; }")) { $0.routes[1].bodyBytes == 1024 },
        Value("route.timeout", route("timeout 5s;")) { $0.routes[1].timeout == .seconds(5) },
        Value("route.request_buffering", route("request_buffering off;")) { $0.routes.count == 2 },
        Value("route.request_trailers", route("request_trailers on;")) {
            $0.routes.map(\.passesRequestTrailers) == [false, true]
        },
        Value("route.websocket", route("websocket on;")) {
            $0.routes.map(\.allowsWebSocket) == [false, true]
        },
        Value("route.end_streams_with_credential", route("end_streams_with_credential off;")) {
            $0.routes.map(\.streamGrace) == [.seconds(5), nil]
        },
        Value(
            "route.end_streams_with_credential",
            route("end_streams_with_credential on grace 250ms;")
        ) { $0.routes[1].streamGrace == .milliseconds(250) },
        Value("route.rate_limit", route("rate_limit 100/s per client;")) {
            $0.routes.map(\.rateLimits) == [[], [RateLimit(100, per: .second, of: .client)]]
                && $0.routes[1].rateLimits[0].burst == 100
                && $0.routes[1].rateLimits[0].interval == 10_000_000
        },
        Value(
            "route.rate_limit",
            route(
                "rate_limit 5000/m per route; rate_limit 20/h burst 5 per address; rate_limit 1/d per client;"
            )
        ) {
            $0.routes[1].rateLimits.map(\.text) == [
                "5000/m burst 83 per route", "20/h burst 5 per address", "1/d burst 1 per client",
            ]
        },
        Value(
            "listener.rate_limit",
            listener("rate_limit 1000000/s burst 1000000 per address; rate_limit 3/s per route;")
        ) {
            // Rounded up: never more than was allowed.
            $0.listeners[1].rateLimits.map(\.interval) == [1000, 333_333_334]
                && $0.listeners[1].rateLimits.map(\.burst) == [1_000_000, 3]
        },
        Value("client.rate_limit", client("rate_limit 1/d burst 30 per address;")) {
            $0.clients[0].rateLimits == [RateLimit(1, per: .day, burst: 30, of: .address)]
        },
        Value("listener.protocols", listener("protocols h2 http/1.1;")) {
            $0.listeners[1].protocols == [.h2c, .http11]
        },
        Value("listener.tls", tls("")) {
            $0.listeners[1].tls?.certificates
                == [CertificateFiles(certificate: "/k/rsa.pem", key: "/k/key")]
                && $0.listeners[1].protocols == [.h2, .http11]
        },
        Value(
            "listener.tls",
            listener(
                "tls { certificate /k/rsa.pem; key /k/key; min_version 1.3; } tls { certificate /k/open; key /k/secret; } protocols http/1.1;"
            )
        ) {
            $0.listeners[1].tls?.certificates.count == 2
                && $0.listeners[1].tls?.minVersion == .tls13
                && $0.listeners[1].protocols == [.http11]
        },
        Value("listenerTLS.certificate", tls("")) {
            $0.listeners[1].tls?.certificates[0].certificate == "/k/rsa.pem"
        },
        Value("listenerTLS.key", tls("")) { $0.listeners[1].tls?.certificates[0].key == "/k/key" },
        Value("listenerTLS.stapling_file", tls("stapling_file /k/open;")) {
            $0.listeners[1].tls?.certificates[0].staple == "/k/open"
        },
        Value("listenerTLS.client_ca", tls("client_ca /k/open; client_certificate request;")) {
            $0.listeners[1].tls?.clientCA == "/k/open"
        },
        Value("listenerTLS.client_certificate", tls("client_certificate request;")) {
            $0.listeners[1].tls?.clientCertificate == .request
        },
        Value(
            "listenerTLS.client_certificate", tls("client_ca /k/open; client_certificate require;")
        ) { $0.listeners[1].tls?.clientCertificate == .require },
        Value("listenerTLS.min_version", tls("min_version 1.3;")) {
            $0.listeners[1].tls?.minVersion == .tls13
        },
        Value("listenerTLS.ciphers", tls("ciphers ECDHE-RSA-AES128-GCM-SHA256 AES128-SHA;")) {
            $0.listeners[1].tls?.ciphers == ["ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA"]
        },
        Value("listenerTLS.session_tickets", tls("session_tickets off;")) {
            $0.listeners[1].tls?.sessionTickets == false
        },
        Value("listener.proxy_protocol", listener("proxy_protocol on;")) {
            $0.listeners[1].requiresProxyHeader
        },
        Value("listener.trusted_proxies", listener("trusted_proxies 10.0.0.0/8 ::1;")) {
            $0.listeners[1].trustedProxies.count == 2
        },
        Value("listener.address", "listener l { address systemd:api.socket; }") {
            $0.listeners[1].addresses == [.activated(name: "api.socket")]
        },
        Value("upstream.protocol", upstream("protocol h2;")) { $0.upstreams[1].version == .h2 },
        Value("upstream.protocol", upstream("protocol auto; tls { }")) {
            $0.upstreams[1].version == .auto
        },
        Value("upstream.tls", upstream("tls { }")) { $0.upstreams[1].tls == UpstreamTLS() },
        Value("upstreamTLS.ca", upstream("tls { ca /k/open; }")) {
            $0.upstreams[1].tls?.ca == "/k/open"
        },
        Value("upstreamTLS.server_name", upstream("tls { server_name api.example; }")) {
            $0.upstreams[1].tls?.serverName == "api.example"
        },
        Value("upstreamTLS.server_name", upstream("tls { server_name 2001:db8::1; }")) {
            $0.upstreams[1].tls?.serverName == "2001:db8::1"
        },
        Value("upstreamTLS.certificate", upstream("tls { certificate /k/open; key /k/key; }")) {
            $0.upstreams[1].tls?.certificate
                == CertificateFiles(certificate: "/k/open", key: "/k/key")
        },
        Value("upstreamTLS.key", upstream("tls { certificate /k/open; key /k/key; }")) {
            $0.upstreams[1].tls?.certificate?.key == "/k/key"
        },
        Value("upstreamTLS.min_version", upstream("tls { min_version 1.3; }")) {
            $0.upstreams[1].tls?.minVersion == .tls13
        },
        Value("upstreamTLS.ciphers", upstream("tls { ciphers ECDHE-RSA-AES128-GCM-SHA256; }")) {
            $0.upstreams[1].tls?.ciphers == ["ECDHE-RSA-AES128-GCM-SHA256"]
        },
        Value("upstreamTLS.verify", upstream("tls { verify on; }")) {
            $0.upstreams[1].tls?.verifies == true
        },
        Value("client.auth_method", certified("tls_client_auth_san_dns a.test;")) {
            $0.clients[0].authMethod == .tls
        },
        Value(
            "client.tls_client_auth_subject_dn",
            certified("tls_client_auth_subject_dn \"CN=a,O=b\";")
        ) { $0.clients[0].certificate == .subject("CN=a,O=b") },
        Value("client.tls_client_auth_san_dns", certified("tls_client_auth_san_dns a.test;")) {
            $0.clients[0].certificate == .dns("a.test")
        },
        Value("client.tls_client_auth_san_uri", certified("tls_client_auth_san_uri spiffe://a/b;"))
        {
            $0.clients[0].certificate == .uri("spiffe://a/b")
        },
        Value("client.tls_client_auth_san_ip", certified("tls_client_auth_san_ip 2001:db8::1;")) {
            $0.clients[0].certificate == .address(.v6(0x2001_0DB8_0000_0000, 1))
        },
        Value("client.tls_client_auth_san_email", certified("tls_client_auth_san_email a@b.test;"))
        {
            $0.clients[0].certificate == .email("a@b.test")
        },
        Value(
            "route.require",
            certificates + " " + authority("") + route("require certificate_bound;")
        ) { $0.routes[1].requirements == [.certificateBound] },
        Value(
            "route.authenticate", certificates + " " + route("authenticate any certificate oauth1;")
        ) { $0.routes[1].authenticate == .any([.certificate, .oauth1]) },
        Value("route.shadow", route("shadow off;")) { $0.routes.count == 2 },
    ]

    /// The value, no diagnostic, and that the printed conf loads again to the same.
    @Test(arguments: values) func value(of value: Value) throws {
        let result = Memory.usual.load(base + value.conf)
        #expect(result.summaries == [])
        let configuration = try #require(result.configuration)
        #expect(value.holds(configuration))

        let again = Memory.usual.load(configuration.printed())
        #expect(again.summaries == [])
        #expect(again.configuration == configuration)
        #expect(again.configuration?.printed() == configuration.printed())
    }

    @Test func everyDirectiveOfTheTableHasItsValueHere() {
        let known = Set(
            Directive.table.flatMap { place, directives in
                directives.filter { !$0.isLater }.map { "\(place.rawValue).\($0.name)" }
            })
        #expect(known.count == 153)
        #expect(Set(ValueTests.values.map(\.directive)) == known)
    }

    @Test func theDefaultsAreThoseOfTheModel() throws {
        var expected = Configuration()
        var listener = ListenerConfiguration(name: "web")
        listener.addresses = [.ip(.v4(0x7F00_0001), port: 0)]
        var upstream = UpstreamConfiguration(name: "app")
        upstream.servers = [.ip(.v4(0x7F00_0001), port: 9)]
        var route = RouteConfiguration(path: "/base")
        route.upstream = "app"
        expected.listeners = [listener]
        expected.upstreams = [upstream]
        expected.routes = [route]
        #expect(try loaded(base) == expected)
    }

    @Test func systemdsStateDirectoryHoldsTheStore() throws {
        let memory = Memory(environment: ["STATE_DIRECTORY": "/var/lib/gh:/var/lib/other"])
        #expect(try loaded(base, memory).store == .sqlite(path: "/var/lib/gh/gatehouse.db"))
        #expect(
            try loaded(base + "store sqlite { path /x.db; }", memory).store
                == .sqlite(path: "/x.db"))
        #expect(try loaded(base + "store memory;", memory).store == .memory)
    }

    @Test func aValueWithEveryOddCharacterPrintsAsItself() throws {
        let odd = " \"\\ ${HOME} $ ; { } # ' é \u{1F512} \t"
        var configuration = try loaded(base + "client c { secret_file /k/secret; }")
        configuration.clients[0].secretFile = "/k/" + odd
        var memory = Memory.usual
        memory.modes["/k/" + odd] = 0o600
        // A path with a tab is refused as a path: what is printed is still read as what it was.
        #expect(
            memory.load(configuration.printed()).summaries.allSatisfy { $0.contains("is no path") })
        let noTab = String(odd.dropLast())
        configuration.clients[0].secretFile = "/k/" + noTab
        memory.modes["/k/" + noTab] = 0o600
        #expect(memory.load(configuration.printed()).configuration == configuration)
    }
}

/// - Parameter address: the one directive that must be there.
private func redis(_ rest: String, address: String = "address a:1;") -> String {
    "store redis { \(address) \(rest) } secrets { key_file /k/key; }"
}

extension Configuration {
    fileprivate var redis: RedisConfiguration? {
        if case .redis(let redis) = store { redis } else { nil }
    }
}
