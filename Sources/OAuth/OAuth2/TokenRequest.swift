import HTTP
import Primitives

/// A request to the token endpoint, read (RFC 6749 section 4.4.2).
public struct TokenRequest: Sendable {
    public let credentials: ClientCredentials
    public let grantType: String?
    public let scope: String?
    /// `audience` (RFC 8693 section 2.1) and `resource` (RFC 8707 section 2), each as often as it stands there.
    public let targets: [String]
    public var client: PresentedClient { credentials.client }
    public var namedClientID: String? { credentials.namedClientID }

    /// A request for client credentials by an operator at the command line: nobody has to prove anything.
    ///
    /// - Parameter scopes: empty asks for all that the client may have.
    public init(scopes: [String]) {
        credentials = ClientCredentials(client: .none, namedClientID: nil)
        grantType = "client_credentials"
        scope = scopes.isEmpty ? nil : scopes.joined(separator: " ")
        targets = []
    }

    /// Reads the head's Authorization field and the form.
    ///
    /// - Throws: `.invalidRequest` for a form that cannot be read or two ways of authentication, `.invalidClient` for an
    ///   Authorization field that cannot.
    public init(_ head: RequestHead, body: Span<UInt8>) throws(TokenRequestError) {
        let form = try FormParameters(formOf: head, body)
        grantType = form["grant_type"]
        scope = form["scope"]
        targets = form.all("audience") + form.all("resource")
        credentials = try ClientCredentials(head, form)
    }
}
