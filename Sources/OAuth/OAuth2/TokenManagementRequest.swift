import HTTP
import Primitives

/// A request to the introspection endpoint (RFC 7662 section 2.1) or to the revocation endpoint (RFC 7009 section 2.1),
/// which have one form.
public struct TokenManagementRequest: Sendable {
    /// The registered hints. It is a hint alone: a token of another kind must be found all the same.
    public enum Hint: String, Sendable {
        case accessToken = "access_token"
        case refreshToken = "refresh_token"
    }

    public let credentials: ClientCredentials
    public let token: Secret
    /// `nil` where there is none, or none that is known (RFC 7009 section 2.2.1).
    public let hint: Hint?

    /// Reads the head's Authorization field and the form.
    ///
    /// - Throws: `.invalidRequest` for a form that cannot be read, has no token or two, or for two ways of authentication;
    ///   `.invalidClient` for an Authorization field that cannot be read.
    public init(_ head: RequestHead, body: Span<UInt8>) throws(TokenRequestError) {
        let form = try FormParameters(formOf: head, body)
        credentials = try ClientCredentials(head, form)
        guard let token = form["token"] else { throw .invalidRequest("token is missing.") }
        self.token = Secret(utf8: token)
        hint = form["token_type_hint"].flatMap(Hint.init(rawValue:))
    }
}
