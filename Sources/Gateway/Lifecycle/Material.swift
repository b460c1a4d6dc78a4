import Configuration
import Cryptography
import OAuth
import Primitives
import Store

/// Why the gateway cannot start or reload: one clear line.
public struct StartError: Error, Sendable, CustomStringConvertible {
    public enum Kind: Sendable {
        /// EX_USAGE, 64
        case usage
        /// EX_CONFIG, 78
        case configuration
        /// EX_UNAVAILABLE, 69
        case unavailable
        /// EX_NOPERM, 77
        case permission
        /// EX_SOFTWARE, 70
        case software
    }

    public let kind: Kind
    public let description: String

    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

/// What the files and the store hold that a configuration names: key sets, secrets, clients, signing keys.
struct Material: Sendable {
    let issuers: [TrustedIssuer]
    let clients: [String: KnownClient]
    let authority: AuthoritySnapshot?
    /// Whether the state is the store's, and not what stands in for it while that is away.
    let isStateKnown: Bool
    let introspection: IntrospectionServer?

    /// Reads every named file. Called on a thread that may block: at start, and for a reload.
    init(_ configuration: Configuration, _ state: StoreSnapshot) throws(StartError) {
        var issuers: [TrustedIssuer] = []
        for issuer in configuration.issuers { issuers.append(try Material.trust(issuer)) }
        self.issuers = issuers
        isStateKnown = state != .empty
        clients = try Material.clients(configuration, state)
        let audiences = clients.values.flatMap(\.registered.audiences)
        authority = try configuration.authority.map { authority throws(StartError) in
            try AuthoritySnapshot(
                authority, keys: state.keys, clientAudiences: audiences,
                takesCertificates: configuration.listeners.contains { listener in
                    guard authority.listeners.isEmpty || authority.listeners.contains(listener.name)
                    else { return false }
                    return listener.tls.map { $0.clientCA != nil && $0.clientCertificate != .off }
                        ?? false
                },
                requiresProofs: { configuration.requiresProofs(for: $0) })
        }
        introspection = try configuration.introspection.map { server throws(StartError) in
            let proven =
                configuration.issuers.map(\.issuer)
                + [configuration.authority?.issuer]
                .compactMap(\.self)
            return IntrospectionServer(
                configuration: server, secret: try NamedFile.secret(server.clientSecretFile),
                terms: IntrospectionTerms(
                    name: server.name, issuer: server.issuer, audiences: server.audiences,
                    provenIssuers: proven))
        }
    }

    private static func trust(_ issuer: IssuerConfiguration) throws(StartError) -> TrustedIssuer {
        let algorithms = Set(issuer.algorithms.compactMap(JWSAlgorithm.init(rawValue:)))
        // Keys that are fetched come when they come.
        var keys = KeySet.empty
        if let path = issuer.jwksFile {
            do {
                keys = try KeySet(
                    jwks: try NamedFile.read(path, limit: 1 << 20), allowsSymmetric: true)
            } catch let error as StartError {
                throw error
            } catch {
                throw StartError(.configuration, "issuer \(issuer.name): \(path): \(error)")
            }
        }
        return TrustedIssuer(
            name: issuer.name, issuer: issuer.issuer, audiences: issuer.audiences,
            algorithms: algorithms, requiredType: issuer.type,
            clockSkewSeconds: issuer.clockSkew.wholeSeconds, clientClaims: issuer.clientClaims,
            scopeClaims: issuer.scopeClaims, keys: keys, isOwnAuthority: false)
    }

