import OAuth
import Primitives
import Store
import Telemetry

/// Access tokens of our own authority that say nothing by themselves.
extension Exchange {
    /// What the token grants lies in the store, or was there a moment ago.
    func proveOpaque(_ token: Range<Int>, _ authority: AuthoritySnapshot) {
        let head = self.head
        let now = worker.loop.wallNow
        if let known = worker.authenticator.cache?.lookup(head.span(token), now: now) {
            // Found, it has not ended; a wall clock that stepped back may be before its beginning.
            guard (try? known.token?.holds(at: now)) != nil else {
                return refuseBearer(.notYetValid)
            }
            return provedBearer(known)
        }
        guard worker.shared.tokens.kind(of: head.span(token)) == .access else {
            // It was never issued: junk costs the store nothing.
            return refuse(Refusal(.unknownToken, status: 401, attempted: .bearer))
        }
        // Though the store may have it by now: whether it was revoked nobody knows yet.
        guard snapshot.isStateKnown else { return refuse(.storeUnavailable) }
        let id = OpaqueTokens.identifier(of: head.span(token))
        require(.token(id: id, now: now)) { exchange, stored in
            guard let stored, let verified = authority.vouched(stored, at: now) else {
                return exchange.refuse(Refusal(.unknownToken, status: 401, attempted: .bearer))
            }
            let principal = Principal.bearer(verified)
            switch exchange.snapshot.standing(ofClientOf: verified, at: now) {
            case .known: exchange.remember(token, principal)
            case .awaited: break
            case .lost: return exchange.refuseLostClient()
            }
            exchange.provedBearer(principal)
        }
    }

    /// Keeps what the store said, unless the conf has changed while it was asked, or another request was quicker.
    private func remember(_ token: Range<Int>, _ principal: Principal) {
        guard worker.snapshot === snapshot, let cache = worker.authenticator.cache else { return }
        let head = self.head
        guard cache.lookup(head.span(token), now: worker.loop.wallNow) == nil else { return }
        cache.insert(head.span(token), principal)
    }
}

extension AuthoritySnapshot {
    /// What the store has of an access token, as if the token itself said it.
    func vouched(_ token: StoredToken, at now: WallTime) -> VerifiedToken? {
        guard token.kind == .access else { return nil }
        let claims = TokenGrant(
            issuer: policy.issuer, clientID: token.clientID, audiences: token.audiences,
            scopes: token.scopes, issuedAt: token.issuedAt.seconds,
            expiresAt: token.expiresAt.seconds, tokenID: Base64.encode(token.id, .url),
            certificateThumbprint: token.certificateThumbprint,
            keyThumbprint: token.keyThumbprint
        ).claims
        return try? VerifiedToken.vouched(
            claims: claims.span, by: trustedIssuer, digest: token.id, now: now)
    }
}

extension StoredToken {
    /// What an opaque token stands for.
    init(_ grant: TokenGrant, text: [UInt8]) {
        self.init(
            id: OpaqueTokens.identifier(of: text.span), kind: .access, clientID: grant.clientID,
            scopes: grant.scopes, audiences: grant.audiences,
            issuedAt: WallTime(seconds: grant.issuedAt),
            expiresAt: WallTime(seconds: grant.expiresAt),
            certificateThumbprint: grant.certificateThumbprint,
            keyThumbprint: grant.keyThumbprint)
    }
}
