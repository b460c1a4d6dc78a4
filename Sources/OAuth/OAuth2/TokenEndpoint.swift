import Primitives

/// The rules of `POST /oauth2/token` for client credentials (RFC 6749 section 4.4), as functions over values.
public enum TokenEndpoint {
    /// Proves the client by the secret it presented.
    ///
    /// An unknown client costs what a wrong secret costs, and both read the same outside.
    public static func authenticate(
        _ request: TokenRequest, lookup: (String) -> RegisteredClient?
    ) throws(TokenRequestError) -> RegisteredClient {
        switch request.client {
        case .basic(let readings):
            let client = try prove(readings, by: .basic, lookup)
            return try check(client, isNamedBy: request)
        case .post(let reading):
            return try prove([reading], by: .post, lookup)
        case .oauth1, .none:
            throw .invalidClient(.noCredentials)
        }
    }

    /// The client that an OAuth 1.0 signature has proven.
    public static func accept(
        oauth1Client client: RegisteredClient?, _ request: TokenRequest
    ) throws(TokenRequestError) -> RegisteredClient {
        guard let client else { throw .invalidClient(.unknownClient) }
        return try check(client, isNamedBy: request)
    }

    private static func prove(
        _ readings: [PresentedClient.IDAndSecret], by method: RegisteredClient.AuthMethod,
        _ lookup: (String) -> RegisteredClient?
    ) throws(TokenRequestError) -> RegisteredClient {
        var cause = TokenRequestError.Cause.unknownClient
        var proven: RegisteredClient?
        for reading in readings {
            guard let client = lookup(reading.id), !client.secrets.isEmpty else {
                _ = ClientSecret.verify(reading.secret, against: ClientSecret.decoy)
                continue
            }
            if client.accepts(reading.secret) {
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
        _ client: RegisteredClient, isNamedBy request: TokenRequest
    ) throws(TokenRequestError) -> RegisteredClient {
        guard request.namedClientID == nil || request.namedClientID == client.id else {
            throw .invalidRequest("client_id names another client.")
        }
        return client
    }

    /// Decides what a proven client is granted.
    ///
    /// - Parameter tokenID: random; becomes `jti`.
    public static func grant(
        _ request: TokenRequest, to client: RegisteredClient, under policy: AuthorityPolicy,
        now: WallTime, tokenID: String
    ) throws(TokenRequestError) -> TokenGrant {
        guard let grantType = request.grantType else {
            throw .invalidRequest("grant_type is missing.")
        }
        guard grantType == "client_credentials" else { throw .unsupportedGrantType }
        let scopes = try scopes(request.scope, client, policy)
        let audiences = try audiences(request.target, client, policy)
        return TokenGrant(
            issuer: policy.issuer, clientID: client.id, audiences: audiences, scopes: scopes,
            issuedAt: now.seconds, expiresAt: now.seconds + policy.tokenLifetimeSeconds,
            tokenID: tokenID)
    }

    /// Without a scope asked for: all of the client's (RFC 6749 section 3.3). A scope that is not the client's is refused
    /// rather than dropped, so that no caller finds out later.
    private static func scopes(
        _ asked: String?, _ client: RegisteredClient, _ policy: AuthorityPolicy
    ) throws(TokenRequestError) -> [String] {
        let allowed = client.scopes.filter { policy.scopes.isEmpty || policy.scopes.contains($0) }
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

    private static func audiences(
        _ asked: String?, _ client: RegisteredClient, _ policy: AuthorityPolicy
    ) throws(TokenRequestError) -> [String] {
        let allowed = client.audiences.isEmpty ? policy.audiences : client.audiences
        guard let asked else { return allowed }
        guard allowed.contains(asked) else { throw .invalidTarget }
        return [asked]
    }
}

/// What was granted: the claims of the token to be (RFC 9068 section 2.2).
public struct TokenGrant: Sendable, Equatable {
    public let issuer: String
    public let clientID: String
    public let audiences: [String]
    public let scopes: [String]
    public let issuedAt: Int64
    public let expiresAt: Int64
    public let tokenID: String

    public init(
        issuer: String, clientID: String, audiences: [String], scopes: [String], issuedAt: Int64,
        expiresAt: Int64, tokenID: String
    ) {
        self.issuer = issuer
        self.clientID = clientID
        self.audiences = audiences
        self.scopes = scopes
        self.issuedAt = issuedAt
        self.expiresAt = expiresAt
        self.tokenID = tokenID
    }

    public var scope: String { scopes.joined(separator: " ") }

    /// The claims as JSON. The subject is the client: no resource owner is involved.
    public var claims: [UInt8] {
        var json: [UInt8] = []
        json.append(#"{"iss":"#)
        JSONText.appendString(issuer, to: &json)
        json.append(#","sub":"#)
        JSONText.appendString(clientID, to: &json)
        json.append(#","aud":"#)
        if audiences.count == 1 {
            JSONText.appendString(audiences[0], to: &json)
        } else {
            JSONText.appendStrings(audiences, to: &json)
        }
        json.append(#","exp":"#)
        JSONText.appendInteger(Int(expiresAt), to: &json)
        json.append(#","iat":"#)
        JSONText.appendInteger(Int(issuedAt), to: &json)
        json.append(#","jti":"#)
        JSONText.appendString(tokenID, to: &json)
        json.append(#","client_id":"#)
        JSONText.appendString(clientID, to: &json)
        if !scopes.isEmpty {
            json.append(#","scope":"#)
            JSONText.appendString(scope, to: &json)
        }
        json.append("}")
        return json
    }

    /// The answer's body (RFC 6749 section 5.1).
    public func reply(token: [UInt8]) -> [UInt8] {
        var json: [UInt8] = []
        json.append(#"{"access_token":"#)
        JSONText.appendString(token.span, to: &json)
        json.append(#","token_type":"Bearer","expires_in":"#)
        JSONText.appendInteger(Int(expiresAt - issuedAt), to: &json)
        if !scopes.isEmpty {
            json.append(#","scope":"#)
            JSONText.appendString(scope, to: &json)
        }
        json.append("}\n")
        return json
    }
}

extension TokenRequestError {
    /// The answer's body (RFC 6749 section 5.2).
    public var body: [UInt8] {
        var json: [UInt8] = []
        json.append(#"{"error":"#)
        JSONText.appendString(code, to: &json)
        json.append(#","error_description":"#)
        JSONText.appendString(text, to: &json)
        json.append("}\n")
        return json
    }
}
