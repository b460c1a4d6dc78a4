import Cryptography
import Primitives
import Testing

extension SignatureVerifier {
    fileprivate func accepts(_ signature: [UInt8], _ message: [UInt8]) -> Bool {
        isValid(signature: signature.span, message: message.span)
    }
}

struct SignatureTests {
    private static let rsa = try? PrivateKey(pem: Secret(utf8: SampleKeys.rsaPrivateKey))
    private static let p256 = try? PrivateKey.generate(.p256)
    private static let ed25519 = try? PrivateKey.generate(.ed25519)
    private static let message = Array("GET&http%3A%2F%2Fexample.com%2F&a%3D1".utf8)

    /// A key for each algorithm; ES384 and ES512 keys are never made here, only read from key sets.
    private static func key(_ algorithm: SignatureAlgorithm) throws -> PrivateKey {
        let kinds = [rsa, p256, ed25519].compactMap { $0 }
        return try #require(kinds.first { algorithm.fits($0.kind) })
    }

    private static let signing = SignatureAlgorithm.allCases.filter {
        $0 != .es384 && $0 != .es512
    }

    @Test(arguments: signing)
    func whatWasSignedIsValidAndNothingElse(algorithm: SignatureAlgorithm) throws {
        let key = try SignatureTests.key(algorithm)
        let verifier = try SignatureVerifier(key: key.publicKey, algorithm: algorithm)
        let message = SignatureTests.message
        let signature = try key.sign(message, algorithm)
        // One context for many checks, good and bad in turn.
        for index in stride(from: 0, to: signature.count, by: 7) {
            #expect(verifier.accepts(signature, message))
            var changed = signature
            changed[index] ^= 0x10
            #expect(!verifier.accepts(changed, message))
        }
        for index in message.indices {
            var changed = message
            changed[index] ^= 1
            #expect(!verifier.accepts(signature, changed))
        }
        #expect(!verifier.accepts(signature, []))
    }

    @Test(arguments: signing)
    func anotherLengthIsInvalid(algorithm: SignatureAlgorithm) throws {
        let key = try SignatureTests.key(algorithm)
        let verifier = try SignatureVerifier(key: key.publicKey, algorithm: algorithm)
        let message = SignatureTests.message
        let signature = try key.sign(message, algorithm)
        let wrong: [[UInt8]] = [
            [], [0], Array(signature.dropLast()), Array(signature.dropFirst()), signature + [0],
            [0] + signature, signature + signature, Array(repeating: 0, count: signature.count),
            Array(repeating: 0xFF, count: signature.count),
        ]
        for candidate in wrong {
            #expect(!verifier.accepts(candidate, message))
        }
    }

    @Test func anotherKeyOrAlgorithmIsInvalid() throws {
        let key = try SignatureTests.key(.rs256)
        let message = SignatureTests.message
        let other = try PrivateKey.generate(.rsa2048)
        let all = SignatureTests.signing.filter { $0.fits(key.kind) }
        #expect(all.count == 7)
        for signed in all {
            let signature = try key.sign(message, signed)
            for checked in all {
                let own = try SignatureVerifier(key: key.publicKey, algorithm: checked)
                let valid = own.accepts(signature, message)
                #expect(valid == (signed == checked))
                let strange = try SignatureVerifier(key: other.publicKey, algorithm: checked)
                #expect(!strange.accepts(signature, message))
            }
        }
    }

    @Test func halvesOutOfRangeAreInvalid() throws {
        let key = try SignatureTests.key(.es256)
        let verifier = try SignatureVerifier(key: key.publicKey, algorithm: .es256)
        let message = SignatureTests.message
        let signature = try key.sign(message, .es256)
        let order = bytes("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
        let zero = [UInt8](repeating: 0, count: 32)
        let r = Array(signature.prefix(32))
        let s = Array(signature.suffix(32))
        for candidate in [zero + zero, zero + s, r + zero, order + s, r + order, order + order] {
            #expect(!verifier.accepts(candidate, message))
        }
    }

    @Test func theDERFormIsInvalid() throws {
        let key = try SignatureTests.key(.es256)
        let verifier = try SignatureVerifier(key: key.publicKey, algorithm: .es256)
        let message = SignatureTests.message
        let signature = try key.sign(message, .es256)
        func integer(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
            let digits = Array(bytes.drop { $0 == 0 })
            let signed = (digits.first ?? 0) >= 0x80 ? [0] + digits : digits
            return [0x02, UInt8(signed.count)] + signed
        }
        let body = integer(signature.prefix(32)) + integer(signature.suffix(32))
        let der = [0x30, UInt8(body.count)] + body
        #expect(!verifier.accepts(der, message))
    }

    /// Leading zeros of r and s occur once in 128 signatures; each must go both ways.
    @Test func fiveHundredSignaturesAreAllValid() throws {
        let key = try SignatureTests.key(.es256)
        let verifier = try SignatureVerifier(key: key.publicKey, algorithm: .es256)
        for number in 0..<500 {
            let message = Array("\(number)".utf8)
            let signature = try key.sign(message, .es256)
            #expect(signature.count == 64)
            #expect(verifier.accepts(signature, message))
        }
    }

    @Test func aKeyOfAnotherKindDoesNotFit() throws {
        let key = try SignatureTests.key(.es256)
        for algorithm in SignatureAlgorithm.allCases where algorithm != .es256 {
            #expect(throws: CryptographyError.keyDoesNotFit) {
                try SignatureVerifier(key: key.publicKey, algorithm: algorithm)
            }
            #expect(throws: CryptographyError.keyDoesNotFit) { try key.sign([1], algorithm) }
        }
    }

    @Test func threadsShareAKeyEachWithItsOwnVerifier() async throws {
        let key = try SignatureTests.key(.ps256)
        let signature = try key.sign(SignatureTests.message, .ps256)
        let results = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    guard
                        let verifier = try? SignatureVerifier(
                            key: key.publicKey, algorithm: .ps256)
                    else { return false }
                    return (0..<50).allSatisfy { _ in
                        verifier.accepts(signature, SignatureTests.message)
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(results == [true, true, true, true])
    }
}
