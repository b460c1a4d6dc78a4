import Cryptography
import Primitives
import Testing

struct AESGCMTests {
    private let key = Secret(Array(0..<32))
    private let place = Array("client/42".utf8)

    @Test(arguments: [0, 1, 15, 16, 17, 1000])
    func whatWasSealedOpens(length: Int) throws {
        let plain = (0..<length).map { UInt8(truncatingIfNeeded: $0) }
        let sealed = try AESGCM.seal(plain, key: key, additionalData: place)
        #expect(sealed.count == 12 + length + 16)
        #expect(try AESGCM.open(sealed, key: key, additionalData: place) == plain)
    }

    /// The McGrew and Viega specification, test case 14: known bytes, so that another program can
    /// open them.
    @Test func aPublishedSealingOpens() throws {
        let zero = Secret(Array(repeating: 0, count: 32))
        let sealed =
            [UInt8](repeating: 0, count: 12)
            + bytes("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919")
        #expect(
            try AESGCM.open(sealed, key: zero, additionalData: []) == Array(repeating: 0, count: 16)
        )
    }

    @Test func twoSealingsOfTheSameDiffer() throws {
        let one = try AESGCM.seal([1], key: key, additionalData: place)
        #expect(one != (try AESGCM.seal([1], key: key, additionalData: place)))
    }

    @Test func anyChangedByteIsNoticed() throws {
        let sealed = try AESGCM.seal(Array("secret".utf8), key: key, additionalData: place)
        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 1
            #expect(throws: CryptographyError.notAuthentic) {
                try AESGCM.open(changed, key: key, additionalData: place)
            }
        }
        for length in 0..<sealed.count {
            #expect(throws: CryptographyError.notAuthentic) {
                try AESGCM.open(Array(sealed.prefix(length)), key: key, additionalData: place)
            }
        }
    }

    @Test func anotherPlaceOrKeyDoesNotOpen() throws {
        let sealed = try AESGCM.seal(Array("secret".utf8), key: key, additionalData: place)
        #expect(throws: CryptographyError.notAuthentic) {
            try AESGCM.open(sealed, key: key, additionalData: Array("client/43".utf8))
        }
        #expect(throws: CryptographyError.notAuthentic) {
            try AESGCM.open(sealed, key: key, additionalData: [])
        }
        #expect(throws: CryptographyError.notAuthentic) {
            try AESGCM.open(
                sealed, key: Secret(Array(1..<33)), additionalData: place)
        }
    }

    @Test(arguments: [0, 16, 31, 33])
    func aKeyOfAnotherLengthIsRefused(length: Int) {
        let short = Secret(Array(repeating: 1, count: length))
        #expect(throws: CryptographyError.invalidKey(.malformed)) {
            try AESGCM.seal([1], key: short, additionalData: [])
        }
    }
}
