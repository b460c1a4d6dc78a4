import Primitives

extension Configuration {
    /// The effective conf, every default written out: what `check --print` shows. It loads again
    /// to an equal configuration, unless it is longer than one conf file may be (1 MiB).
    public func printed() -> String {
        var text = ConfText()
        text.line("workers", workers.map { "\($0)" } ?? "auto")
        text.line("token_cache", tokenCacheBytes == 0 ? "off" : sizeText(tokenCacheBytes))
        text.line("shutdown_timeout", durationText(shutdownTimeout))
        for listener in listeners { listener.print(to: &text) }
        if let admin {
            text.block("admin") { text in
                for address in admin.addresses { text.line("address", address.description) }
                // Gathered from any number of lines, so perhaps more than one line may have.
                for prefix in admin.allow { text.line("allow", prefixText(prefix)) }
            }
        }
        log.print(to: &text)
        switch store {
        case .memory: text.line("store", "memory")
        case .sqlite(let path): text.block("store", "sqlite") { $0.line("path", path) }
        case .redis(let redis): redis.print(to: &text)
        }
        if let secretsKeyFile { text.block("secrets") { $0.line("key_file", secretsKeyFile) } }
        authority?.print(to: &text)
        for client in clients { client.print(to: &text) }
        for issuer in issuers { issuer.print(to: &text) }
        introspection?.print(to: &text)
        oauth1.print(to: &text)
        dpop.print(to: &text)
        for upstream in upstreams { upstream.print(to: &text) }
        for route in routes { route.print(to: &text) }
        for host in hosts {
            text.block("host", host.names) { text in
                for route in host.routes { route.print(to: &text) }
            }
        }
        return text.text
    }
}

extension RedisConfiguration {
    fileprivate func print(to text: inout ConfText) {
        text.block("store", "redis") { text in
            text.line("address", addresses.map(\.description))
            if let sentinel { text.line("sentinel", sentinel) }
            if let username { text.line("username", username) }
            if let passwordFile { text.line("password_file", passwordFile) }
            text.line("tls", usesTLS ? "on" : "off")
            if let ca { text.line("ca", ca) }
            text.line("database", "\(database)")
            text.line("prefix", prefix)
            text.line("timeout", durationText(timeout))
        }
    }
}

private func prefixText(_ prefix: IPPrefix) -> String {
    "\(prefix.address)/\(prefix.length)"
}

extension ListenerConfiguration {
    fileprivate func print(to text: inout ConfText) {
        text.block("listener", name) { text in
            for address in addresses { text.line("address", address.description) }
            for (index, files) in (tls?.certificates ?? []).enumerated() {
                text.block("tls") { text in
                    files.print(to: &text)
                    if index == 0 { tls?.printRules(to: &text) }
                }
            }
            text.line("protocols", protocols.map(\.rawValue))
            text.line("proxy_protocol", requiresProxyHeader ? "on" : "off")
            for prefix in trustedProxies { text.line("trusted_proxies", prefixText(prefix)) }
            text.block("limits") { text in
                text.line("request_head", sizeText(limits.requestHeadBytes))
                text.line("headers", "\(limits.headers)")
                text.line("request_line", sizeText(limits.requestLineBytes))
                text.line("body", sizeText(limits.bodyBytes))
                text.line("header_timeout", durationText(limits.headerTimeout))
                text.line("body_timeout", durationText(limits.bodyTimeout))
                text.line("idle_timeout", durationText(limits.idleTimeout))
                text.line("connections", "\(limits.connections)")
                text.line("streams", "\(limits.streams)")
            }
            rateLimits.print(to: &text)
        }
    }
}

extension CertificateFiles {
    fileprivate func print(to text: inout ConfText) {
        text.line("certificate", certificate)
        text.line("key", key)
        if let staple { text.line("stapling_file", staple) }
    }
}

extension ListenerTLS {
    fileprivate func printRules(to text: inout ConfText) {
        if let clientCA { text.line("client_ca", clientCA) }
        text.line("client_certificate", clientCertificate.rawValue)
        text.line("min_version", minVersion.rawValue)
        text.line("ciphers", ciphers)
        text.line("session_tickets", sessionTickets ? "on" : "off")
    }
}

