import Configuration
import HTTP

/// One route with everything precomputed that a request needs: no text is parsed, folded or joined again.
public final class CompiledRoute: Sendable {
    /// Its place in `RouteTable.routes`.
    public let index: Int
    /// The canonical path, without the `=`; what the log's `route` field and the metrics show.
    public let path: [UInt8]
    public let isExact: Bool
    /// `file:line` of the conf.
    public let source: String
    /// Index into the configuration's `upstreams`.
    public let upstreamIndex: Int
    /// Which credentials suffice, as the conf says it.
    public let authentication: AuthenticationPolicy
    /// The same, as a request is held to it.
    let rule: CredentialRule
    /// The schemes that a credential may have, and that a challenge names. Empty for an open route; `.dpop` beside
    /// `.bearer` where a token without a proof will not do.
    public let accepted: CredentialSet
    public let methods: MethodSet
    /// Bytes of a request body; `nil` is the listener's limit.
    public let bodyLimitBytes: Int?
    /// The whole exchange; `nil` is no bound of its own.
    public let timeout: Duration?
    /// Whether upgrades to the WebSocket protocol are let through.
    public let allowsWebSocket: Bool
    /// Whether trailers of requests are passed on; those of gRPC always are.
    let passesRequestTrailers: Bool
    /// How long a stream may outlive its credential; `nil` is for ever.
    let streamGrace: Duration?

    let requirements: [CompiledRequirement]
    let addressRules: AddressRules
    let forwardsAuthorization: Bool
    let rewrites: PathRewrites
    let fields: FieldEdits
    /// What `Host` says to the upstream when the client, in HTTP/1.0, said nothing.
    let upstreamAuthority: [UInt8]

    /// Whether the route asks for no credential (`authenticate none`).
    public var isOpen: Bool { rule.mode == .open }

    init(_ route: RouteConfiguration, index: Int, in configuration: Configuration) {
        guard
            let upstream = configuration.upstreams.firstIndex(where: { $0.name == route.upstream })
        else { preconditionFailure("the configuration was not checked: no upstream of this name") }
        self.index = index
        path = Array(route.path.utf8)
        isExact = route.isExact
        source = route.source
        upstreamIndex = upstream
        upstreamAuthority = Self.authority(of: configuration.upstreams[upstream])
        authentication = route.authenticate
        rule = CredentialRule(route.authenticate)
        accepted = rule.kinds.union(
            route.requirements.contains(.dpop) ? .dpop : [])
        methods = MethodSet(route.methods)
        bodyLimitBytes = route.bodyBytes
        timeout = route.timeout
        allowsWebSocket = route.allowsWebSocket
        passesRequestTrailers = route.passesRequestTrailers
        streamGrace = route.streamGrace
        requirements = route.requirements.map(CompiledRequirement.init)
        addressRules = AddressRules(route.addressRules)
        forwardsAuthorization = route.authorization == .forward
        rewrites = PathRewrites(strip: route.stripPrefix, rewrites: route.rewrites)
        fields = FieldEdits(route)
    }

    /// Whether the route takes the method; if not, the answer is 405 with `methods.allow`.
    public func takes(_ method: Method, name: Span<UInt8>) -> Bool {
        methods.contains(method, name: name)
    }

    private static func authority(of upstream: UpstreamConfiguration) -> [UInt8] {
        switch upstream.servers.first {
        case .ip, .name: Array((upstream.servers.first?.description ?? "localhost").utf8)
        case .unix, .activated, nil: Array("localhost".utf8)
        }
    }
}

/// A set of credential schemes.
public struct CredentialSet: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8

    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    public static let bearer = CredentialSet(rawValue: 1)
    public static let oauth1 = CredentialSet(rawValue: 2)
    public static let certificate = CredentialSet(rawValue: 4)
    /// Of tokens: those with a proof alone.
    public static let dpop = CredentialSet(rawValue: 8)

    public init(_ kind: CredentialKind) {
        switch kind {
        case .bearer: self = .bearer
        case .oauth1: self = .oauth1
        case .certificate: self = .certificate
        }
    }

    /// Every scheme that the policy mentions.
    public init(_ policy: AuthenticationPolicy) {
        switch policy {
        case .open: self = []
        case .any(let kinds), .all(let kinds):
            self = kinds.reduce(into: []) { $0.formUnion(CredentialSet($1)) }
        }
    }
}
