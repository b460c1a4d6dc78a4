/// What clients can find out about a resource that the gateway protects (RFC 9728).
public struct ProtectedResourceMetadata: Sendable, Equatable {
    /// The resource identifier: an https URL without a fragment, which a client compares byte for byte (section 3.3).
    public var resource: String
    /// The issuers whose tokens open it.
    public var authorizationServers: [String]
    /// Where the keys lie with which the resource itself signs; `nil`: it signs nothing.
    public var jwksURI: String?
    public var scopes: [String]
    /// The algorithms of what the resource itself signs.
    public var signingAlgorithms: [JWSAlgorithm]
    public var bindsToCertificates: Bool
    /// The algorithms of DPoP proofs; empty: none is taken.
    public var proofAlgorithms: [JWSAlgorithm]
    /// Whether no token without a proof opens it.
    public var requiresProofs: Bool

    public init(
        resource: String, authorizationServers: [String], jwksURI: String? = nil,
        scopes: [String] = [], signingAlgorithms: [JWSAlgorithm] = [],
        bindsToCertificates: Bool = false, proofAlgorithms: [JWSAlgorithm] = [],
        requiresProofs: Bool = false
    ) {
        self.resource = resource
        self.authorizationServers = authorizationServers
        self.jwksURI = jwksURI
        self.scopes = scopes
        self.signingAlgorithms = signingAlgorithms
        self.bindsToCertificates = bindsToCertificates
        self.proofAlgorithms = proofAlgorithms
        self.requiresProofs = requiresProofs
    }

    /// Where the document of a resource is served: the well-known name goes between host and path, query and all
    /// (section 3.1). A slash that is the whole path is left out; at the end of another path it stays, since the
    /// client inserts too and compares the resource as it is.
    public static func path(of resource: String) -> String {
        let query = resource.firstIndex(of: "?") ?? resource.endIndex
        return WellKnown.path(
            "oauth-protected-resource", of: String(resource[..<query]), keepsEnd: true)
            + resource[query...]
    }

    /// The URL of that document: what `resource_metadata` of a challenge says (section 5.1).
    public static func url(of resource: String) -> String {
        let query = resource.firstIndex(of: "?") ?? resource.endIndex
        return WellKnown.origin(of: String(resource[..<query])) + path(of: resource)
    }

    /// The document (section 2). Members without elements are left out, and so is what is false. Tokens are taken from the
    /// Authorization field alone (RFC 6750 section 2.1).
    public var document: [UInt8] {
        var json = JSONObjectText()
        json.add("resource", resource)
        json.add("authorization_servers", authorizationServers)
        json.add("jwks_uri", jwksURI)
        json.add("scopes_supported", scopes)
        json.add("bearer_methods_supported", ["header"])
        json.add("resource_signing_alg_values_supported", signingAlgorithms.map(\.rawValue))
        json.addTrue("tls_client_certificate_bound_access_tokens", bindsToCertificates)
        json.add("dpop_signing_alg_values_supported", proofAlgorithms.map(\.rawValue))
        json.addTrue("dpop_bound_access_tokens_required", requiresProofs)
        return json.text
    }
}
