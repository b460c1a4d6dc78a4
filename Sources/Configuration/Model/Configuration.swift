import Primitives

/// Everything one conf file says, checked and with every default filled in: immutable, shared by
/// all workers.
///
/// Files that the conf names (secrets, key sets) are not read here; what they hold is loaded when a
/// configuration is put to use, so that parsing stays a function of text.
public struct Configuration: Sendable, Equatable {
    /// `workers`: how many event loops; `nil` is `auto`, one per processor in the affinity mask.
    public var workers: Int?
    /// `token_cache`: bytes of verified tokens remembered per worker; 0 is `off`.
    public var tokenCacheBytes = 32 << 20
    /// `shutdown_timeout`: how long SIGTERM waits for exchanges in flight.
    public var shutdownTimeout: Duration = .seconds(30)
    public var listeners: [ListenerConfiguration] = []
    /// `admin`; `nil` is no admin listener.
    public var admin: AdminConfiguration?
    public var log = LogConfiguration()
    /// `store`; the default is SQLite at `${STATE_DIRECTORY}/gatehouse.db` or in
    /// /var/lib/gatehouse.
    public var store: StoreConfiguration = .sqlite(path: "/var/lib/gatehouse/gatehouse.db")
    /// `secrets { key_file }`; `nil` is `secrets.key` beside the SQLite file, made on first use
    /// (with `store memory` an `authority` needs the directive).
    public var secretsKeyFile: String?
    /// `authority`; `nil` is off.
    public var authority: AuthorityConfiguration?
    public var clients: [ClientConfiguration] = []
    public var issuers: [IssuerConfiguration] = []
    /// `introspection`; `nil`: a token that is no JWT of a known issuer proves nothing.
    public var introspection: IntrospectionConfiguration?
    public var oauth1 = OAuth1Configuration()
    public var dpop = DPoPConfiguration()
    public var upstreams: [UpstreamConfiguration] = []
    /// The routes outside every `host` block.
    public var routes: [RouteConfiguration] = []
    public var hosts: [HostConfiguration] = []

    public init() {}
}

public struct ListenerConfiguration: Sendable, Equatable {
    public var name: String
    public var addresses: [Endpoint] = []
    /// What the listener speaks, the most wanted first.
    public var protocols: [ListenerProtocol] = [.http11]
    /// `tls`; `nil` is in clear.
    public var tls: ListenerTLS?
    /// `proxy_protocol on`: every connection begins with a PROXY header, which says where it really comes from.
    public var requiresProxyHeader = false
    /// `trusted_proxies`: whose forwarding fields are believed.
    public var trustedProxies: [IPPrefix] = []
    public var limits = LimitsConfiguration()
    /// `rate_limit`, for all that comes in here.
    public var rateLimits: [RateLimit] = []

    public init(name: String) {
        self.name = name
    }
}

/// A protocol that a listener speaks.
public enum ListenerProtocol: String, Sendable, Equatable, CaseIterable {
    /// HTTP/2 over TLS, settled by ALPN.
    case h2
    case http11 = "http/1.1"
    /// HTTP/2 without TLS, by prior knowledge (RFC 9113 section 3.3).
    case h2c
}

/// `limits` of a listener: what a client may send and how long it may take.
public struct LimitsConfiguration: Sendable, Equatable {
    /// Bytes of request line, fields and their line ends; past it 431.
    public var requestHeadBytes = 32 << 10
    /// Number of field lines; past it 431.
    public var headers = 100
    /// Bytes of the request line; past it 414.
    public var requestLineBytes = 8 << 10
    /// Bytes of a request body; past it 413.
    public var bodyBytes = 10 << 20
    /// From the first byte of a head to its end; past it 408.
    public var headerTimeout: Duration = .seconds(10)
    /// Between two reads of a request body; past it 408.
    public var bodyTimeout: Duration = .seconds(30)
    /// A connection between two requests.
    public var idleTimeout: Duration = .seconds(75)
    /// Open connections of this listener; past it 503 and close.
    public var connections = 100_000
    /// Concurrent streams of an HTTP/2 connection; HTTP/1.1 has one.
    public var streams = 128

    public init() {}
}

public struct AdminConfiguration: Sendable, Equatable {
    public var addresses: [Endpoint] = []
    /// `allow CIDR…`: who besides loopback and the unix socket may ask.
    public var allow: [IPPrefix] = []

    public init() {}
}

public enum LogLevel: String, Sendable, Equatable, CaseIterable {
    case debug, info, notice, warn, error
}

public struct LogConfiguration: Sendable, Equatable {
    public enum Destination: Sendable, Equatable {
        case stdout, stderr, off
        case file(String)
    }
    public enum Format: String, Sendable, Equatable, CaseIterable {
        case json, combined
    }
    public var access: Destination = .stdout
    public var error: Destination = .stderr
    public var errorLevel: LogLevel = .info
    public var accessFormat: Format = .json

