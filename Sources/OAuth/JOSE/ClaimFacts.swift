import Primitives

/// The claims that every token is judged by (RFC 7519 section 4.1, RFC 9068 section 2.2), read with
/// their types.
struct ClaimFacts: ~Copyable {
    private static let audienceLimit = 64
    private static let scopeLimit = 256

    let clientID: String
    let subject: String?
    let scopes: [String]
    let audiences: [String]
    let tokenID: String?
    let expiresAt: Int64
    let notBefore: Int64?
    let issuedAt: Int64?
    /// Of the certificate that the token is bound to (RFC 8705 section 3.1); `nil`: to none.
    let certificateThumbprint: [UInt8]?
    /// Of the key that the token is bound to (RFC 9449 section 6.1); `nil`: to none.
    let keyThumbprint: [UInt8]?

    /// Both are lent: an initializer would take over a copy of each, with a dozen references to count.
    ///
    /// - Parameter isIntrospected: the claims are what a server says of a token (RFC 7662 section 2.2): `exp` and `aud` may
    ///   be missing, and without audiences of its own the issuer's word holds for any.
    /// - Throws: `.missingClaim`, `.invalidClaim`, `.wrongAudience`, `.confirmationRequired`.
    init(
        _ claims: borrowing JSONDocument, issuer: borrowing TrustedIssuer,
        isIntrospected: Bool = false
    ) throws(TokenError) {
        let end = try ClaimFacts.seconds("exp", claims)
        guard let expiresAt = end ?? (isIntrospected ? .max : nil) else {
            throw .missingClaim("exp")
        }
        let notBefore = try ClaimFacts.seconds("nbf", claims)
        // Without a rule of its own (RFC 7519 section 4.1.6), but a token that is wrong about it is
        // no token.
        let issuedAt = try ClaimFacts.seconds("iat", claims)
        let audiences: [String]
        if isIntrospected, issuer.audiences.isEmpty {
            audiences = claims.member("aud") == nil ? [] : try ClaimFacts.audiences(claims)
        } else {
            audiences = try ClaimFacts.audiences(claims)
            guard issuer.takesOne(of: audiences) else { throw .wrongAudience }
        }
        let (certificateThumbprint, keyThumbprint) = try ClaimFacts.bindings(claims)
        let subject = try ClaimFacts.text("sub", claims)
        let tokenID = try ClaimFacts.text("jti", claims)
        let clientID = try ClaimFacts.client(claims, issuer)
        let scopes = try ClaimFacts.scopes(claims, issuer)
        // All at once: nothing that cannot be copied may be half made.
        self.expiresAt = expiresAt
        self.notBefore = notBefore
        self.issuedAt = issuedAt
        self.audiences = audiences
        self.certificateThumbprint = certificateThumbprint
        self.keyThumbprint = keyThumbprint
        self.subject = subject
        self.tokenID = tokenID
        self.clientID = clientID
        self.scopes = scopes
    }

    /// A token that is bound in a way that is not checked here is good for nobody (fail closed).
    private static func bindings(
        _ claims: borrowing JSONDocument
    ) throws(TokenError) -> (certificate: [UInt8]?, key: [UInt8]?) {
        guard let cnf = claims.member("cnf") else { return (nil, nil) }
        guard claims.kind(cnf) == .object else { throw .confirmationRequired }
        let certificate = claims.member("x5t#S256", of: cnf)
        let key = claims.member("jkt", of: cnf)
        let known = [certificate, key].count { $0 != nil }
        guard known > 0, claims.childCount(of: cnf) == known else { throw .confirmationRequired }
        return (try thumbprint(certificate, claims), try thumbprint(key, claims))
    }

    private static func thumbprint(
        _ node: Int?, _ claims: borrowing JSONDocument
    ) throws(TokenError) -> [UInt8]? {
        guard let node else { return nil }
        guard let text = claims.string(node), let bytes = Base64.decode(text, .url),
            bytes.count == 32
        else { throw .invalidClaim("cnf") }
        return bytes
    }

    private static func seconds(
        _ name: StaticString, _ claims: borrowing JSONDocument
    ) throws(TokenError) -> Int64? {
        guard let node = claims.member(name) else { return nil }
        guard let seconds = claims.seconds(node) else { throw .invalidClaim("\(name)") }
        return seconds
    }

    /// A string or an array of strings, compared whole and as it is: never a prefix, never split.
    private static func audiences(_ claims: borrowing JSONDocument) throws(TokenError) -> [String] {
        guard let node = claims.member("aud") else { throw .missingClaim("aud") }
        if let one = claims.string(node) { return [one] }
        guard let several = claims.strings(node), several.count <= audienceLimit else {
            throw .invalidClaim("aud")
        }
        return several
    }

    private static func client(
        _ claims: borrowing JSONDocument, _ issuer: borrowing TrustedIssuer
    ) throws(TokenError) -> String {
        for name in issuer.clientClaims where claims.member(name) != nil {
            guard let client = try text(name, claims) else { break }
            return client
        }
        throw .missingClaim(issuer.clientClaims.first ?? "client_id")
    }

    private static func text(_ name: String, _ claims: borrowing JSONDocument) throws(TokenError)
        -> String?
    {
        guard let node = claims.member(name) else { return nil }
        guard claims.kind(node) == .string, HeaderText.isAcceptable(claims.text(node)),
            let text = claims.string(node)
        else { throw .invalidClaim(name) }
        return text
    }

    /// A text with spaces between the scopes (RFC 9068 section 2.2.3), or an array with one in each
    /// element.
    private static func scopes(
        _ claims: borrowing JSONDocument, _ issuer: borrowing TrustedIssuer
    ) throws(TokenError) -> [String] {
        for name in issuer.scopeClaims {
            guard let node = claims.member(name) else { continue }
            let scopes =
                claims.kind(node) == .string ? words(claims.text(node)) : claims.strings(node)
            guard let scopes, scopes.count <= scopeLimit, scopes.allSatisfy(isScope) else {
                throw .invalidClaim(name)
            }
            return scopes
        }
        return []
    }

    /// What stands between spaces.
    private static func words(_ text: Span<UInt8>) -> [String] {
        var words: [String] = []
        var blanks = 0
        for index in text.indices where text[index] == 0x20 { blanks += 1 }
        words.reserveCapacity(min(blanks, scopeLimit) + 1)
        var start = 0
        for index in 0...text.count where index == text.count || text[index] == 0x20 {
            if index > start { words.append(text.extracting(start..<index).text) }
            start = index + 1
        }
        return words
    }

    /// A scope-token of RFC 6749 section 3.3. It holds no space, so that an element of an array
    /// never becomes two scopes in a header.
    private static func isScope(_ scope: String) -> Bool {
        let text = scope.utf8Span.span
        guard text.count > 0, text.count <= HeaderText.limitBytes else { return false }
        for index in 0..<text.count {
            switch text[index] {
            case 0x21, 0x23...0x5B, 0x5D...0x7E: continue
            default: return false
            }
        }
        return true
    }
}
