import OAuth
import Primitives

/// Who proved to be calling. Made here alone, from a credential that was verified: a function that asks for
/// a `Principal` cannot be reached without one.
///
/// A class, so that it can be kept beside the remembered token it was made from: a request with that token
/// then costs no more than a reference.
public final class Principal: Sendable {
    /// What was proven; both for a route that asks for all.
    public let schemes: CredentialSet
    /// The `X-Auth-*` lines for the upstream, complete; a value that is empty has no line.
    public let identityFields: [UInt8]
    private let source: Source

    /// Where what is known of the client stands: it is not copied from there.
    private enum Source {
        case token(VerifiedToken)
        case registered(Registered)
    }

    /// A client that no JWT speaks for: what is registered for it, or what its OAuth 1.0 token grants.
    private final class Registered: Sendable {
        let clientID: String
        let scopes: [String]
        let audiences: [String]

        init(clientID: String, scopes: [String], audiences: [String]) {
            self.clientID = clientID
            self.scopes = scopes
            self.audiences = audiences
        }
    }

    /// Fields of more make their buffer grow.
    private static let usualFieldBytes = 256

    private init(_ schemes: CredentialSet, _ source: Source) {
        self.schemes = schemes
        self.source = source
        var fields: [UInt8] = []
        fields.reserveCapacity(Principal.usualFieldBytes)
        switch source {
        case .token(let token): Principal.append(token, token.claims, to: &fields)
        case .registered(let client): Principal.append(client, schemes, to: &fields)
        }
        identityFields = fields
    }

    /// - Parameter claims: the token's, lent: a span of what belongs to an object cannot be had by way of the object.
    private static func append(
        _ token: VerifiedToken, _ claims: borrowing TokenClaims, to fields: inout [UInt8]
    ) {
        IdentityFields.append("X-Auth-Scheme: ", value: token.scheme, to: &fields)
        IdentityFields.append("X-Auth-Client: ", value: claims.clientText, to: &fields)
        IdentityFields.append("X-Auth-Subject: ", value: claims.subjectText, to: &fields)
        IdentityFields.append("X-Auth-Scopes: ", to: &fields) { add in
            claims.forEachScope { scope in
                add(scope)
                return true
            }
        }
        IdentityFields.append("X-Auth-Issuer: ", value: token.issuer, to: &fields)
    }

    private static func append(
        _ client: Registered, _ schemes: CredentialSet, to fields: inout [UInt8]
    ) {
        IdentityFields.append("X-Auth-Scheme: ", value: schemes.withoutToken, to: &fields)
        IdentityFields.append("X-Auth-Client: ", value: client.clientID, to: &fields)
        IdentityFields.append("X-Auth-Subject: ", value: client.clientID, to: &fields)
        IdentityFields.append("X-Auth-Scopes: ", to: &fields) { add in
            for scope in client.scopes { add(scope.utf8Span.span) }
        }
    }

    /// `nil` for OAuth 1.0 and for a certificate.
    public var token: VerifiedToken? {
        if case .token(let token) = source { token } else { nil }
    }

    /// As the log and `X-Auth-Scheme` name what was proven: `bearer`, `dpop`, `oauth1` or `certificate`.
    public var scheme: String {
        switch source {
        case .token(let token): token.scheme
        case .registered: schemes.withoutToken
        }
    }

    public var clientID: String {
        switch source {
        case .token(let token): token.clientID
        case .registered(let client): client.clientID
        }
    }

    public var scopes: [String] {
        switch source {
        case .token(let token): token.scopes
        case .registered(let client): client.scopes
        }
    }

    public var audiences: [String] {
        switch source {
        case .token(let token): token.audiences
        case .registered(let client): client.audiences
        }
    }

    /// Compared as bytes: `String` would take two spellings of the same Unicode text for equal.
    var clientBytes: [UInt8] {
        var bytes: [UInt8] = []
        appendClient(to: &bytes)
        return bytes
    }

    /// Whether that is the client's name, byte for byte.
    func isClient(_ name: [UInt8]) -> Bool {
        switch source {
        case .token(let token): token.claims.isClient(name)
        case .registered(let client): client.clientID.utf8Span.span.equals(name.span)
        }
    }

    func appendClient(to output: inout [UInt8]) {
        switch source {
        case .token(let token): token.claims.appendClient(to: &output)
        case .registered(let client): output.append(client.clientID.utf8Span.span)
        }
    }

