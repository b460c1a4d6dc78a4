import Cryptography
import Foundation
import HTTP
import OAuth
import Primitives
import TestSupport

/// The token endpoint from the bytes of a request to the text of its answer, as the gateway calls it, with the clients
/// and the clock of token_endpoint.json.
struct TokenExchange {
    struct Answer {
        let status: Int
        let body: [UInt8]
        let error: TokenRequestError?
        let json: [String: Any]

        init(status: Int, body: [UInt8], error: TokenRequestError?) throws {
            self.status = status
            self.body = body
            self.error = error
            json = try JSON.object(body)
        }

        var code: String? { json["error"] as? String }
        var scope: String? { json["scope"] as? String }
        var token: String? { json["access_token"] as? String }

        /// The parts of the token, unproven.
        func parts() throws -> (header: [String: Any], claims: [String: Any]) {
            let parts = (token ?? "").split(separator: ".").map {
                Base64.decode(String($0), .url) ?? []
            }
            guard parts.count == 3 else { throw CocoaError(.propertyListReadCorrupt) }
            return (try JSON.object(parts[0]), try JSON.object(parts[1]))
        }
    }

    /// How the authority came to know the secrets.
    enum Secrets: CaseIterable {
        case fromFiles
        case hashed
    }

    static let now = WallTime(seconds: 1_767_225_600)
    static let issuer = "https://gateway.example.com"

    var clients: [String: RegisteredClient] = [:]
    var policy = AuthorityPolicy(
        issuer: TokenExchange.issuer, audiences: [], tokenLifetimeSeconds: 600, scopes: [])
    var assertions: ClientAssertion.Policy? = ClientAssertion.Policy(
        audiences: [TokenExchange.issuer, TokenExchange.issuer + "/oauth2/token"])
    let key: SigningKey

    init(_ secrets: Secrets = .fromFiles) throws {
        key = try SigningKey(algorithm: .es256, privateKey: PrivateKey.generate(.p256))
        try add("s6BhdRkqt3", "gX1fBat3bV", scopes: ["read", "write"], secrets)
        try add(
            "client:one +&%/\u{e9}", "p@ss w%rd+:/=&?\u{4e16}~", scopes: ["read"], method: .basic,
            secrets)
        try add("noscope", "secret-of-noscope", scopes: [], method: .basic, secrets)
        try add("raw+client", "se+cret/==", scopes: ["read"], secrets)
        // No secret of OAuth 2.0: one signs with OAuth 1.0, one shows a certificate, one makes assertions.
        for id in ["oauth1only", "tls-client", "jwt-client"] {
            try add(id, nil, scopes: ["read"], secrets)
        }
        clients["jwt-client"]?.authMethod = .privateKeyJWT
        clients["jwt-client"]?.keys = try TokenExchange.assertionKeys()
    }

    /// The `jwks` of the table's client that makes assertions.
    static func assertionKeys() throws -> KeySet {
        let clients = try Fixtures.json("token_endpoint.json")["clients"] as? [String: Any]
        let client = clients?["jwt"] as? [String: Any]
        let jwks = try JSONSerialization.data(withJSONObject: client?["jwks"] ?? [:])
        return try KeySet(jwks: Array(jwks), allowsSymmetric: false)
    }

    mutating func add(
        _ id: String, _ secret: String?, scopes: [String], audiences: [String] = [],
        method: RegisteredClient.AuthMethod? = nil, _ form: Secrets = .fromFiles
    ) throws {
        let known = try secret.map { text -> RegisteredClient.KnownSecret in
            switch form {
            case .fromFiles: .plain(Secret(utf8: text))
            case .hashed: .hash(try ClientSecret.hash(Secret(utf8: text)))
            }
        }
        clients[id] = RegisteredClient(
            id: id, secrets: known.map { [$0] } ?? [], scopes: scopes, audiences: audiences,
            authMethod: method)
    }

    /// A head as the parser makes it.
    static func head(
        _ method: String = "POST", _ target: String = "/oauth2/token",
        fields: [(String, String)], bodyBytes: Int
    ) throws -> RequestHead {
        var text = "\(method) \(target) HTTP/1.1\r\nHost: gateway.example.com\r\n"
        for (name, value) in fields { text += "\(name): \(value)\r\n" }
        text += "Content-Length: \(bodyBytes)\r\n\r\n"
        let head = RequestHead()
        var parser = RequestHeadParser(limits: HTTP1Limits())
        let bytes = Array(text.utf8)
        guard
            try parser.parse(bytes.span, from: 0, into: head) == .complete(nextOffset: bytes.count)
        else { throw CocoaError(.formatting) }
        return head
    }

    /// - Parameter oauth1Client: whom an OAuth 1.0 signature on the request has proven.
    func answer(
        _ head: RequestHead, _ body: String, oauth1Client: String? = nil
    ) throws -> Answer {
        let grant: TokenGrant
        do throws(TokenRequestError) {
            grant = try decide(head, Array(body.utf8), oauth1Client)
        } catch {
            return try Answer(status: error.status, body: error.body, error: error)
        }
        let token = try JWTSigner.sign(claims: grant.claims, with: key)
        return try Answer(status: 200, body: grant.reply(token: token), error: nil)
    }

    private func decide(
        _ head: RequestHead, _ body: [UInt8], _ oauth1Client: String?
    ) throws(TokenRequestError) -> TokenGrant {
        let request = try TokenRequest(head, body: body.span)
        let client =
            if request.client == .oauth1, let oauth1Client {
                try TokenEndpoint.accept(oauth1Client: clients[oauth1Client], request)
            } else {
                try TokenEndpoint.authenticate(
                    request, assertions: assertions, now: TokenExchange.now
                ) { clients[$0] }.client
            }
        return try TokenEndpoint.grant(
            request, to: client, under: policy, now: TokenExchange.now, tokenID: "id-1")
    }

    /// The usual request: a form with Basic credentials.
    func answer(
        _ body: String, basic: String? = "s6BhdRkqt3:gX1fBat3bV", oauth1Client: String? = nil
    ) throws -> Answer {
        var fields = [("Content-Type", "application/x-www-form-urlencoded")]
        if let basic {
            fields.append(("Authorization", "Basic " + Base64.encode(Array(basic.utf8), .standard)))
        }
        let head = try TokenExchange.head(fields: fields, bodyBytes: body.utf8.count)
        return try answer(head, body, oauth1Client: oauth1Client)
    }
}

enum JSON {
    static func object(_ text: [UInt8]) throws -> [String: Any] {
        guard let object = try JSONSerialization.jsonObject(with: Data(text)) as? [String: Any]
        else { throw CocoaError(.propertyListReadCorrupt) }
        return object
    }
}
