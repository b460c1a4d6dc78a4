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
        #expect(Base64.decode(text, .url) == (text == "Zm9" ? nil : nil))
    }
}
