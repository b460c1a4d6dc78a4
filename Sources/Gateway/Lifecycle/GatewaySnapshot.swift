import Configuration
import Cryptography
import OAuth
import Primitives
import Store
import Transport

/// A listening socket with what its connections need to know; kept across reloads while its address stays.
final class BoundListener: Sendable {
    let id: Int
    let role: ListenerContext.Role
    let configuration: ListenerConfiguration
    let load: ListenerLoad
    let socket: SharedListeningSocket
    let configured: Endpoint

    init(
        id: Int, role: ListenerContext.Role, configuration: ListenerConfiguration,
        load: ListenerLoad, socket: SharedListeningSocket, configured: Endpoint
    ) {
        self.id = id
        self.role = role
        self.configuration = configuration
        self.load = load
        self.socket = socket
        self.configured = configured
    }

    var name: String { configuration.name }
    var limits: LimitsConfiguration { configuration.limits }

    /// The same socket under a new configuration.
    func with(_ configuration: ListenerConfiguration) -> BoundListener {
        BoundListener(
            id: id, role: role, configuration: configuration, load: load, socket: socket,
            configured: configured)
    }
}

/// A listening socket that several snapshots hold; it closes when the last lets go of it.
final class SharedListeningSocket: Sendable {
    private let socket: ListeningSocket

    init(binding endpoint: Endpoint) throws(SystemError) {
        socket = try ListeningSocket(binding: endpoint)
    }

    init(
        adopting adopted: consuming ListeningSocket.Adopted, as endpoint: Endpoint
    ) throws(SystemError) {
        socket = try ListeningSocket(adopting: adopted, as: endpoint)
    }

    var descriptor: Int32 { socket.descriptor }
    var endpoint: Endpoint { socket.endpoint }
    var isShared: Bool { socket.isShared }

    func accept() -> ListeningSocket.AcceptResult { socket.accept() }
    func stopListening() { socket.stopListening() }
}

/// What the gateway knows of a client, whether the conf file or the store declares it. An object: to look one up counts one
/// reference instead of one for each of its texts.
final class KnownClient: Sendable {
    let registered: RegisteredClient
    let oauth1: OAuth1Credentials?
    /// Who a request is from that it has signed by its own secret: made once, since it says the same of each.
    let signer: Principal?

    init(registered: RegisteredClient, oauth1: OAuth1Credentials?, signer: Principal? = nil) {
        self.registered = registered
        self.oauth1 = oauth1
        self.signer = signer
    }
}

/// A configuration put to use: everything compiled, every named file read. Immutable; an exchange keeps the one it
/// began with.
final class GatewaySnapshot: Sendable {
    let configuration: Configuration
    let listeners: [BoundListener]
    let routes: RouteTable
    /// With the keys that files hold; those that are fetched the workers have.
    let issuers: [TrustedIssuer]
    /// Those whose keys are fetched, by their `iss`.
    let remoteIssuers: [String: RemoteIssuer]
    let introspection: IntrospectionServer?
    /// `nil` where the conf has no `rate_limit`.
    let rates: RatePlan?
    let clients: [String: KnownClient]
    /// Those that are known by a certificate.
    let certificateClients: [RegisteredClient]
    let oauth1: OAuth1Policy
    /// Whether the store has been read: until then a client that is not known may be one.
    let isStateKnown: Bool
    /// What of the store could not be used, a line each.
    let faults: [String]
    let authority: AuthoritySnapshot?
    let tls: TLSMaterial
    /// What the files held.
    let material: Material

    init(
        configuration: Configuration, material: Material, state: StoreSnapshot, tls: TLSMaterial,
        listeners: [BoundListener]
    ) {
        self.configuration = configuration
        self.material = material
        let known = KnownState(configuration, material, state)
        self.listeners = listeners
        self.tls = tls
        routes = RouteTable(configuration: configuration)
        clients = known.clients.mapValues { client in
            guard client.oauth1 != nil else { return client }
            return KnownClient(
                registered: client.registered, oauth1: client.oauth1,
                signer: known.signer(client.registered))
        }
        certificateClients = known.clients.values.map(\.registered).filter {
            $0.certificate != nil
        }
        oauth1 = OAuth1Policy(configuration.oauth1)
        isStateKnown = known.isStateKnown
        faults = known.faults
        authority = known.authority
        issuers = material.issuers + (known.authority.map { [$0.trustedIssuer] } ?? [])
        remoteIssuers = Dictionary(
            configuration.issuers.compactMap(RemoteIssuer.init).map { ($0.keySet.issuer, $0) }
        ) { first, _ in first }
        introspection = material.introspection
        rates = RatePlan(configuration)
    }

    private init(_ other: GatewaySnapshot, _ tls: TLSMaterial) {
        configuration = other.configuration
        listeners = other.listeners
        routes = other.routes
        clients = other.clients
        certificateClients = other.certificateClients
        oauth1 = other.oauth1
        isStateKnown = other.isStateKnown
        faults = other.faults
        authority = other.authority
        issuers = other.issuers
        remoteIssuers = other.remoteIssuers
        introspection = other.introspection
        rates = other.rates
        material = other.material
        self.tls = tls
    }

    /// The same with other certificates.
    func with(_ tls: TLSMaterial) -> GatewaySnapshot {
        GatewaySnapshot(self, tls)
    }

    /// The issuers with the keys that have been fetched for them.
    func issuers(with keys: FetchedKeys) -> [TrustedIssuer] {
        issuers.map { issuer in
            guard !issuer.isOwnAuthority, let name = remoteIssuers[issuer.issuer]?.keySet,
                let fetched = keys[name]
            else { return issuer }
            var issuer = issuer
            issuer.keys = fetched
            return issuer
        }
    }

    /// The authority, if it answers on that listener.
    func authority(on listener: String) -> AuthoritySnapshot? {
        guard let authority else { return nil }
        let names = authority.configuration.listeners
        return names.isEmpty || names.contains(listener) ? authority : nil
    }
}

extension OAuth1Policy {
    init(_ configuration: OAuth1Configuration) {
        self.init(
            signatureMethods: Set(
                configuration.signatureMethods.compactMap(OAuth1SignatureMethod.init)),
            timestampWindowSeconds: configuration.timestampWindow.wholeSeconds,
            bodyHashRequired: configuration.bodyHashRequired,
            heldBodyBytes: configuration.heldBodyBytes, publicURLs: configuration.publicURLs)
    }
}
