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

    /// The rule of the tokens and that of the fields write what both take alike.
    @Test(arguments: values)
    func itIsWrittenAsTheTokensRuleHasIt(value: String, written: String) {
        guard HeaderText.isAcceptable(value) else { return }
        var text: [UInt8] = []
        HeaderText.append(value, to: &text)
        #expect(String(decoding: text, as: UTF8.self) == written)
    }

    @Test func aSpaceInAScopeDoesNotMakeTwoOfIt() {
        var line: [UInt8] = []
        IdentityFields.append("X-Auth-Scopes: ", list: ["read write", "", "x\r\ny"], to: &line)
        #expect(String(decoding: line, as: UTF8.self) == "X-Auth-Scopes: read%20write x%0D%0Ay\r\n")
    }

    @Test func whatIsEmptyHasNoLine() {
        var line: [UInt8] = []
        IdentityFields.append("X-Auth-Subject: ", value: "", to: &line)
        IdentityFields.append("X-Auth-Scopes: ", list: ["", ""], to: &line)
        #expect(line.isEmpty)
    }
}
