import Configuration
import HTTP
import OAuth
import Primitives
import Store
import Telemetry

/// The authentication phase of an exchange: the credentials a route accepts are found and proven, and the request
/// goes on to authorization, or is refused with a challenge.
extension Exchange {
    func authenticate() {
        guard let route else { return refuse(.internalError) }
        if route.isOpen { return authorizeAndForward(nil) }
        let credentials = PresentedCredentials.find(in: head, worker.authenticator.oauth1)
        if credentials.tokenScheme == .dpop { tokenScheme = .dpop }
        switch CredentialPlan(
            route.rule, credentials, hasCertificate: hasCertificate,
            mayHoldForm: worker.authenticator.oauth1.mayCarryInBody(head))
        {
        case .open: authorizeAndForward(nil)
        case .searchForm: findInBody()
        case .bearer(let token), .both(let token): proveBearer(token.range)
        case .oauth1: proveOAuth1()
        case .certificate: proveCertificate()
        case .refuse(.noCredentials): refuse(CredentialPlan.refusal(missingCredential, on: route))
        case .refuse(let reason): refuse(CredentialPlan.refusal(reason, on: route))
        }
    }

    private var hasCertificate: Bool { shownCertificate?.isVerified == true }

    /// A certificate that counted when the connection began is missed for another reason than one that was never there.
    private var missingCredential: Reason {
        route?.rule.takesCertificate == true && forwarded == nil && isCertificateOver
            ? .certificateExpired : .noCredentials
    }

    /// No credential in the head: OAuth 1.0 parameters may stand in a form body (RFC 5849 section 3.5.2).
    private func findInBody() {
        guard let route else { return refuse(.internalError) }
        guard route.rule.takesOAuth1, worker.authenticator.oauth1.mayCarryInBody(head)
        else {
            return refuse(CredentialPlan.refusal(missingCredential, on: route))
        }
        hold(for: .authentication, limitBytes: snapshot.oauth1.heldBodyBytes)
    }

    // MARK: Certificate

    /// The client whose name stands in the certificate; two whom it could mean are nobody.
    private func proveCertificate() {
        guard let certificate else { return refuse(.internalError) }
        guard let principal = known.principal(of: certificate) else {
            return refuse(
                Refusal(.unknownClient, status: route?.accepted == .certificate ? 403 : nil))
        }
        proved(principal)
    }

    // MARK: Bearer

    private func proveBearer(_ token: Range<Int>) {
        bearerToken = token
        let head = self.head
        if let authority = snapshot.authority, OpaqueTokens.isLike(.access, head.span(token)) {
            return proveOpaque(token, authority)
        }
        do throws(TokenError) {
            switch try worker.authenticator.verify(head.span(token), now: worker.loop.wallNow) {
            case .principal(let principal): provedBearer(principal)
            case .unknownClient: refuseLostClient()
            }
        } catch {
            seekProof(after: error)
        }
    }

    /// The token holds: by its signature, or by its server's word.
    func provedBearer(_ principal: Principal) {
        guard let verified = principal.token else { return refuse(.internalError) }
        // Mostly nothing is revoked, and the list is not copied to learn that.
        if !worker.revocations.isEmpty, worker.revocations.covers(verified) {
            return refuse(Refusal(.tokenRevoked, status: 401, attempted: .bearer))
        }
        // Bound to a key: good with a proof alone, never as a bearer token (RFC 9449 section 7.1).
        if verified.keyThumbprint != nil || tokenScheme == .dpop {
            return provePossession(of: verified, principal)
        }
        provedPossession(of: verified, principal)
    }

    /// The token holds, and its client is one no more.
    func refuseLostClient() {
        refuse(Refusal(.unknownClient, status: 401, attempted: .bearer))
    }

    /// What the token is bound to has been proven, but for a certificate.
    func provedPossession(of verified: VerifiedToken, _ principal: Principal) {
        // Bound to a certificate: whoever has only stolen the token cannot use it (RFC 8705 section 3).
        if let thumbprint = verified.certificateThumbprint,
            shownCertificate?.thumbprint != thumbprint
        {
            return refuse(Refusal(.proofMismatch, status: 401, attempted: .bearer))
        }
        proved(principal)
    }

    // MARK: OAuth 1.0

    private func proveOAuth1() {
        do throws(OAuth1Error) {
            let claim = try worker.authenticator.oauth1.prepare(head, body: nil)
            oauth1Claim = claim
            if claim.needsBody {
                return hold(for: .authentication, limitBytes: snapshot.oauth1.heldBodyBytes)
            }
            try verifyOAuth1(claim)
        } catch {
            refuseOAuth1(error)
        }
    }

