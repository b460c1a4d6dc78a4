import Configuration
import OAuth
import Primitives
import Telemetry

/// What the gateway itself answers, told. No token is made.
extension Explainer {
    mutating func decide(
        on endpoint: AuthorityEndpoints.Endpoint, _ authority: AuthoritySnapshot
    ) throws(ExplainedRefusal) {
        switch endpoint {
        case .token:
            say(.routing, "the gateway itself answers here: the token endpoint")
            try takeMethod(head.method == .post, "POST")
            try decideTokenRequest(authority)
        case .metadata:
            say(.routing, "the gateway itself answers here: the authorization server's metadata")
            try takeMethod(head.method == .get || head.method == .head, "GET and HEAD")
        case .resource:
            say(.routing, "the gateway itself answers here: what it protects")
            try takeMethod(head.method == .get || head.method == .head, "GET and HEAD")
        case .jwks:
            say(.routing, "the gateway itself answers here: the public keys")
            try takeMethod(head.method == .get || head.method == .head, "GET and HEAD")
        case .introspection, .revocation:
            say(.routing, "the gateway itself answers here, about tokens; it is not asked")
            try takeMethod(head.method == .post, "POST")
        case .oauth1RequestToken, .oauth1AccessToken:
            say(.routing, "the gateway itself answers here: credentials of OAuth 1.0")
            try takeMethod(head.method == .post || head.method == .get, "GET and POST")
            let body = try heldBody(limitBytes: FormParameters.byteLimit)
            let isExchange = if case .oauth1AccessToken = endpoint { true } else { false }
            let signer = try proveOAuth1(body: body, kind: isExchange ? .oauth1Request : nil)
            tellLateRates(ofClient: signer.clientID)
        case .reserved:
            say(.routing, "an endpoint that is not in this version")
            throw ExplainedRefusal(.noRoute)
        }
    }

    private mutating func takeMethod(
        _ isTaken: Bool, _ methods: String
    ) throws(ExplainedRefusal) {
        guard !isTaken else { return }
        say(.routing, "it takes \(methods) only")
        throw ExplainedRefusal(.methodNotAllowed)
    }

    private mutating func decideTokenRequest(
        _ authority: AuthoritySnapshot
    ) throws(ExplainedRefusal) {
        let body = try heldBody(limitBytes: FormParameters.byteLimit)
        let request: TokenRequest
        let client: RegisteredClient
        do throws(TokenRequestError) {
            request = try TokenRequest(head, body: body.span)
            say(.authentication, "the client presents itself by \(name(request.client))")
        } catch {
            throw refused(error)
        }
        var signer: RegisteredClient?
        if request.client == .oauth1 {
            let principal = try proveSigner(body)
            signer = snapshot.clients[principal.clientID]?.registered
        }
        do throws(TokenRequestError) {
            let snapshot = self.snapshot
            client =
                request.client == .oauth1
                ? try TokenEndpoint.accept(oauth1Client: signer, request)
                : try TokenEndpoint.authenticate(
                    request, certificate: certificate, assertions: authority.assertions, now: now
                ) { snapshot.clients[$0]?.registered }.client
            say(.authentication, "client \(client.id)")
            tellLateRates(ofClient: client.id)
        } catch {
            throw refused(error)
        }
        let proof = try proofOfTokenRequest()
        if proof == nil, client.requiresProof {
            say(.authentication, "the client gets tokens with a DPoP proof alone")
            throw refused(.invalidProof(.missing))
        }
        guard authority.configuration.tokenFormat == .opaque || authority.signingKey(at: now) != nil
        else {
            say(.authorization, "the store holds no key to sign with")
            throw ExplainedRefusal(.storeUnavailable)
        }
        do throws(TokenRequestError) {
            let grant = try TokenEndpoint.grant(
                request, to: client, under: authority.policy, now: now, tokenID: "",
                certificate: certificate,
                keyThumbprint: proof?.keyThumbprint)
            let scopes = grant.scopes.isEmpty ? "none" : grant.scope
            say(
                .authorization,
                "granted: a \(grant.tokenType) token, scopes \(scopes), audiences \(grant.audiences.joined(separator: " ")), "
                    + "for \(grant.expiresAt - grant.issuedAt) s; no token was made")
        } catch {
            throw refused(error)
        }
    }

    /// A signature that does not hold is failed client authentication, whatever it was (RFC 6749 section 5.2).
    private mutating func proveSigner(_ body: [UInt8]) throws(ExplainedRefusal) -> Principal {
        do throws(ExplainedRefusal) {
            return try proveOAuth1(body: body)
        } catch {
            throw ExplainedRefusal(error.refusal.reason, status: 401)
        }
    }

    mutating func refused(_ error: TokenRequestError) -> ExplainedRefusal {
        say(.authentication, "refused: \(error.code): \(error.text)")
        return ExplainedRefusal(error.reason, status: error.status)
    }

    private func name(_ client: PresentedClient) -> String {
        switch client {
        case .basic: "client_secret_basic"
        case .post: "client_secret_post"
        case .assertion: "private_key_jwt"
        case .oauth1: "an OAuth 1.0 signature"
        case .none:
            certificate == nil
                ? "nothing (--certificate FILE shows a certificate)" : "its certificate"
        }
    }
}
