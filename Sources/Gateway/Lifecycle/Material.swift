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

/// What the files hold that a configuration names: key sets, secrets, the clients declared in it.
struct Material: Sendable {
    let issuers: [TrustedIssuer]
    let clients: [String: KnownClient]
    let introspection: IntrospectionServer?

    /// Reads every named file. Called on a thread that may block: at start, and for a reload.
    init(_ configuration: Configuration) throws(StartError) {
        var issuers: [TrustedIssuer] = []
        for issuer in configuration.issuers { issuers.append(try Material.trust(issuer)) }
        self.issuers = issuers
        var clients: [String: KnownClient] = [:]
        for client in configuration.clients { clients[client.id] = try Material.known(client) }
        self.clients = clients
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
                    try keys(path, client.id)
                }, requiresProof: client.requiresProof),
            oauth1: oauth1)
    }

    private static func keys(_ path: String, _ client: String) throws(StartError) -> KeySet {
        let bytes = try NamedFile.read(path, limit: 1 << 20)
        do throws(ClientKeySetError) {
            return try KeySet.ofClient(bytes)
        } catch {
            throw StartError(.configuration, "client \(client): \(path): \(error.text)")
        }
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

extension ClientKeySetError {
    /// For whoever named the file.
    public var text: String {
        switch self {
        case .notAKeySet: "no JWK set of public keys"
        case .noUsableKey(nil): "a JWK set without a key that signs"
        case .noUsableKey(let first?):
            // The file is its client's: what it calls its key must not act on a terminal.
            "a JWK set without a key that signs: \(PrintableText.escaped(first.name)): \(first.reason.text)"
        case .secretKey: "a private or shared key in it: public keys alone belong here"
        }
    }
}

extension CertificateRule {
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
