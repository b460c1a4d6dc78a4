import Primitives

/// What a token says (RFC 7519 section 4.1, RFC 9068 section 2.2), read with the types that its claims must have, and judged as
/// far as no route has a say in it, its times aside.
///
/// The claims stay the text that they came as, and what is asked for at each request is a place in it. Strings are made for
/// who asks: rates, revocations and what is ours by the client's name.
///
/// It cannot be copied, only lent: a copy would count a reference for each of its arrays.
public struct TokenClaims: ~Copyable, Sendable {
    private static let audienceLimit = 64
    private static let scopeLimit = 256
    /// Between scopes; more than one is not in the grammar, but some issuers write them. What is between the scopes is passed
    /// over at each use.
    private static let blankLimit = 2 * scopeLimit

    private let document: JSONDocument
    /// Nodes of the document; `nil`: the token does not say.
    private let clientNode: Int
    private let subjectNode: Int?
    private let tokenIDNode: Int?
    private let audienceNode: Int?
    private let scopeNode: Int?
    /// Seconds since the epoch, as the token has them: without the skew.
    let expiresAt: Int64
    let notBefore: Int64?
    let issuedAt: Int64?
    /// Of the certificate that the token is bound to (RFC 8705 section 3.1); `nil`: to none.
    let certificateThumbprint: [UInt8]?
    /// Of the key that the token is bound to (RFC 9449 section 6.1); `nil`: to none.
    let keyThumbprint: [UInt8]?

    /// Both are lent: an initializer would take over a copy of each, with a dozen references to count.
    ///
    /// - Parameters:
    ///   - claims: an object; copied when it holds.
    ///   - isIntrospected: the claims are what a server says of a token (RFC 7662 section 2.2): `exp` and `aud` may
    ///     be missing, and without audiences of its own the issuer's word holds for any.
    /// - Throws: `.missingClaim`, `.invalidClaim`, `.wrongAudience`, `.confirmationRequired`.
    init(
        _ claims: borrowing JSONDocument, issuer: borrowing TrustedIssuer,
        isIntrospected: Bool = false
    ) throws(TokenError) {
        let named = RegisteredClaims(claims)
        let end = try TokenClaims.seconds(named.expiresAt, "exp", claims)
        guard let expiresAt = end ?? (isIntrospected ? .max : nil) else {
            throw .missingClaim("exp")
        }
        let notBefore = try TokenClaims.seconds(named.notBefore, "nbf", claims)
        // Without a rule of its own (RFC 7519 section 4.1.6), but a token that is wrong about it is
        // no token.
        let issuedAt = try TokenClaims.seconds(named.issuedAt, "iat", claims)
        try TokenClaims.checkAudiences(named.audience, claims)
        if !isIntrospected || !issuer.audiences.isEmpty {
            guard let audience = named.audience else { throw .missingClaim("aud") }
            guard TokenClaims.isMeant(for: issuer.audiences, audience, claims) else {
                throw .wrongAudience
            }
        }
        let (certificateThumbprint, keyThumbprint) = try TokenClaims.bindings(
            named.confirmation, claims)
        try TokenClaims.checkText(named.subject, "sub", claims)
        try TokenClaims.checkText(named.tokenID, "jti", claims)
        let client = try TokenClaims.findClient(claims, issuer)
        let scope = try TokenClaims.findScopes(claims, issuer)
        // All at once: nothing that cannot be copied may be half made.
        self.expiresAt = expiresAt
        self.notBefore = notBefore
        self.issuedAt = issuedAt
        self.certificateThumbprint = certificateThumbprint
        self.keyThumbprint = keyThumbprint
        clientNode = client
        subjectNode = named.subject
        tokenIDNode = named.tokenID
        audienceNode = named.audience
        scopeNode = scope
        document = claims.compacted()
    }

    // MARK: What it says

    /// The client's name: UTF-8 that may become a header value.
    public var clientText: Span<UInt8> {
        @_lifetime(borrow self) get { document.text(clientNode) }
    }

    /// The `sub`, likewise; empty when the token has none.
    public var subjectText: Span<UInt8> {
        @_lifetime(borrow self) get {
            guard let subjectNode else { return document.bytes.span.extracting(0..<0) }
            return document.text(subjectNode)
        }
    }

    var clientID: String { clientText.text }
    var subject: String? { subjectNode.flatMap { document.string($0) } }
    /// The `jti`.
    var tokenID: String? { tokenIDNode.flatMap { document.string($0) } }

    /// Calls `body` for each scope in order, until it returns false.
    ///
    /// - Returns: false if `body` did.
    @discardableResult
    public func forEachScope(_ body: (Span<UInt8>) -> Bool) -> Bool {
        guard let scopeNode else { return true }
        return TokenClaims.forEachScope(scopeNode, document, body)
    }

    /// Calls `body` for each audience in order, until it returns false.
    ///
    /// - Returns: false if `body` did.
    @discardableResult
    public func forEachAudience(_ body: (Span<UInt8>) -> Bool) -> Bool {
        guard let audienceNode else { return true }
        return TokenClaims.forEachText(audienceNode, document, body)
    }