    /// The token's `sub`; otherwise the client itself. Nothing when the token has none.
    func appendSubject(to output: inout [UInt8]) {
        switch source {
        case .token(let token): token.claims.appendSubject(to: &output)
        case .registered(let client): output.append(client.clientID.utf8Span.span)
        }
    }

    /// Appends the scopes with a space between them.
    func appendScopes(to output: inout [UInt8]) {
        var isFirst = true
        forEachScope { scope in
            guard !scope.isEmpty else { return true }
            if !isFirst { output.append(0x20) }
            isFirst = false
            output.append(scope)
            return true
        }
    }

    /// The block of the conf that vouches for the client; `nil`: it is one of ours, by our own authority's token, its
    /// signature or its certificate.
    var outsideIssuer: String? {
        guard let token, !token.isFromOwnAuthority else { return nil }
        return token.issuerName
    }

    /// The memory it holds beside its token, in bytes, near enough for a limit.
    var footprint: Int {
        128 + identityFields.capacity
    }

    /// Whether the scope was granted, byte for byte.
    func holds(scope: [UInt8]) -> Bool { !forEachScope { !$0.equals(scope.span) } }

    /// Whether what was proven is meant for the audience, byte for byte.
    func isMeant(for audience: [UInt8]) -> Bool {
        switch source {
        case .token(let token): !token.claims.forEachAudience { !$0.equals(audience.span) }
        case .registered(let client):
            client.audiences.contains { $0.utf8Span.span.equals(audience.span) }
        }
    }

    /// Calls `body` for each scope, until it returns false.
    ///
    /// - Returns: false if `body` did.
    @discardableResult
    private func forEachScope(_ body: (Span<UInt8>) -> Bool) -> Bool {
        switch source {
        case .token(let token): return token.claims.forEachScope(body)
        case .registered(let client):
            for scope in client.scopes where !body(scope.utf8Span.span) { return false }
            return true
        }
    }

    /// Whoever a token that was verified speaks for.
    public static func bearer(_ token: VerifiedToken) -> Principal {
        Principal(.bearer, .token(token))
    }

    /// A client whose OAuth 1.0 signature was verified and whose nonce was new, with what is registered for
    /// it.
    public static func oauth1(
        clientID: String, scopes: [String], audiences: [String]
    ) -> Principal {
        let client = Registered(clientID: clientID, scopes: scopes, audiences: audiences)
        return Principal(.oauth1, .registered(client))
    }

    /// A client that is known by the certificate on its connection, with what is registered for it.
    public static func certificate(
        clientID: String, scopes: [String], audiences: [String]
    ) -> Principal {
        let client = Registered(clientID: clientID, scopes: scopes, audiences: audiences)
        return Principal(.certificate, .registered(client))
    }

    /// Both credentials of one request, for `authenticate all`; the token says what may be done.
    ///
    /// - Returns: `nil` when they name different clients. Who signs is a client of ours: another issuer's client is somebody
    ///   else, whatever its name.
    public static func bearerAndOAuth1(_ token: VerifiedToken, clientID: String) -> Principal? {
        guard token.isFromOwnAuthority, token.clientID.hasBytes(of: clientID) else { return nil }
        return Principal([.bearer, .oauth1], .token(token))
    }

    /// The same, proven by the certificate on its connection too, for `authenticate all`.
    ///
    /// - Parameter clientID: whom the certificate names.
    /// - Returns: `nil` when that is another client, as one of an outside issuer is: nobody else's names are those of our
    ///   clients.
    public func withCertificate(ofClient clientID: String) -> Principal? {
        guard outsideIssuer == nil, self.clientID.hasBytes(of: clientID) else { return nil }
        return Principal(schemes.union(.certificate), source)
    }
}

extension CredentialSet {
    /// The scheme of what no token proves: a signature counts before the certificate beside it.
    fileprivate var withoutToken: String { contains(.oauth1) ? "oauth1" : "certificate" }
}

extension VerifiedToken {
    /// One that is bound to a key has been shown with a proof, or it proves nobody.
    fileprivate var scheme: String { keyThumbprint == nil ? "bearer" : "dpop" }
}

extension TokenClaims {
    fileprivate func isClient(_ name: [UInt8]) -> Bool { clientText.equals(name.span) }
    fileprivate func appendClient(to output: inout [UInt8]) { output.append(clientText) }
    fileprivate func appendSubject(to output: inout [UInt8]) { output.append(subjectText) }
}
