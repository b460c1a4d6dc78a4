import Cryptography
import Primitives

/// Why a JWK is not used.
public enum KeyRefusal: Error, Equatable, Sendable {
    /// Not an object, a member missing or of the wrong type, not strict base64url.
    case malformed
    /// A `kty` or `crv` that signs nothing here; such keys may stand in a set (RFC 7517 section 5).
    case unsupportedType
    /// `use` or `key_ops` say that it verifies nothing (RFC 7517 sections 4.2, 4.3).
    case notForSignatures
    /// Its `alg` is no signature algorithm that is known, or not one of its type, curve or length.
    case algorithmDoesNotFit
    /// An `oct` key where none may be.
    case symmetricNotAllowed
    /// An RSA key below 2048 bits, or a MAC key shorter than its hash.
    case weak
    /// It shows its private part: whoever can read the set can sign.
    case privateKeyPublished
    case unusable(KeyFault)

    /// Whether the key may have been meant to verify: others may well share a `kid` with one that
    /// does.
    var concernsSignatures: Bool {
        switch self {
        case .unsupportedType, .notForSignatures: false
        case .malformed, .algorithmDoesNotFit, .symmetricNotAllowed, .weak, .privateKeyPublished,
            .unusable:
            true
        }
    }

    /// For whoever has the key.
    public var text: String {
        switch self {
        case .malformed: "a member is missing, of the wrong type or not strict base64url"
        case .unsupportedType: "its kty or crv signs nothing here"
        case .notForSignatures: "its use or key_ops say that it verifies nothing"
        case .algorithmDoesNotFit: "its alg is none that is known, or does not fit it"
        case .symmetricNotAllowed: "a shared key, where only public ones may be"
        case .weak: "an RSA key below 2048 bits, or a shared one that is too short"
        case .privateKeyPublished: "it shows its private part"
        case .unusable(let fault): fault.text
        }
    }
}

extension KeyFault {
    fileprivate var text: String {
        switch self {
        case .malformed: "not the structure of a key"
        case .coordinateLength:
            "a coordinate is shorter or longer than its curve's (leading zeros belong to it: RFC 7518 section 6.2.1.2)"
        case .unsupportedKind: "of a kind that signs nothing here"
        case .unsuitableSize: "an RSA modulus that is too short or too long"
        case .unsuitableNumber: "an even RSA modulus, or an exponent that is even or out of range"
        case .flawedGenerator: "made by a generator that is broken (CVE-2017-15361)"
        case .notOnCurve: "its coordinates are no point of the curve"
        }
    }
}

/// Reads one JWK (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2).
enum JSONWebKey {
    static let keyIDLimitBytes = 256

    static func read(
        _ document: JSONDocument, _ node: Int, allowsSymmetric: Bool
    ) throws(KeyRefusal) -> VerificationKey {
        guard document.kind(node) == .object, let type = document.string("kty", of: node) else {
            throw .malformed
        }
        try checkPurpose(document, node)
        let keyID = try keyID(document, node)
        let algorithm = try algorithm(document, node)
        let material = try material(type, document, node, allowsSymmetric: allowsSymmetric)
        return try VerificationKey(keyID: keyID, algorithm: algorithm, material: material)
    }

    private static func checkPurpose(_ document: JSONDocument, _ node: Int) throws(KeyRefusal) {
        if let use = document.member("use", of: node), !document.isString(use, "sig") {
            throw .notForSignatures
        }
        guard let operations = document.member("key_ops", of: node) else { return }
        var verifies = false
        let areStrings =
            document.kind(operations) == .array
            && document.forEachChild(of: operations) { operation in
                if document.isString(operation, "verify") { verifies = true }
                return document.kind(operation) == .string
            }
        guard areStrings else { throw .malformed }
        guard verifies else { throw .notForSignatures }
    }

    private static func keyID(
        _ document: JSONDocument, _ node: Int
    ) throws(KeyRefusal) -> [UInt8]? {
        guard let member = document.member("kid", of: node) else { return nil }
        let range = document.valueRange(member)
        guard document.kind(member) == .string, range.count <= keyIDLimitBytes else {
            throw .malformed
        }
        return Array(document.bytes[range])
    }

    private static func algorithm(
        _ document: JSONDocument, _ node: Int
    ) throws(KeyRefusal) -> JWSAlgorithm? {
        guard let member = document.member("alg", of: node) else { return nil }
        guard let name = document.string(member), let algorithm = JWSAlgorithm(rawValue: name)
        else { throw .algorithmDoesNotFit }
        return algorithm
    }

    private static func material(
        _ type: String, _ document: JSONDocument, _ node: Int, allowsSymmetric: Bool
    ) throws(KeyRefusal) -> VerificationKey.Material {
        switch type {
        case "RSA", "EC", "OKP":
            guard document.member("d", of: node) == nil else { throw .privateKeyPublished }
            do throws(CryptographyError) {
                guard let key = try publicKey(type, document, node) else {
                    throw .invalidKey(.unsupportedKind)
                }
                return .publicKey(key)
            } catch {
                switch error {
                case .invalidKey(.malformed): throw .malformed
                case .invalidKey(.unsupportedKind): throw .unsupportedType
                case .invalidKey(let fault): throw .unusable(fault)
                default: throw .unusable(.malformed)
                }
            }
        case "oct":
            guard allowsSymmetric else { throw .symmetricNotAllowed }
            guard let bytes = bytes("k", document, node) else { throw .malformed }
            // Shorter than the smallest hash there is: no algorithm could use it.
            guard bytes.count >= DigestAlgorithm.sha256.byteCount else { throw .weak }
            return .symmetric(Secret(bytes))
        default:
            throw .unsupportedType
        }
    }

    /// - Returns: `nil` for a curve that is not known.
    private static func publicKey(
        _ type: String, _ document: JSONDocument, _ node: Int
    ) throws(CryptographyError) -> PublicKey? {
        if type == "RSA" {
            guard let modulus = bytes("n", document, node),
                let exponent = bytes("e", document, node)
            else { throw .invalidKey(.malformed) }
            // RFC 7518 section 6.3.1 forbids leading zeros, yet published sets have them; the
            // number is the same.
            return try PublicKey(
                rsaModulus: Array(modulus.drop { $0 == 0 }),
                exponent: Array(exponent.drop { $0 == 0 }))
        }
        guard let name = document.string("crv", of: node), let x = bytes("x", document, node) else {
            throw .invalidKey(.malformed)
        }
        if type == "OKP" { return name == "Ed25519" ? try PublicKey(ed25519: x) : nil }
        guard let curve = EllipticCurve.allCases.first(where: { $0.name == name }) else {
            return nil
        }
        guard let y = bytes("y", document, node) else { throw .invalidKey(.malformed) }
        return try PublicKey(curve: curve, x: x, y: y)
    }

    private static func bytes(
        _ name: StaticString, _ document: JSONDocument, _ node: Int
    ) -> [UInt8]? {
        document.string(name, of: node).flatMap { Base64.decode($0, .url) }
    }
}
