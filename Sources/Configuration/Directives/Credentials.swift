import Primitives

/// The blocks that say what we issue and to whom: `authority`, `client`, `oauth1`.
extension Interpreter {
    /// `authority { issuer URL; audience NAME…; token_lifetime 10m; … }`
    mutating func authority(_ statement: Statement) {
        authoritySpan = statement.name.span
        var authority = AuthorityConfiguration(issuer: "")
        let block = accept(statement.block ?? [], in: .authority)
        demand("issuer", of: block, statement)
        for inner in block.statements {
            let value = inner.arguments[0]
            switch inner.name.text {
            case "issuer": authority.issuer = issuerURL(value) ?? ""
            case "audience": authority.audiences = list(inner.arguments, { $0.text($1) }) ?? []
            case "token_lifetime":
                authority.tokenLifetime =
                    duration(value, .seconds(1) ... .seconds(365 * 86_400))
                    ?? authority.tokenLifetime
            case "token_format":
                authority.tokenFormat = choice(value, TokenFormat.self) ?? authority.tokenFormat
            case "key_rotation":
                authority.keyRotation =
                    value.text == "off"
                    ? nil
                    : duration(value, .seconds(1) ... .seconds(3650 * 86_400))
                        ?? authority.keyRotation
            case "oauth1_token_lifetime":
                authority.oauth1TokenLifetime =
                    duration(value, .seconds(1) ... .seconds(3650 * 86_400))
                    ?? authority.oauth1TokenLifetime
            case "signing_algorithm":
                authority.signingAlgorithm =
                    choice(value, SigningAlgorithmName.self) ?? authority.signingAlgorithm
            case "scopes": authority.scopes = list(inner.arguments, { $0.scope($1) }) ?? []
            case "listeners":
                authority.listeners = list(inner.arguments, { $0.name($1) }) ?? []
                authorityListeners += inner.arguments
            default: unread(inner)
            }
        }
        checkKeyCount(of: authority, block, statement)
        configuration.authority = authority
    }

    /// Whoever verifies our tokens holds all of our keys, and bounds how many; so do the workers, by what each costs.
    private mutating func checkKeyCount(
        of authority: AuthorityConfiguration, _ block: Block, _ statement: Statement
    ) {
        let limit = AuthorityConfiguration.signingKeyLimit
        guard authority.signingKeysAtOnce > limit else { return }
        let period = block.statements.last { $0.name.text == "key_rotation" }?.arguments.first
        sink.error(
            "keys that change so often are \(authority.signingKeysAtOnce) at once, of at most \(limit)",
            at: period?.span ?? statement.name.span,
            "expected a longer key_rotation or a shorter token_lifetime: a key stays until its tokens have ended"
        )
    }

    /// An issuer identifier, ours or another's. Two of the same name could not be told apart by
    /// `iss`.
    mutating func issuerURL(_ argument: Argument) -> String? {
        guard let url = url(argument) else { return nil }
        guard issuerURLs.updateValue(argument.span, forKey: url) == nil else {
            sink.error("there is another issuer with this URL", at: argument.span)
            return nil
        }
        return url
    }

    /// `client ID { secret_file FILE; scopes …; … }`
    mutating func client(_ statement: Statement) {
        var client = ClientConfiguration(id: clientID(statement.arguments[0]))
        let block = accept(statement.block ?? [], in: .client)
        for inner in block.statements {
            let value = inner.arguments[0]
            switch inner.name.text {
            case "secret_file": client.secretFile = existingFile(value, .secret)
            case "secret_hash": client.secretHash = secretHash(value)
            case "scopes":
                client.scopes = list(inner.arguments, { $0.scope($1) }) ?? []
                clientScopes += inner.arguments
            case "audience": client.audiences = list(inner.arguments, { $0.text($1) }) ?? []
            case "auth_method":
                client.authMethod = choice(value, ClientConfiguration.AuthMethod.self)
            case "jwks_file": client.jwksFile = existingFile(value, .open)
            case "tls_client_auth_subject_dn":
                certificateName(inner, &client, text(value, limit: 4096).map { .subject($0) })
            case "tls_client_auth_san_dns":
                certificateName(inner, &client, clientHost(value).map { .dns($0) })
            case "tls_client_auth_san_uri":
                certificateName(inner, &client, text(value, limit: 4096).map { .uri($0) })
            case "tls_client_auth_san_email":
                certificateName(inner, &client, text(value).map { .email($0) })
            case "tls_client_auth_san_ip":
                certificateName(inner, &client, address(value).map { .address($0) })
            case "oauth1_secret_file": client.oauth1SecretFile = existingFile(value, .secret)
            case "oauth1_rsa_key": client.oauth1RSAKeyFile = existingFile(value, .open)
            case "allow_plaintext": client.allowPlaintext = flag(value) ?? false
            // Unreadable, it asks for more, not less.
            case "dpop_bound_access_tokens": client.requiresProof = flag(value) ?? true
            case "rate_limit": rateLimit(inner, into: &client.rateLimits)
            default: unread(inner)
            }
        }
        checkCredentials(of: block.names, statement)
        checkCertificate(of: client, block.names, statement)
        checkKeys(of: client, block.names, statement)
        configuration.clients.append(client)
    }