    public init() {}
}

public enum StoreConfiguration: Sendable, Equatable {
    case sqlite(path: String)
    case memory
    case redis(RedisConfiguration)
}

/// `store redis`: the state of a fleet.
public struct RedisConfiguration: Sendable, Equatable {
    /// Of servers, or of Sentinels where `sentinel` is there.
    public var addresses: [Endpoint] = []
    /// What the Sentinels call the primary.
    public var sentinel: String?
    public var username: String?
    public var passwordFile: String?
    public var usesTLS = false
    /// PEM; the system's authorities when absent.
    public var ca: String?
    public var database = 0
    public var prefix = "gatehouse:"
    /// How long an operation may take, waiting included.
    public var timeout: Duration = .milliseconds(500)

    public init() {}
}

public enum SigningAlgorithmName: String, Sendable, Equatable, CaseIterable {
    case es256 = "ES256"
    case eddsa = "EdDSA"
    case rs256 = "RS256"
}

/// What an access token is.
public enum TokenFormat: String, Sendable, Equatable, CaseIterable {
    /// Signed claims (RFC 9068).
    case jwt
    /// A random text whose meaning the store knows.
    case opaque
}

/// `authority`: the embedded authorization server.
public struct AuthorityConfiguration: Sendable, Equatable {
    /// The issuer identifier, a URL without query or fragment (RFC 8414 section 2).
    public var issuer: String
    /// The default audience of tokens; the issuer itself when none is named.
    public var audiences: [String] = []
    public var tokenLifetime: Duration = .seconds(600)
    public var tokenFormat = TokenFormat.jwt
    /// How long a key signs; `nil`: until `gatehouse key rotate`.
    public var keyRotation: Duration? = .seconds(30 * 86_400)
    /// How long the access token of the OAuth 1.0 dance lives.
    public var oauth1TokenLifetime: Duration = .seconds(3600)
    public var signingAlgorithm: SigningAlgorithmName = .es256
    /// `scopes`: every scope that may be granted; empty is no bound beyond each client's own list.
    public var scopes: [String] = []
    /// Names of the listeners it answers on; empty is all.
    public var listeners: [String] = []

    public init(issuer: String) {
        self.issuer = issuer
    }

    /// Verifiers take no more keys from one issuer, we among them.
    public static let signingKeyLimit = 90
    private static let day: Duration = .seconds(86_400)

    /// How much longer than its tokens' life a key stays: for clocks that differ, and for lifetimes that were longer before.
    public var signingKeyMargin: Duration {
        min(AuthorityConfiguration.day, keyRotation.map { $0 * 10 } ?? AuthorityConfiguration.day)
    }

    /// How many keys there are at once when they change by the clock: the next, the one that signs, and those whose tokens
    /// may live.
    var signingKeysAtOnce: Int64 {
        guard let period = keyRotation else { return 2 }
        return 2 + Int64(((tokenLifetime + signingKeyMargin) / period).rounded(.up))
    }
}

/// `client ID`: a client declared in the file.
public struct ClientConfiguration: Sendable, Equatable {
    public enum AuthMethod: String, Sendable, Equatable, CaseIterable {
        case basic = "client_secret_basic"
        case post = "client_secret_post"
        case tls = "tls_client_auth"
        case privateKeyJWT = "private_key_jwt"
    }
    public var id: String
    public var secretFile: String?
    /// `secret_hash`: `sha256$SALT$DIGEST`, both base64url without padding; the digest is SHA-256
    /// over salt then secret.
    public var secretHash: String?
    public var scopes: [String] = []
    public var audiences: [String] = []
    /// `nil`: either of the two is accepted.
    public var authMethod: AuthMethod?
    /// `jwks_file`: its public keys, for `private_key_jwt`.
    public var jwksFile: String?
    /// `tls_client_auth_…`: the name that its certificate must have.
    public var certificate: CertificateName?
    public var oauth1SecretFile: String?
    /// A PEM file with the consumer's RSA public key (or certificate).
    public var oauth1RSAKeyFile: String?
    public var allowPlaintext = false
    /// `dpop_bound_access_tokens`: it gets tokens that are bound to a key, and no others (RFC 9449 section 5.2).
    public var requiresProof = false
    /// `rate_limit`, for all that it asks.
    public var rateLimits: [RateLimit] = []

    public init(id: String) {
        self.id = id
    }
}

/// A name in a client's certificate (RFC 8705 section 2.1.2).
public enum CertificateName: Sendable, Equatable {
    case subject(String)
    case dns(String)
    case uri(String)
    case address(IPAddress)
    case email(String)
}

