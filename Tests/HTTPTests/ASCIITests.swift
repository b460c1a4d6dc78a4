import Testing

@testable import HTTP

struct ASCIITests {
    /// Each byte at each place of two steps and a rest, alone and with others of every kind behind it.
    @Test func theFirstControlIsFound() {
        for byte in UInt8.min...UInt8.max {
            let isControl = byte < 0x20 || byte == 0x7F
            for place in 0..<35 {
                let fillers: [UInt8] = [0x20, 0x7E, 0xFF]
                var text = [UInt8](repeating: fillers[place % 3], count: 35)
                text[place] = byte
                #expect(ASCII.firstControl(text.span, from: 0) == (isControl ? place : 35))
                for behind: UInt8 in [0x00, 0x1F, 0x7F, 0x80, 0xFF] {
                    for index in place + 1..<35 { text[index] = behind }
                    let next = behind < 0x20 || behind == 0x7F ? min(place + 1, 35) : 35
                    #expect(
                        ASCII.firstControl(text.span, from: 0) == (isControl ? place : next),
                        "\(byte) at \(place) before \(behind)")
                }
            }
        }
        #expect(ASCII.firstControl([UInt8]().span, from: 0) == 0)
        expectEnds(outside: 0x0D, inside: 0x61, ASCII.firstControl)
        #expect(ASCII.firstControl(Array("\na\r".utf8).span, from: 1) == 2)
    }

    /// Texts of every length and every start in them, with all before it that is not to be looked at, and one such byte at each
    /// place behind it or none.
    private func expectEnds(
        outside: UInt8, inside: UInt8, _ find: (Span<UInt8>, Int) -> Int
    ) {
        for count in 0...50 {
            for start in 0...count {
                for place in start...count {
                    var text = [UInt8](repeating: inside, count: count)
                    for index in 0..<start { text[index] = outside }
                    if place < count { text[place] = outside }
                    let found = find(text.span, start)
                    if found != place {
                        Issue.record("\(found) for \(place) from \(start) of \(count)")
                    }
                }
            }
        }
    }

    /// Each byte at each place of two steps and a rest.
    @Test func token68EndsAtTheFirstByteOutsideIt() {
        let inside = Set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/".utf8)
        for byte in UInt8.min...UInt8.max {
            for place in 0..<37 {
                var text = [UInt8](repeating: 0x7E, count: 37)
                text[place] = byte
                let end = ASCII.firstOutsideToken68(text.span, from: 0)
                #expect(end == (inside.contains(byte) ? 37 : place), "\(byte) at \(place)")
            }
        }
        #expect(ASCII.firstOutsideToken68([UInt8]().span, from: 0) == 0)
        expectEnds(outside: 0x3D, inside: 0x61, ASCII.firstOutsideToken68)
        #expect(ASCII.firstOutsideToken68(Array("=a=".utf8).span, from: 1) == 2)
    }

    /// Every byte, at every place of a name that is longer than two steps.
    @Test func aNameEndsWithItsFirstByteThatIsNoTchar() {
        let symbols = Set("!#$%&'*+-.^_`|~".utf8)
        for byte in UInt8.min...UInt8.max {
            let isLetterOrDigit =
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte)
                || (0x61...0x7A).contains(byte)
            let isName = isLetterOrDigit || symbols.contains(byte)
            for place in 0..<19 {
                var text = [UInt8](repeating: 0x61, count: 19)
                text[place] = byte
                #expect(
                    ASCII.firstOutsideToken(text.span, from: 0) == (isName ? 19 : place),
                    "\(byte) at \(place)")
            }
        }
        #expect(ASCII.firstOutsideToken([UInt8]().span, from: 0) == 0)
        #expect(ASCII.firstOutsideToken(Array(":a:".utf8).span, from: 1) == 2)
    }
}
