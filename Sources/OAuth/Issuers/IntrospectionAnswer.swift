import Primitives

/// What the answers of an introspection server are held to.
public struct IntrospectionTerms: Sendable, Equatable {
    /// Its name in the configuration, for logs.
    public var name: String
    /// The `iss` that an answer must have, byte for byte; `nil`: any but those below, or none.
    public var issuer: String?
    /// One of these must be in `aud`; with none the routes judge it.
    public var audiences: [String]
    /// Whose tokens are proven here by their signatures: no other server speaks for them.
    public var provenIssuers: [String]

    public init(name: String, issuer: String?, audiences: [String], provenIssuers: [String]) {
        self.name = name
        self.issuer = issuer
        self.audiences = audiences
        self.provenIssuers = provenIssuers
    }
}

/// Why an answer says nothing: the server's failure, not the token's.
public enum IntrospectionFault: Error, Equatable, Sendable {
    /// No JSON object, or one with a member twice.
    case malformed
    /// `active` is neither true nor false (RFC 7662 section 2.2).
    case noVerdict
}

/// What an introspection server says of a token (RFC 7662 section 2.2). Never what the token may do: that is judged anew for
/// each route.
public enum IntrospectionAnswer: Sendable {
    case active(VerifiedToken)
    case inactive
    /// It calls the token active, but what it says does not hold here.
    case refused(TokenError)

    /// An introspected token ends by the server's clock, which is not quite ours.
    private static let clockSkewSeconds: Int64 = 1

    /// Reads the content of an answer with status 200. Times are judged when the token is used.
    ///
    /// - Parameter digest: SHA-256 of the token's text.
    public init(
        _ text: [UInt8], terms: IntrospectionTerms, digest: [UInt8]? = nil
    ) throws(IntrospectionFault) {
        var claims = JSONDocument()
        do throws(JSONError) {
            try claims.read(text.span, limits: TokenVerifier.claimLimits)
        } catch {
            throw .malformed
        }
        guard claims.isObject else { throw .malformed }
        switch claims.member("active").map({ claims.kind($0) }) {
        case .true: break
        case .false:
            self = .inactive
            return
        default: throw .noVerdict
        }
        do throws(TokenError) {
            self = .active(try IntrospectionAnswer.token(claims, terms, digest))
        } catch {
            self = .refused(error)
        }
    }

    private static func token(
        _ claims: JSONDocument, _ terms: IntrospectionTerms, _ digest: [UInt8]?
    ) throws(TokenError) -> VerifiedToken {
        let isKeyBound = try isProofNeeded(claims)
        let server = TrustedIssuer(
            name: terms.name, issuer: try issuer(claims, terms), audiences: terms.audiences,
            algorithms: [], clockSkewSeconds: clockSkewSeconds, keys: .empty)
        let said = try TokenClaims(claims, issuer: server, isIntrospected: true)
        // To which key it is bound the answer has to say (RFC 9449 section 6.2).
        if isKeyBound, said.keyThumbprint == nil { throw .confirmationRequired }
        return VerifiedToken(said, issuer: server, digest: digest)
    }

    /// Whether the type says that the token is bound to a key. A refresh token is active too, and no access token.
    private static func isProofNeeded(_ claims: JSONDocument) throws(TokenError) -> Bool {
        guard let node = claims.member("token_type") else { return false }
        switch claims.string(node)?.lowercased() {
        case "bearer", "access_token": return false
        case "dpop": return true
        default: throw .wrongType
        }
    }

    private static func issuer(
        _ claims: JSONDocument, _ terms: IntrospectionTerms
    ) throws(TokenError) -> String {
        guard let node = claims.member("iss") else {
            guard terms.issuer == nil else { throw .missingClaim("iss") }
            return ""
        }
        guard let name = claims.string(node), HeaderText.isAcceptable(name) else {
            throw .invalidClaim("iss")
        }
        let isRight =
            if let wanted = terms.issuer {
                claims.isString(node, wanted)
            } else {
                !terms.provenIssuers.contains { claims.isString(node, $0) }
            }
        guard isRight else { throw .unknownIssuer }
        return name
    }
}
