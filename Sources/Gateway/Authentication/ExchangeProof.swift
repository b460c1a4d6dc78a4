import Configuration
import HTTP
import OAuth
import Primitives
import Store
import Telemetry

/// Proofs of possession (RFC 9449): whoever shows a token that is bound to a key, or asks for one, proves to hold the key.
extension Exchange {
    // MARK: Of a request

    /// The token holds; it is bound to a key, or was shown as if it were.
    func provePossession(of token: VerifiedToken, _ principal: Principal) {
        // Neither a bound token without its proof nor a proof for a token that is anybody's (section 7.1).
        guard let thumbprint = token.keyThumbprint, tokenScheme == .dpop else {
            var refusal = Refusal(.proofMismatch, status: 401, attempted: .bearer)
            refusal.asksForProof = token.keyThumbprint != nil
            return refuse(refusal)
        }
        do throws(DPoPError) {
            let proof = try readProof(
                proofTargets.ofRequest, boundTo: thumbprint, worker.authenticator.proofs)
            // Should it be over its share, the log says who it is.
            record.client = principal.clientBytes
            // Another issuer's client of the same name is somebody else.
            use(proof, of: "\(token.issuerName) \(token.clientID)") { exchange in
                exchange.provedPossession(of: token, principal)
            }
        } catch .wrongKey {
            // It may be a good proof: the token is not its key's.
            refuse(Refusal(.proofMismatch, status: 401, attempted: .bearer))
        } catch {
            refuseProof(error)
        }
    }

    private var proofTargets: ProofTargets {
        let isOurTLS = forwarded == nil && client?.tls != nil
        return ProofTargets(
            head: head, origin: origin, snapshot: snapshot,
            certificates: isOurTLS ? listener.tls : nil)
    }

    // MARK: Of a token request

    /// The proof that comes with a token request, as far as it can be judged by itself; `nil` where there is none, and a
    /// bearer token is asked for.
    func proofOfTokenRequest() throws(TokenRequestError) -> DPoPProof? {
        guard head.value(of: .dpop) != nil else { return nil }
        do throws(DPoPError) {
            return try readProof(
                proofTargets.ofTokenRequest, boundTo: nil, worker.authenticator.proofs)
        } catch {
            tellNonce(after: error)
            throw .invalidProof(error)
        }
    }

    // MARK: Both

    /// Judges the one proof of the request by itself; whether it was used before is not looked at.
    ///
    /// - Parameter thumbprint: of the key that the request's token is bound to; `nil` at the token endpoint.
    private func readProof(
        _ targets: [DPoPTarget], boundTo thumbprint: [UInt8]?, _ policy: DPoPProof.Policy
    ) throws(DPoPError) -> DPoPProof {
        let now = worker.loop.wallNow
        let proof = try DPoPProof.find(
            in: head, targets: targets, accessToken: thumbprint == nil ? nil : bearerToken,
            boundTo: thumbprint, now: now, policy: policy)
        if let nonce = proof.nonce, let current = try? policy.nonces?.current(at: now),
            nonce != current
        {
            // It is about to end: the client learns the next one before it is refused for it.
            freshNonce = Array(current.utf8)
        }
        return proof
    }

    private func tellNonce(after error: DPoPError) {
        guard error == .nonceRequired, let nonces = worker.authenticator.proofs.nonces,
            let nonce = try? nonces.current(at: worker.loop.wallNow)
        else { return }
        freshNonce = Array(nonce.utf8)
    }

    private func refuseProof(_ error: DPoPError) {
        guard purpose == .authentication else {
            return AuthorityEndpoints.refuse(self, .invalidProof(error))
        }
        tellNonce(after: error)
        var refusal = Refusal(error.reason, status: 401, attempted: .bearer)
        refusal.proofError = error
        refuse(refusal)
    }

    // MARK: Once

    /// Lets a proof that holds be used once (section 11.1), and goes on with `next`, at once or when the store has
    /// remembered it.
    ///
    /// Only what is signed comes here: a stranger burns nobody's proof.
    ///
    /// - Parameter client: whose room it takes; not the key's, of which a client may have any number.
    func use(
        _ proof: DPoPProof, of client: String, then next: @escaping (Exchange) -> Void
    ) {
        if worker.shared.store.isShared { return useInStore(proof, client, next) }
        let verdict = worker.shared.replay.proofs.claim(
            consumer: proof.replaySpace, token: proof.replayKey, client: client,
            timestamp: proof.issuedAt, nonce: proof.tokenID, now: worker.loop.wallNow)
        switch verdict {
        case .aboveCeiling(let fingerprint):
            // A client whose clock runs ahead: its proof is made durable before it is accepted.
            let nonce = FutureNonce(timestamp: proof.issuedAt, fingerprint: fingerprint)
            ask(.recordFutureNonce(nonce)) { exchange, result in
                if case .failure = result {
                    return exchange.useWithoutStore(proof, client, next)
                }
                exchange.useHere(proof, client, next)
            }
        default: judge(verdict, proof, next)
        }
    }

    /// The store remembers it for all gateways. Where the gateway may come to its own memory, that must know all that
    /// passed, also while the store was there.
    private func useInStore(
        _ proof: DPoPProof, _ client: String, _ next: @escaping (Exchange) -> Void
    ) {
        guard snapshot.configuration.dpop.onStoreFailure == .local else {
            // Nobody knows whether it was used elsewhere.
            return record(proof, next) { exchange in exchange.refuse(.storeUnavailable) }
        }
        let verdict = claimHere(proof, client)
        switch verdict {
        case .accepted: record(proof, next, whenAway: next)
        case .full, .overShare, .aboveCeiling:
            // The store alone can tell then.
            record(proof, next) { $0.refuse(Refusal(unremembered: verdict)) }
        case .reused, .belowFloor: judge(verdict, proof, next)
        }
    }

