import Cryptography
import HTTP
import OAuth
import Primitives
import Store
import Telemetry

/// What the gateway itself answers where the authority is on (RFC 6749, RFC 7517, RFC 8414).
enum AuthorityEndpoints {
    enum Endpoint {
        case token
        case introspection
        case revocation
        case oauth1RequestToken
        case oauth1AccessToken
        case metadata
        case jwks
        /// What the gateway protects.
        case resource([UInt8])
        /// A path that a later version serves: never forwarded, since nobody guards it there.
        case reserved
    }

    private static let paths: [[UInt8]: Endpoint] = {
        let known: [(String, Endpoint)] = [
            ("/oauth2/token", .token), ("/oauth2/introspect", .introspection),
            ("/oauth2/revoke", .revocation), ("/oauth1/request_token", .oauth1RequestToken),
            ("/oauth1/access_token", .oauth1AccessToken), ("/.well-known/jwks.json", .jwks),
            ("/.well-known/oauth-protected-resource", .reserved),
            ("/.well-known/oauth-authorization-server", .reserved),
        ]
        return Dictionary(uniqueKeysWithValues: known.map { (Array($0.0.utf8), $0.1) })
    }()

    /// What answers at a canonical path; `nil` where the routes do.
    static func find(_ path: [UInt8], _ authority: AuthoritySnapshot) -> Endpoint? {
        // Everything here begins with /o or /. : two bytes tell almost every other request apart.
        guard path.count > 2, path[1] == 0x6F || path[1] == 0x2E else { return nil }
        if path == authority.metadataPath { return .metadata }
        if let document = authority.resources[path] { return .resource(document) }
        return paths[path]
    }

    /// Answers the request if its path is one of the authority's.
    static func takes(_ exchange: Exchange, _ authority: AuthoritySnapshot) -> Bool {
        guard let endpoint = find(exchange.canonicalPath, authority) else { return false }
        switch endpoint {
        case .token: takeForm(exchange, .tokenEndpoint, "POST")
        case .introspection: takeForm(exchange, .introspection, "POST")
        case .revocation: takeForm(exchange, .revocation, "POST")
        // Some clients ask by GET (interface.md section 3).
        case .oauth1RequestToken: takeForm(exchange, .oauth1RequestToken, "GET, POST")
        case .oauth1AccessToken: takeForm(exchange, .oauth1AccessToken, "GET, POST")
        case .metadata: answerDocument(exchange, authority.metadata)
        case .jwks: answerKeys(exchange, authority)
        case .resource(let document): answerDocument(exchange, document)
        case .reserved: exchange.refuse(.noRoute)
        }
        return true
    }

    private static func takeForm(
        _ exchange: Exchange, _ purpose: Exchange.Purpose, _ methods: String
    ) {
        let method = exchange.head.method
        guard method == .post || (method == .get && methods.hasPrefix("GET")) else {
            return refuseMethod(exchange, allow: methods)
        }
        exchange.hold(for: purpose, limitBytes: FormParameters.byteLimit)
    }

    private static func answerDocument(
        _ exchange: Exchange, _ document: [UInt8], seconds: Int64 = 300
    ) {
        guard exchange.head.method == .get || exchange.head.method == .head else {
            return refuseMethod(exchange, allow: "GET, HEAD")
        }
        let fields = Array("Cache-Control: public, max-age=\(seconds)\r\n".utf8)
        exchange.answer(
            status: 200, contentType: "application/json", body: document, fields: fields)
    }

