import Cryptography
import Primitives

/// A proof that whoever sent the request holds a private key (RFC 9449 section 4).
///
/// Good for one request: whoever takes it records `tokenID` under `keyThumbprint` as used for as long as the policy lets
/// a proof live, and refuses it with `.reused` when it is recorded already (section 11.1). That the request has exactly
/// one DPoP field is the caller's to see too.
public struct DPoPProof: Sendable, Equatable {
    /// A larger proof is refused before any work; one by an RSA key of 4096 bits has some 2500 bytes.
    public static let limitBytes = 8 << 10
    /// A `jti` of more bytes is refused: it is kept.
    public static let tokenIDLimitBytes = 256
    private static let claimLimits = JSONDocument.Limits(depth: 16, nodes: 256, members: 64)
    /// Of RSA, of every other key pair, and of a shared secret (RFC 7518 section 6).
    private static let privateMembers: [StaticString] = [
        "d", "p", "q", "dp", "dq", "qi", "oth", "k",
    ]

    /// SHA-256 over the key (RFC 7638): what `cnf.jkt` of a token that is bound to it says. 32 bytes.
    public let keyThumbprint: [UInt8]
    /// The `jti`.
    public let tokenID: String
    /// The `iat`, in seconds since the epoch.
    public let issuedAt: Int64
    public let nonce: String?

    /// What is asked of a proof.
    public struct Policy: Sendable {
        /// Of key pairs only (section 4.2).
        public let algorithms: Set<JWSAlgorithm>
        /// How long ago `iat` may lie, and how far ahead.
        public var ageLimitSeconds: Int64
        public var leadLimitSeconds: Int64
        /// Set: a proof without one of its nonces is refused.
        public var nonces: DPoPNonce?

        /// In the order in which metadata names them.
        public static let algorithms: [JWSAlgorithm] = [.es256, .edDSA, .rs256, .ps256]

        public init(
            algorithms: [JWSAlgorithm] = Policy.algorithms, ageLimitSeconds: Int64 = 60,
            leadLimitSeconds: Int64 = 5, nonces: DPoPNonce? = nil
        ) {
            self.algorithms = Set(algorithms.filter { !$0.isSymmetric })
            self.ageLimitSeconds = ageLimitSeconds
            self.leadLimitSeconds = leadLimitSeconds
            self.nonces = nonces
        }
    }

    /// Checks a proof against the request that carries it (section 4.3).
    ///
    /// - Parameters:
    ///   - proof: the DPoP field's value.
    ///   - method: the request's, as sent.
    ///   - targets: what the client may know the request's target as; one of them must be meant. None, where it has none
    ///     that a proof could name, refuses every proof.
    ///   - accessToken: the token that comes with it, which `ath` must then name; `nil` at the token endpoint.
    ///   - thumbprint: of the key that this token is bound to; `nil` is not looked at.
    /// - Throws: the first reason for which it does not hold. Of `.nonceRequired` every other check has passed.
    public static func verify(
        _ proof: Span<UInt8>, method: Span<UInt8>, targets: [DPoPTarget],
        accessToken: Span<UInt8>?, boundTo thumbprint: [UInt8]? = nil, now: WallTime,
        policy: Policy = Policy()
    ) throws(DPoPError) -> DPoPProof {
        let parts = try header(proof, policy)
        let key = try key(parts)
        let claims = try readClaims(proof, parts)
        let result = try DPoPProof(claims, key: key.publicKey)
        guard let stated = claims.member("htm").map({ claims.bytes[claims.valueRange($0)] }),
            isEqual(stated, method)
        else { throw .wrongMethod }
        guard let node = claims.member("htu"),
            let target = DPoPTarget(uri: claims.bytes[claims.valueRange(node)]),
            targets.contains(target)
        else { throw .wrongTarget }
        guard result.issuedAt >= now.seconds - policy.ageLimitSeconds else { throw .tooOld }
        guard result.issuedAt <= now.seconds + policy.leadLimitSeconds else { throw .fromFuture }
        if let accessToken { try checkHash(of: accessToken, claims) }
        if let thumbprint, thumbprint != result.keyThumbprint { throw .wrongKey }
        // What costs most comes when nothing else is wrong; a nonce is asked for of those alone who have signed.
        guard JWSVerifier.isValid(parts, of: proof, by: key.verification) else {
            throw .invalid(.badSignature)
        }
        if let nonces = policy.nonces {
            guard let nonce = result.nonce, nonces.accepts(nonce, at: now) else {
                throw .nonceRequired
            }
        }
        return result
    }

