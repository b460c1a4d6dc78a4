import HTTP
import Primitives

/// How a client presented itself at the token endpoint; nothing of it is proven.
public enum PresentedClient: Sendable, Equatable {
    /// `client_secret_basic`: the readings of the field to try in turn, form-decoded first and then raw, since many
    /// clients leave the encoding of RFC 6749 section 2.3.1 out.
    case basic([IDAndSecret])
    /// `client_secret_post`.
    case post(IDAndSecret)
    /// An OAuth 1.0 signature, in the Authorization field or the form, which the caller verifies.
    case oauth1
    /// Nothing that could prove anything.
    case none

    public struct IDAndSecret: Sendable, Equatable {
        public let id: String
        public let secret: Secret
    }
}

/// A request to the token endpoint, read (RFC 6749 section 4.4.2).
public struct TokenRequest: Sendable {
    public let client: PresentedClient
    public let grantType: String?
    public let scope: String?
    /// `audience` (RFC 8693 section 2.1) and `resource` (RFC 8707 section 2), each as often as it stands there.
    public let targets: [String]
    /// `client_id` beside other authentication: it must name the same client.
    public let namedClientID: String?

    /// A request for client credentials by an operator at the command line: nobody has to prove anything.
    ///
    /// - Parameter scopes: empty asks for all that the client may have.
    public init(scopes: [String]) {
        client = .none
        grantType = "client_credentials"
        scope = scopes.isEmpty ? nil : scopes.joined(separator: " ")
        targets = []
        namedClientID = nil
    }

    /// Reads the head's Authorization field and the form.
    ///
    /// - Throws: `.invalidRequest` for a form that cannot be read or two ways of authentication, `.invalidClient` for an
    ///   Authorization field that cannot.
    public init(_ head: RequestHead, body: Span<UInt8>) throws(TokenRequestError) {
        guard OAuth1Verifier.hasFormBody(head) else {
            throw .invalidRequest("The body must be application/x-www-form-urlencoded.")
        }
        let form = try FormParameters(body)
        grantType = form["grant_type"]
        scope = form["scope"]
        targets = form.all("audience") + form.all("resource")
        namedClientID = form["client_id"]
        client = try TokenRequest.presented(head, form)
    }

    /// At most one way (RFC 6749 section 2.3).
    private static let twoWays = TokenRequestError.invalidRequest(
        "The client authenticates in two ways.")

    private static func presented(
        _ head: RequestHead, _ form: FormParameters
    ) throws(TokenRequestError) -> PresentedClient {
        guard head.count(of: .authorization) <= 1 else {
            throw .invalidRequest("Authorization is repeated.")
        }
        // Assertions belong to a later version; taking no notice of one would accept what it was to prove.
        if form["client_assertion"] != nil || form["client_assertion_type"] != nil {
            throw .invalidClient(.unsupportedMethod)
        }
        let isSignedInForm = form["oauth_signature"] != nil
        guard let line = head.value(of: .authorization) else {
            switch (form["client_secret"], isSignedInForm) {
            case (let secret?, false):
                guard let id = form["client_id"] else {
                    throw .invalidClient(.malformedCredentials)
                }
                return .post(.init(id: id, secret: Secret(utf8: secret)))
            case (nil, true): return .oauth1
            case (nil, false): return .none
            case (_?, true): throw twoWays
            }
        }
        guard form["client_secret"] == nil else { throw twoWays }
        // Protocol parameters in both places are the OAuth 1.0 check's to refuse (RFC 5849 section 3.5).
        if OAuth1Verifier.isOAuth(head, line) { return .oauth1 }
        guard !isSignedInForm else { throw twoWays }
        let readings = BasicCredentials.read(head.span(of: line.value))
        guard let readings else { throw .invalidClient(.malformedCredentials) }
        return .basic(readings)
    }
}

/// `Authorization: Basic` (RFC 7617) as OAuth 2.0 uses it (RFC 6749 section 2.3.1).
enum BasicCredentials {
    /// The readings of the field; `nil` when it is not Basic or has no colon.
    static func read(_ value: Span<UInt8>) -> [PresentedClient.IDAndSecret]? {
        let name: StaticString = "basic"
        guard value.count > 6, value.count <= 8 << 10, value[5] == 0x20 else { return nil }
        for index in 0..<5 where unsafe value[index] | 0x20 != name.utf8Start[index] {
            return nil
        }
        var start = 6
        while start < value.count, value[start] == 0x20 { start += 1 }
        var bytes: [UInt8] = []
        guard Base64.decode(value.extracting(start..<value.count), .standard, into: &bytes),
            let colon = bytes.firstIndex(of: 0x3A), !bytes.contains(0)
        else { return nil }
        var readings: [PresentedClient.IDAndSecret] = []
        if let id = FormParameters.decoded(bytes.span, 0..<colon),
            let secret = FormParameters.decoded(bytes.span, colon + 1..<bytes.count)
        {
            readings.append(.init(id: id, secret: Secret(utf8: secret)))
        }
        if let id = String(validating: bytes[..<colon], as: UTF8.self) {
            let raw = PresentedClient.IDAndSecret(
                id: id, secret: Secret(Array(bytes[(colon + 1)...])))
            if readings.first != raw { readings.append(raw) }
        }
        return readings.isEmpty ? nil : readings
    }
}