    private mutating func clientID(_ argument: Argument) -> String {
        // Wider than VSCHAR (RFC 6749 appendix A.1): identifiers in UTF-8 are in use, and what goes into a header is
        // percent-encoded. The store has the same rule.
        let isLegal = argument.text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
        if !isLegal || argument.text.isEmpty || argument.text.utf8.count > 256 {
            sink.error(
                "\(shown(argument.text)) is no client identifier", at: argument.span,
                "expected 1 to 256 bytes without control characters")
        } else if !clientIDs.insert(argument.text).inserted {
            sink.error("there is another client \(shown(argument.text))", at: argument.span)
        }
        return argument.text
    }

    private mutating func checkCredentials(of names: Set<String>, _ statement: Statement) {
        let secrets: Set = ["secret_file", "secret_hash"]
        let all = secrets.union(certificateNames).union([
            "oauth1_secret_file", "oauth1_rsa_key", "jwks_file",
        ])
        if names.isDisjoint(with: all) {
            sink.error(
                "the client \(shown(statement.arguments[0].text)) has no credential",
                at: statement.arguments[0].span,
                "expected secret_file, secret_hash, jwks_file, oauth1_secret_file or oauth1_rsa_key"
            )
        }
        if names.isSuperset(of: secrets) {
            sink.error(
                "a client has 'secret_file' or 'secret_hash', not both", at: statement.name.span)
        }
        let proofs = secrets.union(certificateNames).union(["jwks_file"])
        if names.contains("auth_method"), names.isDisjoint(with: proofs) {
            sink.error(
                "'auth_method' needs a secret", at: statement.name.span,
                "expected secret_file or secret_hash")
        }
    }

    private var certificateNames: Set<String> {
        [
            "tls_client_auth_subject_dn", "tls_client_auth_san_dns", "tls_client_auth_san_uri",
            "tls_client_auth_san_ip", "tls_client_auth_san_email",
        ]
    }

    private mutating func certificateName(
        _ statement: Statement, _ client: inout ClientConfiguration, _ name: CertificateName?
    ) {
        if client.certificate != nil {
            // Exactly one (RFC 8705 section 2.1.2): it would not be clear whether one or all must hold.
            sink.error(
                "the certificate of the client has a name already", at: statement.name.span,
                "expected one of the tls_client_auth_… directives")
        }
        client.certificate = name ?? client.certificate
    }

    /// A certificate and its method belong together.
    private mutating func checkCertificate(
        of client: ClientConfiguration, _ names: Set<String>, _ statement: Statement
    ) {
        let isNamed = !names.isDisjoint(with: certificateNames)
        if (client.authMethod == .tls) != isNamed, isNamed || names.contains("auth_method") {
            sink.error(
                isNamed
                    ? "the name of a certificate needs 'auth_method tls_client_auth'"
                    : "'auth_method tls_client_auth' needs the name in the certificate",
                at: statement.name.span,
                "expected auth_method tls_client_auth; with tls_client_auth_subject_dn or a tls_client_auth_san_…"
            )
        }
        if client.authMethod == .tls { certificateUses.append(statement.name.span) }
    }

    /// Public keys and their method belong together.
    private mutating func checkKeys(
        of client: ClientConfiguration, _ names: Set<String>, _ statement: Statement
    ) {
        guard (client.authMethod == .privateKeyJWT) != names.contains("jwks_file") else { return }
        sink.error(
            names.contains("jwks_file")
                ? "'jwks_file' needs 'auth_method private_key_jwt'"
                : "'auth_method private_key_jwt' needs the client's public keys",
            at: statement.name.span, "expected auth_method private_key_jwt; with jwks_file FILE;")
    }

