import Cryptography
import Primitives

/// Checks the signatures of JWS in compact form with the keys of one set, by the algorithms that
/// are allowed.
///
/// Knows nothing of claims: `TokenVerifier` judges those. Belongs to one worker, and keeps what it
/// prepared for each key; not Sendable.
public final class JWSVerifier {
    /// Without a `kid`, so many keys of the right type are tried: each costs a check.
    static let triesWithoutKeyID = 4

    private enum Engine {
        case signature(SignatureVerifier)
        case mac(MAC)
    }

    /// An object, so that choosing one copies none of it.
    private final class Prepared {
        let key: VerificationKey
        let algorithm: JWSAlgorithm
        let engine: Engine

        init(_ key: VerificationKey, _ algorithm: JWSAlgorithm, _ engine: Engine) {
            self.key = key
            self.algorithm = algorithm
            self.engine = engine
        }

        func isFor(_ key: VerificationKey, _ algorithm: JWSAlgorithm) -> Bool {
            self.key === key && self.algorithm == algorithm
        }
    }

    public let keys: KeySet
    public let algorithms: Set<JWSAlgorithm>
    private var prepared: [Prepared] = []
    private var parts = JWSParts()
    private var code: [UInt8] = []

    public init(keys: KeySet, algorithms: Set<JWSAlgorithm>) {
        self.keys = keys
        self.algorithms = algorithms
    }

    /// Checks a whole JWS and leaves its payload, decoded, in `payload`.
    ///
    /// - Throws: `payload` is empty then.
    /// - Returns: the key that proved it.
    public func verify(
        _ token: Span<UInt8>, payload: inout [UInt8]
    ) throws(TokenError) -> VerificationKey {
        payload.removeAll(keepingCapacity: true)
        try parts.read(token)
        let key = try verify(parts, of: token)
        guard Base64.decode(token.extracting(parts.payload), .url, into: &payload) else {
            throw .malformed
        }
        return key
    }

    /// Checks the signature of a JWS that was taken apart.
    ///
    /// - Throws: `.badAlgorithm`, `.unknownKey`, `.badSignature`.
    func verify(
        _ parts: borrowing JWSParts, of token: Span<UInt8>
    ) throws(TokenError) -> VerificationKey {
        // The token may choose among what is allowed, no more (RFC 8725 section 3.1).
        guard algorithms.contains(parts.algorithm) else { throw .badAlgorithm }
        let message = token.extracting(parts.signingInput)
        if let keyID = parts.keyID {
            guard let key = named(parts.header.bytes.span.extracting(keyID)) else {
                throw .unknownKey
            }
            guard key.isFit(for: parts.algorithm) else { throw .badAlgorithm }
            guard isValid(parts, message, by: key) else { throw .badSignature }
            return key
        }
        var tries = 0
        for key in keys.keys where key.isFit(for: parts.algorithm) {
            tries += 1
            if tries > JWSVerifier.triesWithoutKeyID { break }
            if isValid(parts, message, by: key) { return key }
        }
        throw tries == 0 ? .unknownKey : .badSignature
    }

    /// Checks the signature of a JWS that was taken apart by one key, whatever either calls it.
    static func isValid(
        _ parts: JWSParts, of token: Span<UInt8>, by key: VerificationKey
    ) -> Bool {
        guard key.isFit(for: parts.algorithm),
            case .signature(let verifier) = prepare(key, parts.algorithm)
        else { return false }
        return verifier.isValid(
            signature: parts.signature.span, message: token.extracting(parts.signingInput))
    }

    private func named(_ keyID: Span<UInt8>) -> VerificationKey? {
        let all = keys.keys
        for index in all.indices where all[index].isNamed(keyID) { return all[index] }
        return nil
    }

    private func isValid(
        _ parts: borrowing JWSParts, _ message: Span<UInt8>, by key: VerificationKey
    ) -> Bool {
        // A context that cannot be made is a signature that was not proven.
        guard let engine = engine(for: key, parts.algorithm) else { return false }
        switch engine {
        case .signature(let verifier):
            return verifier.isValid(signature: parts.signature.span, message: message)
        case .mac(let mac):
            mac.authenticate(message, into: &code)
            return ConstantTime.equal(code, parts.signature)
        }
    }

    private func engine(for key: VerificationKey, _ algorithm: JWSAlgorithm) -> Engine? {
        for index in prepared.indices where prepared[index].isFor(key, algorithm) {
            return prepared[index].engine
        }
        // As many at most as there are keys and algorithms.
        guard let engine = JWSVerifier.prepare(key, algorithm) else { return nil }
        prepared.append(Prepared(key, algorithm, engine))
        return engine
    }

    private static func prepare(_ key: VerificationKey, _ algorithm: JWSAlgorithm) -> Engine? {
        switch (key.material, algorithm.proof) {
        case (.publicKey(let key), .signature(let algorithm)):
            (try? SignatureVerifier(key: key, algorithm: algorithm)).map(Engine.signature)
        case (.symmetric(let secret), .mac(let digest)):
            (try? MAC(algorithm: digest, key: secret.exposed)).map(Engine.mac)
        case (.publicKey, .mac), (.symmetric, .signature):
            nil
        }
    }
}