    /// The conf's clients, and the store's; where both know an id the conf counts, since it is what the operator sees.
    private static func clients(
        _ configuration: Configuration, _ state: StoreSnapshot
    ) throws(StartError) -> [String: KnownClient] {
        let now = WallTime.now()
        var clients: [String: KnownClient] = [:]
        for stored in state.clients {
            let method = stored.authMethod.map(RegisteredClient.AuthMethod.init(rawValue:))
            // A method of a later version proves nothing here: its client has no secret that counts.
            let secrets = method == .some(nil) ? [] : stored.liveSecrets(at: now)
            let oauth1Secrets = stored.liveOAuth1Secrets(at: now).map(\.secret)
            clients[stored.id] = KnownClient(
                registered: RegisteredClient(
                    id: stored.id, secrets: secrets.map { .hash($0.hash) },
                    scopes: stored.scopes, audiences: stored.audiences,
                    authMethod: method ?? nil,
                    certificate: stored.certificateName.flatMap(CertificateRule.init(text:)),
                    keys: stored.jwks.flatMap { Material.keys(Array($0.utf8)) }),
                oauth1: oauth1Secrets.isEmpty
                    ? nil
                    : OAuth1Credentials(
                        consumerSecrets: oauth1Secrets, allowsPlaintext: stored.allowsPlaintext))
        }
        for declared in configuration.clients { clients[declared.id] = try known(declared) }
        return clients
    }

    private static func known(_ client: ClientConfiguration) throws(StartError) -> KnownClient {
        var secrets: [RegisteredClient.KnownSecret] = []
        if let path = client.secretFile { secrets.append(.plain(try NamedFile.secret(path))) }
        if let hash = client.secretHash { secrets.append(.hash(hash)) }
        var oauth1: OAuth1Credentials?
        if client.oauth1SecretFile != nil || client.oauth1RSAKeyFile != nil {
            oauth1 = OAuth1Credentials(
                consumerSecret: try client.oauth1SecretFile.map { path throws(StartError) in
                    try NamedFile.secret(path)
                },
                rsaKey: try client.oauth1RSAKeyFile.map { path throws(StartError) in
                    try rsaKey(path, client.id)
                },
                allowsPlaintext: client.allowPlaintext)
        }
        return KnownClient(
            registered: RegisteredClient(
                id: client.id, secrets: secrets, scopes: client.scopes,
                audiences: client.audiences,
                authMethod: client.authMethod.flatMap {
                    RegisteredClient.AuthMethod(rawValue: $0.rawValue)
                }, certificate: client.certificate.map(CertificateRule.init),
                keys: try client.jwksFile.map { path throws(StartError) in
                    let bytes = try NamedFile.read(path, limit: 1 << 20)
                    guard let keys = keys(bytes) else {
                        throw StartError(
                            .configuration,
                            "client \(client.id): \(path): no JWK set of public keys")
                    }
                    return keys
                }),
            oauth1: oauth1)
    }

    /// A client's public keys; a secret among them would be one that we know.
    private static func keys(_ jwks: [UInt8]) -> KeySet? {
        try? KeySet(jwks: jwks, allowsSymmetric: false)
    }

    private static func rsaKey(_ path: String, _ client: String) throws(StartError) -> PublicKey {
        let bytes = try NamedFile.read(path, limit: 64 << 10)
        do {
            let key = try PublicKey(pem: bytes)
            guard case .rsa(let bits) = key.kind, bits >= 2048 else {
                throw StartError(
                    .configuration, "client \(client): \(path): not an RSA key of 2048 bits or more"
                )
            }
            return key
        } catch let error as StartError {
            throw error
        } catch {
            throw StartError(.configuration, "client \(client): \(path): \(error)")
        }
    }
}

extension CertificateRule {
    /// As the store has it: `dns:NAME`, `uri:URI`, `ip:ADDRESS`, `email:NAME` or `subject:NAME`.
    public init?(text: String) {
        guard let colon = text.firstIndex(of: ":") else { return nil }
        let name = String(text[text.index(after: colon)...])
        guard !name.isEmpty else { return nil }
        switch text[..<colon] {
        case "dns": self = .dns(name)
        case "uri": self = .uri(name)
        case "email": self = .email(name)
        case "subject": self = .subject(name)
        case "ip":
            guard let address = IPAddress(name) else { return nil }
            self = .address(address)
        default: return nil
        }
    }

    init(_ name: CertificateName) {
        switch name {
        case .subject(let text): self = .subject(text)
        case .dns(let text): self = .dns(text)
        case .uri(let text): self = .uri(text)
        case .address(let address): self = .address(address)
        case .email(let text): self = .email(text)
        }
    }
}
