import OAuth
import Primitives
import Store

/// What has been revoked and could still come: asked on every use of a token, also of one that is remembered.
///
/// One a worker; the news of the store brings it up to date, within a second of a revocation on any gateway. What need
/// not be remembered any more goes with the news and once a minute.
struct RevocationList {
    private struct TokenName: Hashable {
        let issuer: String
        let id: String
    }

    private var tokens: [TokenName: Int64] = [:]
    /// By the SHA-256 of a token's text, which no two have in common: tokens that say nothing by themselves are told apart
    /// by it alone. Whatever the authority was called when one of ours was revoked, the record counts.
    private var digests: [[UInt8]: Int64] = [:]
    /// By client: tokens issued at or before `issuedBefore` count no more.
    private var clients: [String: (issuedBefore: Int64, until: Int64)] = [:]

    private var lookAt: Int64 = 0

    // Every digest stands among the names too.
    var isEmpty: Bool { tokens.isEmpty && clients.isEmpty }

    mutating func add(_ revocations: some Sequence<Revocation>) {
        for revocation in revocations {
            let until = revocation.until.seconds
            switch revocation.target {
            case .token(let issuer, let id):
                let name = TokenName(issuer: issuer, id: id)
                tokens[name] = max(tokens[name] ?? until, until)
                if let digest = Revocation.Target.digest(of: id) {
                    digests[digest] = max(digests[digest] ?? until, until)
                }
            case .client(let id):
                let before = revocation.issuedBefore.seconds
                let known = clients[id]
                clients[id] = (
                    max(known?.issuedBefore ?? before, before), max(known?.until ?? until, until)
                )
            }
        }
    }

    /// Looks once a minute.
    mutating func removeEnded(at now: WallTime) {
        guard !isEmpty, now.seconds >= lookAt || now.seconds < lookAt - 60 else { return }
        lookAt = now.seconds + 60
        tokens = tokens.filter { $0.value >= now.seconds }
        digests = digests.filter { $0.value >= now.seconds }
        clients = clients.filter { $0.value.until >= now.seconds }
    }

    /// Whether a token counts no more.
    func covers(_ token: VerifiedToken) -> Bool {
        guard !isEmpty else { return false }
        if !tokens.isEmpty, let id = token.tokenID,
            tokens[TokenName(issuer: token.issuer, id: id)] != nil
        {
            return true
        }
        if let digest = token.digest, digests[digest] != nil { return true }
        // Only our own tokens are bound to our clients: another issuer's client of the same name is somebody else.
        guard token.isFromOwnAuthority, !clients.isEmpty else { return false }
        return covers(client: token.clientID, issuedAt: token.issuedAt ?? .min)
    }

    /// Whether a token of OAuth 1.0 counts no more.
    func covers(_ token: StoredToken) -> Bool {
        guard !isEmpty else { return false }
        return digests[token.id] != nil
            || covers(client: token.clientID, issuedAt: token.issuedAt.seconds)
    }

    /// Whether a token of ours that was issued to the client then counts no more.
    func covers(client: String, issuedAt: Int64) -> Bool {
        clients[client].map { issuedAt <= $0.issuedBefore } ?? false
    }
}

extension Revocation.Target {
    /// A token that says nothing by itself, or nothing that is believed here: named by the SHA-256 of its text.
    ///
    /// - Parameter issuer: ours, where there is an authority: gateways that are to be updated yet look for it.
    static func token(digest: [UInt8], issuer: String = "") -> Revocation.Target {
        .token(issuer: issuer, id: Base64.encode(digest, .url))
    }

    /// The digest that a token's name is, if it can be one.
    static func digest(of name: String) -> [UInt8]? {
        guard name.utf8.count == 43 else { return nil }
        return Base64.decode(name, .url)
    }
}
