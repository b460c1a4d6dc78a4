import Cryptography
import Primitives

/// A JWT by which a client has proven itself (`private_key_jwt`; RFC 7523 section 3, RFC 7521 section 5.2).
///
/// Good for one request: whoever takes it records `tokenID` of `clientID` as used until `expiresAt`, and refuses it with
/// `.assertionReused` when it is recorded already (RFC 7523 section 3 item 7).
public struct ClientAssertion: Sendable, Equatable {
    /// The `client_assertion_type` (RFC 7523 section 2.2).
    public static let type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    /// A `jti` of more bytes is refused: it is kept.
    public static let tokenIDLimitBytes = 256
    private static let claimLimits = JSONDocument.Limits(depth: 16, nodes: 256, members: 64)
    private static let audienceLimit = 64

    public let clientID: String
    /// The `jti`.
    public let tokenID: String
    /// The `exp`, in seconds since the epoch: from then on it holds no more, so it need not be remembered.
    public let expiresAt: Int64
    /// The `iat`, in seconds since the epoch; without one the first moment at which it could be shown.
    public let issuedAt: Int64

    /// What is asked of an assertion.
    public struct Policy: Sendable, Equatable {
        /// One of these must be in `aud`, exactly: the issuer, and the URL of the token endpoint.
        public var audiences: [String]
        /// How far ahead `exp` may lie, the skew aside: so long its `jti` has to be remembered.
        public var lifetimeLimitSeconds: Int64
        public var clockSkewSeconds: Int64
        /// Of key pairs only: with a MAC, every secret that a person chose would be a key.
        public let algorithms: Set<JWSAlgorithm>

        public static let algorithms: [JWSAlgorithm] = [.rs256, .ps256, .es256, .edDSA]

        public init(
            audiences: [String], lifetimeLimitSeconds: Int64 = 600, clockSkewSeconds: Int64 = 30,
            algorithms: [JWSAlgorithm] = Policy.algorithms
        ) {
            self.audiences = audiences
            self.lifetimeLimitSeconds = lifetimeLimitSeconds
            self.clockSkewSeconds = clockSkewSeconds
            self.algorithms = Set(algorithms.filter { !$0.isSymmetric })
        }
    }

    /// Proves the client of an assertion.
    ///
    /// An unknown client, one without keys and one whose key did not sign cost the same: a signature is checked for
    /// each, by a key that nobody has where there is none.
    ///
    /// - Throws: `.invalidClient`.
    public static func verify(
        _ assertion: Span<UInt8>, now: WallTime, policy: Policy,
        lookup: (String) -> RegisteredClient?
    ) throws(TokenRequestError) -> ProvenClient {
        let parts: JWSParts
        let claims: JSONDocument
        let id: String
        do throws(TokenError) {
            parts = try header(assertion, policy)
            claims = try readClaims(assertion, parts)
            // Not proven yet: it only chooses whose key must prove it.
            id = try subject(claims)
        } catch {
            throw .invalidClient(.badAssertion(error))
        }
        let found = lookup(id)
        let client = found.flatMap { $0.id.hasBytes(of: id) ? $0 : nil }
        let fault = fault(parts, assertion, keys: client?.keys)
        guard let client else { throw .invalidClient(.unknownClient) }
        guard client.authMethod == .privateKeyJWT else { throw .invalidClient(.methodNotAllowed) }
        if let fault { throw .invalidClient(.badAssertion(fault)) }
        do throws(TokenError) {
            return ProvenClient(
                client: client,
                assertion: try ClientAssertion(claims, clientID: id, now: now, policy: policy))
        } catch {
            throw .invalidClient(.badAssertion(error))
        }
    }

    // MARK: Reading

    private static func header(
        _ assertion: Span<UInt8>, _ policy: Policy
    ) throws(TokenError) -> JWSParts {
        var parts = JWSParts()
        try parts.read(assertion)
        guard policy.algorithms.contains(parts.algorithm) else { throw .badAlgorithm }
        // An access token must not do for an assertion (RFC 8725 section 3.11); the last is RFC 7523bis's.
        guard [nil, "jwt", "client-authentication+jwt"].contains(parts.mediaType) else {
            throw .wrongType
        }
        return parts
    }

