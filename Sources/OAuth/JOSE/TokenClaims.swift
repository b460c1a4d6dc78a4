import Primitives

/// What a token says (RFC 7519 section 4.1, RFC 9068 section 2.2), read with the types that its claims must have, and judged as
/// far as no route has a say in it.
///
/// The claims stay the text that was signed, and what is asked for often is a place in it: a request that is forwarded makes
/// no string of them.
///
/// It cannot be copied, only lent: a copy would count a reference for each of its arrays.
public struct TokenClaims: ~Copyable, Sendable {
    private static let audienceLimit = 64
    private static let scopeLimit = 256

    private let document: JSONDocument
    /// Nodes of the document; `nil`: the token does not say.
    private let clientNode: Int
    private let subjectNode: Int?
    private let tokenIDNode: Int?
    private let audienceNode: Int?
    private let scopeNode: Int?
    /// Seconds since the epoch, as the token has them: without the skew.
    public let expiresAt: Int64
    public let notBefore: Int64?
    public let issuedAt: Int64?
    /// Of the certificate that the token is bound to (RFC 8705 section 3.1); `nil`: to none.
    public let certificateThumbprint: [UInt8]?
    /// Of the key that the token is bound to (RFC 9449 section 6.1); `nil`: to none.
    public let keyThumbprint: [UInt8]?

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
        let audience = try TokenClaims.audience(named.audience, claims)
        if !isIntrospected || !issuer.audiences.isEmpty {
            guard let audience else { throw .missingClaim("aud") }
            guard TokenClaims.isMeant(for: issuer.audiences, audience, claims) else {
                throw .wrongAudience
            }
        }
        let (certificateThumbprint, keyThumbprint) = try TokenClaims.bindings(
            named.confirmation, claims)
        let subject = try TokenClaims.text(named.subject, "sub", claims)
        let tokenID = try TokenClaims.text(named.tokenID, "jti", claims)
        let client = try TokenClaims.client(claims, issuer)
        let scope = try TokenClaims.scopes(claims, issuer)
        // All at once: nothing that cannot be copied may be half made.
        self.expiresAt = expiresAt
        self.notBefore = notBefore
        self.issuedAt = issuedAt
        self.certificateThumbprint = certificateThumbprint
        self.keyThumbprint = keyThumbprint
        clientNode = client
        subjectNode = subject
        tokenIDNode = tokenID
        audienceNode = audience
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

    /// The JSON text, as it was signed.
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

    private static func text(
        _ node: Int?, _ name: String, _ claims: borrowing JSONDocument
    ) throws(TokenError) -> Int? {
        guard let node else { return nil }
        guard claims.kind(node) == .string, HeaderText.isAcceptable(claims.text(node)) else {
            throw .invalidClaim(name)
        }
        return node
    }

    /// A string or an array of strings, compared whole and as it is: never a prefix, never split.
    private static func audience(
        _ node: Int?, _ claims: borrowing JSONDocument
    ) throws(TokenError) -> Int? {
        guard let node else { return nil }
        var count = 0
        guard isTexts(node, claims),
            forEachText(
                node, claims,
                { _ in
                    count += 1
                    return count <= audienceLimit
                })
        else { throw .invalidClaim("aud") }
        return node
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

    private static func client(
        _ claims: borrowing JSONDocument, _ issuer: borrowing TrustedIssuer
    ) throws(TokenError) -> Int {
        for name in issuer.clientClaims {
            guard let node = claims.member(name) else { continue }
            _ = try text(node, name, claims)
            return node
        }
        throw .missingClaim(issuer.clientClaims.first ?? "client_id")
    }

    /// A text with spaces between the scopes (RFC 9068 section 2.2.3), or an array with one in each
    /// element.
    private static func scopes(
        _ claims: borrowing JSONDocument, _ issuer: borrowing TrustedIssuer
    ) throws(TokenError) -> Int? {
        for name in issuer.scopeClaims {
            guard let node = claims.member(name) else { continue }
            var count = 0
            guard isTexts(node, claims),
                forEachScope(
                    node, claims,
                    { scope in
                        count += 1
                        return count <= scopeLimit && isScope(scope)
                    })
            else { throw .invalidClaim(name) }
            return node
        }
        return nil
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
            let end = text.firstIndex(of: 0x20, from: start) ?? text.count
            if end > start, !body(text.extracting(start..<end)) { return false }
            start = end + 1
        }
        return true
    }
}

/// Where the claims stand whose names RFC 7519 section 4.1 and RFC 7800 section 3.1 register. All of these have three letters,
/// and one look at each member finds them.
private struct RegisteredClaims {
    private(set) var subject: Int?
    private(set) var audience: Int?
    private(set) var expiresAt: Int?
    private(set) var notBefore: Int?
    private(set) var issuedAt: Int?
    private(set) var tokenID: Int?
    private(set) var confirmation: Int?

    init(_ claims: borrowing JSONDocument) {
        _ = claims.forEachChild(of: 0) { node in
            switch claims.shortName(node) {
            case 0x73_75_62: subject = node
            case 0x61_75_64: audience = node
            case 0x65_78_70: expiresAt = node
            case 0x6E_62_66: notBefore = node
            case 0x69_61_74: issuedAt = node
            case 0x6A_74_69: tokenID = node
            case 0x63_6E_66: confirmation = node
            default: break
            }
            return true
        }
    }
}

extension JSONDocument {
    /// The bytes of a member's name in the order in which they are read, if it has three; otherwise 0.
    fileprivate func shortName(_ node: Int) -> UInt32 {
        let name = self.name(node)
        guard name.count == 3 else { return 0 }
        return UInt32(name[0]) << 16 | UInt32(name[1]) << 8 | UInt32(name[2])
    }
}
