import Configuration
import OAuth
import Telemetry

/// A limit as its client is told of it.
public struct RefusedRate: Sendable, Equatable {
    /// Printable ASCII without `"` and `\`.
    public var name: String
    /// Requests in the window.
    public var quota: Int
    public var windowSeconds: Int

    public init(name: String, quota: Int, windowSeconds: Int) {
        self.name = name
        self.quota = quota
        self.windowSeconds = windowSeconds
    }
}

/// Why a request is not served, and all that the answer needs to say so. Every phase refuses with one of
/// these; status, log and counter follow from it.
public struct Refusal: Sendable, Equatable {
    /// The exact reason: for the log and the metrics. The reply may say less.
    public var reason: Reason
    public var status: Int
    /// The scheme of the credential that failed; `nil` when none was given. RFC 6750 section 3.1: who sent no
    /// credential is told no error.
    public var attempted: CredentialKind?
    /// By which scheme the token was shown that failed; with `attempted` `.bearer`.
    public var tokenScheme = TokenScheme.bearer
    /// What is wrong with its proof; `nil`: the token itself is refused, or no proof was looked at.
    public var proofError: DPoPError?
    /// Whether a proof would help: then a DPoP challenge asks for one, also where the route does not.
    public var asksForProof = false
    /// What the next proof must have as its nonce; empty where nothing new is to be told.
    public var nonce: [UInt8] = []
    /// The scopes that would do, separated by spaces; with `insufficient_scope`.
    public var neededScopes: [UInt8] = []
    /// The value of `Allow`; with 405.
    public var allow: [UInt8] = []
    /// The value of `Retry-After`, in seconds; with 429 and 503.
    public var retryAfterSeconds: Int?
    /// The limit that the request would have gone past.
    public var rate: RefusedRate?

    /// - Parameters:
    ///   - status: where it is another than the reason's own: a token meant for another audience is no
    ///     credential here (401), while a route that demands an audience refuses with 403.
    ///   - attempted: the scheme of the credential that failed.
    public init(_ reason: Reason, status: Int? = nil, attempted: CredentialKind? = nil) {
        self.reason = reason
        self.status = status ?? reason.facts.status
        self.attempted = attempted
    }

    /// The name in the reply: the reason's own, or `invalid_credentials` where that would tell a stranger
    /// too much.
    public var publicReason: String { reason.publicName }

    /// The `error` of the challenge to whoever showed a token (RFC 6750 section 3.1, RFC 9449 section 7.1), if it has one.
    var tokenError: StaticString? {
        guard attempted == .bearer else { return nil }
        if let proofError {
            return proofError == .nonceRequired ? "use_dpop_nonce" : "invalid_dpop_proof"
        }
        switch status {
        case 400: return "invalid_request"
        case 401: return "invalid_token"
        case 403 where reason == .insufficientScope: return "insufficient_scope"
        default: return nil
        }
    }
}
