import Configuration
import OAuth
import Primitives
import Transport

/// Names keys that are fetched: whose they are, and where they come from. An issuer that a reload leads elsewhere begins
/// without keys.
struct KeySetName: Sendable, Hashable {
    let issuer: String
    let source: KeySource
}

/// The key sets that have been fetched, by their names; what is not here has never come.
typealias FetchedKeys = [KeySetName: KeySet]

/// An exchange that waits: its worker, and the ticket there.
struct Waiter: Sendable {
    let worker: Int
    let ticket: UInt64
}

/// An issuer whose keys are fetched.
struct RemoteIssuer: Sendable {
    /// Its name in the conf.
    let name: String
    let keySet: KeySetName
    let ca: String?

    init?(_ configuration: IssuerConfiguration) {
        if case .file = configuration.keys { return nil }
        name = configuration.name
        keySet = KeySetName(issuer: configuration.issuer, source: configuration.keys)
        ca = configuration.ca
    }
}

/// The introspection server of a configuration, with what its files hold.
struct IntrospectionServer: Sendable, Equatable {
    let configuration: IntrospectionConfiguration
    let secret: Secret
    let terms: IntrospectionTerms
}

/// Everything outside that a configuration asks.
struct IssuerPlans: Sendable {
    var issuers: [RemoteIssuer] = []
    var introspection: IntrospectionServer?
    /// By the path of the `ca`; the system's authorities under "".
    var tls: [String: TLSClientContext] = [:]
    /// The files behind them, as they were read.
    var stamps: TLSMaterial.Stamps = [:]
    /// Names of blocks whose servers are away, for a drill.
    var away: Set<String> = []

    init(_ snapshot: GatewaySnapshot, away: Set<String>) {
        issuers = Array(snapshot.remoteIssuers.values)
        introspection = snapshot.introspection
        tls = snapshot.tls.issuers
        stamps = snapshot.tls.stamps
        self.away = away
    }

    var isEmpty: Bool { issuers.isEmpty && introspection == nil }
}
