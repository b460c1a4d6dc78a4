import OAuth
import Testing

@testable import Gateway

@Suite struct PrincipalTests {
    private func text(_ principal: Principal) -> String {
        String(decoding: principal.identityFields, as: UTF8.self)
    }

    @Test func aTokenFillsEveryField() throws {
        let principal = try Principals.bearer(scopes: ["read", "write"])
        #expect(
            text(principal) == """
                X-Auth-Scheme: bearer\r
                X-Auth-Client: client-1\r
                X-Auth-Subject: subject-1\r
                X-Auth-Scopes: read write\r
                X-Auth-Issuer: https://issuer.example.com\r

                """)
    }

    @Test func anOAuth1ClientIsItsOwnSubjectAndHasNoIssuer() {
        #expect(
            text(Principals.oauth1("partner")) == """
                X-Auth-Scheme: oauth1\r
                X-Auth-Client: partner\r
                X-Auth-Subject: partner\r

                """)
    }

    static let values: [(value: String, written: String)] = [
        ("plain", "plain"),
        ("auth0|64f0/a@b.example", "auth0|64f0/a@b.example"),
        ("a\r\nX-Auth-Client: admin", "a%0D%0AX-Auth-Client: admin"),
        ("a\nb", "a%0Ab"),
        ("a\0b", "a%00b"),
        ("a\tb", "a%09b"),
        ("a\u{7F}b", "a%7Fb"),
        // U+010A ends in the byte 0A where a careless encoder cuts it down.
        ("\u{10A}", "%C4%8A"),
        ("caf\u{E9}", "caf%C3%A9"),
        ("cafe\u{301}", "cafe%CC%81"),
        // What is encoded cannot be mistaken for what was written so.
        ("a%0Ab", "a%250Ab"),
        ("Ann Other", "Ann Other"),
        (" a ", "%20a%20"),
        (" ", "%20"),
    ]

    @Test(arguments: values)
    func noValueEndsItsLineOrLooksLikeAnother(value: String, written: String) {
        var line: [UInt8] = []
        IdentityFields.append("X-Auth-Subject: ", value: value, to: &line)
        #expect(String(decoding: line, as: UTF8.self) == "X-Auth-Subject: \(written)\r\n")
    }

    @Test func aSpaceInAScopeDoesNotMakeTwoOfIt() {
        let line = scopes(["read write", "", "x\r\ny"])
        #expect(String(decoding: line, as: UTF8.self) == "X-Auth-Scopes: read%20write x%0D%0Ay\r\n")
    }

    @Test func whatIsEmptyHasNoLine() {
        var line: [UInt8] = []
        IdentityFields.append("X-Auth-Subject: ", value: "", to: &line)
        #expect(line.isEmpty)
        #expect(scopes(["", ""]).isEmpty)
    }

    private func scopes(_ values: [String]) -> [UInt8] {
        var line: [UInt8] = []
        var list = IdentityFields.List("X-Auth-Scopes: ")
        for value in values { list.append(value.utf8Span.span, to: &line) }
        list.end(&line)
        return line
    }

    /// Each byte at each place of two steps and a rest: what is looked at together is judged as each alone.
    @Test func everyByteThatIsNotPlainIsEncoded() {
        for byte in UInt8.min...UInt8.max {
            let isPlain = (0x21...0x7E).contains(byte) && byte != 0x25
            for place in 0..<19 {
                // The last byte before those that are encoded: a carry or a borrow would show.
                var value = [UInt8](repeating: place % 2 == 0 ? 0x7E : 0x21, count: 19)
                value[place] = byte
                var line: [UInt8] = []
                var list = IdentityFields.List("")
                list.append(value.span, to: &line)
                list.end(&line)
                var expected = value + [0x0D, 0x0A]
                if !isPlain {
                    let digits = String(byte, radix: 16, uppercase: true)
                    let code = byte < 16 ? "%0\(digits)" : "%\(digits)"
                    expected.replaceSubrange(place...place, with: code.utf8)
                }
                #expect(line == expected, "\(byte) at \(place)")
            }
        }
    }
}
