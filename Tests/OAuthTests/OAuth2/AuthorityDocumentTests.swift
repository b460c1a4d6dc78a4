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