    /// The held body is whole: OAuth 1.0 goes on with it.
    func authenticateWithBody() {
        if oauth1Claim == nil, purpose == .authentication,
            !worker.authenticator.oauth1.detects(form: heldBody)
        {
            // Nothing in the request itself: now the certificate counts, where the route takes one.
            if let rule = route?.rule, rule.takesCertificate,
                !rule.takesCertificateBeside, hasCertificate
            {
                return proveCertificate()
            }
            return refuse(missingCredential)
        }
        do throws(OAuth1Error) {
            let claim = try worker.authenticator.oauth1.prepare(head, body: heldBody.span)
            oauth1Claim = claim
            try verifyOAuth1(claim)
        } catch {
            refuseOAuth1(error)
        }
    }

    private func verifyOAuth1(_ claim: OAuth1Claim) throws(OAuth1Error) {
        guard let token = claim.token else {
            if purpose == .oauth1AccessToken { throw .missingParameter("oauth_token") }
            return try judgeOAuth1(claim, nil)
        }
        // One that was never issued is judged without a look into the store, and like any that is not known.
        let kind: OpaqueTokens.Kind = purpose == .oauth1AccessToken ? .oauth1Request : .oauth1Access
        let text = Array(token.utf8)
        guard purpose != .oauth1RequestToken, worker.shared.tokens.kind(of: text.span) == kind
        else {
            return try judgeOAuth1(claim, nil)
        }
        // Though the store may have it by now: whether it was revoked nobody knows yet.
        guard known.isStateKnown else { return refuse(.storeUnavailable) }
        let id = OpaqueTokens.identifier(of: text.span)
        let now = worker.loop.wallNow
        if let known = oauth1Token ?? worker.storedTokens.lookup(id, at: now), known.id == id {
            return try judgeOAuth1(claim, known)
        }
        guard !hasAskedForToken else { return try judgeOAuth1(claim, nil) }
        hasAskedForToken = true
        require(.token(id: id, now: now)) { exchange, token in
            if let token {
                if token.kind == .oauth1Access { exchange.worker.storedTokens.insert(token) }
                exchange.oauth1Token = token
            }
            // The verifier has read other requests meanwhile.
            exchange.authenticateWithBody()
        }
    }

    private func judgeOAuth1(_ claim: OAuth1Claim, _ token: StoredToken?) throws(OAuth1Error) {
        oauth1Token = token
        let head = self.head
        let body = heldBody
        do throws(OAuth1Error) {
            try worker.authenticator.oauth1.verify(
                claim, head, from: origin, body: body.span,
                credentials: known.credentials(for: claim, token), now: worker.loop.wallNow)
        } catch {
            if error == .unknownConsumer, !known.isStateKnown {
                // Who the store's clients are nobody knows yet.
                return refuse(.storeUnavailable)
            }
            throw known.exact(error, of: claim)
        }
        // Signature first, nonce last: a forged request must not burn the nonce of an honest one.
        claimNonce(claim)
    }

    private func claimNonce(_ claim: OAuth1Claim) {
        guard let timestamp = claim.timestamp, let nonce = claim.nonce else {
            // PLAINTEXT without them, which the verifier has allowed.
            return provedOAuth1(claim)
        }
        if worker.shared.store.isShared { return claimSharedNonce(claim, timestamp, nonce) }
        let replay = worker.shared.replay.nonces
        let verdict = replay.claim(
            consumer: claim.consumerKey, token: claim.token ?? "", timestamp: timestamp,
            nonce: nonce, now: worker.loop.wallNow)
        switch verdict {
        case .accepted: provedOAuth1(claim)
        case .reused: refuseOAuth1(.nonceReused)
        case .belowFloor: refuseOAuth1(.timestampOutOfWindow)
        case .full, .overShare: refuseUnremembered(claim, verdict)
        case .aboveCeiling(let fingerprint):
            // A client whose clock runs ahead: its nonce is made durable before it is accepted.
            let nonce = FutureNonce(timestamp: timestamp, fingerprint: fingerprint)
            ask(.recordFutureNonce(nonce)) { exchange, result in
                if case .failure = result { return exchange.claimWithoutStore(claim) }
                exchange.claimDurableNonce(claim)
            }
        }
    }

