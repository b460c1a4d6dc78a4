import Primitives

/// Why an issuer's metadata lead to no keys.
public enum IssuerMetadataError: Error, Equatable, Sendable {
    /// No JSON object, or one with a member twice.
    case malformed
    /// They are another's: the name is not the one that was asked for, byte for byte (RFC 8414 section 3.3).
    case otherIssuer(String)
    case noKeys
}

/// What an issuer publishes of itself: OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3.
public enum IssuerMetadata {
    /// Where to ask, in turn: OpenID's place first, since nearly all have it, then that of RFC 8414.
    public static func urls(of issuer: String) -> [String] {
        let end = issuer.hasSuffix("/") ? String(issuer.dropLast()) : issuer
        guard let scheme = end.firstRange(of: "://") else { return [] }
        let slash = end[scheme.upperBound...].firstIndex(of: "/") ?? end.endIndex
        let (origin, path) = (end[..<slash], end[slash...])
        return [
            "\(end)/.well-known/openid-configuration",
            "\(origin)/.well-known/oauth-authorization-server\(path)",
        ]
    }

    /// The `jwks_uri` of a document; where it may lead the caller judges.
    public static func keysURL(
        of text: [UInt8], issuer: String
    ) throws(IssuerMetadataError) -> String {
        var document = JSONDocument()
        do throws(JSONError) {
            try document.read(text.span, limits: .init(depth: 16, nodes: 8192, members: 256))
        } catch {
            throw .malformed
        }
        guard document.isObject else { throw .malformed }
        guard let name = document.member("issuer"), document.isString(name, issuer) else {
            throw .otherIssuer(document.string("issuer", of: 0) ?? "")
        }
        guard let url = document.string("jwks_uri", of: 0) else { throw .noKeys }
        return url
    }
}
