import Configuration
import Cryptography
import OAuth
import Store

/// The authority under one configuration and one set of keys.
struct AuthoritySnapshot: Sendable {
    let configuration: AuthorityConfiguration
    let policy: AuthorityPolicy
    /// Signs; `nil` when the store has given none, and then no token is issued.
    let signingKey: SigningKey?
    /// Trusts our own tokens, by every key that may still have live ones.
    let trustedIssuer: TrustedIssuer
    let metadata: [UInt8]
    let metadataPath: [UInt8]
    let jwks: [UInt8]
}

extension AuthoritySnapshot {
    /// - Throws: for a key that the store holds and nobody can read.
    init(
        _ configuration: AuthorityConfiguration, keys records: [SigningKeyRecord],
        clientAudiences: [String], takesCertificates: Bool
    ) throws(StartError) {
        self.configuration = configuration
        policy = AuthorityPolicy(
            issuer: configuration.issuer, audiences: configuration.audiences,
            tokenLifetimeSeconds: configuration.tokenLifetime.wholeSeconds,
            scopes: configuration.scopes)
        var keys: [SigningKey] = []
        var current: SigningKey?
        for record in records {
            do {
                let key = try SigningKey(record)
                keys.append(key)
                if record.isCurrent, record.algorithm == configuration.signingAlgorithm.rawValue {
                    current = key
                }
            } catch {
                throw StartError(.software, "signing key \(record.kid): \(error)")
            }
        }
        signingKey = current
        jwks = JWKSDocument.write(keys.map(\.published))
        metadata = AuthorityMetadata.document(
            policy: policy, features: AuthorityFeatures(takesCertificates: takesCertificates))
        metadataPath = Array(AuthorityMetadata.path(of: policy.issuer).utf8)
        trustedIssuer = try AuthoritySnapshot.trust(keys, policy, clientAudiences)
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
