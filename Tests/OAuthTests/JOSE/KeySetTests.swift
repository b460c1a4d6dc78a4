import Cryptography
import Primitives
import Testing

@testable import OAuth

struct KeySetTests {
    private static let ec =
        #""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#
        + #""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#
    private static let ed =
        #""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#
    private static let secret = Base64.encode(Array(0..<32), .url)

    private func set(_ jwks: String, allowsSymmetric: Bool = false) throws(KeySetError) -> KeySet {
        try KeySet(jwks: Array(jwks.utf8), allowsSymmetric: allowsSymmetric)
    }

    @Test func keysThatVerifyAreKept() throws {
        let set = try set(
            #"{"keys":[{"kid":"a",\#(KeySetTests.ec),"use":"sig","alg":"ES256"},"#
                + #"{"kid":"b",\#(KeySetTests.ed),"key_ops":["verify"]},{\#(KeySetTests.ed)}],"x":1}"#
        )
        #expect(set.skipped.isEmpty)
        #expect(set.keys.map(\.keyID) == [Array("a".utf8), Array("b".utf8), nil])
        #expect(set.keys.map(\.algorithm) == [.es256, nil, nil])
        #expect(set.keys[0].isFit(for: .es256))
        #expect(JWSAlgorithm.allCases.filter(set.keys[0].isFit) == [.es256])
        #expect(JWSAlgorithm.allCases.filter(set.keys[1].isFit) == [.edDSA])
    }

