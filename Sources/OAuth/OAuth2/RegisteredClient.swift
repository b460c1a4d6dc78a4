import Primitives

/// A client as the authority knows it.
public struct RegisteredClient: Sendable {
    /// What a presented secret is compared with.
    public enum KnownSecret: Sendable {
        /// `sha256$SALT$DIGEST`.
        case hash(String)
        /// From a file that the operator keeps.
        case plain(Secret)
    }

    public enum AuthMethod: String, Sendable {
        case basic = "client_secret_basic"
        case post = "client_secret_post"
    }

    public let id: String
    public var secrets: [KnownSecret]
    public var scopes: [String]
    public var audiences: [String]
    /// `nil`: either.
    public var authMethod: AuthMethod?

    public init(
        id: String, secrets: [KnownSecret], scopes: [String], audiences: [String],
        authMethod: AuthMethod?
    ) {
        self.id = id
        self.secrets = secrets
        self.scopes = scopes
        self.audiences = audiences
        self.authMethod = authMethod
    }

    /// Whether the secret is one of the client's. All are compared, so that the time does not tell which.
    func accepts(_ secret: Secret) -> Bool {
        var isMatch = false
        for known in secrets {
            switch known {
            case .hash(let hash): isMatch = ClientSecret.verify(secret, against: hash) || isMatch
            case .plain(let plain): isMatch = (plain == secret && !plain.isEmpty) || isMatch
            }
        }
        return isMatch
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
}
