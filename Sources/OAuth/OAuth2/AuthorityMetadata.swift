/// What the authority offers beyond the token endpoint and clients with secrets: what its metadata names.
public struct AuthorityFeatures: Sendable, Equatable {
    /// Whether a client can show a certificate anywhere (RFC 8705 sections 2.1.1 and 3.3).
    public var takesCertificates: Bool
    /// The algorithms of assertions (`private_key_jwt`); empty: none is taken.
    public var assertionAlgorithms: [JWSAlgorithm]
    /// The algorithms of DPoP proofs (RFC 9449 section 5.1); empty: none is taken.
    public var proofAlgorithms: [JWSAlgorithm]
    public var introspects: Bool
    public var revokes: Bool

    public init(
        takesCertificates: Bool = false, assertionAlgorithms: [JWSAlgorithm] = [],
        proofAlgorithms: [JWSAlgorithm] = [], introspects: Bool = false, revokes: Bool = false
    ) {
        self.takesCertificates = takesCertificates
        self.assertionAlgorithms = assertionAlgorithms
        self.proofAlgorithms = proofAlgorithms
        self.introspects = introspects
        self.revokes = revokes
    }
}

/// What clients can find out about the authority (RFC 8414).
public enum AuthorityMetadata {
    /// Scheme and authority of an issuer URL: where the fixed paths of the gateway lie.
    public static func origin(of issuer: String) -> String { WellKnown.origin(of: issuer) }

    /// Where the document is served: the well-known name goes before the issuer's path (section 3.1).
    public static func path(of issuer: String) -> String {
        WellKnown.path("oauth-authorization-server", of: issuer, keepsEnd: false)
    }

    /// The document (section 2). Members without elements are left out (section 3.2).
    public static func document(
        policy: AuthorityPolicy, features: AuthorityFeatures = AuthorityFeatures()
    ) -> [UInt8] {
        let origin = origin(of: policy.issuer)
        var json = JSONObjectText()
        json.add("issuer", policy.issuer)
        json.add("token_endpoint", origin + "/oauth2/token")
        json.add("jwks_uri", origin + "/.well-known/jwks.json")
        json.add("grant_types_supported", ["client_credentials"])
        addMethods("token", features, to: &json)
        if features.introspects {
            json.add("introspection_endpoint", origin + "/oauth2/introspect")
            addMethods("introspection", features, to: &json)
        }
        if features.revokes {
            json.add("revocation_endpoint", origin + "/oauth2/revoke")
            addMethods("revocation", features, to: &json)
        }
        json.addTrue("tls_client_certificate_bound_access_tokens", features.takesCertificates)
        json.add("dpop_signing_alg_values_supported", features.proofAlgorithms.map(\.rawValue))
        json.add("scopes_supported", policy.scopes)
        return json.text
    }

    /// The three endpoints take the same clients; algorithms must be named with `private_key_jwt` (section 2).
    private static func addMethods(
        _ endpoint: String, _ features: AuthorityFeatures, to json: inout JSONObjectText
    ) {
        var methods: [RegisteredClient.AuthMethod] = [.basic, .post]
        if !features.assertionAlgorithms.isEmpty { methods.append(.privateKeyJWT) }
        if features.takesCertificates { methods.append(.tls) }
        json.add("\(endpoint)_endpoint_auth_methods_supported", methods.map(\.rawValue))
        json.add(
            "\(endpoint)_endpoint_auth_signing_alg_values_supported",
            features.assertionAlgorithms.map(\.rawValue))
    }
}
