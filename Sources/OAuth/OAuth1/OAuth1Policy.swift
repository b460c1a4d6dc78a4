import Cryptography
import HTTP
import Primitives

/// What the gateway accepts of OAuth 1.0 (`oauth1` in the conf).
public struct OAuth1Policy: Sendable {
    public var signatureMethods: Set<OAuth1SignatureMethod>
    public var timestampWindowSeconds: Int64
    public var bodyHashRequired: Bool
    /// Bytes of a body that are held back until the verdict.
    public var heldBodyBytes: Int
    /// What clients sign instead of the connection's scheme and Host.
    public var publicOrigins: [PublicOrigin]

    public init(
        signatureMethods: Set<OAuth1SignatureMethod>, timestampWindowSeconds: Int64,
        bodyHashRequired: Bool, heldBodyBytes: Int, publicURLs: [String]
    ) {
        self.signatureMethods = signatureMethods
        self.timestampWindowSeconds = timestampWindowSeconds
        self.bodyHashRequired = bodyHashRequired
        self.heldBodyBytes = heldBodyBytes
        publicOrigins = publicURLs.compactMap(PublicOrigin.init)
    }
}

/// A `public_url`: scheme, authority and a path prefix.
public struct PublicOrigin: Sendable, Equatable {
    public let isTLS: Bool
    public let authority: [UInt8]
    /// What stands before the path in the client's view; without a slash at its end.
    public let prefix: [UInt8]

    /// `nil` unless the text is `http(s)://authority[/prefix]`.
    public init?(_ url: String) {
        let rest: Substring
        if url.lowercased().hasPrefix("https://") {
            isTLS = true
            rest = url.dropFirst(8)
        } else if url.lowercased().hasPrefix("http://") {
            isTLS = false
            rest = url.dropFirst(7)
        } else {
            return nil
        }
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        guard slash > rest.startIndex else { return nil }
        authority = Array(rest[..<slash].utf8)
        var prefix = Array(rest[slash...].utf8)
        while prefix.last == 0x2F { prefix.removeLast() }
        self.prefix = prefix
    }
}

/// The secrets of a consumer and, where there is one, of its token.
public struct OAuth1Credentials: Sendable {
    /// Any of them signs: two may be live while one takes the other's place.
    public var consumerSecrets: [Secret]
    /// For the RSA methods.
    public var rsaKey: PublicKey?
    public var allowsPlaintext: Bool
    /// `nil`: no token is known. A request that names one is refused then, also by the RSA methods, which do not sign
    /// with it.
    public var tokenSecret: Secret?

    public init(
        consumerSecret: Secret?, rsaKey: PublicKey? = nil, allowsPlaintext: Bool = false,
        tokenSecret: Secret? = nil
    ) {
        self.init(
            consumerSecrets: consumerSecret.map { [$0] } ?? [], rsaKey: rsaKey,
            allowsPlaintext: allowsPlaintext, tokenSecret: tokenSecret)
    }

    public init(
        consumerSecrets: [Secret], rsaKey: PublicKey? = nil, allowsPlaintext: Bool = false,
        tokenSecret: Secret? = nil
    ) {
        self.consumerSecrets = consumerSecrets
        self.rsaKey = rsaKey
        self.allowsPlaintext = allowsPlaintext
        self.tokenSecret = tokenSecret
    }

    /// The first, where there is one: what a signer signs with. To set it leaves no other.
    public var consumerSecret: Secret? {
        get { consumerSecrets.first }
        set { consumerSecrets = newValue.map { [$0] } ?? [] }
    }

    /// The same with each consumer secret alone; as it is where it has none.
    var alternatives: [OAuth1Credentials] {
        guard consumerSecrets.count > 1 else { return [self] }
        return consumerSecrets.map { secret in
            var one = self
            one.consumerSecret = secret
            return one
        }
    }
}

/// What a signed request says of itself; nothing of it is proven.
public struct OAuth1Claim: Sendable {
    public let consumerKey: String
    /// `nil` when absent or empty: two-legged requests carry none.
    public let token: String?
    public let method: OAuth1SignatureMethod
    /// Absent only with PLAINTEXT.
    public let timestamp: Int64?
    public let nonce: String?
    /// `oauth_callback`, as it stands there, maybe empty: nobody is called back, but who sent one waits for
    /// `oauth_callback_confirmed`.
    public let callback: String?
    /// `oauth_verifier`: any will do, since none is given out.
    public let verifier: String?
    public let hasBodyHash: Bool
    /// Whether the body must be there before the signature can be judged.
    public let needsBody: Bool
}

/// How a client reached the gateway: what its signature covers besides the request itself (RFC 5849 section 3.4.1.2).
public struct RequestOrigin: Sendable, Equatable {
    public var isTLS: Bool
    /// The authority that the client used, where it is not the one in `Host`.
    public var authority: [UInt8]?

    public init(isTLS: Bool, authority: [UInt8]? = nil) {
        self.isTLS = isTLS
        self.authority = authority
    }

    /// Host and port as the client named them.
    public func authority(of head: RequestHead) -> [UInt8] {
        authority ?? Array(bytes: head.span(of: head.authority))
    }
}