    private static func readClaims(
        _ assertion: Span<UInt8>, _ parts: JWSParts
    ) throws(TokenError) -> JSONDocument {
        var claims = JSONDocument()
        do throws(JSONError) {
            try claims.read(base64URL: assertion.extracting(parts.payload), limits: claimLimits)
        } catch {
            throw .malformed
        }
        guard claims.isObject else { throw .malformed }
        return claims
    }

    /// The client is both who made it and whom it is about (RFC 7523 section 3 items 1 and 2).
    private static func subject(_ claims: JSONDocument) throws(TokenError) -> String {
        let issuer = try text("iss", claims)
        guard try text("sub", claims).hasBytes(of: issuer) else { throw .invalidClaim("sub") }
        return issuer
    }

    private static func text(
        _ name: StaticString, _ claims: JSONDocument
    ) throws(TokenError) -> String {
        guard let node = claims.member(name) else { throw .missingClaim("\(name)") }
        guard let text = claims.string(node), !text.isEmpty else { throw .invalidClaim("\(name)") }
        return text
    }

    // MARK: The signature

    /// Why no key of the client's has signed; `nil` when one has.
    ///
    /// With a `kid` one signature is checked, without one two at least: a client may have two live keys.
    private static func fault(
        _ parts: JWSParts, _ assertion: Span<UInt8>, keys: KeySet?
    ) -> TokenError? {
        let keyID = parts.keyID.map { Array(parts.header.bytes[$0]) }
        let known = keys?.keys.filter { keyID == nil || $0.keyID == keyID } ?? []
        let fitting = known.filter { $0.isFit(for: parts.algorithm) }
            .prefix(keyID == nil ? JWSVerifier.triesWithoutKeyID : 1)
        for key in fitting where JWSVerifier.isValid(parts, of: assertion, by: key) { return nil }
        for _ in fitting.count..<max(fitting.count, keyID == nil ? 2 : 1) {
            if let decoy = DecoyKey.key(for: parts.algorithm) {
                _ = JWSVerifier.isValid(parts, of: assertion, by: decoy)
            }
        }
        guard fitting.isEmpty else { return .badSignature }
        return known.isEmpty || keyID == nil ? .unknownKey : .badAlgorithm
    }

    // MARK: Judging

    /// Judges claims whose signature holds.
    private init(
        _ claims: JSONDocument, clientID: String, now: WallTime, policy: Policy
    ) throws(TokenError) {
        guard let node = claims.member("aud") else { throw .missingClaim("aud") }
        let named = claims.string(node).map { [$0] } ?? claims.strings(node)
        guard let named, named.count <= ClientAssertion.audienceLimit else {
            throw .invalidClaim("aud")
        }
        guard named.contains(where: { one in policy.audiences.contains { $0.hasBytes(of: one) } })
        else { throw .wrongAudience }
        guard let expiresAt = try ClientAssertion.seconds("exp", claims) else {
            throw .missingClaim("exp")
        }
        guard now.seconds < expiresAt else { throw .expired }
        let latest = now.seconds + policy.clockSkewSeconds
        guard expiresAt <= latest + policy.lifetimeLimitSeconds else { throw .invalidClaim("exp") }
        for name: StaticString in ["nbf", "iat"] {
            guard let seconds = try ClientAssertion.seconds(name, claims) else { continue }
            guard seconds <= latest else { throw .notYetValid }
        }
        let tokenID = try ClientAssertion.text("jti", claims)
        guard tokenID.utf8.count <= ClientAssertion.tokenIDLimitBytes else {
            throw .invalidClaim("jti")
        }
        self.clientID = clientID
        self.tokenID = tokenID
        self.expiresAt = expiresAt
        issuedAt =
            try ClientAssertion.seconds("iat", claims)
            ?? (expiresAt - policy.lifetimeLimitSeconds - policy.clockSkewSeconds)
    }

    private static func seconds(
        _ name: StaticString, _ claims: JSONDocument
    ) throws(TokenError) -> Int64? {
        guard let node = claims.member(name) else { return nil }
        guard let seconds = claims.seconds(node) else { throw .invalidClaim("\(name)") }
        return seconds
    }
}

/// A client that has proven itself, and what must be recorded before it is granted anything.
public struct ProvenClient: Sendable {
    public let client: RegisteredClient
    /// To be recorded as used; `nil` where the proof may be shown again.
    public let assertion: ClientAssertion?

    public init(client: RegisteredClient, assertion: ClientAssertion? = nil) {
        self.client = client
        self.assertion = assertion
    }
}