    private func record(
        _ proof: DPoPProof, _ next: @escaping (Exchange) -> Void,
        whenAway: @escaping (Exchange) -> Void
    ) {
        let fingerprint = NonceIdentifier.make(
            key: worker.shared.nonceKey, consumer: proof.replaySpace, token: proof.replayKey,
            timestamp: 0, nonce: proof.tokenID)
        let lifetime = worker.authenticator.proofs.ageLimitSeconds
        // As long as any gateway could take it, with clocks a minute apart.
        let id = OneTimeID(
            space: .dpop, fingerprint: fingerprint, timestamp: proof.issuedAt,
            expiresAt: WallTime(seconds: proof.issuedAt + lifetime + 60), windowSeconds: lifetime)
        ask(.recordOnce(id, now: worker.loop.wallNow)) { exchange, result in
            switch result {
            case .success(.accepted): next(exchange)
            case .success(.reused): exchange.refuseProof(.reused)
            case .success(.belowFloor): exchange.refuseProof(.tooOld)
            case .success(.forgotten): exchange.refuse(.storeUnavailable)
            case .failure: whenAway(exchange)
            }
        }
    }

    /// Whether it is used once more after a crash nobody can know: refused, unless the operator has decided otherwise.
    private func useWithoutStore(
        _ proof: DPoPProof, _ client: String, _ next: @escaping (Exchange) -> Void
    ) {
        guard snapshot.configuration.dpop.onStoreFailure == .local else {
            return refuse(.storeUnavailable)
        }
        useHere(proof, client, next)
    }

    private func useHere(_ proof: DPoPProof, _ client: String, _ next: (Exchange) -> Void) {
        judge(claimHere(proof, client), proof, next)
    }

    private func claimHere(_ proof: DPoPProof, _ client: String) -> ReplayGuard.Verdict {
        worker.shared.replay.proofs.claimDurable(
            consumer: proof.replaySpace, token: proof.replayKey, client: client,
            timestamp: proof.issuedAt, nonce: proof.tokenID, now: worker.loop.wallNow)
    }

    private func judge(
        _ verdict: ReplayGuard.Verdict, _ proof: DPoPProof, _ next: (Exchange) -> Void
    ) {
        switch verdict {
        case .accepted: next(self)
        case .reused: refuseProof(.reused)
        case .belowFloor: refuseProof(.tooOld)
        case .full, .overShare, .aboveCeiling: refuse(Refusal(unremembered: verdict))
        }
    }
}

extension DPoPProof {
    /// Finds the one proof of a request and judges it by itself.
    ///
    /// - Parameters:
    ///   - accessToken: where the token lies that comes with it, of the head's bytes.
    ///   - thumbprint: of the key that this token is bound to; `nil` is not looked at.
    static func find(
        in head: RequestHead, targets: [DPoPTarget], accessToken: Range<Int>?,
        boundTo thumbprint: [UInt8]?, now: WallTime, policy: Policy
    ) throws(DPoPError) -> DPoPProof {
        guard let line = head.value(of: .dpop) else { throw .missing }
        guard head.count(of: .dpop) == 1 else { throw .repeated }
        guard let accessToken else {
            return try verify(
                head.span(of: line.value), method: head.span(of: head.methodRange),
                targets: targets, accessToken: nil, now: now, policy: policy)
        }
        return try verify(
            head.span(of: line.value), method: head.span(of: head.methodRange), targets: targets,
            accessToken: head.span(accessToken), boundTo: thumbprint, now: now, policy: policy)
    }

    /// Where it is remembered: no consumer of OAuth 1.0 has a control in its name.
    fileprivate var replaySpace: String { "\u{0}dpop" }
    /// Its name counts among those of its key alone: nobody can use up the names of others.
    fileprivate var replayKey: String { Base64.encode(keyThumbprint, .url) }
}

extension DPoPProof.Policy {
    /// - Parameter nonceKey: what nonces are made by; `nil`: whether there is one is not looked at.
    init(_ configuration: DPoPConfiguration, nonceKey: Secret?) {
        self.init(
            ageLimitSeconds: configuration.proofLifetime.wholeSeconds,
            leadLimitSeconds: configuration.clockSkew.wholeSeconds)
        guard configuration.requiresNonce, let nonceKey else { return }
        nonces = DPoPNonce(
            key: nonceKey, rotationSeconds: configuration.nonceRotation.wholeSeconds)
    }
}

extension Configuration {
    /// Whether a token for the audience is good with a proof alone wherever the gateway takes it.
    func requiresProofs(for audience: String) -> Bool {
        let concerned = (routes + hosts.flatMap(\.routes)).filter { route in
            guard CredentialRule(route.authenticate).kinds.contains(.bearer) else { return false }
            return !route.requirements.contains { requirement in
                if case .audience(let other) = requirement { other != audience } else { false }
            }
        }
        return !concerned.isEmpty && concerned.allSatisfy { $0.requirements.contains(.dpop) }
    }
}

extension AccessRecord.Scheme {
    init(_ scheme: TokenScheme) {
        self = scheme == .bearer ? .bearer : .dpop
    }
}

extension DPoPError {
    /// The log's word for it.
    var reason: Reason {
        switch self {
        case .missing, .repeated, .badKey, .wrongToken: .invalidProof
        case .invalid(.badSignature): .badSignature
        case .invalid(.badAlgorithm): .badAlgorithm
        case .invalid: .invalidProof
        case .wrongMethod, .wrongTarget: .wrongProofTarget
        case .wrongKey: .proofMismatch
        case .tooOld, .fromFuture: .timestampOutOfWindow
        case .nonceRequired: .nonceRequired
        case .reused: .nonceReused
        }
    }
}
