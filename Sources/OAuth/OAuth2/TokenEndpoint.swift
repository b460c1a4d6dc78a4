import Primitives

/// The rules of `POST /oauth2/token` for client credentials (RFC 6749 section 4.4), as functions over values.
public enum TokenEndpoint {
    /// Proves the client by the secret or assertion it presented, or by the certificate on its connection.
    ///
    /// An unknown client costs what a wrong secret costs, and both read the same outside.
    ///
    /// - Parameter assertions: what assertions are held to; `nil`: none is taken. Who takes them records each before it
    ///   grants anything.
    public static func authenticate(
        _ request: TokenRequest, certificate: ClientCertificate? = nil,
        assertions: ClientAssertion.Policy? = nil, now: WallTime,
        lookup: (String) -> RegisteredClient?
    ) throws(TokenRequestError) -> ProvenClient {
        try authenticate(
            request.credentials, certificate: certificate, assertions: assertions, now: now,
            lookup: lookup)
    }

    /// Proves the client of a request to any endpoint of the authority.
    public static func authenticate(
        _ credentials: ClientCredentials, certificate: ClientCertificate? = nil,
        assertions: ClientAssertion.Policy? = nil, now: WallTime,
        lookup: (String) -> RegisteredClient?
    ) throws(TokenRequestError) -> ProvenClient {
        switch credentials.client {
        case .basic(let readings):
            let client = try prove(readings, by: .basic, lookup)
            return ProvenClient(client: try check(client, isNamedBy: credentials))
        case .post(let reading):
            return ProvenClient(client: try prove([reading], by: .post, lookup))
        case .assertion(let text):
            guard let assertions else { throw .invalidClient(.unsupportedMethod) }
            let bytes = text.exposed
            let proven = try ClientAssertion.verify(
                bytes.span, now: now, policy: assertions, lookup: lookup)
            _ = try check(proven.client, isNamedBy: credentials)
            return proven
        case .none:
            // Without a secret, `client_id` says whose the certificate should be (RFC 8705 section 2).
            guard let certificate, let id = credentials.namedClientID else {
                throw .invalidClient(.noCredentials)
            }
            return ProvenClient(client: try prove(id, by: certificate, lookup))
        case .oauth1:
            throw .invalidClient(.noCredentials)
        }
    }

    private static func prove(
        _ id: String, by certificate: ClientCertificate, _ lookup: (String) -> RegisteredClient?
    ) throws(TokenRequestError) -> RegisteredClient {
        guard let client = lookup(id), client.id.hasBytes(of: id) else {
            throw .invalidClient(.unknownClient)
        }
        guard client.authMethod == .tls, let rule = client.certificate else {
            throw .invalidClient(.methodNotAllowed)
        }
        guard rule.holds(for: certificate) else { throw .invalidClient(.wrongCertificate) }
        return client
    }

    /// The client that an OAuth 1.0 signature has proven.
    public static func accept(
        oauth1Client client: RegisteredClient?, _ request: TokenRequest
    ) throws(TokenRequestError) -> RegisteredClient {
        guard let client else { throw .invalidClient(.unknownClient) }
        // Who is known by a certificate gets tokens that are bound to it, and who has a key is to prove itself by that: a
        // shared secret alone must not get one.
        guard client.authMethod != .tls, client.authMethod != .privateKeyJWT else {
            throw .invalidClient(.methodNotAllowed)
        }
        return try check(client, isNamedBy: request.credentials)
    }

    private static func prove(
        _ readings: [PresentedClient.IDAndSecret], by method: RegisteredClient.AuthMethod,
        _ lookup: (String) -> RegisteredClient?
    ) throws(TokenRequestError) -> RegisteredClient {
        var cause = TokenRequestError.Cause.unknownClient
        var proven: RegisteredClient?
        for reading in readings {
            let found = lookup(reading.id)
            let client = found.flatMap { $0.id.hasBytes(of: reading.id) ? $0 : nil }
            let isProven = (client ?? .stranger).accepts(reading.secret)
            guard let client, !client.secrets.isEmpty else { continue }
            if isProven {
                proven = proven ?? client
            } else {
                cause = .wrongSecret
            }
        }
        guard let proven else { throw .invalidClient(cause) }
        guard proven.authMethod == nil || proven.authMethod == method else {
            throw .invalidClient(.methodNotAllowed)
        }
        return proven
    }

    private static func check(
        _ client: RegisteredClient, isNamedBy credentials: ClientCredentials
    ) throws(TokenRequestError) -> RegisteredClient {
        if let named = credentials.namedClientID, !named.hasBytes(of: client.id) {
            throw .invalidRequest("client_id names another client.")
        }
        return client
    }

    /// Decides what a proven client is granted.
    ///
    /// - Parameters:
    ///   - tokenID: random; becomes `jti`.
    ///   - certificate: on the client's connection: a client that is known by its certificate gets tokens that are good
    ///     with it alone, and none without one.
    ///   - keyThumbprint: of the key that a DPoP proof has shown: the token is good with it alone (RFC 9449 section 5).
    public static func grant(
        _ request: TokenRequest, to client: RegisteredClient, under policy: AuthorityPolicy,
        now: WallTime, tokenID: String, certificate: ClientCertificate? = nil,
        keyThumbprint: [UInt8]? = nil
    ) throws(TokenRequestError) -> TokenGrant {
        guard let grantType = request.grantType else {
            throw .invalidRequest("grant_type is missing.")
        }
        guard grantType == "client_credentials" else { throw .unsupportedGrantType }
        // One that is known by its certificate gets nothing that is good without: it may have ended since it proved the client.
        if client.authMethod == .tls, certificate == nil { throw .invalidClient(.wrongCertificate) }
        let scopes = try scopes(request.scope, client, policy)
        let audiences = try audiences(request.targets, client, policy)
        return TokenGrant(
            issuer: policy.issuer, clientID: client.id, audiences: audiences, scopes: scopes,
            issuedAt: now.seconds, expiresAt: now.seconds + policy.tokenLifetimeSeconds,
            tokenID: tokenID,
            certificateThumbprint: client.authMethod == .tls ? certificate?.thumbprint : nil,
            keyThumbprint: keyThumbprint)
    }

    /// Without a scope asked for: all of the client's (RFC 6749 section 3.3). A scope that is not the client's is refused
    /// rather than dropped, so that no caller finds out later.
    private static func scopes(
        _ asked: String?, _ client: RegisteredClient, _ policy: AuthorityPolicy
    ) throws(TokenRequestError) -> [String] {
        let allowed = policy.scopes(of: client)
        guard let asked else { return allowed }
        var granted: [String] = []
        for token in asked.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        {
            guard isScopeToken(token), allowed.contains(token) else { throw .invalidScope }
            if !granted.contains(token) { granted.append(token) }
        }
        return granted
    }

    /// 1*( %x21 / %x23-5B / %x5D-7E )
    private static func isScopeToken(_ token: String) -> Bool {
        !token.isEmpty
            && token.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C }
    }

    /// Without a target named: all of the client's audiences. One that is not the client's is refused (RFC 8707
    /// section 2).
    private static func audiences(
        _ asked: [String], _ client: RegisteredClient, _ policy: AuthorityPolicy
    ) throws(TokenRequestError) -> [String] {
        let allowed = policy.audiences(of: client)
        guard !asked.isEmpty else { return allowed }
        var granted: [String] = []
        for target in asked {
            guard let known = allowed.first(where: { $0.hasBytes(of: target) }) else {
                throw .invalidTarget
            }
            if !granted.contains(known) { granted.append(known) }
        }
        return granted
    }
}
