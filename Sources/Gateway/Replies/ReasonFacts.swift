import Telemetry

/// What a client is told about a reason: the one place where a reason becomes a status and words.
struct ReasonFacts {
    /// The status it usually has; a refusal may carry another.
    let status: Int
    /// The problem's `title`, the same for every occurrence (RFC 9457 section 3.1.3).
    let title: StaticString
    /// The problem's `detail` and the challenge's `error_description`: printable ASCII without `"` and `\`,
    /// as RFC 6750 section 3 demands.
    let detail: StaticString

    init(_ status: Int, _ title: StaticString, _ detail: StaticString) {
        self.status = status
        self.title = title
        self.detail = detail
    }
}

extension Reason {
    /// Whether the reason would tell a stranger whether a client, a token or a key exists; the reply then
    /// says `invalid_credentials` and no more. The log, the metrics and `explain` have the exact reason.
    ///
    /// Times, replay and body hashes are told: they are judged after the signature, or of values that the
    /// caller sent in the clear, and without them an honest client with a wrong clock could not be mended.
    var isHiddenFromStrangers: Bool {
        switch self {
        case .unknownIssuer, .unknownKey, .badSignature, .badAlgorithm, .wrongType, .unknownClient,
            .unknownToken, .wrongSecret:
            true
        default:
            false
        }
    }

    /// The name that the reply has for the reason.
    var publicName: String { isHiddenFromStrangers ? "invalid_credentials" : rawValue }

    var facts: ReasonFacts {
        if isHiddenFromStrangers {
            return ReasonFacts(401, "Invalid credentials", "The credentials are not valid.")
        }
        return credentialFacts ?? requestFacts ?? serverFacts
    }

    private var credentialFacts: ReasonFacts? {
        switch self {
        case .noCredentials:
            .init(401, "Credentials required", "The request carries no credentials.")
        case .malformedCredentials:
            .init(400, "Malformed credentials", "The credentials cannot be read.")
        case .duplicateCredentials:
            .init(400, "Duplicate credentials", "The request carries more than one credential.")
        case .tokenExpired:
            .init(401, "Token expired", "The access token has expired.")
        case .tokenNotYetValid:
            .init(401, "Token not yet valid", "The access token is not valid yet.")
        case .tokenRevoked:
            .init(401, "Token revoked", "The access token was revoked.")
        case .timestampOutOfWindow:
            .init(
                401, "Timestamp out of window",
                "The time of the signature or proof is too far from the server's clock.")
        case .nonceReused:
            .init(
                401, "Nonce reused", "The nonce, or the jti of the proof, was used before.")
        case .unsupportedSignatureMethod:
            .init(
                400, "Unsupported signature method", "The oauth_signature_method is not accepted.")
        case .plaintextNeedsTLS:
            .init(401, "PLAINTEXT needs TLS", "PLAINTEXT is not accepted without TLS.")
        case .bodyHashMismatch:
            .init(401, "Body hash mismatch", "The oauth_body_hash is not that of the body.")
        case .proofMismatch:
            .init(
                401, "Proof mismatch",
                "The key or certificate that the token is bound to is not proven by the request.")
        case .invalidProof:
            .init(401, "Invalid DPoP proof", "The DPoP proof is invalid.")
        case .wrongProofTarget:
            .init(
                401, "DPoP target mismatch",
                "The htm or htu of the DPoP proof is not that of the request.")
        case .nonceRequired:
            .init(
                401, "Nonce required",
                "A nonce of this server is required in the DPoP proof.")
        case .certificateExpired:
            .init(
                401, "Certificate expired",
                "The connection's certificate has ended, or is judged anew: connect again.")
        case .wrongAudience:
            .init(403, "Wrong audience", "The credentials are meant for another audience.")
        case .insufficientScope:
            .init(403, "Insufficient scope", "The credentials lack a scope that is needed here.")
        case .claimMismatch:
            .init(403, "Claim mismatch", "The token lacks a claim that is needed here.")
        case .clientNotAllowed:
            .init(403, "Client not allowed", "This client may not use this resource.")
        case .addressDenied:
            .init(403, "Address denied", "This resource is not served to the client's address.")
        default:
            nil
        }
    }

    private var requestFacts: ReasonFacts? {
        switch self {
        case .noRoute:
            .init(404, "No route", "Nothing is served under this host and path.")
        case .methodNotAllowed:
            .init(405, "Method not allowed", "The method is not allowed here.")
        case .badPath:
            .init(400, "Bad path", "The path can be read in more than one way.")
        case .badRequest:
            .init(400, "Bad request", "The request is not well-formed HTTP.")
        case .headTooLarge:
            .init(431, "Head too large", "The header fields are too large or too many.")
        case .uriTooLong:
            .init(414, "URI too long", "The request line is too long.")
        case .bodyTooLarge:
            .init(413, "Body too large", "The body is larger than is accepted here.")
        case .expectationFailed:
            .init(417, "Expectation failed", "The only expectation that is met is 100-continue.")
        case .unsupportedVersion:
            .init(505, "Version not supported", "The HTTP version is not supported.")
        case .upgradeNotSupported:
            .init(501, "Upgrade not supported", "Upgrades to other protocols are not supported.")
        case .timeout:
            .init(408, "Timeout", "The request took too long.")
        case .clientClosed:
            // Never sent, since nobody listens any more; the number that nginx logs.
            .init(499, "Client closed", "The client closed the connection.")
        case .rateLimited:
            .init(429, "Too many requests", "More requests came than are accepted in this time.")
        case .tooManyConnections:
            .init(503, "Too many connections", "No further connection can be served.")
        case .invalidGrantRequest:
            .init(400, "Invalid request", "The token request is not well-formed.")
        case .unsupportedGrantType:
            .init(400, "Unsupported grant type", "The grant type is not supported.")
        case .invalidScope:
            .init(400, "Invalid scope", "A scope that was asked for is not granted.")
        case .invalidTarget:
            .init(400, "Invalid target", "An audience that was asked for is not granted.")
        default:
            nil
        }
    }

    /// What is left: the other side, and ourselves.
    private var serverFacts: ReasonFacts {
        switch self {
        case .upstreamConnect:
            .init(502, "Upstream unreachable", "The upstream server could not be reached.")
        case .upstreamTimeout:
            .init(504, "Upstream timeout", "The upstream server did not answer in time.")
        case .upstreamReset:
            .init(502, "Upstream reset", "The upstream server closed the connection.")
        case .upstreamBadResponse:
            .init(502, "Bad upstream response", "The upstream server's answer is not valid.")
        case .noHealthyUpstream:
            .init(503, "No healthy upstream", "No upstream server can take the request.")
        case .issuerUnavailable:
            .init(503, "Issuer unavailable", "The credentials cannot be checked at the moment.")
        case .storeUnavailable:
            .init(503, "Store unavailable", "The credentials cannot be checked at the moment.")
        case .shuttingDown:
            .init(503, "Shutting down", "The server is shutting down.")
        default:
            .init(500, "Internal error", "The request could not be served.")
        }
    }
}
