import Configuration
import Cryptography
import OAuth
import Primitives
import Store

/// The authority under one configuration and one set of keys.
struct AuthoritySnapshot: Sendable {
    let configuration: AuthorityConfiguration
    let policy: AuthorityPolicy
    /// What a client's assertions must be meant for.
    let assertions: ClientAssertion.Policy
    /// The newest first. None, when the store has given none: then no token is issued, and none of ours can be proven.
    let keys: [Key]
    /// Trusts our own tokens, by every key that may still have live ones.
    let trustedIssuer: TrustedIssuer
    let metadata: [UInt8]
    let metadataPath: [UInt8]
    let jwks: [UInt8]
    /// How long others may keep it: no longer than the next key is published before it signs.
    let jwksSeconds: Int64
    /// What clients can find out about the audiences that are addresses (RFC 9728), by the path of each document.
    let resources: [[UInt8]: [UInt8]]
    /// Where the document about the first of them lies: challenges name it.
    let resourceMetadata: String?

    /// A key of the store, ready to sign and to verify, with the record that says when it signs.
    struct Key: Sendable {
        let record: SigningKeyRecord
        let signing: SigningKey
        let verification: VerificationKey

        init(_ record: SigningKeyRecord) throws {
            self.record = record
            signing = try SigningKey(record)
            verification = try VerificationKey(
                keyID: Array(record.kid.utf8), algorithm: signing.algorithm,
                material: .publicKey(signing.privateKey.publicKey))
        }
    }
}

extension AuthoritySnapshot {
    init(
        _ configuration: AuthorityConfiguration, keys: [Key], clientAudiences: [String],
        takesCertificates: Bool, requiresProofs: (String) -> Bool
    ) {
        self.configuration = configuration
        policy = AuthorityPolicy(
            issuer: configuration.issuer, audiences: configuration.audiences,
            tokenLifetimeSeconds: configuration.tokenLifetime.wholeSeconds,
            scopes: configuration.scopes)
        assertions = ClientAssertion.Policy(
            audiences: [
                configuration.issuer,
                AuthorityMetadata.origin(of: configuration.issuer) + "/oauth2/token",
            ])
        self.keys = keys
        jwks = JWKSDocument.write(keys.map(\.signing.published))
        jwksSeconds = KeyRotation(configuration).lead.wholeSeconds
        metadata = AuthorityMetadata.document(
            policy: policy,
            features: AuthorityFeatures(
                takesCertificates: takesCertificates,
                assertionAlgorithms: ClientAssertion.Policy.algorithms,
                proofAlgorithms: DPoPProof.Policy.algorithms, introspects: true, revokes: true))
        let policy = self.policy
        resources = Dictionary(
            policy.audiences.compactMap { audience in
                ProtectedResourceMetadata.ofOurs(
                    audience, policy, takesCertificates: takesCertificates,
                    requiresProofs: requiresProofs(audience))
            }, uniquingKeysWith: { first, _ in first })
        resourceMetadata = policy.audiences.first { ProtectedResourceMetadata.isResource($0) }
            .map { ProtectedResourceMetadata.url(of: $0) }
        metadataPath = Array(AuthorityMetadata.path(of: policy.issuer).utf8)
        trustedIssuer = AuthoritySnapshot.trust(keys, policy, clientAudiences)
    }

    /// The key that signs now: the newest whose time has come.
    func signingKey(at now: WallTime) -> SigningKey? {
        let record = SigningKeyRecord.signing(keys.lazy.map(\.record), at: now)
        return keys.first { $0.record.kid == record?.kid }?.signing
    }

    /// Our own tokens are held to what we issue: RFC 9068's type, an audience that we grant to anybody (which one a route
    /// wants it says with `require audience`), our algorithms, no skew but a second's.
    private static func trust(
        _ keys: [Key], _ policy: AuthorityPolicy, _ clientAudiences: [String]
    ) -> TrustedIssuer {
        TrustedIssuer(
            name: "authority", issuer: policy.issuer,
            audiences: Array(Set(policy.audiences + clientAudiences)),
            algorithms: [.es256, .edDSA, .rs256], requiredType: "at+jwt", clockSkewSeconds: 1,
            clientClaims: ["client_id"], scopeClaims: ["scope"],
            keys: KeySet(keys.map(\.verification)), isOwnAuthority: true)
    }
}

extension SigningKey {
    init(_ record: SigningKeyRecord) throws {
        let algorithm: JWSAlgorithm =
            switch SigningAlgorithmName(rawValue: record.algorithm) {
            case .eddsa: .edDSA
            case .rs256: .rs256
            case .es256, nil: .es256
            }
        try self.init(
            keyID: record.kid, algorithm: algorithm,
            privateKey: PrivateKey(pkcs8DER: record.privateKeyPKCS8))
    }
}

extension ProtectedResourceMetadata {
    /// Whether an audience is an address that a client could know the resource by.
    static func isResource(_ audience: String) -> Bool {
        (audience.hasPrefix("https://") || audience.hasPrefix("http://"))
            && !audience.contains("#")
    }

    /// Where the document about an audience of ours lies, and what it says.
    static func ofOurs(
        _ audience: String, _ policy: AuthorityPolicy, takesCertificates: Bool,
        requiresProofs: Bool
    ) -> ([UInt8], [UInt8])? {
        guard isResource(audience) else { return nil }
        let metadata = ProtectedResourceMetadata(
            resource: audience, authorizationServers: [policy.issuer], scopes: policy.scopes,
            bindsToCertificates: takesCertificates,
            proofAlgorithms: DPoPProof.Policy.algorithms, requiresProofs: requiresProofs)
        return (Array(path(of: audience).utf8), metadata.document)
    }
}
