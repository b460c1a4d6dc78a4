import Cryptography
import Testing

/// Hex text to bytes, for known answers.
func bytes(_ hex: String) -> [UInt8] {
    let digits = Array(hex)
    return stride(from: 0, to: digits.count, by: 2).compactMap {
        UInt8(String(digits[$0...($0 + 1)]), radix: 16)
    }
}

struct HashTests {
    /// FIPS 180-4 examples.
    @Test(arguments: [
        (DigestAlgorithm.sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            .sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
                + "8086072ba1e7cc2358baeca134c825a7"
        ),
        (
            .sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                + "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
    ])
    func abcHashesAsPublished(algorithm: DigestAlgorithm, hex: String) {
        let digest = Digest.hash(Array("abc".utf8).span, algorithm)
        #expect(digest == bytes(hex))
        #expect(bytes(hex).count == algorithm.byteCount)
        #expect(algorithm.isAvailable)
    }

    @Test func nothingHasADigestToo() {
        let empty: [UInt8] = []
        let digest = Digest.hash(empty.span, .sha256)
        #expect(
            digest
                == bytes("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
    }

    @Test func theOutputHoldsTheDigestAlone() {
        var output: [UInt8] = Array(repeating: 7, count: 100)
        Digest.hash(Array("abc".utf8).span, .sha1, into: &output)
        #expect(output == bytes("a9993e364706816aba3e25717850c26c9cd0d89d"))
    }
}

struct MACTests {
    struct KnownAnswer: Sendable {
        let algorithm: DigestAlgorithm
        let key: [UInt8]
        let message: [UInt8]
        let code: String
    }

    /// RFC 2202 section 3 (SHA-1), RFC 4231 section 4 (SHA-2): cases 1, 2 and 6, the key longer
    /// than a block.
    static let knownAnswers: [KnownAnswer] = [
        .init(
            algorithm: .sha1, key: Array(repeating: 0x0B, count: 20),
            message: Array("Hi There".utf8),
            code: "b617318655057264e28bc0b6fb378c8ef146be00"),
        .init(
            algorithm: .sha256, key: Array(repeating: 0x0B, count: 20),
            message: Array("Hi There".utf8),
            code: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        .init(
            algorithm: .sha256, key: Array("Jefe".utf8),
            message: Array("what do ya want for nothing?".utf8),
            code: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        .init(
            algorithm: .sha256, key: Array(repeating: 0xAA, count: 131),
            message: Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
            code: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
        .init(
            algorithm: .sha384, key: Array("Jefe".utf8),
            message: Array("what do ya want for nothing?".utf8),
            code: "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
                + "8e2240ca5e69e2c78b3239ecfab21649"),
        .init(
            algorithm: .sha512, key: Array("Jefe".utf8),
            message: Array("what do ya want for nothing?".utf8),
            code: "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                + "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"),
    ]

    @Test(arguments: knownAnswers)
    func theCodeIsAsPublished(answer: KnownAnswer) throws {
        let code = try MAC.authenticate(
            answer.message.span, algorithm: answer.algorithm, key: answer.key)
        #expect(code == bytes(answer.code))
    }

    @Test func oneContextServesManyMessagesAndKeys() throws {
        let mac = try MAC(algorithm: .sha256, key: Array("other".utf8))
        var code: [UInt8] = []
        let answers = MACTests.knownAnswers.filter { $0.algorithm == .sha256 }
        for answer in answers + answers.reversed() {
            mac.setKey(answer.key)
            for _ in 0..<2 {
                mac.authenticate(answer.message.span, into: &code)
                #expect(code == bytes(answer.code))
            }
        }
    }

    @Test func anEmptyKeyIsAKeyAndNotTheOneBefore() throws {
        let message = Array("what do ya want for nothing?".utf8)
        let expected = try MAC.authenticate(message.span, algorithm: .sha256, key: [])
        let mac = try MAC(algorithm: .sha256, key: Array("Jefe".utf8))
        mac.setKey([])
        var code: [UInt8] = []
        mac.authenticate(message.span, into: &code)
        #expect(code == expected)
        #expect(code != bytes(MACTests.knownAnswers[2].code))
    }
}

struct ConstantTimeTests {
    @Test(
        arguments: [
            ([], [], true), ([1], [1], true), ([1], [2], false), ([1, 2], [1], false),
            ([], [0], false), ([1, 2, 3], [1, 2, 4], false), ([0, 2, 3], [1, 2, 3], false),
        ] as [([UInt8], [UInt8], Bool)])
    func equalMeansTheSameBytes(left: [UInt8], right: [UInt8], expected: Bool) {
        #expect(ConstantTime.equal(left, right) == expected)
    }
}

struct RandomBytesTests {
    @Test func asManyAsAskedAndNeverTheSame() throws {
        #expect(try RandomBytes.make(count: 0) == [])
        let one = try RandomBytes.make(count: 32)
        #expect(one.count == 32)
        #expect(one != (try RandomBytes.make(count: 32)))
    }
}

struct KeyedHashTests {
    @Test func dependsOnTheBytesAndOnTheKey() {
        let one = KeyedHash()
        let other = KeyedHash()
        let bytes: [UInt8] = [1, 2, 3]
        let changed: [UInt8] = [1, 2, 4]
        let hash = one.hash(bytes.span)
        let again = one.hash(bytes.span)
        let ofChanged = one.hash(changed.span)
        let ofOther = other.hash(bytes.span)
        #expect(hash == again)
        #expect(hash != ofChanged)
        #expect(hash != ofOther)
    }
}
