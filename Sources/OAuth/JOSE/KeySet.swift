import Cryptography
import Primitives

/// Why a key set was refused as a whole; the last good one stays in use then.
public enum KeySetError: Error, Equatable, Sendable {
    case notJSON(JSONError)
    /// Not an object with an array `keys` of objects (RFC 7517 section 5), or too many of them.
    case notAKeySet
    case tooManyKeys
    /// Two keys of one `kid`, of which either could be meant for signatures, though one may be
    /// broken: which is meant is not for us to guess.
    case duplicateKeyID(String)
    /// Shared secrets beside public keys: what is published to all is no place for a secret, and
    /// the mix is what algorithm confusion lives on.
    case symmetricBesidePublic
}

/// The keys that may prove tokens of one issuer: those of a JWK set (RFC 7517) that are fit for it.
public final class KeySet: Sendable {
    /// A key that was left out, with the reason, for the log and `explain`.
    public struct Skipped: Sendable, Equatable {
        /// Its place in the set, from 0.
        public let index: Int
        public let keyID: String?
        public let reason: KeyRefusal

        /// How to speak of it: by its `kid`, or its place where it has none or an endless one.
        public var name: String {
            if let keyID, keyID.utf8.count <= JSONWebKey.keyIDLimitBytes { return keyID }
            return "number \(index)"
        }
    }

    /// At most so many keys are read: real sets have two to ten.
    public static let keyLimit = 100
    static let limits = JSONDocument.Limits(depth: 16, nodes: 8192, members: 64)

    public let keys: [VerificationKey]
    public let skipped: [Skipped]

    public var isEmpty: Bool { keys.isEmpty }

    /// Reads a JWK set.
    ///
    /// - Parameters:
    ///   - jwks: the JSON text.
    ///   - allowsSymmetric: whether `oct` keys are taken: only for a file that the operator named,
    ///     never for what was fetched.
    public init(jwks: [UInt8], allowsSymmetric: Bool) throws(KeySetError) {
        let document = try KeySet.document(jwks)
        guard document.isObject, let list = document.member("keys"), document.kind(list) == .array
        else { throw .notAKeySet }
        var nodes: [Int] = []
        _ = document.forEachChild(of: list) { node in
            nodes.append(node)
            return true
        }
        guard nodes.count <= KeySet.keyLimit else { throw .tooManyKeys }
        var keys: [VerificationKey] = []
        var skipped: [Skipped] = []
        for (index, node) in nodes.enumerated() {
            do throws(KeyRefusal) {
                keys.append(
                    try JSONWebKey.read(document, node, allowsSymmetric: allowsSymmetric))
            } catch {
                let keyID = document.string("kid", of: node)
                skipped.append(Skipped(index: index, keyID: keyID, reason: error))
            }
        }
        try KeySet.check(keys, skipped)
        self.keys = keys
        self.skipped = skipped
    }

    /// Reads a single JWK.
    public init(jwk: [UInt8], allowsSymmetric: Bool) throws(KeySetError) {
        let document = try KeySet.document(jwk)
        guard document.isObject else { throw .notAKeySet }
        do throws(KeyRefusal) {
            keys = [try JSONWebKey.read(document, 0, allowsSymmetric: allowsSymmetric)]
            skipped = []
        } catch {
            keys = []
            skipped = [Skipped(index: 0, keyID: document.string("kid", of: 0), reason: error)]
        }
    }

    private init() {
        keys = []
        skipped = []
    }

    /// Proves nothing: what an issuer has whose keys have not come yet.
    public static let empty = KeySet()

    /// Whether each key of `other` is here too, the same in `kid`, `alg` and material: then nothing that it proved has
    /// become untrue.
    public func holdsAll(of other: KeySet) -> Bool {
        let mine = Set(keys.map(\.fingerprint))
        return other.keys.allSatisfy { mine.contains($0.fingerprint) }
    }

    /// Of keys that are here already and are kept apart by their names: those of our own authority, of which each counts,
    /// however many there are.
    public init(_ keys: [VerificationKey]) {
        self.keys = keys
        skipped = []
    }

    private static func document(_ text: [UInt8]) throws(KeySetError) -> JSONDocument {
        var document = JSONDocument()
        do throws(JSONError) {
            try document.read(text.span, limits: limits)
        } catch {
            throw .notJSON(error)
        }
        return document
    }

    private static func check(
        _ keys: [VerificationKey], _ skipped: [Skipped]
    ) throws(KeySetError) {
        let claimed =
            keys.compactMap(\.keyID)
            + skipped.filter(\.reason.concernsSignatures).compactMap {
                $0.keyID.map { Array($0.utf8) }
            }
        var seen: Set<[UInt8]> = []
        for keyID in claimed where !seen.insert(keyID).inserted {
            throw .duplicateKeyID(String(decoding: keyID, as: UTF8.self))
        }
        let symmetric = keys.count { if case .symmetric = $0.material { true } else { false } }
        guard symmetric == 0 || symmetric == keys.count else { throw .symmetricBesidePublic }
    }
}

/// A key with what its JWK binds it to. A class for its identity: a worker finds its prepared
/// context by it.
public final class VerificationKey: Sendable {
    public enum Material: Sendable {
        case publicKey(PublicKey)
        case symmetric(Secret)
    }

    /// Opaque bytes, compared as they are.
    public let keyID: [UInt8]?
    /// Set: no other algorithm is taken with this key (RFC 7517 section 4.4).
    public let algorithm: JWSAlgorithm?
    public let material: Material

    /// - Throws: `.algorithmDoesNotFit`, `.weak` (RSA below 2048 bits).
    public init(
        keyID: [UInt8]?, algorithm: JWSAlgorithm?, material: Material
    ) throws(KeyRefusal) {
        self.keyID = keyID
        self.algorithm = algorithm
        self.material = material
        if case .publicKey(let key) = material, case .rsa(let bits) = key.kind, bits < 2048 {
            throw .weak
        }
        if let algorithm, !isFit(for: algorithm) {
            if case .symmetric = material, algorithm.isSymmetric { throw .weak }
            throw .algorithmDoesNotFit
        }
    }

    func isNamed(_ text: Span<UInt8>) -> Bool {
        guard let keyID else { return false }
        return keyID.span.equals(text)
    }

    /// Equal for keys that prove the same.
    fileprivate var fingerprint: [UInt8] {
        let name: [UInt8] = keyID.map { [1] + $0 + [0] } ?? [0]
        let algorithm = Array((algorithm?.rawValue ?? "").utf8)
        switch material {
        case .publicKey(let key): return name + algorithm + [0] + Array(key.thumbprint.utf8)
        case .symmetric(let secret):
            let secret = secret.exposed
            return name + algorithm + [1] + Digest.hash(secret.span, .sha256)
        }
    }

    /// Whether a token of that algorithm may be checked with this key: its `alg`, its type, its
    /// curve and its length all allow it (RFC 8725 section 3.1; RFC 7518 section 3.2 for the length
    /// of a MAC key).
    public func isFit(for wanted: JWSAlgorithm) -> Bool {
        guard algorithm == nil || algorithm == wanted else { return false }
        switch (material, wanted.proof) {
        case (.publicKey(let key), .signature(let algorithm)):
            return algorithm.fits(key.kind)
        case (.symmetric(let secret), .mac(let digest)):
            return secret.count >= digest.byteCount
        case (.publicKey, .mac), (.symmetric, .signature):
            return false
        }
    }
}
