import Testing

@testable import HTTP

struct ASCIITests {
    /// Each byte at each place of two words and a rest.
    @Test func token68EndsAtTheFirstByteOutsideIt() {
        let inside = Set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/".utf8)
        for byte in UInt8.min...UInt8.max {
            for place in 0..<19 {
                var text = [UInt8](repeating: 0x7E, count: 19)
                text[place] = byte
                let end = ASCII.firstOutsideToken68(text.span, from: 0)
                #expect(end == (inside.contains(byte) ? 19 : place), "\(byte) at \(place)")
            }
        }
        #expect(ASCII.firstOutsideToken68([UInt8]().span, from: 0) == 0)
        #expect(ASCII.firstOutsideToken68(Array("=a=".utf8).span, from: 1) == 2)
    }
}
