import Cryptography
import Foundation
import HTTP
import OAuth
import Primitives
import TestSupport
import Testing

/// oauth1.json and oauth1_mistakes.json as the tests read them.
enum OAuth1Vectors {
    static let clock = WallTime(seconds: 1_767_225_600)

    static func table(_ name: String) throws -> [[String: Any]] {
        try #require(try Fixtures.json("oauth1.json")[name] as? [[String: Any]])
    }

    static func mistakes() throws -> [[String: Any]] {
        try #require(try Fixtures.json("oauth1_mistakes.json")["cases"] as? [[String: Any]])
    }

    static func signed(_ id: String) throws -> [String: Any] {
        try #require(try table("vectors").first { $0["id"] as? String == id })
    }

    /// A private key of the file's `keys`.
    static func privateKey(_ name: String) throws -> PrivateKey {
        let keys = try #require(try Fixtures.json("oauth1.json")["keys"] as? [String: Any])
        let key = try #require(keys[name] as? [String: Any])
        let der = try #require(key["private_pkcs8_der_b64"] as? String)
        return try PrivateKey(pkcs8DER: Secret(try #require(Base64.decode(der, .standard))))
    }

    static func credentials(
        _ vector: [String: Any], allowsPlaintext: Bool = true
    ) throws -> OAuth1Credentials {
        let values = try #require(vector["credentials"] as? [String: String])
        return OAuth1Credentials(
            consumerSecret: values["consumer_secret"].map { Secret(utf8: $0) },
            rsaKey: try values["rsa_key"].map { try privateKey($0).publicKey },
            allowsPlaintext: allowsPlaintext,
            tokenSecret: values["token_secret"].map { Secret(utf8: $0) })
    }

    /// A name or a value: text, or bytes that are no text.
    static func bytes(_ value: Any) throws -> [UInt8] {
        if let text = value as? String { return Array(text.utf8) }
        let encoded = try #require((value as? [String: String])?["b64"])
        return try #require(Base64.decode(encoded, .standard))
    }

    static func pairs(_ value: Any?) throws -> [(name: [UInt8], value: [UInt8])] {
        try (try #require(value as? [[Any]])).map { pair in
            (try bytes(try #require(pair.first)), try bytes(try #require(pair.last)))
        }
    }
}

/// A request of the vectors: its head, made by our parser from the bytes a client would send.
struct OAuth1Request {
    let head = RequestHead()
    let body: [UInt8]
    let isTLS: Bool

    /// - Parameter vector: `method`, `url`, `headers`, and `body` or `body_b64`.
    init(_ vector: [String: Any]) throws {
        let method = try #require(vector["method"] as? String)
        let url = try URLParts(try #require(vector["url"] as? String))
        let fields = try #require(vector["headers"] as? [[String]])
        isTLS = url.isTLS
        let encoded = (vector["body_b64"] as? String).flatMap { Base64.decode($0, .standard) }
        body = encoded ?? Array((vector["body"] as? String ?? "").utf8)
        var lines = ["\(method) \(url.target) HTTP/1.1"]
        if !fields.contains(where: { $0[0].lowercased() == "host" }) {
            lines.append("Host: \(url.authority)")
        }
        lines += fields.map { "\($0[0]): \($0[1])" }
        if vector["body"] != nil || encoded != nil {
            lines.append("Content-Length: \(body.count)")
        }
        let bytes = Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
        var parser = RequestHeadParser(limits: HTTP1Limits())
        let progress = try parser.parse(bytes.span, from: 0, into: head)
        guard case .complete = progress else {
            Issue.record("the head is not whole")
            return
        }
    }

    /// Reads and judges it as the gateway does, the body held where it is asked for.
    func verify(
        by verifier: OAuth1Verifier, _ credentials: (OAuth1Claim) -> OAuth1Credentials?,
        now: WallTime = OAuth1Vectors.clock
    ) throws -> (claim: OAuth1Claim, match: OAuth1Verifier.Match) {
        var claim: OAuth1Claim?
        // Without credentials in the head they may be in a form, and then the body is held first.
        if verifier.detects(head) { claim = try verifier.prepare(head, body: nil) }
        if claim?.needsBody ?? true { claim = try verifier.prepare(head, body: body.span) }
        let known = try #require(claim)
        let match = try verifier.verify(
            known, head, from: RequestOrigin(isTLS: isTLS), body: body.span,
            credentials: credentials(known), now: now)
        return (known, match)
    }
}

/// A URL of the vectors, cut as a client cuts it.
struct URLParts {
    let isTLS: Bool
    let authority: String
    let path: String
    let query: String?

    var target: String { (path.isEmpty ? "/" : path) + (query.map { "?" + $0 } ?? "") }

    init(_ url: String) throws {
        let scheme = try #require(url.range(of: "://"))
        isTLS = url[..<scheme.lowerBound].lowercased() == "https"
        let rest = url[scheme.upperBound...].prefix { $0 != "#" }
        authority = String(rest.prefix { $0 != "/" && $0 != "?" })
        let behind = rest.dropFirst(authority.count)
        path = String(behind.prefix { $0 != "?" })
        query = behind.contains("?") ? String(behind.dropFirst(path.count + 1)) : nil
    }
}

extension OAuth1Verifier {
    /// One that takes every method, with a window that holds the whole history of the vectors where
    /// asked.
    static func permissive(windowSeconds: Int64 = 300) throws -> OAuth1Verifier {
        try OAuth1Verifier(
            policy: OAuth1Policy(
                signatureMethods: Set(OAuth1SignatureMethod.allCases),
                timestampWindowSeconds: windowSeconds, bodyHashRequired: false,
                heldBodyBytes: 1 << 20, publicURLs: []))
    }
}

extension OAuth1Parameters {
    /// All of them, decoded, in the order in which they were read.
    var pairs: [[[UInt8]]] { items.map { [Array(name($0)), Array(value($0))] } }
}
