import Primitives

/// The errors of the token, introspection and revocation endpoints (RFC 6749 section 5.2, RFC 8707 section 2, RFC 9449
/// section 5, RFC 7662 section 2.3, RFC 7009 section 2.2.1), with the fact behind each.
public enum TokenRequestError: Error, Equatable, Sendable {
    case invalidRequest(String)
    /// No client proved itself. Why stays in the log: a stranger must not learn which clients exist.
    case invalidClient(Cause)
    case unsupportedGrantType
    case invalidScope
    case invalidTarget
    /// The DPoP proof of a token request (RFC 9449 section 5).
    case invalidProof(DPoPError)
    /// A token that cannot be revoked here (RFC 7009 section 2.2.1), such as one of another issuer.
    case unsupportedTokenType

    public enum Cause: Equatable, Sendable {
        case noCredentials
        case malformedCredentials
        case unknownClient
        case wrongSecret
        case wrongCertificate
        /// An assertion that proves nothing (RFC 7523 section 3).
        case badAssertion(TokenError)
        /// Its `jti` has been used before: what the caller finds when it records one.
        case assertionReused
        case methodNotAllowed
        case unsupportedMethod
    }

    /// The value of the `error` member.
    public var code: String {
        switch self {
        case .invalidRequest: "invalid_request"
        case .invalidClient: "invalid_client"
        case .unsupportedGrantType: "unsupported_grant_type"
        case .invalidScope: "invalid_scope"
        case .invalidTarget: "invalid_target"
        case .invalidProof(let error): error.code
        case .unsupportedTokenType: "unsupported_token_type"
        }
    }

    public var status: Int {
        if case .invalidClient = self { 401 } else { 400 }
    }

    /// The `error_description`: the same for every client that failed to prove itself.
    public var text: String {
        switch self {
        case .invalidRequest(let fact): fact
        case .invalidClient: "Client authentication failed."
        case .unsupportedGrantType: "Only client_credentials is supported."
        case .invalidScope: "The scope is malformed or not granted to this client."
        case .invalidTarget: "The audience or resource is not known for this client."
        case .invalidProof(let error): error.text
        case .unsupportedTokenType: "This token cannot be revoked here."
        }
    }

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
