import Cryptography
import Primitives

/// Why a request could not be signed.
public enum OAuth1SigningError: Error, Equatable, Sendable {
    /// Not `http(s)://host[:port][/path][?query]`.
    case invalidURL
    /// A query or a form that cannot be decoded, or holds too many parameters.
    case malformedParameters
    /// An RSA method without an RSA key.
    case keyMissing
    case signingFailed
}

/// Signs requests as a client does (RFC 5849 section 3.1): `gatehouse sign`.
public struct OAuth1Signer: Sendable {
    /// What is to be sent.
    public struct Request: Sendable {
        public var method: String
        /// Absolute; a fragment is left out, as it is never sent.
        public var url: String
        public var contentType: String?
        public var body: [UInt8]
        /// Adds `oauth_body_hash` where the body is no form (the body hash extension, draft 4).
        public var hashesBody: Bool

        public init(
            method: String, url: String, contentType: String? = nil, body: [UInt8] = [],
            hashesBody: Bool = false
        ) {
            self.method = method
            self.url = url
            self.contentType = contentType
            self.body = body
            self.hashesBody = hashesBody
        }
    }

    public let method: OAuth1SignatureMethod
    public let consumerKey: String
    /// `nil` leaves `oauth_token` out.
    public let token: String?
    public let credentials: OAuth1Credentials
    public let privateKey: PrivateKey?
    /// `nil` leaves it out; it is not signed.
    public let realm: String?

    public init(
        method: OAuth1SignatureMethod, consumerKey: String, token: String? = nil,
        credentials: OAuth1Credentials, privateKey: PrivateKey? = nil, realm: String? = nil
    ) {
        self.method = method
        self.consumerKey = consumerKey
        self.token = token
        self.credentials = credentials
        self.privateKey = privateKey
        self.realm = realm
    }

    /// The value of the Authorization field.
    ///
    /// - Parameters:
    ///   - timestamp: seconds since 1970.
    ///   - nonce: new for every request of that second; 16 random bytes in hexadecimal, say.
    public func authorization(
        for request: Request, timestamp: Int64, nonce: String
    ) throws(OAuth1SigningError) -> String {
        var own = [("oauth_consumer_key", consumerKey)]
        if let token { own.append(("oauth_token", token)) }
        own += [
            ("oauth_signature_method", method.rawValue), ("oauth_timestamp", String(timestamp)),
            ("oauth_nonce", nonce), ("oauth_version", "1.0"),
        ]
        let contentType = Array((request.contentType ?? "").utf8)
        let isForm = OAuth1Verifier.isFormType(contentType.span)
        if request.hashesBody, !isForm {
            let digest = Digest.hash(request.body.span, method.bodyDigest)
            own.append(("oauth_body_hash", Base64.encode(digest, .standard)))
        }
        let base = try baseString(request, own, isForm: isForm)
        let signature = try OAuth1Signature.make(
            method, baseString: base, credentials: credentials, privateKey: privateKey)
        own.append(("oauth_signature", String(decoding: signature, as: UTF8.self)))
        if let realm { own.insert(("realm", realm), at: 0) }
        let fields = own.map { name, value in name + "=\"" + encoded(value) + "\"" }
        return "OAuth " + fields.joined(separator: ", ")
    }

    private func baseString(
        _ request: Request, _ own: [(String, String)], isForm: Bool
    ) throws(OAuth1SigningError) -> [UInt8] {
        guard let url = SignedURL(request.url) else { throw .invalidURL }
        var parameters = OAuth1Parameters()
        for (name, value) in own {
            parameters.add(name: Array(name.utf8), value: Array(value.utf8), .header)
        }
        do throws(OAuth1Error) {
            try parameters.addPairs(url.query.span, url.query.indices, .query)
            if isForm {
                try parameters.addPairs(request.body.span, request.body.indices, .form)
            }
        } catch {
            throw .malformedParameters
        }
        var uri: [UInt8] = []
        BaseString.appendURI(
            isTLS: url.isTLS, authority: url.authority.span, path: url.path.span, to: &uri)
        var baseString = BaseString()
        baseString.normalize(parameters, order: .encoded)
        let methodName = Array(request.method.utf8)
        var base: [UInt8] = []
        baseString.append(method: methodName.span, uri: uri, to: &base)
        return base
    }

    private func encoded(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var output: [UInt8] = []
        PercentCoding.encode(bytes.span, into: &output)
        return String(decoding: output, as: UTF8.self)
    }
}

/// The parts of an absolute URL that take part in a signature.
struct SignedURL {
    let isTLS: Bool
    let authority: [UInt8]
    /// Empty where the URL has none; the base string then has `/`.
    let path: [UInt8]
    let query: [UInt8]

    init?(_ url: String) {
        let bytes = Array(url.utf8)
        guard let colon = bytes.firstIndex(of: 0x3A),
            bytes[colon...].starts(with: "://".utf8)
        else { return nil }
        switch String(decoding: bytes[..<colon], as: UTF8.self).lowercased() {
        case "https": isTLS = true
        case "http": isTLS = false
        default: return nil
        }
        let rest = bytes[(colon + 3)...].prefix { $0 != 0x23 }
        let authority = rest.prefix { $0 != 0x2F && $0 != 0x3F }
        // User information is no part of what Host will say.
        guard !authority.isEmpty, !authority.contains(0x40), rest.allSatisfy({ $0 > 0x20 }) else {
            return nil
        }
        self.authority = Array(authority)
        let path = rest[authority.endIndex...].prefix { $0 != 0x3F }
        self.path = Array(path)
        query = Array(rest[path.endIndex...].dropFirst())
    }
}
