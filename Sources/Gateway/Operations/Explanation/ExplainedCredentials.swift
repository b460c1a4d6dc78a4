import Configuration
import OAuth
import Primitives
import Store
import Telemetry

/// Authentication and Authorization, told.
extension Explainer {
    mutating func authenticate(_ route: CompiledRoute) throws(ExplainedRefusal) -> Principal {
        let principal = try authenticateRequest(route)
        guard route.rule.takesCertificateBeside else { return principal }
        guard let certificate, certificate.isVerified else {
            say(.authentication, "the certificate that the route wants beside it is missing")
            throw ExplainedRefusal(missingCredential(route), status: 403)
        }
        switch snapshot.join(principal, with: certificate) {
        case .principal(let joined):
            say(.authentication, "the certificate names the same client")
            return joined
        case .refused(let reason):
            say(
                .authentication,
                reason == .unknownClient
                    ? "no client, or more than one, has a name that stands in the certificate"
                    : "the certificate names another client than the request does")
            throw ExplainedRefusal(reason, status: 403)
        }
    }

    /// What the request itself carries, or the certificate where that is enough.
    private mutating func authenticateRequest(
        _ route: CompiledRoute
    ) throws(ExplainedRefusal) -> Principal {
        say(.authentication, "the route takes \(names(route.authentication))")
        if let certificate {
            say(
                .authentication,
                certificate.isVerified
                    ? "the connection shows a certificate, \(certificate.subject); that it leads to client_ca is taken for granted here"
                    : "the connection shows a certificate that nobody vouches for")
        } else if isCertificateOver {
            say(
                .authentication,
                "the connection shows a certificate that has ended: it counts no more, and the connection ends with the answer"
            )
        } else if route.rule.takesCertificate {
            say(.authentication, "no certificate on the connection (--certificate FILE shows one)")
        }
        let found = PresentedCredentials.find(in: head, oauth1)
        say(.authentication, "found: \(name(found))")
        switch CredentialPlan(
            route.rule, found, hasCertificate: certificate?.isVerified == true,
            mayHoldForm: oauth1.mayCarryInBody(head))
        {
        case .open:
            throw ExplainedRefusal(.internalError)
        case .searchForm:
            return try searchForm(route)
        case .bearer(let token):
            return .bearer(try prove(token))
        case .oauth1:
            return try proveOAuth1(body: nil)
        case .certificate:
            return try proveCertificate(route)
        case .both(let range):
            let token = try prove(range)
            let signer = try proveOAuth1(body: nil)
            guard let both = Principal.bearerAndOAuth1(token, clientID: signer.clientID) else {
                say(
                    .authentication,
                    token.isFromOwnAuthority
                        ? "the two credentials name different clients"
                        : "the token is of issuer \(token.issuerName): its clients are none of ours, and who signs is"
                )
                throw ExplainedRefusal(.clientNotAllowed, status: 403)
            }
            return both
        case .refuse(let reason):
            if reason == .noCredentials {
                say(.authentication, "which does not suffice here")
                throw ExplainedRefusal(CredentialPlan.refusal(missingCredential(route), on: route))
            }
            throw ExplainedRefusal(CredentialPlan.refusal(reason, on: route))
        }
    }

    private func missingCredential(_ route: CompiledRoute) -> Reason {
        route.rule.takesCertificate && isCertificateOver
            ? .certificateExpired : .noCredentials
    }

    private mutating func searchForm(_ route: CompiledRoute) throws(ExplainedRefusal) -> Principal {
        guard route.rule.takesOAuth1, oauth1.mayCarryInBody(head) else {
            throw ExplainedRefusal(CredentialPlan.refusal(missingCredential(route), on: route))
        }
        let body = try heldBody(limitBytes: snapshot.oauth1.heldBodyBytes)
        guard oauth1.detects(form: body) else {
            say(.authentication, "nor has the form oauth_signature")
            let rule = route.rule
            if rule.takesCertificate, !rule.takesCertificateBeside,
                certificate?.isVerified == true
            {
                return try proveCertificate(route)
            }
            throw ExplainedRefusal(missingCredential(route))
        }
        say(.authentication, "found: OAuth 1.0 parameters in the form")
        return try proveOAuth1(body: body)
    }

    private mutating func proveCertificate(
        _ route: CompiledRoute
    ) throws(ExplainedRefusal) -> Principal {
        guard let certificate, let principal = snapshot.principal(of: certificate) else {
            say(.authentication, "no client, or more than one, has a name that stands in it")
            throw ExplainedRefusal(
                .unknownClient, status: route.accepted == .certificate ? 403 : nil)
        }
        return principal
    }

