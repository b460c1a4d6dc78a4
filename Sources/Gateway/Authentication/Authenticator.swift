import Cryptography
import OAuth
import Primitives
import Transport

/// A worker's means of proving credentials: verifiers with their prepared contexts, and the cache of verified tokens.
/// A new configuration makes a new one; the cache starts empty then, so that no token outlives its key or issuer.
final class Authenticator {
    private(set) var tokens: TokenVerifier
    let cache: TokenCache?
    let oauth1: OAuth1Verifier
    /// What proofs of possession are held to.
    let proofs: DPoPProof.Policy
    private let snapshot: GatewaySnapshot
    private var fetchedKeys: FetchedKeys = [:]

    /// - Throws: when OpenSSL gives no contexts or no random bytes.
    init(snapshot: GatewaySnapshot, shared: SharedState) throws(CryptographyError) {
        self.snapshot = snapshot
        tokens = TokenVerifier(issuers: snapshot.issuers)
        let bytes = snapshot.configuration.tokenCacheBytes
        cache = bytes > 0 ? TokenCache(byteLimit: bytes) : nil
        oauth1 = try OAuth1Verifier(policy: snapshot.oauth1)
        proofs = DPoPProof.Policy(snapshot.configuration.dpop, nonceKey: shared.proofNonceKey)
    }

    /// Takes over keys that were fetched. Tokens that are remembered stay so unless a key of their issuer is gone.
    func use(_ keys: FetchedKeys) {
        for remote in snapshot.remoteIssuers.values {
            guard let old = fetchedKeys[remote.keySet], let new = keys[remote.keySet],
                old !== new, !new.holdsAll(of: old)
            else { continue }
            let issuer = remote.keySet.issuer
            cache?.remove { $0.issuer == issuer }
        }
        fetchedKeys = keys
        tokens = TokenVerifier(issuers: snapshot.issuers(with: keys))
    }

    /// Those that were fetched last, as far as they have come here.
    func keys(of issuer: RemoteIssuer) -> KeySet? { fetchedKeys[issuer.keySet] }

    /// Who may prove the token that `verify` refused just now.
    func recourse(after error: TokenError) -> TokenRecourse {
        snapshot.recourse(after: error, by: tokens)
    }

    /// What a token that was verified proves.
    enum Proven {
        case principal(Principal)
        /// It is ours, and its client is one no more.
        case unknownClient
    }

    /// Proves a bearer token, from the cache where it has been seen.
    ///
    /// What is remembered is what the token says; time is judged anew each time, and the route's demands after it. Whether
    /// its client is one still is asked as it comes in: other clients make a new snapshot, and that a new cache.
    func verify(_ token: Span<UInt8>, now: WallTime) throws(TokenError) -> Proven {
        if let known = cache?.lookup(token, now: now) {
            try known.token?.holds(at: now)
            return .principal(known)
        }
        let verified = try tokens.verify(token, now: now)
        let principal = Principal.bearer(verified)
        switch snapshot.standing(ofClientOf: verified, at: now) {
        case .known: cache?.insert(token, principal)
        case .awaited: break
        case .lost: return .unknownClient
        }
        return .principal(principal)
    }
}

/// What is known of the client of a token.
enum ClientStanding {
    case known
    /// Whoever issued the token a moment ago knew its client; the news of it is on its way here. It is asked again each time.
    case awaited
    /// There is no such client any more.
    case lost
}

extension GatewaySnapshot {
    /// Within this time after a token was issued every gateway of a fleet has heard of its client, clocks that differ by a
    /// little included; a client that is taken away gets none that would be younger.
    private static let newsSeconds: Int64 = 5

    func standing(ofClientOf token: VerifiedToken, at now: WallTime) -> ClientStanding {
        guard hasLostClient(of: token) else { return .known }
        guard let issuedAt = token.issuedAt else { return .lost }
        let (age, overflow) = now.seconds.subtractingReportingOverflow(issuedAt)
        return !overflow && age < GatewaySnapshot.newsSeconds ? .awaited : .lost
    }

    /// Whether a token of ours is of a client that is not known. Until the store has been read nobody knows who its
    /// clients are.
    func hasLostClient(of token: VerifiedToken) -> Bool {
        token.isFromOwnAuthority && isStateKnown && clients[token.clientID] == nil
    }

    /// Whether whoever vouched for a token is trusted still.
    func trustsIssuer(of token: VerifiedToken) -> Bool {
        if token.digest != nil {
            if token.isFromOwnAuthority { return authority != nil }
            return introspection?.terms.name.hasBytes(of: token.issuerName) ?? false
        }
        return issuers.contains {
            $0.isOwnAuthority == token.isFromOwnAuthority && $0.issuer == token.issuer
        }
    }
}

extension ClientCertificate {
    /// What the connection's handshake established.
    init(_ shown: PeerCertificate) {
        self.init(
            thumbprint: shown.thumbprint, subject: shown.subject, dnsNames: shown.dnsNames,
            uris: shown.uris, emails: shown.emails, addresses: shown.addresses,
            isVerified: shown.isVerified)
    }
}