    /// The store remembers it for all gateways.
    private func claimSharedNonce(_ claim: OAuth1Claim, _ timestamp: Int64, _ nonce: String) {
        let now = worker.loop.wallNow
        // Where it may come to our own memory it must know all that passed, also while the store was there.
        var own: ReplayGuard.Verdict?
        if snapshot.configuration.oauth1.onStoreFailure == .local {
            let verdict = worker.shared.replay.nonces.claimDurable(
                consumer: claim.consumerKey, token: claim.token ?? "", timestamp: timestamp,
                nonce: nonce, now: now)
            switch verdict {
            case .reused: return refuseOAuth1(.nonceReused)
            case .belowFloor: return refuseOAuth1(.timestampOutOfWindow)
            // Without room here the store alone can tell.
            case .accepted, .full, .overShare, .aboveCeiling: own = verdict
            }
        }
        // By the rules that have accepted it just now.
        let window = known.oauth1.timestampWindowSeconds
        let fingerprint = NonceIdentifier.make(
            key: worker.shared.nonceKey, consumer: claim.consumerKey, token: claim.token ?? "",
            timestamp: timestamp, nonce: nonce)
        // As long as any gateway could take its timestamp, with clocks a minute apart.
        let id = OneTimeID(
            space: .oauth1Nonce, fingerprint: fingerprint, timestamp: timestamp,
            expiresAt: WallTime(seconds: timestamp + window + 60), windowSeconds: window)
        ask(.recordOnce(id, now: now)) { exchange, result in
            switch result {
            case .success(.accepted): exchange.provedOAuth1(claim)
            case .success(.reused): exchange.refuseOAuth1(.nonceReused)
            case .success(.belowFloor): exchange.refuseOAuth1(.timestampOutOfWindow)
            // Nothing is wrong with the client's clock.
            case .success(.forgotten): exchange.refuse(.storeUnavailable)
            // Nobody knows whether it was used elsewhere: refused, unless the operator has decided otherwise.
            case .failure where own == .accepted: exchange.provedOAuth1(claim)
            case .failure: exchange.refuseUnremembered(claim, own ?? .full)
            }
        }
    }

    /// Whether it is used once more after a crash nobody can know: refused, unless the operator has decided otherwise.
    private func claimWithoutStore(_ claim: OAuth1Claim) {
        guard snapshot.configuration.oauth1.onStoreFailure == .local else {
            return refuse(.storeUnavailable)
        }
        claimDurableNonce(claim)
    }

    /// An answer came from off the loop, to the wait that `ticket` names.
    func resume(_ ticket: UInt64, with resumption: Resumption) {
        guard stage == .suspended(ticket) else { return }
        stage = .idle
        switch resumption {
        case .storeAnswered(let answer):
            let next = whenAnswered
            whenAnswered = nil
            next?(self, answer)
        case .tokenSigned(let token):
            AuthorityEndpoints.answerWithToken(self, token)
        case .keysFetched(let end):
            keySearch.fetchEnded(end)
            proveBearer(bearerToken)
        case .introspected(let outcome):
            introspected(outcome)
        }
        downstream?.resume()
    }

    private func claimDurableNonce(_ claim: OAuth1Claim) {
        guard let timestamp = claim.timestamp, let nonce = claim.nonce else {
            return refuse(.internalError)
        }
        let verdict = worker.shared.replay.nonces.claimDurable(
            consumer: claim.consumerKey, token: claim.token ?? "", timestamp: timestamp,
            nonce: nonce, now: worker.loop.wallNow)
        switch verdict {
        case .accepted: provedOAuth1(claim)
        case .reused: refuseOAuth1(.nonceReused)
        case .belowFloor: refuseOAuth1(.timestampOutOfWindow)
        case .full, .overShare, .aboveCeiling: refuseUnremembered(claim, verdict)
        }
    }

    /// The log says whose signature held: a client that is over its share can be found.
    private func refuseUnremembered(_ claim: OAuth1Claim, _ verdict: ReplayGuard.Verdict) {
        record.client = Array(claim.consumerKey.utf8)
        refuse(Refusal(unremembered: verdict))
    }

    private func provedOAuth1(_ claim: OAuth1Claim) {
        // A reload may have taken the client while the nonce was made durable. The id is the registered one: two
        // spellings of a text that Unicode calls equal must not make two clients.
        guard let client = known.clients[claim.consumerKey], let signer = client.signer else {
            return refuseOAuth1(.unknownConsumer)
        }
        guard let token = oauth1Token else { return proved(signer) }
        if worker.revocations.covers(token) {
            return refuse(Refusal(.tokenRevoked, status: 401, attempted: .oauth1))
        }
        proved(
            .oauth1(
                clientID: signer.clientID, scopes: token.scopes, audiences: token.audiences))
    }

    private func refuseOAuth1(_ error: OAuth1Error) {
        switch purpose {
        case .authentication: break
        case .tokenEndpoint, .introspection, .revocation:
            record.scheme = .oauth1
            return AuthorityEndpoints.refuse(self, error)
        case .oauth1RequestToken, .oauth1AccessToken:
            record.scheme = .oauth1
            return OAuth1Endpoints.refuse(self, error)
        }
        refuse(Refusal(error.reason, status: error.status, attempted: .oauth1))
    }