    private func names(_ policy: AuthenticationPolicy) -> String {
        switch policy {
        case .open: "anyone"
        case .any(let kinds): kinds.map(\.rawValue).joined(separator: " or ")
        case .all(let kinds): kinds.map(\.rawValue).joined(separator: " and ")
        }
    }

    private func name(_ credentials: PresentedCredentials) -> String {
        switch credentials {
        case .none: "no credential in the head"
        case .bearer(let token): token.scheme == .bearer ? "a bearer token" : "a token with DPoP"
        case .oauth1: "an OAuth 1.0 signature"
        case .both(let token):
            "a \(token.scheme == .bearer ? "bearer token" : "token with DPoP") and an OAuth 1.0 signature"
        case .duplicate: "two credentials of one kind"
        case .malformed(let scheme):
            "an Authorization field that is not `\(scheme == .bearer ? "Bearer" : "DPoP") TOKEN`"
        }
    }

    private mutating func prove(
        _ shown: PresentedToken
    ) throws(ExplainedRefusal) -> VerifiedToken {
        let token = try verify(shown)
        try checkRevocation(facts.revocations.covers(token))
        if snapshot.hasLostClient(of: token) {
            say(.authentication, TokenReport.lostClient)
            throw ExplainedRefusal(.unknownClient, status: 401)
        }
        try provePossession(of: token, shown)
        guard let thumbprint = token.certificateThumbprint else { return token }
        guard thumbprint == certificate?.thumbprint else {
            say(
                .authentication,
                "it is bound to a certificate, which the connection does not show (--certificate FILE shows one)"
            )
            throw ExplainedRefusal(.proofMismatch, status: 401)
        }
        say(.authentication, "it is bound to the certificate that the connection shows")
        return token
    }

    private mutating func checkRevocation(_ isRevoked: Bool) throws(ExplainedRefusal) {
        let lines = TokenReport.revocation(isRevoked, facts)
        if !lines.isEmpty { say(.authentication, lines) }
        if isRevoked { throw ExplainedRefusal(.tokenRevoked, status: 401) }
    }

    /// The token by itself: its signature, or the store's word.
    private mutating func verify(
        _ shown: PresentedToken
    ) throws(ExplainedRefusal) -> VerifiedToken {
        let range = shown.range
        if let authority = snapshot.authority, OpaqueTokens.isLike(.access, head.span(range)) {
            return try verifyOpaque(shown, authority)
        }
        let verifier = TokenVerifier(issuers: snapshot.issuers)
        let explanation = verifier.explain(head.span(range), now: now)
        let undecided: String? =
            if case .failure(let error) = explanation.verdict {
                snapshot.undecided(after: error, by: verifier)
            } else {
                nil
            }
        say(.authentication, TokenReport.lines(explanation, undecided: undecided))
        if let undecided {
            tellProof(beside: shown)
            throw ExplainedRefusal(undecided: undecided)
        }
        switch explanation.verdict {
        case .success(let token): return token
        case .failure(let error): throw ExplainedRefusal(error.reason, status: 401)
        }
    }

    private mutating func verifyOpaque(
        _ shown: PresentedToken, _ authority: AuthoritySnapshot
    ) throws(ExplainedRefusal) -> VerifiedToken {
        let found = facts.find(
            .access, head.span(shown.range), snapshot.configuration, at: now)
        switch found {
        case .token(let stored):
            guard let token = authority.vouched(stored, at: now) else { break }
            say(.authentication, TokenReport.lines(opaque: stored, now: now))
            return token
        case .none: break
        case .undecided(let why):
            tellProof(beside: shown)
            throw ExplainedRefusal(undecided: why)
        }
        say(.authentication, TokenReport.unknownOpaque)
        tellProof(beside: shown)
        throw ExplainedRefusal(.unknownToken, status: 401)
    }

    // MARK: OAuth 1.0

    /// - Parameters:
    ///   - body: what is held already; `nil` where the claim tells whether it must be.
    ///   - kind: of the token that it may be signed with; `nil`: of none.
    mutating func proveOAuth1(
        body held: [UInt8]?, kind: OpaqueTokens.Kind? = .oauth1Access
    ) throws(ExplainedRefusal) -> Principal {
        var body = held
        var claim = try readClaim(body)
        if claim.needsBody {
            body = try heldBody(limitBytes: snapshot.oauth1.heldBodyBytes)
            claim = try readClaim(body)
        }
        let token = try storedToken(of: claim, kind)
        try judge(claim, token, body ?? [])
        guard let signer = snapshot.clients[claim.consumerKey]?.signer else {
            throw refused(.unknownConsumer)
        }
        if claim.nonce != nil {
            say(
                .authentication,
                "the nonce was not looked up: whether it is new only the running gateway knows")
        }
        guard let token else { return signer }
        try checkRevocation(facts.revocations.covers(token))
        return .oauth1(
            clientID: signer.clientID, scopes: token.scopes, audiences: token.audiences)
    }