extension UpstreamTLS {
    fileprivate func print(to text: inout ConfText) {
        text.block("tls") { text in
            if let ca { text.line("ca", ca) }
            if let serverName { text.line("server_name", serverName) }
            text.line("verify", verifies ? "on" : "off")
            certificate?.print(to: &text)
            text.line("min_version", minVersion.rawValue)
            text.line("ciphers", ciphers)
        }
    }
}

extension LogConfiguration {
    fileprivate func print(to text: inout ConfText) {
        text.block("log") { text in
            text.line("access", access.confText)
            text.line("error", [error.confText, errorLevel.rawValue])
            text.line("access_format", accessFormat.rawValue)
        }
    }
}

extension LogConfiguration.Destination {
    fileprivate var confText: String {
        switch self {
        case .stdout: "stdout"
        case .stderr: "stderr"
        case .off: "off"
        case .file(let path): path
        }
    }
}

extension AuthorityConfiguration {
    fileprivate func print(to text: inout ConfText) {
        text.block("authority") { text in
            text.line("issuer", issuer)
            text.line("audience", audiences)
            text.line("token_lifetime", durationText(tokenLifetime))
            text.line("token_format", tokenFormat.rawValue)
            text.line("key_rotation", keyRotation.map(durationText) ?? "off")
            text.line("oauth1_token_lifetime", durationText(oauth1TokenLifetime))
            text.line("signing_algorithm", signingAlgorithm.rawValue)
            text.line("scopes", scopes)
            text.line("listeners", listeners)
        }
    }
}

extension ClientConfiguration {
    fileprivate func print(to text: inout ConfText) {
        text.block("client", id) { text in
            if let secretFile { text.line("secret_file", secretFile) }
            if let secretHash { text.line("secret_hash", secretHash) }
            text.line("scopes", scopes)
            text.line("audience", audiences)
            if let authMethod { text.line("auth_method", authMethod.rawValue) }
            if let jwksFile { text.line("jwks_file", jwksFile) }
            certificate?.print(to: &text)
            if let oauth1SecretFile { text.line("oauth1_secret_file", oauth1SecretFile) }
            if let oauth1RSAKeyFile { text.line("oauth1_rsa_key", oauth1RSAKeyFile) }
            text.line("allow_plaintext", allowPlaintext ? "on" : "off")
            text.line("dpop_bound_access_tokens", requiresProof ? "on" : "off")
            rateLimits.print(to: &text)
        }
    }
}

extension CertificateName {
    fileprivate func print(to text: inout ConfText) {
        switch self {
        case .subject(let name): text.line("tls_client_auth_subject_dn", name)
        case .dns(let name): text.line("tls_client_auth_san_dns", name)
        case .uri(let name): text.line("tls_client_auth_san_uri", name)
        case .address(let address): text.line("tls_client_auth_san_ip", "\(address)")
        case .email(let name): text.line("tls_client_auth_san_email", name)
        }
    }
}

extension IssuerConfiguration {
    fileprivate func print(to text: inout ConfText) {
        text.block("issuer", name) { text in
            text.line("issuer", issuer)
            text.line("audience", audiences)
            switch keys {
            case .file(let path): text.line("jwks_file", path)
            case .uri(let url): text.line("jwks_uri", url)
            case .discovery: text.line("discovery", "on")
            }
            if let ca { text.line("ca", ca) }
            text.line("algorithms", algorithms)
            if let type { text.line("typ", type) }
            text.line("clock_skew", durationText(clockSkew))
            text.line("client_claim", clientClaims)
            text.line("scope_claim", scopeClaims)
        }
    }
}

extension IntrospectionConfiguration {
    fileprivate func print(to text: inout ConfText) {
        text.block("introspection", name) { text in
            text.line("endpoint", endpoint)
            text.line("client_id", clientID)
            text.line("client_secret_file", clientSecretFile)
            text.line("cache", durationText(cache))
            text.line("negative_cache", durationText(negativeCache))
            text.line("timeout", durationText(timeout))
            if let issuer { text.line("issuer", issuer) }
            text.line("audience", audiences)
            if let ca { text.line("ca", ca) }
        }
    }
}

