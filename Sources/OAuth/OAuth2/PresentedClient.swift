import HTTP
import Primitives

/// How a client presented itself at an endpoint of the authority; nothing of it is proven.
public enum PresentedClient: Sendable, Equatable {
    /// `client_secret_basic`: the readings of the field to try in turn, form-decoded first and then raw, since many
    /// clients leave the encoding of RFC 6749 section 2.3.1 out.
    case basic([IDAndSecret])
    /// `client_secret_post`.
    case post(IDAndSecret)
    /// `private_key_jwt`: the assertion (RFC 7523 section 2.2). Whoever sees it could use it once.
    case assertion(Secret)
    /// An OAuth 1.0 signature, in the Authorization field or the form, which the caller verifies.
    case oauth1
    /// Nothing that could prove anything.
    case none

    public struct IDAndSecret: Sendable, Equatable {
        public let id: String
        public let secret: Secret
    }
}

/// The client's part of a request to the token, introspection or revocation endpoint (RFC 6749 section 2.3).
public struct ClientCredentials: Sendable, Equatable {
    public let client: PresentedClient
    /// `client_id` beside other authentication: it must name the same client.
    public let namedClientID: String?

    init(client: PresentedClient, namedClientID: String?) {
        self.client = client
        self.namedClientID = namedClientID
    }

    /// Reads the head's Authorization field and the form.
    ///
    /// - Throws: `.invalidRequest` for two ways of authentication, `.invalidClient` for an Authorization field that
    ///   cannot be read.
    init(_ head: RequestHead, _ form: FormParameters) throws(TokenRequestError) {
        namedClientID = form["client_id"]
        client = try ClientCredentials.presented(head, form)
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
        let isSignedInForm = form["oauth_signature"] != nil
        if form["client_assertion"] != nil || form["client_assertion_type"] != nil {
            guard head.value(of: .authorization) == nil, form["client_secret"] == nil,
                !isSignedInForm
            else { throw twoWays }
            return try assertion(form)
        }
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

    /// The two parameters of RFC 7521 section 4.2; one type is known (RFC 7523 section 2.2).
    private static func assertion(
        _ form: FormParameters
    ) throws(TokenRequestError) -> PresentedClient {
        guard let type = form["client_assertion_type"], let text = form["client_assertion"] else {
            throw .invalidRequest("client_assertion and client_assertion_type belong together.")
        }
        guard type == ClientAssertion.type else { throw .invalidClient(.unsupportedMethod) }
        return .assertion(Secret(utf8: text))
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
