import Testing

@testable import OAuth

struct JSONDocumentTests {
    private func read(_ text: [UInt8], _ limits: JSONDocument.Limits = .init()) throws
        -> JSONDocument
    {
        var document = JSONDocument()
        try document.read(text.span, limits: limits)
        return document
    }

    private func read(_ text: String) throws -> JSONDocument { try read(Array(text.utf8)) }

    @Test(arguments: [
        "{}", "[]", "0", "-0", "\"\"", "true", "false", "null", " \t\r\n{ } ", "[1,2]", "1e5",
        "1E+5",
        "1.5e-3", #"{"a":{"b":[{"c":null}]}}"#, #"["\"\\\/\b\f\n\r\t"]"#, #""\u00e9\uD83D\uDE00""#,
        "\"\u{7F}\u{2028}é😀\"", #"{"":1}"#, #"{"a":1,"A":2}"#, "12345678901234567890",
    ])
    func jsonIsRead(text: String) throws {
        _ = try read(text)
    }

    @Test(arguments: [
        "", " ", "{", "}", "[", "]", "{]", "[}", "{,}", "[,]", "[1,]", #"{"a":1,}"#, #"{"a"}"#,
        #"{"a":}"#,
        "{a:1}", "{'a':1}", #"{"a":1 "b":2}"#, #"{"a" 1}"#, "[1 2]", "01", "-", "+1", ".5", "1.",
        "1e",
        "1e+", "0x10", "NaN", "Infinity", "-Infinity", "nul", "nulll", "True", "\"", "\"a", "\"\\",
        "\"\\x\"",
        "\"\\u12\"", "\"\\u12G4\"", "\"\\uD800\"", "\"\\uD800x\"", "\"\\uD800\\u0041\"",
        "\"\\uDC00\"",
        "\"\n\"", "\"\t\"", "\"\u{0}\"", "{}{}", "{} x", "{}//", "/**/{}", "\u{FEFF}{}", "\u{0B}{}",
        "\u{A0}1",
    ])
    func anythingElseIsRefused(text: String) {
        #expect(throws: JSONError.self) { try read(text) }
    }

    @Test(
        arguments: [
            [0x22, 0x80, 0x22], [0x22, 0xC3, 0x22], [0x22, 0xC0, 0xAF, 0x22],
            [0x22, 0xED, 0xA0, 0x80, 0x22],
            [0x22, 0xF5, 0x80, 0x80, 0x80, 0x22], [0x22, 0xE2, 0x82],
            [0x22, 0x61, 0x5C, 0x6E, 0xFF, 0x22],
            [0xFF, 0xFE, 0x7B, 0x00, 0x7D, 0x00], [0x7B, 0x7D, 0x00], [0x00],
        ] as [[UInt8]])
    func bytesThatAreNotUTF8AreRefused(bytes: [UInt8]) {
        #expect(throws: JSONError.self) { try read(bytes) }
    }

    @Test(arguments: [
        (#"{"a":1,"a":2}"#, 7), (#"{"a":1,"\u0061":2}"#, 7), (#"{"\u0061":1,"a":2}"#, 12),
        (#"{"x":{"a":1,"b":2,"a":3}}"#, 18), (#"[{"é":1,"\u00e9":2}]"#, 9), (#"{"":1,"":2}"#, 6),
    ])
    func aNameGivenTwiceIsRefused(text: String, offset: Int) {
        #expect(throws: JSONError.duplicateName(offset: offset)) { try read(text) }
    }

    @Test func theSameNameInOtherObjectsIsFine() throws {
        _ = try read(#"{"a":{"a":1},"b":[{"a":1},{"a":2}]}"#)
    }

    @Test func everyCutOfATextIsRefused() throws {
        let text = Array(#"{"a\u0062":[1.5e3,"é\n",{"c":true}],"d":null}"#.utf8)
        _ = try read(text)
        for length in 0..<text.count {
            #expect(throws: JSONError.self) { try read(Array(text.prefix(length))) }
        }
    }

    @Test func eachLimitHoldsAtItsNumber() throws {
        func nested(_ depth: Int) -> [UInt8] {
            Array(
                (String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8)
        }
        _ = try read(nested(32))
        #expect(throws: JSONError.limit) { try read(nested(33)) }
        #expect(throws: JSONError.limit) { try read(nested(100_000)) }
        func object(_ members: Int) -> [UInt8] {
            Array("{\((0..<members).map { "\"\($0)\":0" }.joined(separator: ","))}".utf8)
        }
        _ = try read(object(128))
        #expect(throws: JSONError.limit) { try read(object(129)) }
        func array(_ count: Int) -> [UInt8] {
            Array("[\(Array(repeating: "0", count: count).joined(separator: ","))]".utf8)
        }
        _ = try read(array(1023))
        #expect(throws: JSONError.limit) { try read(array(1024)) }
        #expect(throws: JSONError.limit) { try read(Array(repeating: 0x20, count: 1 << 20 + 1)) }
    }

    @Test func membersAreFoundByTheirDecodedName() throws {
        let document = try read(#"{"a\/b":"x\u00e9y","n":[1,"two",{"in":true}],"z":"plain"}"#)
        #expect(document.string("a/b", of: 0) == "xéy")
        #expect(document.string("z", of: 0) == "plain")
        #expect(document.member("in") == nil)
        #expect(document.member("missing") == nil)
        let list = try #require(document.member("n"))
        #expect(document.childCount(of: list) == 3)
        #expect(document.strings(list) == nil)
        #expect(document.member("z" as String) == document.member("z"))
    }

    @Test func aDocumentIsReadAnewWithoutTraces() throws {
        var document = JSONDocument()
        try document.read(Array(#"{"a":"\u0041","b":1}"#.utf8).span)
        try document.read(Array(#"{"c":2}"#.utf8).span)
        #expect(document.member("a") == nil)
        #expect(document.member("c") != nil)
        #expect(Array(document.text) == Array(#"{"c":2}"#.utf8))
        let copy = document.compacted()
        #expect(copy.member("c") != nil)
    }

    @Test(
        arguments: [
            ("0", 0), ("-0", 0), ("1767225600", 1_767_225_600), ("1.5e9", 1_500_000_000),
            ("1.9", 1), ("-1.1", -2), ("-1.0", -1), ("-0.5", -1), ("-0.0", 0), ("15e-1", 1),
            ("1e0", 1),
            ("1767225600.999999", 1_767_225_600), ("1e-400", 0), ("-1e-400", -1),
            ("0e999999999999", 0),
            ("9223372036854775807", .max), ("9223372036854775807.9", .max),
            ("-9223372036854775807", -.max),
            ("-9223372036854775807.5", .min), ("12345e-2", 123), ("0.00012e5", 12),
            ("1e18", 1_000_000_000_000_000_000),
        ] as [(String, Int64)])
    func aNumberIsWholeSecondsRoundedDown(text: String, seconds: Int64) throws {
        let document = try read(text)
        #expect(document.seconds(0) == seconds)
    }

    @Test(arguments: [
        "9223372036854775808", "18446744073709551616", "-9223372036854775808", "1e19", "1e309",
        "1e99999999999999999999", "123456789012345678901234567890", "\"1\"", "true", "null", "[1]",
        "{}",
    ])
    func whatDoesNotFitIsNoTime(text: String) throws {
        let document = try read(text)
        #expect(document.seconds(0) == nil)
    }
}