    /// An empty set would be believed: whoever fetches it would throw good keys away.
    private static func answerKeys(_ exchange: Exchange, _ authority: AuthoritySnapshot) {
        guard exchange.snapshot.isStateKnown, !authority.keys.isEmpty else {
            return exchange.refuse(.storeUnavailable)
        }
        answerDocument(exchange, authority.jwks, seconds: authority.jwksSeconds)
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
            try prove(request.credentials, exchange) { exchange, client in
                issue(exchange, to: client)
            }
        } catch {
            refuse(exchange, error)
        }
    }

    /// Proves a client by what it presents, and goes on under its limits: at once, or when the store has remembered that its
    /// assertion was used.
    static func prove(
        _ credentials: ClientCredentials, _ exchange: Exchange,
        _ next: @escaping (Exchange, RegisteredClient) -> Void
    ) throws(TokenRequestError) {
        let snapshot = exchange.snapshot
        let now = exchange.worker.loop.wallNow
        let proven: ProvenClient
        do throws(TokenRequestError) {
            proven = try TokenEndpoint.authenticate(
                credentials, certificate: exchange.certificate,
                assertions: snapshot.authority?.assertions, now: now
            ) { id in snapshot.clients[id]?.registered }
        } catch {
            // While the store has not been read, nobody can know who its clients are.
            if error == .invalidClient(.unknownClient), !snapshot.isStateKnown {
                return exchange.refuse(.storeUnavailable)
            }
            throw error
        }
        // Before its limits: who sends an assertion of somebody else's again must not draw on that client's budget.
        try useUp(proven, exchange) { exchange, client in
            exchange.meetRates(ofClient: client.id) { next($0, client) }
        }
    }

    private static func useUp(
        _ proven: ProvenClient, _ exchange: Exchange,
        _ next: @escaping (Exchange, RegisteredClient) -> Void
    ) throws(TokenRequestError) {
        guard let assertion = proven.assertion else { return next(exchange, proven.client) }
        let now = exchange.worker.loop.wallNow
        // The client is proven first: a stranger makes nobody check a signature by a key of the stranger's own. The assertion
        // is used up last: a proof that has to come again with a nonce comes with the same.
        if exchange.purpose == .tokenEndpoint {
            exchange.proof = try exchange.proofOfTokenRequest()
            try demandProof(exchange, of: proven.client)
        }
        let name = Array(assertion.clientID.utf8) + [0] + Array(assertion.tokenID.utf8)
        let id = OneTimeID(
            space: .clientAssertion, fingerprint: Digest.hash(name.span, .sha256),
            timestamp: assertion.issuedAt, expiresAt: WallTime(seconds: assertion.expiresAt + 60))
        exchange.require(.recordOnce(id, now: now)) { exchange, verdict in
            switch verdict {
            case .accepted: next(exchange, proven.client)
            case .reused, .belowFloor: refuse(exchange, .invalidClient(.assertionReused))
            case .forgotten: exchange.refuse(.storeUnavailable)
            }
        }
    }

    /// An OAuth 1.0 signature has proven the client.
    static func grant(_ exchange: Exchange) {
        do throws(TokenRequestError) {
            guard let request = exchange.tokenRequest, let principal = exchange.principal else {
                throw .invalidClient(.noCredentials)
            }
            let client = exchange.snapshot.clients[principal.clientID]?.registered
            issue(exchange, to: try TokenEndpoint.accept(oauth1Client: client, request))
        } catch {
            refuse(exchange, error)
        }
    }

    /// The client is proven: binds its token to the key of a proof, where there is one.
    private static func issue(_ exchange: Exchange, to client: RegisteredClient) {
        exchange.record.client = Array(client.id.utf8)
        do throws(TokenRequestError) {
            if exchange.proof == nil { exchange.proof = try exchange.proofOfTokenRequest() }
            try demandProof(exchange, of: client)
        } catch {
            return refuse(exchange, error)
        }
        guard let proof = exchange.proof else { return grant(exchange, to: client) }
        exchange.use(proof, of: "authority \(client.id)") { exchange in
            grant(exchange, to: client)
        }
    }

    /// A client that is registered for tokens bound to a key gets no others (RFC 9449 section 5.2).
    private static func demandProof(
        _ exchange: Exchange, of client: RegisteredClient
    ) throws(TokenRequestError) {
        guard exchange.proof != nil || !client.requiresProof else { throw .invalidProof(.missing) }
    }

    private static func grant(_ exchange: Exchange, to client: RegisteredClient) {
        guard let request = exchange.tokenRequest, let authority = exchange.snapshot.authority,
            let random = try? RandomBytes.make(count: 16)
        else { return exchange.refuse(.internalError) }
        let grant: TokenGrant
        do throws(TokenRequestError) {
            grant = try TokenEndpoint.grant(
                request, to: client, under: authority.policy, now: exchange.worker.loop.wallNow,
                tokenID: Base64.encode(random, .url), certificate: exchange.certificate,
                keyThumbprint: exchange.proof?.keyThumbprint)
        } catch {
            return refuse(exchange, error)
        }
        exchange.tokenGrant = grant
        switch authority.configuration.tokenFormat {
        case .jwt: sign(grant, exchange, authority)
        case .opaque: store(grant, exchange)
        }
    }

    private static func store(_ grant: TokenGrant, _ exchange: Exchange) {
        guard let text = try? exchange.worker.shared.tokens.make(.access) else {
            return exchange.refuse(.internalError)
        }
        let bytes = Array(text.utf8)
        exchange.require(.addToken(StoredToken(grant, text: bytes))) { exchange, _ in
            answerWithToken(exchange, bytes)
        }
    }

    private static func sign(
        _ grant: TokenGrant, _ exchange: Exchange, _ authority: AuthoritySnapshot
    ) {
        guard let key = authority.signingKey(at: exchange.worker.loop.wallNow) else {
            return exchange.refuse(.storeUnavailable)
        }
        switch key.algorithm {
        case .es256, .edDSA:
            answerWithToken(exchange, try? JWTSigner.sign(claims: grant.claims, with: key))
        default:
            let ticket = exchange.worker.waiting.add(exchange)
            exchange.stage = .suspended(ticket)
            let shared = exchange.worker.shared
            let index = exchange.worker.index
            let isTaken = shared.signing.sign(claims: grant.claims, with: key) { token in
                shared.post(.resume(ticket: ticket, .tokenSigned(token)), to: index)
            }
            guard !isTaken else { return }
            exchange.stage = .idle
            // Nothing is wrong but the load: it may come again.
            var refusal = Refusal(.internalError, status: 503)
            refusal.retryAfterSeconds = 1
            exchange.refuse(refusal)
        }
    }

    static func answerWithToken(_ exchange: Exchange, _ token: [UInt8]?) {
        guard let token, let grant = exchange.tokenGrant else {
            return exchange.refuse(.internalError)
        }
        var fields = noStore
        ReplyWriter.appendNonce(exchange.freshNonce, to: &fields)
        exchange.answer(
            status: 200, contentType: "application/json", body: grant.reply(token: token),
            fields: fields)
    }

    /// An OAuth 1.0 signature did not hold: client authentication has failed, whatever it was.
    static func refuse(_ exchange: Exchange, _ error: OAuth1Error) {
        refuse(exchange, .invalidClient(.malformedCredentials), error.reason, scheme: "OAuth")
    }

    static func refuse(_ exchange: Exchange, _ error: TokenRequestError) {
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
        ReplyWriter.appendNonce(exchange.freshNonce, to: &fields)
        exchange.answer(
            status: error.status, contentType: "application/json", body: error.body,
            fields: fields)
    }

    static var noStore: [UInt8] {
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
        case .invalidProof(let error): error.reason
        case .unsupportedTokenType: .invalidGrantRequest
        }
    }
}