    /// The token that the request is signed with, as the store has it; `nil`: there is none, or nobody knows it.
    private mutating func storedToken(
        of claim: OAuth1Claim, _ kind: OpaqueTokens.Kind?
    ) throws(ExplainedRefusal) -> StoredToken? {
        guard let text = claim.token.map({ Array($0.utf8) }), let kind,
            OpaqueTokens.isLike(kind, text.span)
        else { return nil }
        switch facts.find(kind, text.span, snapshot.configuration, at: now) {
        case .token(let token):
            say(.authentication, TokenReport.lines(opaque: token, now: now))
            return token
        case .none:
            say(.authentication, TokenReport.unknownOpaque)
            return nil
        case .undecided(let why): throw ExplainedRefusal(undecided: why)
        }
    }

    private mutating func readClaim(_ body: [UInt8]?) throws(ExplainedRefusal) -> OAuth1Claim {
        do throws(OAuth1Error) {
            return try oauth1.prepare(head, body: body?.span)
        } catch {
            throw refused(error)
        }
    }

    private mutating func judge(
        _ claim: OAuth1Claim, _ token: StoredToken?, _ body: [UInt8]
    ) throws(ExplainedRefusal) {
        let credentials = snapshot.credentials(for: claim, token)
        do throws(OAuth1Error) {
            let diagnosis = try OAuth1Diagnosis(
                head, body: body.span, isTLS: origin.isTLS, verifier: oauth1,
                credentials: credentials,
                origins: knownOrigins)
            say(.authentication, SignatureReport.lines(diagnosis, claim, now: now))
            // The diagnosis had the verifier read the request anew; the verdict is the verifier's.
            let claim = try oauth1.prepare(head, body: body.span)
            try oauth1.verify(
                claim, head, from: origin, body: body.span, credentials: credentials, now: now)
        } catch {
            throw refused(snapshot.exact(error, of: claim))
        }
    }

    private mutating func refused(_ error: OAuth1Error) -> ExplainedRefusal {
        say(.authentication, "refused: \(SignatureReport.sentence(error))")
        return ExplainedRefusal(error.reason, status: error.status)
    }

    /// The addresses that clients may know this gateway by: its issuer's and its hosts'.
    private var knownOrigins: [PublicOrigin] {
        var urls = snapshot.configuration.authority.map { [$0.issuer] } ?? []
        for name in snapshot.configuration.hosts.flatMap(\.names) where !name.hasPrefix("*") {
            urls += ["http://\(name)", "https://\(name)"]
        }
        return urls.compactMap(PublicOrigin.init)
    }

    // MARK: Authorization

    mutating func authorize(
        _ principal: Principal?, _ route: CompiledRoute
    ) throws(ExplainedRefusal) {
        if !route.addressRules.permits(address) {
            say(
                .authorization,
                address.map { "the address \($0) is denied" }
                    ?? "the route has allow or deny lines, and the client's address is not known")
        }
        if let principal {
            say(
                .authorization,
                "client \(principal.clientID)\(principal.outsideIssuer.map { " of \($0)" } ?? ""), scopes \(list(principal.scopes)), "
                    + "audiences \(list(principal.audiences))")
            for requirement in route.requirements { say(requirement, principal) }
        }
        let head = self.head
        let decision = Permit.decide(
            principal, on: route, method: head.method,
            methodName: head.span(of: head.methodRange), from: address)
        if case .refuse(let refusal) = decision { throw ExplainedRefusal(refusal) }
        say(.authorization, "all that the route asks for holds")
        tellLateRates(principal, route.index)
    }

    private mutating func say(_ requirement: CompiledRequirement, _ principal: Principal) {
        let head = self.head
        let name = head.span(of: head.methodRange)
        let outcome =
            if !requirement.concerns(head.method, name) {
                "not asked of this method"
            } else if let reason = requirement.failure(principal, head.method, name) {
                "not met (\(reason.rawValue))"
            } else {
                "met"
            }
        say(.authorization, "\(requirement.text): \(outcome)")
    }

    private func list(_ items: [String]) -> String {
        items.isEmpty ? "none" : items.joined(separator: " ")
    }
}
