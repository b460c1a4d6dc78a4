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

    private init(_ schemes: CredentialSet, _ registered: Registered) {
        self.schemes = schemes
        source = .registered(registered)
        identityFields = Principal.fields(
            schemes.withoutToken, client: registered.clientID, subject: registered.clientID,
            scopes: registered.scopes, issuer: "")
    }

    private init(_ schemes: CredentialSet, _ token: VerifiedToken) {
        self.schemes = schemes
        source = .token(token)
        identityFields = Principal.fields(
            token.scheme, client: token.clientID, subject: token.subject ?? "",
            scopes: token.scopes, issuer: token.issuer)
    }

    private static func fields(
        _ scheme: String, client: String, subject: String, scopes: [String], issuer: String
    ) -> [UInt8] {
        var fields: [UInt8] = []
        fields.reserveCapacity(usualFieldBytes)
        IdentityFields.append("X-Auth-Scheme: ", value: scheme, to: &fields)
        IdentityFields.append("X-Auth-Client: ", value: client, to: &fields)
        IdentityFields.append("X-Auth-Subject: ", value: subject, to: &fields)
        IdentityFields.append("X-Auth-Scopes: ", list: scopes, to: &fields)
        IdentityFields.append("X-Auth-Issuer: ", value: issuer, to: &fields)
        return fields
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

    /// The token's `sub`; otherwise the client itself. Empty when the token has none.
    public var subject: String {
        switch source {
        case .token(let token): token.subject ?? ""
        case .registered(let client): client.clientID
        }
    }

    /// The token's `iss`; otherwise empty.
    public var issuer: String {
        if case .token(let token) = source { token.issuer } else { "" }
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
    var clientBytes: [UInt8] { Array(clientID.utf8) }

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
    func holds(scope: [UInt8]) -> Bool { Principal.names(scope, in: scopes) }

    /// Whether what was proven is meant for the audience, byte for byte.
    func isMeant(for audience: [UInt8]) -> Bool { Principal.names(audience, in: audiences) }

    private static func names(_ name: [UInt8], in list: [String]) -> Bool {
        for text in list where text.utf8Span.span.equals(name.span) { return true }
        return false
    }

    /// Whoever a token that was verified speaks for.
    public static func bearer(_ token: VerifiedToken) -> Principal { Principal(.bearer, token) }

    /// A client whose OAuth 1.0 signature was verified and whose nonce was new, with what is registered for
    /// it.
    public static func oauth1(
        clientID: String, scopes: [String], audiences: [String]
    ) -> Principal {
        Principal(
            .oauth1, Registered(clientID: clientID, scopes: scopes, audiences: audiences))
    }

    /// A client that is known by the certificate on its connection, with what is registered for it.
    public static func certificate(
        clientID: String, scopes: [String], audiences: [String]
    ) -> Principal {
        Principal(
            .certificate, Registered(clientID: clientID, scopes: scopes, audiences: audiences))
    }

    /// Both credentials of one request, for `authenticate all`; the token says what may be done.
    ///
    /// - Returns: `nil` when they name different clients. Who signs is a client of ours: another issuer's client is somebody
    ///   else, whatever its name.
    public static func bearerAndOAuth1(_ token: VerifiedToken, clientID: String) -> Principal? {
        guard token.isFromOwnAuthority, token.clientID.hasBytes(of: clientID) else { return nil }
        return Principal([.bearer, .oauth1], token)
    }

    /// The same, proven by the certificate on its connection too, for `authenticate all`.
    ///
    /// - Parameter clientID: whom the certificate names.
    /// - Returns: `nil` when that is another client, as one of an outside issuer is: nobody else's names are those of our
    ///   clients.
    public func withCertificate(ofClient clientID: String) -> Principal? {
        guard outsideIssuer == nil, self.clientID.hasBytes(of: clientID) else { return nil }
        let schemes = schemes.union(.certificate)
        return switch source {
        case .token(let token): Principal(schemes, token)
        case .registered(let client): Principal(schemes, client)
        }
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

/// Writes values that come from tokens and registrations as field values.
///
/// Visible ASCII stays; `%`, controls, DEL and whatever is not ASCII is percent-encoded byte by byte, so that
/// no value can end its line and no two values look alike. For what `HeaderText` accepts of a token this is
/// how `HeaderText` writes it; here nothing is refused, since names from the conf and the store come too.
enum IdentityFields {
    /// Appends the line of a field, unless its value is empty. A space inside the value stays; at its ends,
    /// where it would be trimmed, it is encoded.
    static func append(_ name: StaticString, value: String, to output: inout [UInt8]) {
        let bytes = value.utf8Span.span
        guard bytes.count > 0 else { return }
        output.append(name)
        if !appendPlain(bytes, to: &output) {
            for index in 0..<bytes.count {
                let isInside = index > 0 && index < bytes.count - 1
                append(bytes[index], keepingSpace: isInside, to: &output)
            }
        }
        output.append("\r\n")
    }

    /// Appends the line of a field whose values are separated by spaces, unless there is none. A space inside
    /// one of them, which would make two of it, is encoded.
    static func append(_ name: StaticString, list: [String], to output: inout [UInt8]) {
        var isFirst = true
        for value in list {
            let bytes = value.utf8Span.span
            guard bytes.count > 0 else { continue }
            if isFirst { output.append(name) } else { output.append(0x20) }
            isFirst = false
            guard !appendPlain(bytes, to: &output) else { continue }
            for index in 0..<bytes.count { append(bytes[index], keepingSpace: false, to: &output) }
        }
        if !isFirst { output.append("\r\n") }
    }

    /// Appends bytes that stay as they are, all at once; appends nothing when one of them does not.
    private static func appendPlain(_ bytes: Span<UInt8>, to output: inout [UInt8]) -> Bool {
        for index in 0..<bytes.count where !isPlain(bytes[index]) { return false }
        output.append(bytes)
        return true
    }

    @inline(__always)
    private static func isPlain(_ byte: UInt8) -> Bool {
        byte >= 0x21 && byte <= 0x7E && byte != 0x25
    }

    private static func append(
        _ byte: UInt8, keepingSpace: Bool, to output: inout [UInt8]
    ) {
        guard !isPlain(byte), !(byte == 0x20 && keepingSpace) else { return output.append(byte) }
        output.append(0x25)
        output.append(hexDigit(byte >> 4))
        output.append(hexDigit(byte & 15))
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? 0x30 + value : 0x37 + value
    }
}
