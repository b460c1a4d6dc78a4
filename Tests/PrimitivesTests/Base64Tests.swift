import Primitives
import Testing

struct Base64Tests {
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
    ])
    func rfc4648Section10(plain: String, text: String) {
        #expect(Base64.encode(Array(plain.utf8), .standard) == text)
        #expect(Base64.decode(text, .standard) == Array(plain.utf8))
        let url = text.filter { $0 != "=" }
        #expect(Base64.encode(Array(plain.utf8), .url) == url)
        #expect(Base64.decode(url, .url) == Array(plain.utf8))
    }

    @Test(arguments: ["Zg=", "Z", "Zh==", "Zm9=", "Zm 9v", "Zm9v\n", "Zg===", "====", "Zm-v"])
    func otherSpellingsAreRefused(text: String) {
        #expect(Base64.decode(text, .standard) == nil)
    }

    @Test(arguments: ["Zg==", "Zh", "Zm9", "Zm+v", "Z", "Zm9v "])
    func urlTextIsStrict(text: String) {
        #expect(Base64.decode(text, .url) == nil)
    }

    /// Every length up to some words, every byte in every place of a step.
    @Test(arguments: [Base64.Alphabet.standard, .url])
    func whatWasEncodedIsDecoded(alphabet: Base64.Alphabet) {
        for length in 0..<67 {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 151 &+ length &* 7) }
            #expect(Base64.decode(Base64.encode(bytes, alphabet), alphabet) == bytes)
        }
    }

    /// Each byte that is no digit, in every place of a long text, of which sixteen characters are read at once.
    @Test(arguments: [Base64.Alphabet.standard, .url])
    func oneWrongCharacterIsEnough(alphabet: Base64.Alphabet) {
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        let digits = Set((letters + (alphabet == .url ? "-_" : "+/")).utf8)
        let right = Array(repeating: UInt8(0x41), count: 40)
        for byte in UInt8.min...UInt8.max {
            for place in right.indices {
                var text = right
                text[place] = byte
                var output: [UInt8] = []
                // At the end of the padded alphabet the sign of padding may stand.
                let isPadding = alphabet == .standard && byte == 0x3D && place == 39
                let isRight = digits.contains(byte) || isPadding
                #expect(Base64.decode(text.span, alphabet, into: &output) == isRight)
                #expect(output.isEmpty == !isRight)
            }
        }
    }

    /// What was there stays, whatever comes of the text.
    @Test func aBadTextAppendsNothing() {
        var output: [UInt8] = [1, 2]
        for text in ["Zm9vYmF!", "Zm9vZh", "Zm9vZm9", "Z"] {
            #expect(!Base64.decode(Array(text.utf8).span, .url, into: &output))
            #expect(output == [1, 2])
        }
        #expect(Base64.decode(Array("Zm9v".utf8).span, .url, into: &output))
        #expect(output == [1, 2, 0x66, 0x6F, 0x6F])
    }
}