    // MARK: Proven

    /// One credential holds. Where the route wants all, the others are proven and must name the same client; what the token
    /// grants is what counts.
    private func proved(_ principal: Principal) {
        record.scheme =
            if principal.schemes.contains(.bearer) {
                AccessRecord.Scheme(tokenScheme)
            } else {
                principal.schemes.contains(.oauth1) ? .oauth1 : .certificate
            }
        guard route?.rule.takesTokenAndSignature == true else {
            return provedByRequest(principal)
        }
        guard let token = self.principal?.token else {
            self.principal = principal
            return proveOAuth1()
        }
        // The body may have come long after the token was proven.
        if worker.revocations.covers(token) {
            return refuse(Refusal(.tokenRevoked, status: 401, attempted: .bearer))
        }
        do throws(TokenError) {
            try token.holds(at: worker.loop.wallNow)
        } catch {
            return refuse(Refusal(error.reason, status: 401, attempted: .bearer))
        }
        guard let both = Principal.bearerAndOAuth1(token, clientID: principal.clientID) else {
            return refuse(Refusal(.clientNotAllowed, status: 403))
        }
        provedByRequest(both)
    }

    /// All that the request itself had to carry holds; its connection's certificate may have to stand beside it.
    private func provedByRequest(_ principal: Principal) {
        guard route?.rule.takesCertificateBeside == true else {
            return authorizeAndForward(principal)
        }
        // No challenge asks for a certificate, and another token would not do either: 403, as for a certificate alone.
        guard hasCertificate, let certificate else {
            return refuse(Refusal(missingCredential, status: 403))
        }
        switch known.join(principal, with: certificate) {
        case .principal(let joined): authorizeAndForward(joined)
        case .refused(let reason): refuse(Refusal(reason, status: 403))
        }
    }

    private func authorizeAndForward(_ principal: Principal?) {
        self.principal = principal
        record.authenticationDuration = worker.elapsed(since: startedAt)
        guard purpose == .authentication else {
            guard let principal else { return refuse(.internalError) }
            return meetRates(ofClient: principal.clientID) { $0.clientSigned() }
        }
        guard let route else { return refuse(.internalError) }
        let head = self.head
        switch Permit.decide(
            principal, on: route, method: head.method,
            methodName: head.span(of: head.methodRange), from: clientAddress)
        {
        case .permit(let permit):
            guard let rates = snapshot.rates else { return forward(permit) }
            meetLateRates(rates, permit)
        case .refuse(let refusal): refuse(refusal)
        }
    }

    /// A client has proven itself to an endpoint by its signature.
    private func clientSigned() {
        switch purpose {
        case .authentication: refuse(.internalError)
        case .tokenEndpoint, .introspection, .revocation: AuthorityEndpoints.grant(self)
        case .oauth1RequestToken: OAuth1Endpoints.issueRequestToken(self)
        case .oauth1AccessToken: OAuth1Endpoints.exchangeToken(self)
        }
    }
}

extension OAuth1Error {
    /// The log's word for it.
    var reason: Reason {
        switch self {
        case .malformed, .missingParameter, .tooManyParameters, .unsupportedVersion,
            .timestampInvalid:
            .malformedCredentials
        case .duplicateParameter, .twoLocations: .duplicateCredentials
        case .unsupportedSignatureMethod: .unsupportedSignatureMethod
        case .unknownConsumer: .unknownClient
        case .unknownToken: .unknownToken
        case .badSignature: .badSignature
        case .timestampOutOfWindow: .timestampOutOfWindow
        case .nonceReused: .nonceReused
        case .plaintextNeedsTLS: .plaintextNeedsTLS
        case .plaintextNotAllowed: .unsupportedSignatureMethod
        case .bodyHashMismatch, .bodyHashMissing: .bodyHashMismatch
        }
    }
}

extension TokenError {
    /// The log's word for it.
    var reason: Reason {
        switch self {
        case .malformed, .tooLarge, .missingClaim, .invalidClaim, .criticalHeader,
            .confirmationRequired:
            .malformedCredentials
        case .badAlgorithm: .badAlgorithm
        case .unknownIssuer: .unknownIssuer
        case .unknownKey: .unknownKey
        case .badSignature: .badSignature
        case .expired: .tokenExpired
        case .notYetValid: .tokenNotYetValid
        case .wrongType: .wrongType
        case .wrongAudience: .wrongAudience
        }
    }
}
