import Primitives

/// What clients can find out about the authority (RFC 8414).
public enum AuthorityMetadata {
    /// Scheme and authority of an issuer URL: where the fixed paths of the gateway lie.
    public static func origin(of issuer: String) -> String {
        let parts = issuer.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
        return parts.prefix(3).joined(separator: "/")
    }

    /// Where the document is served: the well-known name goes before the issuer's path (section 3.1).
    public static func path(of issuer: String) -> String {
        var path = String(issuer.dropFirst(origin(of: issuer).count))
        while path.hasSuffix("/") { path.removeLast() }
        return "/.well-known/oauth-authorization-server" + path
    }

    /// The document (section 2). Members without elements are left out (section 3.2).
    ///
    /// - Parameter takesCertificates: whether a client can show one anywhere (RFC 8705 sections 2.1.1 and 3.3).
    public static func document(
        policy: AuthorityPolicy, takesCertificates: Bool = false
    ) -> [UInt8] {
        let origin = origin(of: policy.issuer)
        var json: [UInt8] = []
        func member(_ name: String, _ value: String, isFirst: Bool = false) {
            json.append(isFirst ? "{" : ",")
            JSONText.appendString(name, to: &json)
            json.append(":")
            JSONText.appendString(value, to: &json)
        }
        func list(_ name: String, _ items: [String]) {
            guard !items.isEmpty else { return }
            json.append(",")
            JSONText.appendString(name, to: &json)
            json.append(":")
            JSONText.appendStrings(items, to: &json)
        }
        member("issuer", policy.issuer, isFirst: true)
        member("token_endpoint", origin + "/oauth2/token")
        member("jwks_uri", origin + "/.well-known/jwks.json")
        list("grant_types_supported", ["client_credentials"])
        list(
            "token_endpoint_auth_methods_supported",
            ["client_secret_basic", "client_secret_post"]
                + (takesCertificates ? ["tls_client_auth"] : []))
        if takesCertificates { json.append(#","tls_client_certificate_bound_access_tokens":true"#) }
        list("scopes_supported", policy.scopes)
        json.append("}\n")
        return json
    }
}