    /// A claim at the top of the token; `nil` if it is absent, null, or of a shape that no rule
    /// compares.
    func value(_ name: String) -> VerifiedToken.ClaimValue? {
        guard let node = document.member(name) else { return nil }
        switch document.kind(node) {
        case .string:
            return document.string(node).map(VerifiedToken.ClaimValue.string)
        case .number:
            return .number(document.text(node).text)
        case .true:
            return .bool(true)
        case .false:
            return .bool(false)
        case .array:
            return document.strings(node).map(VerifiedToken.ClaimValue.strings)
        case .object, .null:
            return nil
        }
    }

    /// The JSON text, as it came.
    var json: [UInt8] { Array(document.text) }

    /// The memory it holds beside itself, in bytes, near enough for a limit.
    var footprint: Int {
        document.footprint + (certificateThumbprint == nil ? 0 : 64)
            + (keyThumbprint == nil ? 0 : 64)
    }

    // MARK: How it is read

    private static func seconds(
        _ node: Int?, _ name: String, _ claims: borrowing JSONDocument
    ) throws(TokenError) -> Int64? {
        guard let node else { return nil }
        guard let seconds = claims.seconds(node) else { throw .invalidClaim(name) }
        return seconds
    }

    private static func checkText(
        _ node: Int?, _ name: String, _ claims: borrowing JSONDocument
    ) throws(TokenError) {
        guard let node else { return }
        guard claims.kind(node) == .string, HeaderText.isAcceptable(claims.text(node)) else {
            throw .invalidClaim(name)
        }
    }

    /// A string or an array of strings, compared whole and as it is: never a prefix, never split.
    private static func checkAudiences(
        _ node: Int?, _ claims: borrowing JSONDocument
    ) throws(TokenError) {
        guard let node else { return }
        guard isTexts(node, claims) else { throw .invalidClaim("aud") }
        guard claims.kind(node) == .string || claims.childCount(of: node) <= audienceLimit else {
            throw .invalidClaim("aud")
        }
    }

    /// Whether one of the audiences is among those named, byte for byte.
    private static func isMeant(
        for audiences: [String], _ node: Int, _ claims: borrowing JSONDocument
    ) -> Bool {
        !forEachText(node, claims) { name in
            for audience in audiences where audience.utf8Span.span.equals(name) { return false }
            return true
        }
    }

    /// A token that is bound in a way that is not checked here is good for nobody (fail closed).
    private static func bindings(
        _ cnf: Int?, _ claims: borrowing JSONDocument
    ) throws(TokenError) -> (certificate: [UInt8]?, key: [UInt8]?) {
        guard let cnf else { return (nil, nil) }
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

    private static func findClient(
        _ claims: borrowing JSONDocument, _ issuer: borrowing TrustedIssuer
    ) throws(TokenError) -> Int {
        for name in issuer.clientClaims {
            guard let node = claims.member(name) else { continue }
            try checkText(node, name, claims)
            return node
        }
        throw .missingClaim(issuer.clientClaims.first ?? "client_id")
    }

    /// A text with spaces between the scopes (RFC 9068 section 2.2.3), or an array with one in each
    /// element.
    private static func findScopes(
        _ claims: borrowing JSONDocument, _ issuer: borrowing TrustedIssuer
    ) throws(TokenError) -> Int? {
        for name in issuer.scopeClaims {
            guard let node = claims.member(name) else { continue }
            guard isTexts(node, claims), areScopes(node, claims) else { throw .invalidClaim(name) }
            return node
        }
        return nil
    }

    private static func areScopes(_ node: Int, _ claims: borrowing JSONDocument) -> Bool {
        var (count, length) = (0, 0)
        let areRight = forEachScope(node, claims) { scope in
            count += 1
            length += scope.count
            return count <= scopeLimit && isScope(scope)
        }
        guard areRight else { return false }
        return claims.kind(node) != .string || claims.text(node).count - length <= blankLimit
    }

    /// A scope-token of RFC 6749 section 3.3. It holds no space, so that an element of an array
    /// never becomes two scopes in a header.
    private static func isScope(_ text: Span<UInt8>) -> Bool {
        guard text.count > 0, text.count <= HeaderText.limitBytes else { return false }
        for index in 0..<text.count {
            switch text[index] {
            case 0x21, 0x23...0x5B, 0x5D...0x7E: continue
            default: return false
            }
        }
        return true
    }

    // MARK: Texts of a claim

    /// Whether a value is a string, or an array of nothing else.
    private static func isTexts(_ node: Int, _ claims: borrowing JSONDocument) -> Bool {
        switch claims.kind(node) {
        case .string: true
        case .array: claims.forEachChild(of: node) { claims.kind($0) == .string }
        default: false
        }
    }

    private static func forEachText(
        _ node: Int, _ claims: borrowing JSONDocument, _ body: (Span<UInt8>) -> Bool
    ) -> Bool {
        guard claims.kind(node) == .array else { return body(claims.text(node)) }
        return claims.forEachChild(of: node) { body(claims.text($0)) }
    }

    /// Of a string what stands between its spaces.
    private static func forEachScope(
        _ node: Int, _ claims: borrowing JSONDocument, _ body: (Span<UInt8>) -> Bool
    ) -> Bool {
        guard claims.kind(node) == .string else { return forEachText(node, claims, body) }
        let text = claims.text(node)
        var start = 0
        while start < text.count {
            guard text[start] != 0x20 else {
                start += 1
                continue
            }
            let end = text.firstIndex(of: 0x20, from: start) ?? text.count
            guard body(text.extracting(start..<end)) else { return false }
            start = end + 1
        }
        return true
    }
}
