import Primitives

/// A client as the authority knows it.
public struct RegisteredClient: Sendable {
    public enum AuthMethod: String, Sendable {
        case basic = "client_secret_basic"
        case post = "client_secret_post"
        case tls = "tls_client_auth"
        case privateKeyJWT = "private_key_jwt"
    }

    /// Stands in for a client that is not registered, so that refusing it takes as long as refusing one that is.
    static let stranger = RegisteredClient(
        id: "", secrets: [], scopes: [], audiences: [], authMethod: nil)

    /// So many secrets are compared at least: two may be live while one takes the other's place.
    private static let comparisonCount = 2

    public let id: String
    /// Without any, it proves itself by OAuth 1.0 alone.
    public var secrets: [KnownSecret]
    public var scopes: [String]
    /// Whom its tokens may be for; empty is those of the policy.
    public var audiences: [String]
    /// `nil`: either of those by a secret.
    public var authMethod: AuthMethod?
    /// What its certificate must say, with `tls_client_auth`.
    public var certificate: CertificateRule?
    /// What proves its assertions, with `private_key_jwt`.
    public var keys: KeySet?
    /// It gets no token that is not bound to a key (RFC 9449 section 5.2).
    public var requiresProof: Bool

    public init(
        id: String, secrets: [KnownSecret], scopes: [String], audiences: [String],
        authMethod: AuthMethod?, certificate: CertificateRule? = nil, keys: KeySet? = nil,
        requiresProof: Bool = false
    ) {
        self.id = id
        self.secrets = secrets
        self.scopes = scopes
        self.audiences = audiences
        self.authMethod = authMethod
        self.certificate = certificate
        self.keys = keys
        self.requiresProof = requiresProof
    }

    /// Whether the secret is one of the client's.
    ///
    /// The time tells nothing of the client: decoys fill up what it has fewer of, every comparison is made, and each
    /// costs one hash. So a client with one secret, with two and with none are alike, and the last is what an unknown
    /// one is taken for.
    func accepts(_ secret: Secret) -> Bool {
        var isMatch = false
        for index in 0..<max(secrets.count, RegisteredClient.comparisonCount) {
            let known = index < secrets.count ? secrets[index] : .decoy
            let matches = known.matches(secret)
            isMatch = matches || isMatch
        }
        return isMatch
    }
}

extension RegisteredClient {
    /// What a presented secret is compared with. Neither form keeps the secret itself, nor its length.
    public struct KnownSecret: Sendable {
        static let decoy = KnownSecret(salted: nil)

        private let salted: ClientSecret.Salted
        /// False: nothing matches, but the comparison is made.
        private let isUsable: Bool

        private init(salted: ClientSecret.Salted?) {
            self.salted = salted ?? .decoy
            isUsable = salted != nil
        }

        /// From the store or `secret_hash`: `sha256$SALT$DIGEST`. A text that is no such hash matches nothing.
        public static func hash(_ text: String) -> KnownSecret {
            KnownSecret(salted: ClientSecret.Salted(text))
        }

        /// From a file that the operator keeps. An empty secret matches nothing.
        public static func plain(_ secret: Secret) -> KnownSecret {
            // The digest stays in memory, so one salt does for all; it makes this comparison the same as the other.
            KnownSecret(
                salted: secret.isEmpty
                    ? nil
                    : ClientSecret.Salted(salt: ClientSecret.Salted.decoy.salt, secret: secret))
        }

        func matches(_ secret: Secret) -> Bool {
            let isSame = salted.matches(secret)
            return isSame && isUsable && !secret.isEmpty
        }
    }
}

/// What the authority grants, and as whom.
public struct AuthorityPolicy: Sendable {
    public let issuer: String
    /// The audience of a token when neither the request nor the client names one.
    public let audiences: [String]
    public let tokenLifetimeSeconds: Int64
    /// Every scope that may be granted; empty is no bound beyond each client's own.
    public let scopes: [String]

    public init(
        issuer: String, audiences: [String], tokenLifetimeSeconds: Int64, scopes: [String]
    ) {
        self.issuer = issuer
        self.audiences = audiences.isEmpty ? [issuer] : audiences
        self.tokenLifetimeSeconds = tokenLifetimeSeconds
        self.scopes = scopes
    }

    /// What a client may be granted at most.
    public func scopes(of client: RegisteredClient) -> [String] {
        scopes.isEmpty ? client.scopes : client.scopes.filter(scopes.contains)
    }

    public func audiences(of client: RegisteredClient) -> [String] {
        client.audiences.isEmpty ? audiences : client.audiences
    }
}
