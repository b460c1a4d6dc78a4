import Primitives

// Records as JSON texts, with what is secret sealed: the values in Redis, the lines of an export, and the lists in
// the columns of SQLite. Times are whole seconds since 1970.

struct SecretText: Codable, Equatable, Sendable {
    let hash: String
    let createdAt: Int64
    var expiresAt: Int64?

    enum CodingKeys: String, CodingKey {
        case hash
        case createdAt = "created_at"
        case expiresAt = "expires_at"
    }

    init(_ secret: StoredSecret) {
        hash = secret.hash
        createdAt = secret.createdAt.seconds
        expiresAt = secret.expiresAt?.seconds
    }

    var record: StoredSecret {
        StoredSecret(
            hash: hash, createdAt: WallTime(seconds: createdAt),
            expiresAt: expiresAt.map { WallTime(seconds: $0) })
    }
}

struct SharedSecretText: Codable, Equatable, Sendable {
    let sealed: HexBytes
    let createdAt: Int64
    var expiresAt: Int64?

    enum CodingKeys: String, CodingKey {
        case sealed
        case createdAt = "created_at"
        case expiresAt = "expires_at"
    }

    init(_ secret: StoredSharedSecret, of client: String, _ seal: Seal) throws(StoreError) {
        sealed = HexBytes(try seal.close(secret.secret, .oauth1Secret(clientID: client)))
        createdAt = secret.createdAt.seconds
        expiresAt = secret.expiresAt?.seconds
    }

    func record(of client: String, _ seal: Seal) throws(StoreError) -> StoredSharedSecret {
        StoredSharedSecret(
            secret: try seal.open(sealed.bytes, .oauth1Secret(clientID: client)),
            createdAt: WallTime(seconds: createdAt),
            expiresAt: expiresAt.map { WallTime(seconds: $0) })
    }
}

struct ClientText: Codable, Equatable, Sendable {
    let id: String
    var secrets: [SecretText]
    var scopes: [String]
    var audiences: [String]
    var authMethod: String?
    var oauth1Secrets: [SharedSecretText]
    var allowsPlaintext: Bool
    var jwks: String?
    var certificateName: String?
    /// Nil in what a version before it has written.
    var requiresProof: Bool?
    var createdAt: Int64

    enum CodingKeys: String, CodingKey {
        case id, secrets, scopes, audiences, jwks
        case authMethod = "auth_method"
        case oauth1Secrets = "oauth1_secrets"
        case allowsPlaintext = "allows_plaintext"
        case certificateName = "certificate_name"
        case requiresProof = "dpop_bound_access_tokens"
        case createdAt = "created_at"
    }

    func record(_ seal: Seal) throws(StoreError) -> StoredClient {
        StoredClient(
            id: id, secrets: secrets.map(\.record), scopes: scopes, audiences: audiences,
            authMethod: authMethod,
            oauth1Secrets: try oauth1Secrets.map { text throws(StoreError) in
                try text.record(of: id, seal)
            }, allowsPlaintext: allowsPlaintext, jwks: jwks, certificateName: certificateName,
            requiresProof: requiresProof ?? false, createdAt: WallTime(seconds: createdAt))
    }
}

extension ClientText {
    init(_ client: StoredClient, _ seal: Seal) throws(StoreError) {
        self.init(
            id: client.id, secrets: client.secrets.map { SecretText($0) }, scopes: client.scopes,
            audiences: client.audiences, authMethod: client.authMethod,
            oauth1Secrets: try client.oauth1Secrets.map { secret throws(StoreError) in
                try SharedSecretText(secret, of: client.id, seal)
            }, allowsPlaintext: client.allowsPlaintext, jwks: client.jwks,
            certificateName: client.certificateName, requiresProof: client.requiresProof,
            createdAt: client.createdAt.seconds)
    }
}

struct SigningKeyText: Codable, Equatable, Sendable {
    let kid: String
    let algorithm: String
    let sealedPrivateKey: HexBytes
    let createdAt: Int64
    let activatesAt: Int64
    var retiredAt: Int64?

    enum CodingKeys: String, CodingKey {
        case kid, algorithm
        case sealedPrivateKey = "sealed_private_key"
        case createdAt = "created_at"
        case activatesAt = "activates_at"
        case retiredAt = "retired_at"
    }

    init(_ key: SigningKeyRecord, _ seal: Seal) throws(StoreError) {
        kid = key.kid
        algorithm = key.algorithm
        sealedPrivateKey = HexBytes(try seal.close(key.privateKeyPKCS8, .privateKey(kid: key.kid)))
        createdAt = key.createdAt.seconds
        activatesAt = key.activatesAt.seconds
        retiredAt = key.retiredAt?.seconds
    }

    func record(_ seal: Seal) throws(StoreError) -> SigningKeyRecord {
        SigningKeyRecord(
            kid: kid, algorithm: algorithm,
            privateKeyPKCS8: try seal.open(sealedPrivateKey.bytes, .privateKey(kid: kid)),
            createdAt: WallTime(seconds: createdAt), activatesAt: WallTime(seconds: activatesAt),
            retiredAt: retiredAt.map { WallTime(seconds: $0) })
    }
}

struct TokenText: Codable, Equatable, Sendable {
    let id: HexBytes
    let kind: String
    let clientID: String
    let scopes: [String]
    let audiences: [String]
    let issuedAt: Int64
    let expiresAt: Int64
    var sealedSecret: HexBytes?
    var certificateThumbprint: HexBytes?
    var keyThumbprint: HexBytes?

    enum CodingKeys: String, CodingKey {
        case id, kind, scopes, audiences
        case clientID = "client_id"
        case issuedAt = "issued_at"
        case expiresAt = "expires_at"
        case sealedSecret = "sealed_secret"
        case certificateThumbprint = "certificate_thumbprint"
        case keyThumbprint = "key_thumbprint"
    }

    init(_ token: StoredToken, _ seal: Seal) throws(StoreError) {
        id = HexBytes(token.id)
        kind = token.kind.rawValue
        clientID = token.clientID
        scopes = token.scopes
        audiences = token.audiences
        issuedAt = token.issuedAt.seconds
        expiresAt = token.expiresAt.seconds
        sealedSecret = try token.secret.map { secret throws(StoreError) in
            HexBytes(try seal.close(secret, .tokenSecret(id: token.id)))
        }
        certificateThumbprint = token.certificateThumbprint.map { HexBytes($0) }
        keyThumbprint = token.keyThumbprint.map { HexBytes($0) }
    }

    func record(_ seal: Seal) throws(StoreError) -> StoredToken {
        guard let kind = StoredToken.Kind(rawValue: kind), id.bytes.count == StoredToken.idBytes
        else { throw .corrupt(reason: "a token without a kind or an id of 32 bytes") }
        return StoredToken(
            id: id.bytes, kind: kind, clientID: clientID, scopes: scopes, audiences: audiences,
            issuedAt: WallTime(seconds: issuedAt), expiresAt: WallTime(seconds: expiresAt),
            secret: try sealedSecret.map { sealed throws(StoreError) in
                try seal.open(sealed.bytes, .tokenSecret(id: id.bytes))
            }, certificateThumbprint: certificateThumbprint?.bytes,
            keyThumbprint: keyThumbprint?.bytes)
    }
}