/// Where the keys of an issuer come from: a JWK set (RFC 7517 section 5).
public enum KeySource: Sendable, Hashable {
    /// `jwks_file`
    case file(String)
    /// `jwks_uri`: fetched, and kept up to date.
    case uri(String)
    /// `discovery on`: fetched from where the issuer's metadata say (OpenID Connect Discovery 1.0, RFC 8414).
    case discovery
}

/// `issuer NAME`: an external issuer of JWTs that is trusted.
public struct IssuerConfiguration: Sendable, Equatable {
    public var name: String
    public var issuer: String
    public var audiences: [String] = []
    public var keys: KeySource
    /// `ca`: PEM; whom its server must be vouched for by. `nil` is the system's authorities.
    public var ca: String?
    /// JWS `alg` names that are accepted; default RS256 PS256 ES256 EdDSA.
    public var algorithms: [String] = ["RS256", "PS256", "ES256", "EdDSA"]
    /// The `typ` that a token must carry (compared as a media type, `application/` optional);
    /// default `at+jwt` and `JWT` and none at all. When named in the conf, only that one.
    public var type: String?
    public var clockSkew: Duration = .seconds(30)
    /// Claims that name the client, first present wins.
    public var clientClaims: [String] = ["client_id", "azp", "sub"]
    /// Claims that hold the scopes, first present wins: a space-separated string or an array of
    /// strings.
    public var scopeClaims: [String] = ["scope", "scp"]

    public init(name: String, issuer: String, keys: KeySource) {
        self.name = name
        self.issuer = issuer
        self.keys = keys
    }

    /// `nil` where the keys are fetched.
    public var jwksFile: String? {
        if case .file(let path) = keys { path } else { nil }
    }
}

/// `introspection NAME`: the server that is asked about tokens which are no JWTs of a known issuer (RFC 7662).
public struct IntrospectionConfiguration: Sendable, Equatable {
    public var name: String
    public var endpoint = ""
    /// How we prove who asks: `client_secret_basic`.
    public var clientID = ""
    public var clientSecretFile = ""
    /// How long an answer about an active token is believed; never beyond the token's `exp`.
    public var cache: Duration = .seconds(30)
    /// The same for a token that is not active.
    public var negativeCache: Duration = .seconds(5)
    /// From the question to the end of the answer.
    public var timeout: Duration = .seconds(2)
    /// `issuer`: the `iss` that an answer must have; `nil`: any but that of an issuer whose tokens we prove ourselves.
    public var issuer: String?
    /// `audience`: one of these must be in an answer's `aud`; empty: routes judge it (`require audience`).
    public var audiences: [String] = []
    /// `ca`, as an issuer has it.
    public var ca: String?

    public init(name: String) {
        self.name = name
    }
}

/// What becomes of a nonce while the store is away that should remember it.
public enum StoreFailureRule: String, Sendable, Equatable, CaseIterable {
    /// 503: it may have been used on another gateway.
    case refuse
    /// Each gateway by its own memory.
    case local
}

public struct OAuth1Configuration: Sendable, Equatable {
    public var signatureMethods: [String] = ["HMAC-SHA1", "HMAC-SHA256", "RSA-SHA256"]
    public var timestampWindow: Duration = .seconds(300)
    /// The realm of the `OAuth` challenge.
    public var realm = "gatehouse"
    public var bodyHashRequired = false
    /// `scheme://authority[/prefix]` values that clients sign instead of what the connection
    /// shows; tried in order.
    public var publicURLs: [String] = []
    /// Bytes of a body that are held back until the verdict; past it 413.
    public var heldBodyBytes = 1 << 20
    public var onStoreFailure = StoreFailureRule.refuse

    public init() {}
}

/// `dpop`: what proofs of possession are held to (RFC 9449).
public struct DPoPConfiguration: Sendable, Equatable {
    /// How long ago the `iat` of a proof may lie. Whole seconds count.
    public var proofLifetime: Duration = .seconds(60)
    /// How far ahead it may lie.
    public var clockSkew: Duration = .seconds(5)
    /// Whether a proof must have a nonce of ours (sections 8 and 9).
    public var requiresNonce = false
    /// How long one nonce is given out; it is good for as long again.
    public var nonceRotation: Duration = .seconds(300)
    /// What clients name in `htu` in place of what the connection shows; empty: those of `oauth1`.
    public var publicURLs: [String] = []
    public var onStoreFailure = StoreFailureRule.refuse

    public init() {}
}

/// What an upstream's servers speak.
public enum UpstreamProtocol: String, Sendable, Equatable, CaseIterable {
    case http11 = "http/1.1"
    /// HTTP/2, over TLS or by prior knowledge.
    case h2
    /// What ALPN settles on.
    case auto
}