extension OAuth1Configuration {
    fileprivate func print(to text: inout ConfText) {
        text.block("oauth1") { text in
            text.line("signature_methods", signatureMethods)
            text.line("timestamp_window", durationText(timestampWindow))
            text.line("realm", realm)
            text.line("body_hash", bodyHashRequired ? "require" : "optional")
            text.line("public_url", publicURLs)
            text.line("held_body", sizeText(heldBodyBytes))
            text.line("on_store_failure", onStoreFailure.rawValue)
        }
    }
}

extension DPoPConfiguration {
    fileprivate func print(to text: inout ConfText) {
        text.block("dpop") { text in
            text.line("proof_lifetime", durationText(proofLifetime))
            text.line("clock_skew", durationText(clockSkew))
            text.line("require_nonce", requiresNonce ? "on" : "off")
            text.line("nonce_rotation", durationText(nonceRotation))
            text.line("public_url", publicURLs)
            text.line("on_store_failure", onStoreFailure.rawValue)
        }
    }
}

extension UpstreamConfiguration {
    fileprivate func print(to text: inout ConfText) {
        text.block("upstream", name) { text in
            for server in servers { text.line("server", server.description) }
            text.line("balance", "round_robin")
            text.line("protocol", version.rawValue)
            tls?.print(to: &text)
            text.line("keepalive", "\(keepalive)")
            text.line("connect_timeout", durationText(connectTimeout))
            text.line("response_timeout", durationText(responseTimeout))
            text.line("idle_timeout", durationText(idleTimeout))
            text.line("retries", "\(retries)")
            text.line("retry_on", "connect")
        }
    }
}

extension RouteConfiguration {
    fileprivate func print(to text: inout ConfText) {
        text.block("route", isExact ? ["=", path] : [path]) { text in
            text.line("upstream", upstream)
            if let stripPrefix { text.line("strip_prefix", stripPrefix) }
            for rewrite in rewrites { text.line("rewrite", [rewrite.from, rewrite.to]) }
            for header in setHeaders { text.line("set_header", [header.name, header.value]) }
            for name in removeHeaders { text.line("remove_header", name) }
            text.line("methods", methods)
            text.line("authenticate", authenticate.confWords)
            for requirement in requirements { requirement.print(to: &text) }
            for rule in addressRules {
                text.line(rule.allows ? "allow" : "deny", rule.prefixes.map(prefixText))
            }
            text.line("authorization", authorization.rawValue)
            if let bodyBytes { text.block("limits") { $0.line("body", sizeText(bodyBytes)) } }
            if let timeout { text.line("timeout", durationText(timeout)) }
            text.line("request_buffering", "off")
            text.line("request_trailers", passesRequestTrailers ? "on" : "off")
            text.line("websocket", allowsWebSocket ? "on" : "off")
            text.line(
                "end_streams_with_credential",
                streamGrace.map { ["on", "grace", durationText($0)] } ?? ["off"])
            text.line("shadow", "off")
            rateLimits.print(to: &text)
        }
    }
}

extension [RateLimit] {
    fileprivate func print(to text: inout ConfText) {
        for limit in self { text.raw("rate_limit", [limit.text]) }
    }
}

extension AuthenticationPolicy {
    fileprivate var confWords: [String] {
        switch self {
        case .open: ["none"]
        case .any(let kinds): ["any"] + kinds.map(\.rawValue)
        case .all(let kinds): ["all"] + kinds.map(\.rawValue)
        }
    }
}

extension Requirement {
    fileprivate func print(to text: inout ConfText) {
        switch self {
        case .scopes(let scopes, let methods):
            // A scope of the name "on" is quoted: bare it would begin the methods.
            let names = scopes.map { $0 == "on" ? "\"on\"" : confWord($0) }
            text.raw(
                "require scope", names + (methods.isEmpty ? [] : ["on"] + methods.map(confWord)))
        case .audience(let name): text.line("require", ["audience", name])
        case .claim(let name, let values): text.line("require", ["claim", name, "="] + values)
        case .clients(let ids, let issuer):
            // As with "on": a client of the name "of".
            let names = ids.map { $0 == "of" ? "\"of\"" : confWord($0) }
            text.raw("require client", names + (issuer.map { ["of", confWord($0)] } ?? []))
        case .certificateBound: text.line("require", "certificate_bound")
        case .dpop: text.line("require", "dpop")
        }
    }
}
