import Cryptography
import Foundation
import OAuth
import Primitives
import TestSupport
import Testing

/// A signed request of oauth1.json as a client puts it on the wire.
struct OAuth1RunVector {
    let id: String
    /// What the signature was made for: `https` or not, and the origin that an operator would call the public URL.
    let isTLS: Bool
    let origin: String
    let method: String
    let consumerKey: String
    let consumerSecret: String
    let token: String
    let rsaKey: String?
    let timestamp: Int64?
    let nonce: String

    private let signatureMethod: String
    private let baseString: String
    private let carrier: String
    private var url: String
    private var fields: [[String]]
    private(set) var body: [UInt8]?

    /// - Parameters:
    ///   - request: `method`, `url`, `headers`, and `body` or `body_b64`.
    ///   - record: what holds `credentials` and, where there is one, the base string; by default the request itself.
    init(_ request: [String: Any], of record: [String: Any]? = nil) throws {
        let record = record ?? request
        id = record["id"] as? String ?? "?"
        method = try #require(request["method"] as? String)
        url = try #require(request["url"] as? String)
        fields = try #require(request["headers"] as? [[String]])
        let encoded = (request["body_b64"] as? String).flatMap { Base64.decode($0, .standard) }
        body = encoded ?? (request["body"] as? String).map { Array($0.utf8) }
        let known = try #require(record["credentials"] as? [String: String])
        consumerKey = try #require(known["consumer_key"])
        consumerSecret = known["consumer_secret"] ?? ""
        token = known["token"] ?? ""
        rsaKey = known["rsa_key"]
        isTLS = url.lowercased().hasPrefix("https:")
        let uri = record["base_string_uri"] as? String ?? url
        origin = uri.components(separatedBy: "/").prefix(3).joined(separator: "/")
        baseString = record["base_string"] as? String ?? ""
        signatureMethod = record["signature_method"] as? String ?? ""
        carrier = record["oauth_in"] as? String ?? "header"
        let own = (record["oauth_parameters"] as? [[Any]] ?? []).compactMap { $0 as? [String] }
        timestamp = own.first { $0[0] == "oauth_timestamp" }.flatMap { Int64($0[1]) }
        nonce = own.first { $0[0] == "oauth_nonce" }?[1] ?? ""
    }

    /// The request line, as it has to arrive at the upstream.
    var requestLine: String {
        let rest = url.components(separatedBy: "://").dropFirst().joined(separator: "://")
        let target = rest.drop { $0 != "/" && $0 != "?" }
        return "\(method) \(target.hasPrefix("/") ? "" : "/")\(target) HTTP/1.1"
    }

    /// - Parameter requestID: told to the gateway, so that its log line is found again.
    func bytes(requestID: String) -> [UInt8] {
        var lines = [requestLine, "X-Request-Id: \(requestID)"]
        if !fields.contains(where: { $0[0].lowercased() == "host" }) {
            let authority = url.components(separatedBy: "://")[1].prefix { $0 != "/" && $0 != "?" }
            lines.append("Host: \(authority)")
        }
        lines += fields.map { "\($0[0]): \($0[1])" }
        if let body { lines.append("Content-Length: \(body.count)") }
        return Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + (body ?? [])
    }

    /// The same request of a client that holds no token: `oauth_token` goes and the signature is made anew, over the
    /// vector's own base string without that parameter; every other byte stays.
    ///
    /// - Parameter privateKey: for the RSA methods.
    func withoutToken(privateKey: PrivateKey?) throws -> OAuth1RunVector {
        let parts = baseString.components(separatedBy: "&")
        let all = try #require(parts.last).components(separatedBy: "%26")
        var kept = all.filter { !$0.hasPrefix("oauth_token%3D") }
        #expect(parts.count == 3 && kept.count == all.count - 1, "\(id)")
        var copy = try withoutTokenParameter()
        if nonce == Self.sharedNonce {
            kept = kept.map { $0.hasPrefix("oauth_nonce%3D") ? $0 + id : $0 }
            copy = try copy.edited(
                header: #"(oauth_nonce="[^"]*)"#, form: "", with: "$1" + id)
        }
        let base = "\(parts[0])&\(parts[1])&" + kept.joined(separator: "%26")
        let signature = try OAuth1Signature.make(
            try #require(OAuth1SignatureMethod(rawValue: signatureMethod)),
            baseString: Array(base.utf8),
            credentials: OAuth1Credentials(consumerSecret: Secret(utf8: consumerSecret)),
            privateKey: privateKey)
        let text = String(decoding: signature, as: UTF8.self)
            .addingPercentEncoding(withAllowedCharacters: .alphanumerics)
        return try copy.edited(
            header: #"(oauth_signature=")[^"]*"#, form: "(?<![^?&])(oauth_signature=)[^&]*",
            with: "$1" + (try #require(text)))
    }

    /// Eighteen vectors that differ in the spelling of the field alone have this nonce; here each is a request of its own.
    private static let sharedNonce = "hdr"

    /// Only without the token: what was signed is not what is sent.
    func withoutTokenParameter() throws -> OAuth1RunVector {
        try edited(
            header: #"(?<=[ \t,])oauth_token="[^"]*"[ \t]*,[ \t]*"#,
            form: "(?<![^?&])oauth_token=[^&]*&", with: "")
    }

    /// Replaces a pattern where the protocol parameters stand.
    private func edited(
        header: String, form: String, with text: String
    ) throws -> OAuth1RunVector {
        func edit(_ value: String, _ pattern: String) throws -> String {
            let pattern = try NSRegularExpression(pattern: pattern)
            let whole = NSRange(value.startIndex..., in: value)
            #expect(pattern.numberOfMatches(in: value, range: whole) == 1, "\(id): \(value)")
            return pattern.stringByReplacingMatches(in: value, range: whole, withTemplate: text)
        }
        var copy = self
        switch carrier {
        case "query": copy.url = try edit(url, form)
        case "body":
            let text = String(decoding: try #require(body), as: UTF8.self)
            copy.body = Array(try edit(text, form).utf8)
        default:
            copy.fields = try fields.map { field in
                guard field[0].lowercased() == "authorization" else { return field }
                return [field[0], try edit(field[1], header)]
            }
        }
        return copy
    }

    static func table(_ name: String) throws -> [[String: Any]] {
        try #require(try Fixtures.json("oauth1.json")[name] as? [[String: Any]])
    }

    /// The 2048-bit key of the file in the PEM form that `key` names.
    private static func pem(_ member: String, _ label: String) throws -> String {
        let keys = try #require(try Fixtures.json("oauth1.json")["keys"] as? [String: Any])
        let key = try #require(keys["rsa-2048-test"] as? [String: Any])
        let der = Data(base64Encoded: try #require(key[member] as? String))
        let text = try #require(der).base64EncodedString(options: .lineLength64Characters)
        return "-----BEGIN \(label)-----\n\(text)\n-----END \(label)-----\n"
    }

    static func privateKeyPEM() throws -> String {
        try pem("private_pkcs8_der_b64", "PRIVATE KEY")
    }

    static func publicKeyPEM() throws -> String {
        try pem("public_spki_der_b64", "PUBLIC KEY")
    }
}
