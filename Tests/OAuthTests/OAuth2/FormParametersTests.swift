import OAuth
import Testing

struct FormParametersTests {
    private func read(_ text: String) throws(TokenRequestError) -> FormParameters {
        let bytes = Array(text.utf8)
        return try FormParameters(bytes.span)
    }

    @Test(arguments: [
        ("a=b", "b"), ("a=b=c", "b=c"), ("a=%41+%2b", "A +"), ("%61=b", "b"), ("&&a=b&&", "b"),
        ("a=%E4%B8%96", "\u{4e16}"), ("A=x&a=b", "b"), ("a=b;c=d", "b;c=d"),
    ])
    func aValueIsDecoded(text: String, value: String) throws {
        #expect(try read(text)["a"] == value)
    }

    @Test(arguments: ["", "&", "a", "a=", "A=b", "b=a", "=a"])
    func absentAndEmptyAreTheSame(text: String) throws {
        #expect(try read(text)["a"] == nil)
        #expect(try read(text).all("a").isEmpty)
    }

    @Test(arguments: [
        "a=%", "a=%4", "a=%zz", "%=b", "a=%ff", "a=%C3", "a=%C0%80", "a=%ED%A0%80", "a=%00",
        "%00=b", "a=b&a=b", "a=&a=b", "a&a", "a=b&%61=c", "unknown=1&unknown=2",
    ])
    func whatCouldBeReadInTwoWaysIsRefused(text: String) {
        #expect { try read(text) } throws: { ($0 as? TokenRequestError)?.code == "invalid_request" }
    }

    @Test func resourceAndAudienceMayRepeat() throws {
        let form = try read("resource=a&audience=c&resource=b&resource=")
        #expect(form.all("resource") == ["a", "b"])
        #expect(form.all("audience") == ["c"])
    }

    /// Unicode calls them equivalent, and so does `==` of `String`; the bytes differ.
    @Test func namesAreComparedByTheirBytes() throws {
        let form = try read("%E2%84%AA=kelvin&K=letter")
        #expect(form["K"] == "letter")
        #expect(form["\u{212A}"] == "kelvin")
    }

    @Test func theLimitsHoldAtTheirEdge() throws {
        let most = (0..<FormParameters.countLimit).map { "p\($0)=" }.joined(separator: "&")
        #expect(throws: Never.self) { try read(most) }
        #expect(throws: TokenRequestError.self) { try read(most + "&one=more") }
        let repeated = String(repeating: "resource=a&", count: FormParameters.countLimit)
        #expect(throws: Never.self) { try read(repeated) }
        #expect(throws: TokenRequestError.self) { try read(repeated + "resource=a") }
        let longest = "a=" + String(repeating: "x", count: FormParameters.byteLimit - 2)
        #expect(throws: Never.self) { try read(longest) }
        #expect(throws: TokenRequestError.self) { try read(longest + "x") }
    }
}
