import Cryptography
import HTTP
import OAuth
import Primitives
import Telemetry

/// What the gateway itself answers where the authority is on (RFC 6749, RFC 7517, RFC 8414).
enum AuthorityEndpoints {
    enum Endpoint {
        case token
        case metadata
        case jwks
        /// A path that a later version serves: never forwarded, since nobody guards it there.
        case reserved
    }

    /// What answers at a canonical path; `nil` where the routes do.
    static func find(_ path: [UInt8], _ authority: AuthoritySnapshot) -> Endpoint? {
        // Everything here begins with /o or /. : two bytes tell almost every other request apart.
        guard path.count > 2, path[1] == 0x6F || path[1] == 0x2E else { return nil }
        if path == Array("/oauth2/token".utf8) { return .token }
        if path == Array("/.well-known/jwks.json".utf8) { return .jwks }
        if path == authority.metadataPath { return .metadata }
        let reserved = [
            "/oauth2/introspect", "/oauth2/revoke", "/oauth1/request_token",
            "/oauth1/access_token", "/.well-known/oauth-protected-resource",
            "/.well-known/oauth-authorization-server",
        ]
        return reserved.contains { path == Array($0.utf8) } ? .reserved : nil
    }

    /// Answers the request if its path is one of the authority's.
    static func takes(_ exchange: Exchange, _ authority: AuthoritySnapshot) -> Bool {
        guard let endpoint = find(exchange.canonicalPath, authority) else { return false }
        switch endpoint {
        case .token:
            guard exchange.head.method == .post else {
                refuseMethod(exchange, allow: "POST")
                return true
            }
            exchange.record.route = Array("/oauth2/token".utf8)
            exchange.hold(for: .tokenEndpoint, limitBytes: FormParameters.byteLimit)
        case .metadata:
            answerDocument(exchange, authority.metadata)
        case .jwks:
            answerDocument(exchange, authority.jwks)
        case .reserved:
            exchange.refuse(.noRoute)
        }
        return true
    }

    private static func answerDocument(_ exchange: Exchange, _ document: [UInt8]) {
        guard exchange.head.method == .get || exchange.head.method == .head else {
            return refuseMethod(exchange, allow: "GET, HEAD")
        }
        var fields: [UInt8] = []
        fields.append("Cache-Control: public, max-age=300\r\n")
        exchange.answer(
            status: 200, contentType: "application/json", body: document, fields: fields)
    }

    private static func refuseMethod(_ exchange: Exchange, allow: String) {
        var refusal = Refusal(.methodNotAllowed)
        refusal.allow = Array(allow.utf8)
        exchange.refuse(refusal)
    }

    // MARK: The token endpoint

    /// The form is whole: proves the client, at once by a secret or by way of OAuth 1.0.
    static func answerTokenRequest(_ exchange: Exchange) {
        do throws(TokenRequestError) {
            let request = try TokenRequest(exchange.head, body: exchange.heldBody.span)
            exchange.tokenRequest = request
            if request.client == .oauth1 {
                // Comes back through `grant` once the signature and the nonce hold.
                return exchange.authenticateWithBody()
            }
            let snapshot = exchange.snapshot
            let proven = try TokenEndpoint.authenticate(
                request, certificate: exchange.certificate, now: exchange.worker.loop.wallNow
            ) { id in snapshot.clients[id]?.registered }
            try issue(exchange, to: proven.client)
        } catch {
            refuse(exchange, error)
        }
    }

    /// An OAuth 1.0 signature has proven the client.
    static func grant(_ exchange: Exchange) {
        do throws(TokenRequestError) {
            guard let request = exchange.tokenRequest, let principal = exchange.principal else {
                throw .invalidClient(.noCredentials)
            }
            let client = exchange.snapshot.clients[principal.clientID]?.registered
            try issue(exchange, to: TokenEndpoint.accept(oauth1Client: client, request))
        } catch {
            refuse(exchange, error)
        }
    }

    private static func issue(
        _ exchange: Exchange, to client: RegisteredClient
    ) throws(TokenRequestError) {
        guard let request = exchange.tokenRequest, let authority = exchange.snapshot.authority,
            let key = authority.signingKey,
            let random = try? RandomBytes.make(count: 16)
        else { return exchange.refuse(.storeUnavailable) }
        let grant = try TokenEndpoint.grant(
            request, to: client, under: authority.policy, now: exchange.worker.loop.wallNow,
            tokenID: Base64.encode(random, .url), certificate: exchange.certificate)
        exchange.tokenGrant = grant
        exchange.record.client = Array(client.id.utf8)
        switch key.algorithm {
        case .es256, .edDSA:
            answerWithToken(exchange, try? JWTSigner.sign(claims: grant.claims, with: key))
        default:
            let ticket = exchange.worker.suspend(exchange)
            exchange.stage = .suspended(ticket)
            let shared = exchange.worker.shared
            let index = exchange.worker.index
            shared.signing.sign(claims: grant.claims, with: key) { token in
                shared.post(.resume(ticket: ticket, .tokenSigned(token)), to: index)
            }
        }
    }

    static func answerWithToken(_ exchange: Exchange, _ token: [UInt8]?) {
        guard let token, let grant = exchange.tokenGrant else {
            return exchange.refuse(.internalError)
        }
        exchange.answer(
            status: 200, contentType: "application/json", body: grant.reply(token: token),
            fields: noStore)
    }

    /// An OAuth 1.0 signature did not hold: client authentication has failed, whatever it was.
    static func refuse(_ exchange: Exchange, _ error: OAuth1Error) {
        refuse(exchange, .invalidClient(.malformedCredentials), error.reason, scheme: "OAuth")
    }

    private static func refuse(_ exchange: Exchange, _ error: TokenRequestError) {
        refuse(exchange, error, error.reason, scheme: "Basic")
    }

    /// RFC 6749 section 5.2. The log has the exact reason; the client learns no more than the code.
    private static func refuse(
        _ exchange: Exchange, _ error: TokenRequestError, _ reason: Reason, scheme: StaticString
    ) {
        exchange.record.reason = reason
        var fields = noStore
        if error.status == 401 {
            // The scheme that the client used (RFC 6749 section 5.2); Basic to who used none.
            fields.append("WWW-Authenticate: ")
            fields.append(scheme)
            fields.append(" realm=\"token endpoint\"\r\n")
        }
        exchange.answer(
            status: error.status, contentType: "application/json", body: error.body,
            fields: fields)
    }

    private static var noStore: [UInt8] {
        var fields: [UInt8] = []
        fields.append("Cache-Control: no-store\r\nPragma: no-cache\r\n")
        return fields
    }
}

extension TokenRequestError {
    /// The log's word for it.
    var reason: Reason {
        switch self {
        case .invalidRequest: .invalidGrantRequest
        case .invalidClient(.noCredentials): .noCredentials
        case .invalidClient(.malformedCredentials): .malformedCredentials
        case .invalidClient(.unknownClient): .unknownClient
        case .invalidClient(.wrongSecret): .wrongSecret
        case .invalidClient(.wrongCertificate): .proofMismatch
        case .invalidClient(.badAssertion(let error)): error.reason
        case .invalidClient(.assertionReused): .nonceReused
        case .invalidClient(.methodNotAllowed), .invalidClient(.unsupportedMethod):
            .clientNotAllowed
        case .unsupportedGrantType: .unsupportedGrantType
        case .invalidScope: .invalidScope
        case .invalidTarget: .invalidTarget
        case .invalidProof: .proofMismatch
        case .unsupportedTokenType: .invalidGrantRequest
        }
    }
}
