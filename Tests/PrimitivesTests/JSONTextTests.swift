import Foundation
import Primitives
import Testing

@Suite struct JSONTextTests {
    /// Each byte at each place of texts that are longer than a step and shorter: found, and the place is right.
    @Test(arguments: UInt8.min...UInt8.max)
    func aByteThatCannotStandIsFoundWhereverItIs(byte: UInt8) {
        let isPlain = (0x20...0x7E).contains(byte) && byte != 0x22 && byte != 0x5C
        for count in 1...19 {
            for place in 0..<count {
                var text = [UInt8](repeating: place % 2 == 0 ? 0x20 : 0x7E, count: count)
                text[place] = byte
                #expect(JSONText.endOfPlain(text.span) == (isPlain ? count : place))
                // What comes behind it changes nothing.
                for index in place + 1..<count { text[index] = UInt8(index % 2) &- 1 }
                let end = isPlain ? min(place + 1, count) : place
                #expect(JSONText.endOfPlain(text.span) == end)
            }
        }
    }

    @Test func theSearchBeginsWhereItIsTold() {
        let text = Array("a\"bcdefghijk\"".utf8)
        #expect(JSONText.endOfPlain(text.span) == 1)
        #expect(JSONText.endOfPlain(text.span, from: 2) == 12)
        #expect(JSONText.endOfPlain(text.span, from: 13) == 13)
        let nothing: [UInt8] = []
        #expect(JSONText.endOfPlain(nothing.span) == 0)
    }

    @Test func whatIsEscapedIsReadBackAsItWas() throws {
        let text = String(String.UnicodeScalarView((0...0x3FF).compactMap(Unicode.Scalar.init)))
        var json: [UInt8] = []
        JSONText.appendString(text, to: &json)
        let read = try JSONSerialization.jsonObject(with: Data(json), options: .fragmentsAllowed)
        #expect(read as? String == text)
    }
}
