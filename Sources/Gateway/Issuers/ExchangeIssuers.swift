import OAuth
import Primitives
import Telemetry

/// Bearer tokens about which somebody outside is asked. The exchange is put aside until there is an answer; how many may be
/// is bounded, and how long each waits is the issuers' affair.
extension Exchange {
    /// The token is not proven by what is here: asks who may know.
    func seekProof(after error: TokenError) {
        switch worker.authenticator.recourse(after: error) {
        case .none: refuseBearer(error)
        case .keys(let issuer): awaitKeys(of: issuer, after: error)
        case .introspection: introspect()
        }
    }

    func refuseBearer(_ error: TokenError) {
        if error == .unknownKey, let authority = snapshot.authority, authority.keys.isEmpty,
            worker.authenticator.tokens.claimedIssuer == authority.policy.issuer
        {
            // Our own keys lie in the store, which has not been read yet.
            return refuse(Refusal(.storeUnavailable, attempted: .bearer))
        }
        refuse(Refusal(error.reason, status: 401, attempted: .bearer))
    }

    /// Nobody can say whether the credential holds: never a 401, on which a client would throw a good token away.
    private func refuseUnasked() {
        var refusal = Refusal(.issuerUnavailable, attempted: .bearer)
        refusal.retryAfterSeconds = 1
        refuse(refusal)
    }

    // MARK: Keys

    private func awaitKeys(of issuer: RemoteIssuer, after error: TokenError) {
        let issuers = worker.shared.issuers
        let known = worker.authenticator.keys(of: issuer)
        switch keySearch.next(
            issuers.prospect(of: issuer.keySet, having: known, now: worker.loop.now))
        {
        case .mayFind: break
        case .none where known != nil: return refuseBearer(error)
        case .none, .unavailable: return refuseUnasked()
        }
        guard issuers.isUsable, let ticket = worker.waiting.add(self, for: .keys(issuer.keySet))
        else {
            return refuseUnasked()
        }
        stage = .suspended(ticket)
        issuers.askForKeys(
            issuer.keySet, Waiter(worker: worker.index, ticket: ticket), having: known)
    }

    // MARK: Introspection

    private func introspect() {
        let head = self.head
        let token = head.span(bearerToken)
        // Opaque tokens of our own authority, once there are any, are looked up here, before another is asked: nobody
        // else may speak for them.
        let digest = TokenDigest(token)
        let issuers = worker.shared.issuers
        if let known = issuers.introspections.lookup(digest, now: worker.loop.now) {
            if known.isRefreshDue { ask(about: token, digest, nil) }
            return introspected(known.outcome)
        }
        guard issuers.isUsable, let ticket = worker.waiting.add(self, for: .introspection) else {
            return refuseUnasked()
        }
        stage = .suspended(ticket)
        ask(about: token, digest, Waiter(worker: worker.index, ticket: ticket))
    }

    private func ask(about token: Span<UInt8>, _ digest: TokenDigest, _ waiter: Waiter?) {
        var bytes: [UInt8] = []
        bytes.append(token)
        worker.shared.issuers.introspect(Secret(bytes), digest, from: clientAddress, waiter)
    }

    /// What the server says of the token, now or a while ago.
    func introspected(_ outcome: IntrospectionOutcome) {
        switch outcome {
        case .unavailable: refuseUnasked()
        case .refused(let reason): refuse(Refusal(reason, status: 401, attempted: .bearer))
        case .active(let token):
            do throws(TokenError) {
                try token.holds(at: worker.loop.wallNow)
                provedBearer(.bearer(token))
            } catch {
                refuseBearer(error)
            }
        }
    }
}
