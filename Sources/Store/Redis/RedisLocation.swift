import Primitives
import Transport

/// Where a Redis is, and how it is spoken to.
public struct RedisLocation: Sendable, Equatable {
    /// Of servers, of which the one that is the primary is used; or of Sentinels.
    public var addresses: [Endpoint]
    /// What the Sentinels at `addresses` call the primary; nil when `addresses` are servers.
    public var sentinel: String?
    /// A user of Redis's ACL; nil is the default user.
    public var username: String?
    public var password: Secret?
    /// Nil is in clear. The server must prove to be what its address says.
    public var tls: TLSClientContext?
    public var database: Int
    /// What every key begins with: several fleets may share a server.
    public var prefix: String
    /// How long an operation may take from its submission, waiting included.
    public var timeout: Duration

    public init(
        addresses: [Endpoint], sentinel: String? = nil, username: String? = nil,
        password: Secret? = nil, tls: TLSClientContext? = nil, database: Int = 0,
        prefix: String = "gatehouse:", timeout: Duration = .milliseconds(500)
    ) {
        self.addresses = addresses
        self.sentinel = sentinel
        self.username = username
        self.password = password
        self.tls = tls
        self.database = database
        self.prefix = prefix
        self.timeout = timeout
    }

    public static func == (left: RedisLocation, right: RedisLocation) -> Bool {
        left.addresses == right.addresses && left.sentinel == right.sentinel
            && left.username == right.username && left.password == right.password
            && left.tls === right.tls && left.database == right.database
            && left.prefix == right.prefix && left.timeout == right.timeout
    }

    /// For messages.
    var name: String { "redis://" + addresses.map(\.description).joined(separator: ",") }
}
