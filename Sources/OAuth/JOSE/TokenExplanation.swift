import Primitives

/// What was seen of a token, step by step, for `explain`. It holds the token's own claims, so that
/// it is for the operator's eyes: never part of an answer or a log.
public struct TokenExplanation: Sendable {
    public struct IssuerFacts: Sendable {
        public let name: String
        public let audiences: [String]
        public let algorithms: [String]
        public let requiredType: String?
        public let clockSkewSeconds: Int64
        /// The keys it has for the token's algorithm, by their `kid`; "-" for those without.
        public let fittingKeys: [String]
        /// Whether a key has the token's `kid`; `nil` when the token has none.
        public let hasKeyID: Bool?
        public let skippedKeys: [KeySet.Skipped]
    }

    public let byteCount: Int
    public let now: WallTime
    /// The JSON texts as they were signed; `nil` where they could not be read.
    public internal(set) var header: [UInt8]?
    public internal(set) var claims: [UInt8]?
    public internal(set) var algorithm: JWSAlgorithm?
    public internal(set) var keyID: String?
    public internal(set) var type: String?
    /// The `iss` as it stands in the token.
    public internal(set) var issuerClaim: String?
    public internal(set) var expiresAt: Int64?
    public internal(set) var notBefore: Int64?
    public internal(set) var issuedAt: Int64?
    public internal(set) var audiences: [String]?
    /// `nil`: no issuer of that name is trusted.
    public internal(set) var issuer: IssuerFacts?
    /// `nil`: no key proves the signature.
    public internal(set) var provingKey: VerificationKey?
    public internal(set) var verdict: Result<VerifiedToken, TokenError> = .failure(.malformed)

    init(byteCount: Int, now: WallTime) {
        self.byteCount = byteCount
        self.now = now
    }

    mutating func describe(_ parts: JWSParts) {
        header = Array(parts.header.text)
        algorithm = parts.algorithm
        keyID = parts.keyID.map { String(decoding: parts.header.bytes[$0], as: UTF8.self) }
        type = parts.type.map { String(decoding: parts.header.bytes[$0], as: UTF8.self) }
    }

    mutating func describe(claims document: JSONDocument) {
        claims = Array(document.text)
        issuerClaim = document.string("iss", of: 0)
        expiresAt = document.member("exp").flatMap { document.seconds($0) }
        notBefore = document.member("nbf").flatMap { document.seconds($0) }
        issuedAt = document.member("iat").flatMap { document.seconds($0) }
        audiences = document.member("aud").flatMap { node in
            document.string(node).map { [$0] } ?? document.strings(node)
        }
    }

    mutating func describe(_ terms: TrustedIssuer) {
        let wanted = algorithm
        let fitting = terms.keys.keys.filter { key in wanted.map(key.isFit(for:)) ?? false }
        issuer = IssuerFacts(
            name: terms.name, audiences: terms.audiences,
            algorithms: terms.algorithms.map(\.rawValue).sorted(),
            requiredType: terms.requiredType, clockSkewSeconds: terms.clockSkewSeconds,
            fittingKeys: fitting.map { key in
                key.keyID.map { String(decoding: $0, as: UTF8.self) } ?? "-"
            },
            hasKeyID: keyID.map { keyID in
                terms.keys.keys.contains { $0.keyID == Array(keyID.utf8) }
            },
            skippedKeys: terms.keys.skipped)
    }
}