    // MARK: Reading

    private static func header(
        _ proof: Span<UInt8>, _ policy: Policy
    ) throws(DPoPError) -> JWSParts {
        var parts = JWSParts()
        do throws(TokenError) {
            guard proof.count <= limitBytes else { throw .tooLarge }
            try parts.read(proof)
            guard parts.mediaType == "dpop+jwt" else { throw .wrongType }
            guard policy.algorithms.contains(parts.algorithm) else { throw .badAlgorithm }
        } catch {
            throw .invalid(error)
        }
        return parts
    }

    /// The key that the proof shows: public alone (section 4.3 item 7), and one that fits its algorithm.
    private static func key(
        _ parts: JWSParts
    ) throws(DPoPError) -> (publicKey: PublicKey, verification: VerificationKey) {
        guard let node = parts.header.member("jwk") else { throw .badKey(.malformed) }
        for name in privateMembers where parts.header.member(name, of: node) != nil {
            throw .badKey(.privateKeyPublished)
        }
        do throws(KeyRefusal) {
            let key = try JSONWebKey.read(parts.header, node, allowsSymmetric: false)
            guard case .publicKey(let publicKey) = key.material else { throw .symmetricNotAllowed }
            guard isCheap(publicKey) else { throw .unusable(.unsuitableSize) }
            guard key.isFit(for: parts.algorithm) else { throw .algorithmDoesNotFit }
            return (publicKey, key)
        } catch {
            throw .badKey(error)
        }
    }

    /// Whoever sends a proof has chosen the key: one whose check costs more than all others' is refused, 4096 bits and
    /// exponents of 32 being more than any client has.
    private static func isCheap(_ key: PublicKey) -> Bool {
        guard case .rsa(let modulus, let exponent) = key.components else { return true }
        return modulus.count <= 512 && exponent.count <= 4
    }

    private static func readClaims(
        _ proof: Span<UInt8>, _ parts: JWSParts
    ) throws(DPoPError) -> JSONDocument {
        var claims = JSONDocument()
        do throws(JSONError) {
            try claims.read(base64URL: proof.extracting(parts.payload), limits: claimLimits)
        } catch {
            throw .invalid(.malformed)
        }
        guard claims.isObject else { throw .invalid(.malformed) }
        for name: StaticString in ["htm", "htu"] {
            guard let node = claims.member(name) else { throw .invalid(.missingClaim("\(name)")) }
            guard claims.kind(node) == .string else { throw .invalid(.invalidClaim("\(name)")) }
        }
        return claims
    }

    private init(_ claims: JSONDocument, key: PublicKey) throws(DPoPError) {
        guard let node = claims.member("iat") else { throw .invalid(.missingClaim("iat")) }
        guard let issuedAt = claims.seconds(node) else { throw .invalid(.invalidClaim("iat")) }
        guard let tokenID = try DPoPProof.text("jti", claims) else {
            throw .invalid(.missingClaim("jti"))
        }
        self.issuedAt = issuedAt
        self.tokenID = tokenID
        // One that is no text of ours is none: an honest client learns the right one where it is asked for.
        nonce = try? DPoPProof.text("nonce", claims)
        keyThumbprint = key.thumbprintBytes
    }

    /// 1 to 256 bytes.
    private static func text(
        _ name: StaticString, _ claims: JSONDocument
    ) throws(DPoPError) -> String? {
        guard let node = claims.member(name) else { return nil }
        guard let text = claims.string(node), !text.isEmpty, text.utf8.count <= tokenIDLimitBytes
        else { throw .invalid(.invalidClaim("\(name)")) }
        return text
    }

    // MARK: Comparing

    private static func isEqual(_ text: ArraySlice<UInt8>, _ bytes: Span<UInt8>) -> Bool {
        guard text.count == bytes.count else { return false }
        for (index, byte) in text.enumerated() where byte != bytes[index] { return false }
        return true
    }

    /// The `ath`: base64url of the SHA-256 of the token's text (section 4.2).
    private static func checkHash(
        of token: Span<UInt8>, _ claims: JSONDocument
    ) throws(DPoPError) {
        guard let stated = claims.string("ath", of: 0) else { throw .wrongToken }
        let expected = Base64.encode(Digest.hash(token, .sha256), .url)
        guard ConstantTime.equal(Array(stated.utf8), Array(expected.utf8)) else {
            throw .wrongToken
        }
    }
}
