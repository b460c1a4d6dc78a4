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
    /// With the records that say when each signs; the newest first. None, when the store has given none: then no token is
    /// issued, and none of ours can be proven.
    let keys: [(record: SigningKeyRecord, key: SigningKey)]
    /// Trusts our own tokens, by every key that may still have live ones.
    let trustedIssuer: TrustedIssuer
    let metadata: [UInt8]
    let metadataPath: [UInt8]
    let jwks: [UInt8]
    /// What clients can find out about the audiences that are addresses (RFC 9728), by the path of each document.
    let resources: [[UInt8]: [UInt8]]
    /// Where the document about the first of them lies: challenges name it.
    let resourceMetadata: String?
}

extension AuthoritySnapshot {
    /// - Throws: for a key that the store holds and nobody can read.
    init(
        _ configuration: AuthorityConfiguration, keys records: [SigningKeyRecord],
        clientAudiences: [String], takesCertificates: Bool,
        requiresProofs: (String) -> Bool
    ) throws(StartError) {
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
        var known: [(record: SigningKeyRecord, key: SigningKey)] = []
        for record in records {
            do {
                known.append((record, try SigningKey(record)))
            } catch {
                throw StartError(.software, "signing key \(record.kid): \(error)")
            }
        }
        keys = known
        let keys = known.map(\.key)
        jwks = JWKSDocument.write(keys.map(\.published))
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
        trustedIssuer = try AuthoritySnapshot.trust(keys, policy, clientAudiences)
    }

    /// The key that signs now: the newest whose time has come.
    func signingKey(at now: WallTime) -> SigningKey? {
        keys.first { $0.record.signs(at: now) }?.key
    }

    /// Our own tokens are held to what we issue: RFC 9068's type, an audience that we grant to anybody (which one a route
    /// wants it says with `require audience`), our algorithms, no skew but a second's.
    private static func trust(
        _ keys: [SigningKey], _ policy: AuthorityPolicy, _ clientAudiences: [String]
    ) throws(StartError) -> TrustedIssuer {
        do {
            let known = try KeySet(
                keys.map { key throws(KeyRefusal) in
                    try VerificationKey(
                        keyID: Array(key.keyID.utf8), algorithm: key.algorithm,
                        material: .publicKey(key.privateKey.publicKey))
                })
            return TrustedIssuer(
                name: "authority", issuer: policy.issuer,
                audiences: Array(Set(policy.audiences + clientAudiences)),
                algorithms: [.es256, .edDSA, .rs256], requiredType: "at+jwt", clockSkewSeconds: 1,
                clientClaims: ["client_id"], scopeClaims: ["scope"], keys: known,
                isOwnAuthority: true)
        } catch {
            throw StartError(.software, "the authority's own keys: \(error)")
        }
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
