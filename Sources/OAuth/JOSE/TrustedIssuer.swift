/// An issuer whose tokens are believed, and on what terms: `issuer` of the configuration, or our
/// own authority.
public struct TrustedIssuer: Sendable {
    /// Its name in the configuration, for logs.
    public var name: String
    /// The `iss` of its tokens, compared byte for byte (RFC 9068 section 4).
    public var issuer: String
    /// One of these must be in `aud`; with none, no token holds.
    public var audiences: [String]
    public var algorithms: Set<JWSAlgorithm>
    /// The `typ` its tokens must have, such as `at+jwt`; `nil`: `at+jwt`, `JWT` or none.
    public var requiredType: String?
    public var clockSkewSeconds: Int64
    /// The first of these claims that a token has names its client.
    public var clientClaims: [String]
    /// The first of these claims that a token has holds its scopes.
    public var scopeClaims: [String]
    public var keys: KeySet
    public var isOwnAuthority: Bool

    public init(
        name: String, issuer: String, audiences: [String], algorithms: Set<JWSAlgorithm>,
        requiredType: String? = nil, clockSkewSeconds: Int64 = 30,
        clientClaims: [String] = ["client_id", "azp", "sub"],
        scopeClaims: [String] = ["scope", "scp"], keys: KeySet, isOwnAuthority: Bool = false
    ) {
        self.name = name
        self.issuer = issuer
        self.audiences = audiences
        self.algorithms = algorithms
        self.requiredType = requiredType
        self.clockSkewSeconds = clockSkewSeconds
        self.clientClaims = clientClaims
        self.scopeClaims = scopeClaims
        self.keys = keys
        self.isOwnAuthority = isOwnAuthority
    }
}
