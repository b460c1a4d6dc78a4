import OAuth
import Primitives
import Store

/// Tokens of OAuth 1.0 as the store had them, so that not each request that is signed with one asks it. One a worker.
///
/// What is remembered is a fact; that it was revoked comes as news, within a second. Of a token that is not there nothing
/// is remembered: what could be asked for without end is refused before (`OpaqueTokens`).
struct StoredTokenCache {
    private static let limit = 16_384

    private var tokens: [[UInt8]: StoredToken] = [:]

    func lookup(_ id: [UInt8], at now: WallTime) -> StoredToken? {
        tokens[id].flatMap { now < $0.expiresAt ? $0 : nil }
    }

    mutating func insert(_ token: StoredToken) {
        // All at once, and rarely: it fills again by itself.
        if tokens.count >= StoredTokenCache.limit { tokens = [:] }
        tokens[token.id] = token
    }

    mutating func remove(_ revocations: [Revocation]) {
        guard !tokens.isEmpty else { return }
        for revocation in revocations {
            switch revocation.target {
            case .token(_, let name):
                if let id = Base64.decode(name, .url) { tokens[id] = nil }
            case .client(let client):
                tokens = tokens.filter { entry in
                    entry.value.clientID != client
                        || entry.value.issuedAt > revocation.issuedBefore
                }
            }
        }
    }
}
