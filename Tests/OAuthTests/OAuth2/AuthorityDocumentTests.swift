import Cryptography
import OAuth
import TestSupport
import Testing

/// What the authority publishes of itself: metadata (RFC 8414) and keys (RFC 7517), by the tables of
/// token_endpoint.json.
struct AuthorityDocumentTests {
    private func metadata(_ issuer: String, scopes: [String] = []) throws -> [String: Any] {
        try JSON.object(
            AuthorityMetadata.document(
                policy: AuthorityPolicy(
                    issuer: issuer, audiences: [], tokenLifetimeSeconds: 600, scopes: scopes)))
    }

    @Test func theMetadataNamesWhatExistsAndNothingElse() throws {
        let document = try metadata("https://gateway.example.com", scopes: ["read", "write"])
        let origin = "https://gateway.example.com"
        #expect(document["issuer"] as? String == origin)
        #expect(document["token_endpoint"] as? String == origin + "/oauth2/token")
        #expect(document["jwks_uri"] as? String == origin + "/.well-known/jwks.json")
        #expect(document["grant_types_supported"] as? [String] == ["client_credentials"])
        #expect(
            document["token_endpoint_auth_methods_supported"] as? [String]
                == ["client_secret_basic", "client_secret_post"])
        #expect(document["scopes_supported"] as? [String] == ["read", "write"])
        #expect(document.count == 6)
    }

    /// `response_types_supported` is required (section 2), would be empty without an authorization endpoint, and empty
    /// arrays must be left out (section 3.2): the table allows its absence.
    @Test func whatTheTableRequiresIsThereAndNoArrayIsEmpty() throws {
        let table = try Fixtures.json("token_endpoint.json")["metadata"] as? [String: Any]
        let expect = table?["expect"] as? [String: Any]
        let required = Set((expect?["required"] as? [String: Any] ?? [:]).keys)
        let optional = Set((expect?["optional"] as? [String: Any] ?? [:]).keys)
        #expect(required.count == 4)
        let document = try metadata("https://gateway.example.com")
        #expect(required.subtracting(document.keys) == ["response_types_supported"])
        #expect(Set(document.keys).subtracting(required).isSubset(of: optional))
        for value in document.values { #expect((value as? [Any])?.isEmpty != true) }
    }

    private static let everything = AuthorityFeatures(
        takesCertificates: true, assertionAlgorithms: ClientAssertion.Policy.algorithms,
        proofAlgorithms: DPoPProof.Policy.algorithms, introspects: true, revokes: true)

    private func metadata(_ features: AuthorityFeatures) throws -> [String: Any] {
        try JSON.object(
            AuthorityMetadata.document(
                policy: AuthorityPolicy(
                    issuer: "https://h/p", audiences: [], tokenLifetimeSeconds: 600, scopes: []),
                features: features))
    }

    @Test func everyFeatureIsNamedWhereItIsOn() throws {
        let document = try metadata(Self.everything)
        #expect(document["introspection_endpoint"] as? String == "https://h/oauth2/introspect")
        #expect(document["revocation_endpoint"] as? String == "https://h/oauth2/revoke")
        for endpoint in ["token", "introspection", "revocation"] {
            #expect(
                document["\(endpoint)_endpoint_auth_methods_supported"] as? [String] == [
                    "client_secret_basic", "client_secret_post", "private_key_jwt",
                    "tls_client_auth",
                ])
            let name = "\(endpoint)_endpoint_auth_signing_alg_values_supported"
            #expect(document[name] as? [String] == ["RS256", "PS256", "ES256", "EdDSA"])
        }
        #expect(
            document["dpop_signing_alg_values_supported"] as? [String]
                == ["ES256", "EdDSA", "RS256", "PS256"])
        #expect(document["tls_client_certificate_bound_access_tokens"] as? Bool == true)
        #expect(document.count == 14)
    }

    /// Each by itself adds its own members and no other's.
    @Test func whatIsOffIsNotNamed() throws {
        let plain = Set(try metadata(AuthorityFeatures()).keys)
        #expect(plain.count == 5)
        let added: [(AuthorityFeatures, Set<String>)] = [
            (
                AuthorityFeatures(takesCertificates: true),
                ["tls_client_certificate_bound_access_tokens"]
            ),
            (
                AuthorityFeatures(assertionAlgorithms: [.es256]),
                ["token_endpoint_auth_signing_alg_values_supported"]
            ),
            (AuthorityFeatures(proofAlgorithms: [.es256]), ["dpop_signing_alg_values_supported"]),
            (
                AuthorityFeatures(introspects: true),
                ["introspection_endpoint", "introspection_endpoint_auth_methods_supported"]
            ),
            (
                AuthorityFeatures(revokes: true),
                ["revocation_endpoint", "revocation_endpoint_auth_methods_supported"]
            ),
        ]
        for (features, names) in added {
            #expect(Set(try metadata(features).keys).subtracting(plain) == names)
        }
    }

    // MARK: The protected resource

    @Test(arguments: [
        ("https://r", ""), ("https://r/", ""), ("https://r/a", "/a"), ("https://r/a/", "/a/"),
        ("https://r:8443/a/b?x=1", "/a/b?x=1"), ("https://r?x=/y", "?x=/y"),
    ])
    func theResourceDocumentLiesBetweenHostAndPath(resource: String, suffix: String) {
        let path = "/.well-known/oauth-protected-resource" + suffix
        #expect(ProtectedResourceMetadata.path(of: resource) == path)
        let origin = resource.hasPrefix("https://r:8443") ? "https://r:8443" : "https://r"
        #expect(ProtectedResourceMetadata.url(of: resource) == origin + path)
    }

    @Test func aResourceNamesWhatOpensIt() throws {
        let plain = ProtectedResourceMetadata(
            resource: "https://r/a", authorizationServers: ["https://h"])
        let document = try JSON.object(plain.document)
        #expect(document["resource"] as? String == "https://r/a")
        #expect(document["authorization_servers"] as? [String] == ["https://h"])
        #expect(document["bearer_methods_supported"] as? [String] == ["header"])
        #expect(document.count == 3)
        let whole = ProtectedResourceMetadata(
            resource: "https://r/a", authorizationServers: ["https://h", "https://i"],
            jwksURI: "https://r/.well-known/jwks.json", scopes: ["read"],
            signingAlgorithms: [.es256], bindsToCertificates: true, proofAlgorithms: [.es256],
            requiresProofs: true)
        let more = try JSON.object(whole.document)
        #expect(more["jwks_uri"] as? String == "https://r/.well-known/jwks.json")
        #expect(more["scopes_supported"] as? [String] == ["read"])
        #expect(more["resource_signing_alg_values_supported"] as? [String] == ["ES256"])
        #expect(more["tls_client_certificate_bound_access_tokens"] as? Bool == true)
        #expect(more["dpop_signing_alg_values_supported"] as? [String] == ["ES256"])
        #expect(more["dpop_bound_access_tokens_required"] as? Bool == true)
        #expect(more.count == 9)
    }

    @Test(arguments: [
        ("https://h", "https://h", ""), ("https://h/", "https://h", ""),
        ("https://h/p", "https://h", "/p"), ("https://h/p/q/", "https://h", "/p/q"),
        ("https://h:8443/p", "https://h:8443", "/p"), ("http://[::1]:80", "http://[::1]:80", ""),
    ])
    func theDocumentLiesBeforeThePathOfTheIssuer(
        issuer: String, origin: String, suffix: String
    ) throws {
        #expect(
            AuthorityMetadata.path(of: issuer) == "/.well-known/oauth-authorization-server" + suffix
        )
        let document = try metadata(issuer)
        // Compared byte for byte by clients (section 3.3): written as configured.
        #expect(document["issuer"] as? String == issuer)
        #expect(document["token_endpoint"] as? String == origin + "/oauth2/token")
    }

    @Test func theKeySetShowsPublicHalvesAlone() throws {
        let table = try Fixtures.json("token_endpoint.json")["jwks"] as? [String: Any]
        let expect = table?["expect"] as? [String: Any]
        let never = expect?["never"] as? [String] ?? []
        #expect(never.count == 8)
        let keys = [
            try SigningKey(algorithm: .es256, privateKey: .generate(.p256)),
            try SigningKey(algorithm: .edDSA, privateKey: .generate(.ed25519)),
            try SigningKey(algorithm: .rs256, privateKey: .generate(.rsa2048)),
        ]
        let document = JWKSDocument.write(keys.map(\.published))
        let list = try JSON.object(document)["keys"] as? [[String: Any]] ?? []
        #expect(list.compactMap { $0["kty"] as? String } == ["EC", "OKP", "RSA"])
        #expect(list.compactMap { $0["alg"] as? String } == ["ES256", "EdDSA", "RS256"])
        #expect(list.allSatisfy { $0["use"] as? String == "sig" })
        #expect(Set(list.compactMap { $0["kid"] as? String }).count == 3)
        for key in list { for name in never { #expect(key[name] == nil) } }
        let read = try KeySet(jwks: document, allowsSymmetric: false)
        #expect(read.keys.count == 3 && read.skipped.isEmpty)
    }

    /// Retired keys go on proving what they signed; the current one signs.
    @Test(arguments: [
        (JWSAlgorithm.es256, PrivateKey.Kind.p256), (.edDSA, .ed25519), (.rs256, .rsa2048),
    ])
    func aTokenOfEachAlgorithmIsBelievedBesideAnOlderKey(
        algorithm: JWSAlgorithm, kind: PrivateKey.Kind
    ) throws {
        let old = try SigningKey(algorithm: .es256, privateKey: .generate(.p256))
        let current = try SigningKey(algorithm: algorithm, privateKey: .generate(kind))
        let verifier = TokenVerifier(issuers: [
            TrustedIssuer(
                name: "authority", issuer: TokenExchange.issuer, audiences: ["api"],
                algorithms: [.es256, .edDSA, .rs256], requiredType: "at+jwt", clockSkewSeconds: 0,
                keys: try KeySet(
                    jwks: JWKSDocument.write([current.published, old.published]),
                    allowsSymmetric: false), isOwnAuthority: true)
        ])
        let grant = TokenGrant(
            issuer: TokenExchange.issuer, clientID: "c", audiences: ["api"], scopes: ["read"],
            issuedAt: TokenExchange.now.seconds, expiresAt: TokenExchange.now.seconds + 60,
            tokenID: "id")
        for key in [old, current] {
            let token = try JWTSigner.sign(claims: grant.claims, with: key)
            let proven = try verifier.verify(token.span, now: TokenExchange.now)
            #expect(proven.clientID == "c" && proven.scopes == ["read"])
        }
    }
}
