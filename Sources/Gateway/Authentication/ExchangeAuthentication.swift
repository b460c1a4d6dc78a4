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
        let hasCertificate = downstream?.tls?.certificate?.isVerified == true
        switch CredentialPlan(
            route.authentication, credentials, hasCertificate: hasCertificate)
        {
        case .open: authorizeAndForward(nil)
        case .searchForm: findInBody()
        case .bearer(let token), .both(let token): proveBearer(token)
        case .oauth1: proveOAuth1()
        case .certificate: proveCertificate()
        case .refuse(let reason): refuse(CredentialPlan.refusal(reason, on: route))
        }
    }

    /// No credential in the head: OAuth 1.0 parameters may stand in a form body (RFC 5849 section 3.5.2).
    private func findInBody() {
        guard let route else { return refuse(.internalError) }
        guard route.authentication.takesOAuth1, worker.authenticator.oauth1.mayCarryInBody(head)
        else {
            return refuse(CredentialPlan.refusal(.noCredentials, on: route))
        }
        hold(for: .authentication, limitBytes: snapshot.oauth1.heldBodyBytes)
    }

    // MARK: Certificate

    /// The client whose name stands in the certificate; two whom it could mean are nobody.
    private func proveCertificate() {
        guard let certificate else { return refuse(.internalError) }
        let named = snapshot.certificateClients.filter {
            $0.certificate?.holds(for: certificate) == true
        }
        guard let client = named.first, named.count == 1 else {
            return refuse(
                Refusal(.unknownClient, status: route?.accepted == .certificate ? 403 : nil))
        }
        proved(
            .certificate(clientID: client.id, scopes: client.scopes, audiences: client.audiences))
    }

    // MARK: Bearer

    private func proveBearer(_ token: Range<Int>) {
        let head = self.head
        do throws(TokenError) {
            let verified = try worker.authenticator.verify(
                head.span(token), now: worker.loop.wallNow)
            // Bound to a key: good with a proof alone, never as a bearer token (RFC 9449 section 7.1).
            guard verified.keyThumbprint == nil else {
                return refuse(Refusal(.proofMismatch, status: 401, attempted: .bearer))
            }
            // Bound to a certificate: whoever has only stolen the token cannot use it (RFC 8705 section 3).
            if let thumbprint = verified.certificateThumbprint,
                downstream?.tls?.certificate?.thumbprint != thumbprint
            {
                return refuse(Refusal(.proofMismatch, status: 401, attempted: .bearer))
            }
            proved(.bearer(verified))
        } catch {
            refuse(Refusal(error.reason, status: 401, attempted: .bearer))
        }
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
            return refuse(.noCredentials)
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
        let credentials = snapshot.credentials(for: claim)
        let head = self.head
        let body = heldBody
        do throws(OAuth1Error) {
            try worker.authenticator.oauth1.verify(
                claim, head, from: origin, body: body.span, credentials: credentials,
                now: worker.loop.wallNow)
        } catch {
            throw snapshot.exact(error, of: claim)
        }
        // Signature first, nonce last: a forged request must not burn the nonce of an honest one.
        claimNonce(claim)
    }

    private func claimNonce(_ claim: OAuth1Claim) {
        guard let timestamp = claim.timestamp, let nonce = claim.nonce else {
            // PLAINTEXT without them, which the verifier has allowed.
            return provedOAuth1(claim)
        }
        let replay = worker.authenticator.replay
        let verdict = replay.claim(
            consumer: claim.consumerKey, token: claim.token ?? "", timestamp: timestamp,
            nonce: nonce, now: worker.loop.wallNow)
        switch verdict {
        case .accepted: provedOAuth1(claim)
        case .reused: refuseOAuth1(.nonceReused)
        case .belowFloor: refuseOAuth1(.timestampOutOfWindow)
        case .full: refuse(.storeUnavailable)
        case .aboveCeiling(let fingerprint):
            // A client whose clock runs ahead: its nonce is made durable before it is accepted.
            let ticket = worker.suspend(self)
            stage = .suspended(ticket)
            let shared = worker.shared
            let index = worker.index
            shared.store.recordFutureNonce(
                FutureNonce(timestamp: timestamp, fingerprint: fingerprint)
            ) { result in
                let isRecorded = if case .success = result { true } else { false }
                shared.post(.resume(ticket: ticket, .nonceRecorded(isRecorded)), to: index)
            }
        }
    }

    /// An answer came from off the loop, to the wait that `ticket` names.
    func resume(_ ticket: UInt64, with resumption: Resumption) {
        guard stage == .suspended(ticket) else { return }
        stage = .idle
        switch resumption {
        case .nonceRecorded(let isRecorded):
            guard isRecorded, let claim = oauth1Claim else { return refuse(.storeUnavailable) }
            claimDurableNonce(claim)
        case .tokenSigned(let token):
            AuthorityEndpoints.answerWithToken(self, token)
        }
        downstream?.resume()
    }

    private func claimDurableNonce(_ claim: OAuth1Claim) {
        guard let timestamp = claim.timestamp, let nonce = claim.nonce else {
            return refuse(.internalError)
        }
        let verdict = worker.authenticator.replay.claimDurable(
            consumer: claim.consumerKey, token: claim.token ?? "", timestamp: timestamp,
            nonce: nonce, now: worker.loop.wallNow)
        switch verdict {
        case .accepted: provedOAuth1(claim)
        case .reused: refuseOAuth1(.nonceReused)
        case .belowFloor: refuseOAuth1(.timestampOutOfWindow)
        case .full, .aboveCeiling: refuse(.storeUnavailable)
        }
    }

    private func provedOAuth1(_ claim: OAuth1Claim) {
        let client = snapshot.clients[claim.consumerKey]?.registered
        // A reload may have taken the client while the nonce was made durable. The id is the registered one: two
        // spellings of a text that Unicode calls equal must not make two clients.
        guard let client else { return refuseOAuth1(.unknownConsumer) }
        proved(.oauth1(clientID: client.id, scopes: client.scopes, audiences: client.audiences))
    }

    private func refuseOAuth1(_ error: OAuth1Error) {
        if purpose == .tokenEndpoint {
            record.scheme = .oauth1
            return AuthorityEndpoints.refuse(self, error)
        }
        refuse(Refusal(error.reason, status: error.status, attempted: .oauth1))
    }

    // MARK: Proven

    /// One credential holds. Where the route wants both, the other is proven and must name the same client; what the
    /// token grants is what counts.
    private func proved(_ principal: Principal) {
        record.scheme =
            if principal.schemes.contains(.bearer) {
                .bearer
            } else {
                principal.schemes.contains(.oauth1) ? .oauth1 : .certificate
            }
        if case .all(let kinds)? = route?.authentication, kinds.count > 1 {
            guard let token = self.principal?.token else {
                self.principal = principal
                return proveOAuth1()
            }
            guard
                let both = Principal.bearerAndOAuth1(token, clientID: principal.clientID)
            else { return refuse(Refusal(.clientNotAllowed, status: 403)) }
            return authorizeAndForward(both)
        }
        authorizeAndForward(principal)
    }

    private func authorizeAndForward(_ principal: Principal?) {
        self.principal = principal
        record.authenticationDuration = worker.elapsed(since: startedAt)
        if purpose == .tokenEndpoint { return AuthorityEndpoints.grant(self) }
        guard let route else { return refuse(.internalError) }
        let head = self.head
        switch Permit.decide(
            principal, on: route, method: head.method,
            methodName: head.span(of: head.methodRange), from: clientAddress)
        {
        case .permit(let permit): forward(permit)
        case .refuse(let refusal): refuse(refusal)
        }
    }
}

extension GatewaySnapshot {
    /// No access token exists in this version: only the consumer's own secret signs.
    func credentials(for claim: OAuth1Claim) -> OAuth1Credentials? {
        claim.token == nil ? clients[claim.consumerKey]?.oauth1 : nil
    }

    /// To the client both read the same; the log tells which of consumer and token is not known.
    func exact(_ error: OAuth1Error, of claim: OAuth1Claim) -> OAuth1Error {
        error == .unknownConsumer && clients[claim.consumerKey]?.oauth1 != nil
            ? .unknownToken : error
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