public struct UpstreamConfiguration: Sendable, Equatable {
    public var name: String
    public var servers: [Endpoint] = []
    /// `protocol`
    public var version = UpstreamProtocol.http11
    /// `tls`; `nil` is in clear.
    public var tls: UpstreamTLS?
    /// Idle connections kept per worker and server.
    public var keepalive = 64
    public var connectTimeout: Duration = .seconds(1)
    /// From the end of the request to the head of the answer, and between two reads of its body.
    public var responseTimeout: Duration = .seconds(30)
    public var idleTimeout: Duration = .seconds(60)
    /// How often another server is tried after a failure to connect.
    public var retries = 1

    public init(name: String) {
        self.name = name
    }
}

public struct HostConfiguration: Sendable, Equatable {
    /// Lower case; `*.example.com` matches any one or more labels in front.
    public var names: [String]
    public var routes: [RouteConfiguration] = []

    public init(names: [String]) {
        self.names = names
    }
}

public enum CredentialKind: String, Sendable, Equatable, CaseIterable {
    case bearer, oauth1
    /// The certificate on the client's connection (`tls_client_auth` clients).
    case certificate
}

/// `authenticate`: which credentials a route takes.
public enum AuthenticationPolicy: Sendable, Equatable {
    /// `none`, written out: the route is open.
    case open
    /// One of these suffices.
    case any([CredentialKind])
    /// Every one must hold and name the same client.
    case all([CredentialKind])
}

/// One `require` line; all lines of a route must hold.
public enum Requirement: Sendable, Equatable {
    /// Every scope named; `methods` empty is every method.
    case scopes([String], methods: [String])
    case audience(String)
    /// The claim must equal one of the values (or be an array that holds one).
    case claim(name: String, values: [String])
    /// One of these clients: of an `issuer` or `introspection` block by its name, or our own (of our authority, by OAuth 1.0
    /// or by a certificate). The same name elsewhere is somebody else.
    case clients([String], of: String? = nil)
    /// The token must be bound to the certificate on the client's connection (RFC 8705 section 3).
    case certificateBound
    /// The token must be bound to a key that the request proves (RFC 9449 section 7).
    case dpop
}

/// One `allow` or `deny` line; the first that matches decides, and with any `allow` the rest is
/// denied.
public struct AddressRule: Sendable, Equatable {
    public var allows: Bool
    public var prefixes: [IPPrefix]

    public init(allows: Bool, prefixes: [IPPrefix]) {
        self.allows = allows
        self.prefixes = prefixes
    }
}

public struct RouteConfiguration: Sendable, Equatable {
    public enum AuthorizationForwarding: String, Sendable, Equatable, CaseIterable {
        case strip, forward
    }
    /// The path as written, in canonical form, without the `=`.
    public var path: String
    /// `route = PATH`: the whole path must match.
    public var isExact = false
    /// The upstream's name; checked to exist.
    public var upstream: String = ""
    public var stripPrefix: String?
    /// `rewrite FROM TO`: a path prefix and what replaces it, tried in order; the first that
    /// matches is applied.
    public var rewrites: [Rewrite] = []
    public var setHeaders: [HeaderSetting] = []
    public var removeHeaders: [String] = []
    /// Empty is every method (CONNECT and TRACE never).
    public var methods: [String] = []
    public var authenticate: AuthenticationPolicy = .any([.bearer, .oauth1])
    public var requirements: [Requirement] = []
    public var addressRules: [AddressRule] = []
    public var authorization: AuthorizationForwarding = .strip
    /// `limits { body }` in the route; `nil` is the listener's.
    public var bodyBytes: Int?
    /// `timeout`: the whole exchange; `nil` is no bound of its own.
    public var timeout: Duration?
    /// `websocket on`: upgrades to the WebSocket protocol are let through.
    public var allowsWebSocket = false
    /// `request_trailers on`: trailers of requests are passed on; those of gRPC calls always are.
    public var passesRequestTrailers = false
    /// `end_streams_with_credential`: how long after its credential's end, or its revocation, a WebSocket, an event stream
    /// or a gRPC call may go on; `nil` is for ever.
    public var streamGrace: Duration? = .seconds(5)
    /// `rate_limit`, for all that takes this route.
    public var rateLimits: [RateLimit] = []
    /// Where the route stands in the conf: `file:line`, shown by `explain`. The same route
    /// elsewhere is equal.
    @NotCompared public var source: String = ""

    public init(path: String) {
        self.path = path
    }
}

public struct Rewrite: Sendable, Equatable {
    public var from: String
    public var to: String

    public init(from: String, to: String) {
        self.from = from
        self.to = to
    }
}

public struct HeaderSetting: Sendable, Equatable {
    public var name: String
    public var value: String

    public init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}