    /// A host name that a certificate can have: a wildcard there is no name of a client, and no name ends with a dot.
    private mutating func clientHost(_ argument: Argument) -> String? {
        let labels = argument.text.split(separator: ".", omittingEmptySubsequences: false)
        let isLegal = labels.allSatisfy { label in
            1...63 ~= label.utf8.count
                && label.utf8.allSatisfy {
                    $0 == 0x2D || $0 == 0x5F || $0 &- 0x30 < 10 || ($0 | 0x20) &- 0x61 < 26
                }
        }
        guard isLegal, argument.text.utf8.count <= 253 else {
            sink.error(
                "\(shown(argument.text)) is no host name", at: argument.span,
                "expected labels of ASCII letters, digits, '-' and '_' with dots between them")
            return nil
        }
        return argument.text
    }

    private mutating func address(_ argument: Argument) -> IPAddress? {
        let address = IPAddress(argument.text)
        if address == nil {
            sink.error(
                "\(shown(argument.text)) is no IP address", at: argument.span, "expected ADDRESS")
        }
        return address
    }

    /// `sha256$SALT$DIGEST`. The value is not shown: short secrets are guessed from it.
    private mutating func secretHash(_ argument: Argument) -> String? {
        let parts = argument.text.split(separator: "$", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "sha256",
            let salt = Base64.decode(String(parts[1]), .url), salt.count >= 8,
            Base64.decode(String(parts[2]), .url)?.count == 32
        else {
            sink.error(
                "this is no secret hash", at: argument.span,
                "expected sha256$SALT$DIGEST in base64url without padding, a salt of 8 bytes or more"
            )
            return nil
        }
        return argument.text
    }

    private static let signatureMethods = [
        "HMAC-SHA1", "HMAC-SHA256", "HMAC-SHA512", "RSA-SHA1", "RSA-SHA256", "RSA-SHA512",
        "PLAINTEXT",
    ]

    /// `oauth1 { signature_methods …; timestamp_window 5m; realm NAME; … }`
    mutating func oauth1(_ statement: Statement) {
        var oauth1 = OAuth1Configuration()
        for inner in accept(statement.block ?? [], in: .oauth1).statements {
            let value = inner.arguments[0]
            switch inner.name.text {
            case "signature_methods":
                oauth1.signatureMethods =
                    list(inner.arguments, { $0.choice($1, Interpreter.signatureMethods) })
                    ?? oauth1.signatureMethods
                // RFC 5849 section 3.4.4: PLAINTEXT sends the secrets themselves.
                if let plaintext = inner.arguments.first(where: { $0.text == "PLAINTEXT" }) {
                    sink.warning(
                        "PLAINTEXT is accepted on TLS listeners alone, and this conf has none",
                        at: plaintext.span, "such requests are refused with plaintext_needs_tls")
                }
            case "timestamp_window":
                oauth1.timestampWindow =
                    duration(value, .seconds(1)...Interpreter.longest) ?? oauth1.timestampWindow
            case "realm": oauth1.realm = realm(value) ?? oauth1.realm
            case "body_hash":
                oauth1.bodyHashRequired = choice(value, ["optional", "require"]) == "require"
            case "public_url": oauth1.publicURLs = list(inner.arguments, { $0.url($1) }) ?? []
            case "held_body":
                oauth1.heldBodyBytes = size(value, 0...1 << 30) ?? oauth1.heldBodyBytes
            case "on_store_failure":
                oauth1.onStoreFailure =
                    choice(value, StoreFailureRule.self) ?? oauth1.onStoreFailure
            default: unread(inner)
            }
        }
        configuration.oauth1 = oauth1
    }

    /// It stands in a quoted string of the challenge (RFC 9110 section 11.5).
    private mutating func realm(_ argument: Argument) -> String? {
        let isLegal = argument.text.utf8.allSatisfy {
            (0x20...0x7E).contains($0) && $0 != 0x22 && $0 != 0x5C
        }
        guard isLegal, argument.text.utf8.count <= 128 else {
            sink.error(
                "\(shown(argument.text)) is no realm", at: argument.span,
                "expected up to 128 printable ASCII characters without '\"' and '\\'")
            return nil
        }
        return argument.text
    }
}
