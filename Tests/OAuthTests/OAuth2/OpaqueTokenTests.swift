import OAuth
import Primitives
import Testing

struct OpaqueTokenTests {
    private let tokens = OpaqueTokens(key: Secret(Array(0..<32)))

    @Test(arguments: OpaqueTokens.Kind.allCases)
    func aTokenIsKnownByItsCheck(kind: OpaqueTokens.Kind) throws {
        let text = try tokens.make(kind)
        let bytes = Array(text.utf8)
        #expect(tokens.kind(of: bytes.span) == kind)
        #expect(text.hasPrefix(kind.rawValue))
        #expect(try tokens.make(kind) != text)
        // RFC 6750 section 2.1: b64token.
        #expect(text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_".contains($0)) })
        // Whoever changes a bit, the length or the kind has none.
        for index in bytes.indices {
            var other = bytes
            other[index] ^= 1
            #expect(tokens.kind(of: other.span) == nil, "byte \(index)")
        }
        for other in [Array(bytes.dropLast()), bytes + [0x41], []] {
            #expect(tokens.kind(of: other.span) == nil)
        }
        let others = OpaqueTokens(key: Secret(Array(1..<33)))
        #expect(others.kind(of: bytes.span) == nil)
    }

    @Test func itLiesInTheStoreUnderItsHash() {
        let text = Array("abc".utf8)
        let identifier = OpaqueTokens.identifier(of: text.span)
        #expect(identifier.count == 32 && identifier[..<4] == [0xba, 0x78, 0x16, 0xbf])
    }
}
