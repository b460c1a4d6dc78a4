/// What the authority says of an active token (RFC 7662 section 2.2). Whether it is active, and whether this client may
/// know, the caller has decided: to everything else the answer is `inactive`.
public struct IntrospectionReply: Sendable, Equatable {
    /// The answer for a token that is unknown, expired, revoked or forged: which of them is told to nobody. Who may ask
    /// the caller has decided: here every client of the authority, as its tokens are for services that know none of
    /// each other.
    public static let inactive = Array("{\"active\":false}\n".utf8)

    public var scopes: [String]
    public var clientID: String
    /// `Bearer` or `DPoP`.
    public var tokenType: String
    /// Seconds since the epoch.
    public var expiresAt: Int64
    public var issuedAt: Int64?
    public var notBefore: Int64?
    public var subject: String?
    public var audiences: [String]
    public var issuer: String
    /// The `jti`.
    public var tokenID: String?
    /// What it is bound to: `cnf` (RFC 8705 section 3.2, RFC 9449 section 6.2).
    public var certificateThumbprint: [UInt8]?
    public var keyThumbprint: [UInt8]?

    /// Of a JWT that was verified, by the caller at this very time.
    public init(_ token: VerifiedToken) {
        scopes = token.scopes
        clientID = token.clientID
        tokenType = token.keyThumbprint == nil ? "Bearer" : "DPoP"
        expiresAt = token.expiresAt
        issuedAt = token.issuedAt
        notBefore = token.notBefore
        subject = token.subject
        audiences = token.audiences
        issuer = token.issuer
        tokenID = token.tokenID
        certificateThumbprint = token.certificateThumbprint
        keyThumbprint = token.keyThumbprint
    }

    /// Of a grant that is kept under an opaque token.
    public init(_ grant: TokenGrant) {
        scopes = grant.scopes
        clientID = grant.clientID
        tokenType = grant.tokenType
        expiresAt = grant.expiresAt
        issuedAt = grant.issuedAt
        subject = grant.clientID
        audiences = grant.audiences
        issuer = grant.issuer
        tokenID = grant.tokenID
        certificateThumbprint = grant.certificateThumbprint
        keyThumbprint = grant.keyThumbprint
    }

    /// The answer's body. What the token does not say is left out.
    public var body: [UInt8] {
        var json = JSONObjectText()
        json.addTrue("active", true)
        json.add("scope", scopes.isEmpty ? nil : scopes.joined(separator: " "))
        json.add("client_id", clientID)
        json.add("token_type", tokenType)
        json.add("exp", expiresAt)
        json.add("iat", issuedAt)
        json.add("nbf", notBefore)
        json.add("sub", subject)
        if audiences.count == 1 {
            json.add("aud", audiences[0])
        } else {
            json.add("aud", audiences)
        }
        json.add("iss", issuer)
        json.add("jti", tokenID)
        json.addConfirmation(certificate: certificateThumbprint, key: keyThumbprint)
        return json.text
    }
}
