import HTTP
import Testing

struct CanonicalPathTests {
    static func canonical(_ path: String) -> String? {
        // Something stands before it: dot segments must not climb into what is not theirs.
        var output = Array("/before".utf8)
        guard CanonicalPath.canonicalize(Array(path.utf8).span, into: &output) else { return nil }
        return String(decoding: output.dropFirst(7), as: UTF8.self)
    }

    static let accepted: [(path: String, canonical: String)] = [
        ("", "/"),
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("/a/b.c/d..e", "/a/b.c/d..e"),
        ("/.well-known/jwks.json", "/.well-known/jwks.json"),
        ("/...", "/..."),
        ("/..a/b..", "/..a/b.."),
        // Legal and odd: byte for byte.
        ("/a+b~c!d$e&f'g(h)i*j,k;l=m:n@o", "/a+b~c!d$e&f'g(h)i*j,k;l=m:n@o"),
        ("/%E2%82%AC", "/%E2%82%AC"),
        ("/%F0%9F%98%80", "/%F0%9F%98%80"),
        ("/a%20b", "/a%20b"),
        ("/100%25", "/100%25"),
        ("/100%25%20sure", "/100%25%20sure"),
        ("/%25zz", "/%25zz"),
        ("/a%3Fb%23c%3Bd", "/a%3Fb%23c%3Bd"),
        // One spelling for each path (RFC 3986 section 6.2.2).
        ("/%61%2D%7E%5f", "/a-~_"),
        ("/%e2%82%ac", "/%E2%82%AC"),
        ("/%3f", "/%3F"),
        // Dot segments (section 5.2.4).
        ("/.", "/"),
        ("/./", "/"),
        ("/a/.", "/a/"),
        ("/a/./b", "/a/b"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/../../c", "/c"),
        ("/a/b/c/./../../g", "/a/g"),
    ]

    @Test(arguments: accepted)
    func isCanonical(path: String, canonical: String) {
        #expect(Self.canonical(path) == canonical)
        // Once canonical, it stays.
        #expect(Self.canonical(canonical) == canonical)
    }

    @Test(arguments: [
        // Not a path.
        "a", "*", "http://h/", "/a b", "/a\tb", "/a\u{0}b", "/a\u{7F}", "/é",
        // Above the root.
        "/..", "/../", "/../a", "/a/../..", "/a/../../b", "/./..",
        // Hidden dots, slashes, backslashes and controls.
        "/%2e", "/%2E%2e/a", "/a/.%2e/b", "/a/%2e./b", "/a%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb",
        "/a\\b", "/..\\a", "/a%00b", "/a%0ab", "/a%0d%0ab", "/a%1f", "/a%7f",
        // Escaped twice, also with the inner escape in pieces, and the style of `%u002e`.
        "/%252e%252e/", "/%252f", "/%255c", "/%2500", "/%25252e", "/%2561dmin", "/%25%32%65",
        "/%25%32e", "/%252%65", "/%25u002e", "/%25%75002e", "/%2525",
        // No whole escapes.
        "/%", "/%a", "/a%2", "/%zz", "/%u002e", "/%-1", "/%+1",
        // Empty segments.
        "//", "//a", "/a//b", "/a//", "/a/..//b", "/.//",
        // Dot segments with parameters.
        "/..;/a", "/a/..;x=1/b", "/a/.;/b",
        // Not UTF-8, overlong, surrogates, above Unicode, cut, C1 controls.
        "/%80", "/%BF", "/%C0%AE", "/%C1%9C", "/%E0%80%AE", "/%E0%9F%BF", "/%F0%80%80%AE",
        "/%ED%A0%80", "/%F4%90%80%80", "/%F5%80%80%80", "/%FF", "/%E2%82", "/%E2%82/a",
        "/%E2a%82%AC", "/%E2%20", "/%C3%C3", "/%C2%85",
        // Look-alikes of dot, slash, backslash and percent.
        "/%EF%BC%8E%EF%BC%8E/", "/%EF%BC%8F", "/%EF%BC%BC", "/%EF%BC%85", "/%E2%80%A4",
        "/%E2%80%A5", "/%E2%81%84", "/%E2%88%95", "/%EF%B9%92", "/%EF%B9%A8", "/%EF%B9%AA",
    ])
    func isRefused(path: String) {
        #expect(Self.canonical(path) == nil)
    }

    @Test func everyEscapedByteIsDecidedAlike() {
        for byte in 0..<128 {
            let hex = String(byte, radix: 16)
            let escape = "%" + (byte < 16 ? "0" : "") + hex
            let result = Self.canonical("/a\(escape)b")
            let character = Character(Unicode.Scalar(UInt8(byte)))
            if byte < 0x20 || byte == 0x7F || "./\\".contains(character) {
                #expect(result == nil, "\(escape)")
            } else if character.isLetter || character.isNumber || "-_~".contains(character) {
                #expect(result == "/a\(character)b", "\(escape)")
            } else {
                #expect(result == "/a\(escape.uppercased())b", "\(escape)")
            }
        }
    }
}
