import Primitives

/// What was granted: the claims of the token to be (RFC 9068 section 2.2).
public struct TokenGrant: Sendable, Equatable {
    public let issuer: String
    public let clientID: String
    public let audiences: [String]
    public let scopes: [String]
    public let issuedAt: Int64
    public let expiresAt: Int64
    public let tokenID: String
    /// Of the certificate that the token is bound to (RFC 8705 section 3.1).
    public let certificateThumbprint: [UInt8]?

    public init(
        issuer: String, clientID: String, audiences: [String], scopes: [String], issuedAt: Int64,
        expiresAt: Int64, tokenID: String, certificateThumbprint: [UInt8]? = nil
    ) {
        self.issuer = issuer
        self.clientID = clientID
        self.audiences = audiences
        self.scopes = scopes
        self.issuedAt = issuedAt
        self.expiresAt = expiresAt
        self.tokenID = tokenID
        self.certificateThumbprint = certificateThumbprint
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
        if let certificateThumbprint {
            json.append(#","cnf":{"x5t#S256":"#)
            JSONText.appendString(Base64.encode(certificateThumbprint, .url), to: &json)
            json.append("}")
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
