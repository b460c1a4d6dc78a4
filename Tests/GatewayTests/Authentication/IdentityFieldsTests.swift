import Testing

@testable import Gateway

struct IdentityFieldsTests {
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
        ("%C3%A9", "%25C3%25A9"),
        ("\u{85}", "%C2%85"),
        ("😀", "%F0%9F%98%80"),
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
        IdentityFields.append("X-Auth-Scopes: ", to: &line) { add in
            for value in values { add(value.utf8Span.span) }
        }
        return line
    }

    /// Each byte at each place of two steps and a rest, and one more at each other place.
    @Test func everyByteThatIsNotPlainIsEncoded() {
        func encoded(_ value: [UInt8]) -> [UInt8] {
            value.flatMap { byte -> [UInt8] in
                if 0x21...0x7E ~= byte, byte != 0x25 { return [byte] }
                let digits = String(byte, radix: 16, uppercase: true)
                return Array((byte < 16 ? "%0\(digits)" : "%\(digits)").utf8)
            }
        }
        for byte in UInt8.min...UInt8.max {
            for place in 0..<19 {
                var value = [UInt8](repeating: place % 2 == 0 ? 0x7E : 0x21, count: 19)
                value[place] = byte
                #expect(list(value) == encoded(value), "\(byte) at \(place)")
            }
        }
        for first in [0x00, 0x20, 0x25, 0x7F, 0x80, 0xFF] as [UInt8] {
            for second in [0x00, 0x20, 0x25, 0x7F, 0x80, 0xFF] as [UInt8] {
                for place in 0..<10 {
                    for other in 0..<10 where other != place {
                        var value = [UInt8](repeating: 0x7E, count: 10)
                        value[place] = first
                        value[other] = second
                        #expect(list(value) == encoded(value), "\(value)")
                    }
                }
            }
        }
    }

    private func list(_ value: [UInt8]) -> [UInt8] {
        var line: [UInt8] = []
        IdentityFields.append("", to: &line) { $0(value.span) }
        return line.dropLast(2)
    }
}