    @Test(arguments: [
        (#"{\#(ec),"use":"enc"}"#, KeyRefusal.notForSignatures),
        (#"{\#(ec),"use":1}"#, .notForSignatures),
        (#"{\#(ec),"key_ops":["sign"]}"#, .notForSignatures),
        (#"{\#(ec),"key_ops":[]}"#, .notForSignatures),
        (#"{\#(ec),"key_ops":"verify"}"#, .malformed),
        (#"{\#(ec),"key_ops":["verify",1]}"#, .malformed),
        (#"{\#(ec),"alg":"ES384"}"#, .algorithmDoesNotFit),
        (#"{\#(ec),"alg":"RS256"}"#, .algorithmDoesNotFit),
        (#"{\#(ec),"alg":"none"}"#, .algorithmDoesNotFit),
        (#"{\#(ec),"alg":256}"#, .algorithmDoesNotFit),
        (#"{\#(ec),"d":"AA"}"#, .privateKeyPublished),
        (#"{\#(ec),"kid":1}"#, .malformed),
        (#"{\#(ec),"kid":"\#(String(repeating: "k", count: 257))"}"#, .malformed),
        (#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, .unusable(.coordinateLength)),
        (#"{"kty":"EC","crv":"P-256"}"#, .malformed),
        (#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#, .unsupportedType),
        (#"{"kty":"OKP","crv":"X25519","x":"AA"}"#, .unsupportedType),
        (#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#, .malformed),
        (
            #"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="}"#,
            .malformed
        ),
        (#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, .unusable(.unsuitableSize)),
        (#"{"kty":"RSA","n":"AQAB"}"#, .malformed),
        (#"{"kty":"oct","k":"\#(secret)"}"#, .symmetricNotAllowed),
        (#"{"kty":"future"}"#, .unsupportedType),
        (#"{"kty":1}"#, .malformed),
        ("{}", .malformed), ("1", .malformed),
    ])
    func anyOtherKeyIsSkippedWithItsReason(jwk: String, reason: KeyRefusal) throws {
        let set = try set(#"{"keys":[\#(jwk),{\#(KeySetTests.ed)}]}"#)
        #expect(set.skipped.map(\.reason) == [reason])
        #expect(set.skipped.map(\.index) == [0])
        #expect(set.keys.count == 1)
    }

    /// RFC 7518 section 3.2: at least as long as the hash, which decides which HMACs a secret is
    /// fit for.
    @Test(
        arguments: [
            (31, []), (32, [.hs256]), (47, [.hs256]), (48, [.hs256, .hs384]),
            (64, [.hs256, .hs384, .hs512]),
        ] as [(Int, [JWSAlgorithm])])
    func aSecretIsHeldToItsLength(length: Int, fit: [JWSAlgorithm]) throws {
        let text = Base64.encode(Array(repeating: 7, count: length), .url)
        let set = try set(#"{"keys":[{"kty":"oct","k":"\#(text)"}]}"#, allowsSymmetric: true)
        #expect(set.keys.flatMap { key in JWSAlgorithm.allCases.filter(key.isFit) } == fit)
        #expect(set.skipped.map(\.reason) == (fit.isEmpty ? [.weak] : []))
    }

    @Test(arguments: [
        "[]", "1", "{}", #"{"keys":{}}"#, #"{"keys":null}"#, #"{"Keys":[]}"#,
    ])
    func whatIsNoSetIsRefused(text: String) {
        #expect(throws: KeySetError.notAKeySet) { try set(text) }
    }

    @Test func brokenJSONIsRefused() {
        #expect(throws: KeySetError.notJSON(.syntax(offset: 9))) { try set(#"{"keys":["#) }
        #expect(throws: KeySetError.notJSON(.duplicateName(offset: 11))) {
            try set(#"{"keys":[],"keys":[]}"#)
        }
    }

    @Test func anEmptySetHoldsNoKey() throws {
        #expect(try set(#"{"keys":[]}"#).isEmpty)
    }

    @Test func oneKeyIDForTwoKeysIsRefused() throws {
        let twice = #"{"keys":[{"kid":"a",\#(KeySetTests.ec)},{"kid":"a",\#(KeySetTests.ed)}]}"#
        #expect(throws: KeySetError.duplicateKeyID("a")) { try set(twice) }
        // One of them broken: it may be the other that is the forgery.
        let broken = #"{"keys":[{"kid":"a",\#(KeySetTests.ec)},{"kid":"a","kty":"EC"}]}"#
        #expect(throws: KeySetError.duplicateKeyID("a")) { try set(broken) }
        // One for encryption may share the name.
        let both =
            #"{"keys":[{"kid":"a",\#(KeySetTests.ec)},{"kid":"a",\#(KeySetTests.ec),"use":"enc"}]}"#
        #expect(try set(both).keys.count == 1)
    }

    @Test func tooManyKeysAreRefused() throws {
        func many(_ count: Int) -> String {
            let key = "{\(KeySetTests.ed)}"
            return #"{"keys":[\#(Array(repeating: key, count: count).joined(separator: ","))]}"#
        }
        #expect(try set(many(100)).keys.count == 100)
        #expect(throws: KeySetError.tooManyKeys) { try set(many(101)) }
    }

    @Test func whatIsPublishedIsReadBack() throws {
        let kinds: [(PrivateKey.Kind, JWSAlgorithm)] = [
            (.p256, .es256), (.ed25519, .edDSA), (.rsa2048, .rs256),
        ]
        let keys = try kinds.map { kind, algorithm in
            try SigningKey(algorithm: algorithm, privateKey: .generate(kind))
        }
        let text = JWKSDocument.write(keys.map(\.published))
        let set = try KeySet(jwks: text, allowsSymmetric: false)
        #expect(set.skipped.isEmpty)
        #expect(set.keys.map(\.keyID) == keys.map { Array($0.keyID.utf8) })
        #expect(set.keys.map(\.algorithm) == [.es256, .edDSA, .rs256])
        for (key, own) in zip(set.keys, keys) {
            guard case .publicKey(let key) = key.material else {
                Issue.record("not a public key")
                continue
            }
            #expect(key.components == own.privateKey.publicKey.components)
            #expect(key.thumbprint == own.keyID)
        }
        #expect(!String(decoding: text, as: UTF8.self).contains(#""d""#))
    }
}
