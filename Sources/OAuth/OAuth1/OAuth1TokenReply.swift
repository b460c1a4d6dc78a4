import Primitives

/// The answer of `/oauth1/request_token` and `/oauth1/access_token` (RFC 5849 sections 2.1 and 2.3).
public struct OAuth1TokenReply: Sendable {
    public static let mediaType = "application/x-www-form-urlencoded"

    public let token: String
    public let secret: Secret
    /// Whether `oauth_callback_confirmed` is said: to who sent `oauth_callback`, and to nobody else, since clients of
    /// OAuth Core 1.0 refuse an answer with a parameter that they do not know.
    public let confirmsCallback: Bool

    /// The temporary credentials that `claim` asked for (section 2.1).
    public init(temporary token: String, secret: Secret, for claim: OAuth1Claim) {
        self.token = token
        self.secret = secret
        confirmsCallback = claim.callback != nil
    }

    /// The token credentials (section 2.3).
    public init(token: String, secret: Secret) {
        self.token = token
        self.secret = secret
        confirmsCallback = false
    }

    /// Two parameters, or three; never more.
    public var body: [UInt8] {
        var body = Array("oauth_token=".utf8)
        PercentCoding.encode(Array(token.utf8).span, into: &body)
        body.append(contentsOf: "&oauth_token_secret=".utf8)
        PercentCoding.encode(secret.exposed.span, into: &body)
        if confirmsCallback { body.append(contentsOf: "&oauth_callback_confirmed=true".utf8) }
        return body
    }
}
