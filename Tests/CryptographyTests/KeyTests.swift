import Cryptography
import Primitives
import Testing

struct KeyTests {
    private static let p256 = (
        x: bytes("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
        y: bytes("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
    )

    @Test(arguments: [
        SampleKeys.rsaPublicKeyInfo, SampleKeys.rsaPublicKey, SampleKeys.certificate,
    ])
    func aPublicKeyIsReadFromEachPEMForm(text: String) throws {
        let key = try PublicKey(pem: Array(text.utf8))
        #expect(key.kind == .rsa(bits: 2048))
        let own = try PrivateKey(pem: Secret(utf8: SampleKeys.rsaPrivateKey)).publicKey
        #expect(key.components == own.components)
    }

    @Test func aCurveKeyIsReadFromPEM() throws {
        let key = try PublicKey(pem: Array(SampleKeys.ecPublicKey.utf8))
        let own = try PrivateKey(pem: Secret(utf8: SampleKeys.ecPrivateKey)).publicKey
        #expect(key.kind == .ec(.p256))
        #expect(key.components == own.components)
    }

    @Test(arguments: [
        ("a private key", SampleKeys.rsaPrivateKey, KeyFault.malformed),
        ("a private curve key", SampleKeys.ecPrivateKey, .malformed),
        ("an encrypted key", SampleKeys.encryptedPrivateKey, .malformed),
        ("nothing", "", .malformed),
        ("a mark alone", "-----BEGIN PUBLIC KEY-----", .malformed),
        ("an unknown curve", SampleKeys.secp256k1PublicKey, .unsupportedKind),
        ("a key agreement key", SampleKeys.x25519PublicKey, .unsupportedKind),
        ("a key restricted to PSS", SampleKeys.rsaPSSPublicKey, .unsupportedKind),
    ])
    func otherPEMTextsAreNoPublicKey(name: String, text: String, fault: KeyFault) {
        #expect(throws: CryptographyError.invalidKey(fault)) {
            try PublicKey(pem: Array(text.utf8))
        }
    }

    /// Without a terminal to ask for the pass phrase: this would hang.
    @Test func anEncryptedPrivateKeyIsRefused() {
        #expect(throws: CryptographyError.invalidKey(.malformed)) {
            try PrivateKey(pem: Secret(utf8: SampleKeys.encryptedPrivateKey))
        }
    }

    @Test func aPointOffTheCurveIsRefused() throws {
        #expect(
            try PublicKey(curve: .p256, x: KeyTests.p256.x, y: KeyTests.p256.y).kind == .ec(.p256))
        var y = KeyTests.p256.y
        y[31] ^= 1
        #expect(throws: CryptographyError.invalidKey(.notOnCurve)) {
            try PublicKey(curve: .p256, x: KeyTests.p256.x, y: y)
        }
        let zero = [UInt8](repeating: 0, count: 32)
        #expect(throws: CryptographyError.invalidKey(.notOnCurve)) {
            try PublicKey(curve: .p256, x: zero, y: zero)
        }
    }

    @Test func coordinatesOfAnotherLengthAreRefused() {
        #expect(throws: CryptographyError.invalidKey(.coordinateLength)) {
            try PublicKey(curve: .p256, x: KeyTests.p256.x, y: Array(KeyTests.p256.y.dropLast()))
        }
        #expect(throws: CryptographyError.invalidKey(.coordinateLength)) {
            try PublicKey(curve: .p384, x: KeyTests.p256.x, y: KeyTests.p256.y)
        }
        #expect(throws: CryptographyError.invalidKey(.malformed)) {
            try PublicKey(ed25519: Array(repeating: 1, count: 31))
        }
    }

    @Test func unsoundRSANumbersAreRefused() throws {
        let sound = try PrivateKey(pem: Secret(utf8: SampleKeys.rsaPrivateKey)).publicKey
        guard case .rsa(let modulus, let exponent) = sound.components else {
            Issue.record("no RSA key")
            return
        }
        #expect(
            try PublicKey(rsaModulus: modulus, exponent: exponent).components == sound.components)
        var even = modulus
        even[even.count - 1] &= 0xFE
        let cases: [(modulus: [UInt8], exponent: [UInt8], fault: KeyFault)] = [
            (modulus, [1], .unsuitableNumber),
            (modulus, [1, 0], .unsuitableNumber),
            (even, exponent, .unsuitableNumber),
            (modulus, Array(repeating: 0xFF, count: 9), .unsuitableNumber),
            (Array(modulus.prefix(64)) + [1], exponent, .unsuitableSize),
            (modulus + modulus + modulus + modulus + modulus, exponent, .unsuitableSize),
            ([], exponent, .malformed),
            (modulus, [], .malformed),
            ([0] + modulus, exponent, .malformed),
        ]
        for (modulus, exponent, fault) in cases {
            #expect(throws: CryptographyError.invalidKey(fault)) {
                try PublicKey(rsaModulus: modulus, exponent: exponent)
            }
        }
    }

    @Test(arguments: [PrivateKey.Kind.p256, .ed25519, .rsa2048])
    func aNewKeyGoesThroughItsDERUnchanged(kind: PrivateKey.Kind) throws {
        let key = try PrivateKey.generate(kind)
        let again = try PrivateKey(pkcs8DER: key.pkcs8DER())
        #expect(again.publicKey.components == key.publicKey.components)
        let copy = try PublicKey(
            subjectPublicKeyInfo: key.publicKey.subjectPublicKeyInfo())
        #expect(copy.components == key.publicKey.components)
        #expect(try PrivateKey.generate(kind).publicKey.components != key.publicKey.components)
    }

    @Test func cutDERIsNoKey() throws {
        let key = try PrivateKey.generate(.p256)
        let secret = try key.pkcs8DER().exposed
        let open = try key.publicKey.subjectPublicKeyInfo()
        for length in 0..<secret.count {
            #expect(throws: CryptographyError.invalidKey(.malformed)) {
                try PrivateKey(pkcs8DER: Secret(Array(secret.prefix(length))))
            }
        }
        for length in 0..<open.count {
            #expect(throws: CryptographyError.invalidKey(.malformed)) {
                try PublicKey(subjectPublicKeyInfo: Array(open.prefix(length)))
            }
        }
        #expect(throws: CryptographyError.invalidKey(.malformed)) {
            try PublicKey(subjectPublicKeyInfo: open + [0])
        }
    }
}
