import Configuration
import OAuth
import Primitives
import Store

/// What the store holds, made ready under a configuration: its clients beside those of the conf, the authority's keys. One
/// broken record keeps nothing else out: a client's removal must reach the workers whatever else the store holds.
struct KnownState: Sendable {
    let clients: [String: KnownClient]
    let authority: AuthoritySnapshot?
    /// Whether the state is the store's, and not what stands in for it while that is away.
    let isStateKnown: Bool
    /// What could not be used, a line each.
    let faults: [String]

    init(_ configuration: Configuration, _ material: Material, _ state: StoreSnapshot) {
        isStateKnown = state != .empty
        // Where both know an id the conf counts, since it is what the operator sees.
        let clients = KnownState.stored(state, at: .now()).merging(material.clients) { $1 }
        self.clients = clients
        var faults = state.faults.map(\.description)
        authority = configuration.authority.map { authority in
            AuthoritySnapshot(
                authority, keys: KnownState.keys(state, &faults),
                clientAudiences: clients.values.flatMap(\.registered.audiences),
                takesCertificates: configuration.listeners.contains { listener in
                    guard authority.listeners.isEmpty || authority.listeners.contains(listener.name)
                    else { return false }
                    return listener.tls.map { $0.clientCA != nil && $0.clientCertificate != .off }
                        ?? false
                },
                requiresProofs: { configuration.requiresProofs(for: $0) })
        }
        self.faults = faults
    }

    /// A client that signs by its own secret: it has as much as a token of ours would grant it.
    func signer(_ client: RegisteredClient) -> Principal {
        .oauth1(
            clientID: client.id, scopes: authority?.policy.scopes(of: client) ?? client.scopes,
            audiences: authority?.policy.audiences(of: client) ?? client.audiences)
    }

    private static func keys(
        _ state: StoreSnapshot, _ faults: inout [String]
    ) -> [AuthoritySnapshot.Key] {
        state.keys.compactMap { record in
            do {
                return try AuthoritySnapshot.Key(record)
            } catch {
                faults.append("signing key \(record.kid): \(error)")
                return nil
            }
        }
    }

    private static func stored(_ state: StoreSnapshot, at now: WallTime) -> [String: KnownClient] {
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
                    keys: stored.jwks.flatMap { try? KeySet.ofClient(Array($0.utf8)) },
                    requiresProof: stored.requiresProof),
                oauth1: oauth1Secrets.isEmpty
                    ? nil
                    : OAuth1Credentials(
                        consumerSecrets: oauth1Secrets, allowsPlaintext: stored.allowsPlaintext))
        }
        return clients
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
}
