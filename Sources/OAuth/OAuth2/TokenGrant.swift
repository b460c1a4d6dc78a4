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
    /// Of the key that the token is bound to (RFC 9449 section 6.1).
    public let keyThumbprint: [UInt8]?

    public init(
        issuer: String, clientID: String, audiences: [String], scopes: [String], issuedAt: Int64,
        expiresAt: Int64, tokenID: String, certificateThumbprint: [UInt8]? = nil,
        keyThumbprint: [UInt8]? = nil
    ) {
        self.issuer = issuer
        self.clientID = clientID
        self.audiences = audiences
        self.scopes = scopes
        self.issuedAt = issuedAt
        self.expiresAt = expiresAt
        self.tokenID = tokenID
        self.certificateThumbprint = certificateThumbprint
        self.keyThumbprint = keyThumbprint
    }

    /// How the token is to be shown (RFC 6750 section 2.1, RFC 9449 section 5).
    public var tokenType: String { keyThumbprint == nil ? "Bearer" : "DPoP" }

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
        JSONText.appendConfirmation(
            certificate: certificateThumbprint, key: keyThumbprint, to: &json)
        json.append("}")
        return json
    }

    /// The answer's body (RFC 6749 section 5.1).
    public func reply(token: [UInt8]) -> [UInt8] {
        var json: [UInt8] = []
        json.append(#"{"access_token":"#)
        JSONText.appendString(token.span, to: &json)
        json.append(#","token_type":"#)
        JSONText.appendString(tokenType, to: &json)
        json.append(#","expires_in":"#)
        JSONText.appendInteger(Int(expiresAt - issuedAt), to: &json)
        if !scopes.isEmpty {
            json.append(#","scope":"#)
            JSONText.appendString(scope, to: &json)
        }
        json.append("}\n")
        return json
    }
}

extension JSONText {
    /// Appends `,"cnf":{…}` (RFC 7800 section 3.1) with what a token is bound to; nothing where that is nothing.
    static func appendConfirmation(
        certificate: [UInt8]?, key: [UInt8]?, to json: inout [UInt8]
    ) {
        var separator = #","cnf":{"#
        for (name, thumbprint) in [("x5t#S256", certificate), ("jkt", key)] {
            guard let thumbprint else { continue }
            json.append(contentsOf: separator.utf8)
            appendString(name, to: &json)
            json.append(0x3A)
            appendString(Base64.encode(thumbprint, .url), to: &json)
            separator = ","
        }
        if certificate != nil || key != nil { json.append(0x7D) }
    }
}
