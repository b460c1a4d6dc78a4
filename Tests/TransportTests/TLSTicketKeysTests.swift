import Primitives
import Testing

@testable import Transport

/// The keys of session tickets: each seals for an hour, and opens for two more.
struct TLSTicketKeysTests {
    private static let begin = MonotonicInstant(nanoseconds: 1_000_000_000)
    private static let hour: Duration = .seconds(3600)

    private func at(_ hours: Int, _ seconds: Int = 0) -> MonotonicInstant {
        Self.begin + Self.hour * hours + .seconds(seconds)
    }

    @Test func aKeySealsForAnHour() throws {
        let keys = TLSTicketKeys()
        let first = try #require(keys.current(at: at(0)))
        #expect(keys.current(at: at(0, 3599))?.name == first.name)
        #expect(keys.key(named: first.name, at: at(0, 3599))?.isCurrent == true)
        let second = try #require(keys.current(at: at(1)))
        #expect(second.name != first.name)
        #expect(second.cipherKey != first.cipherKey && second.macKey != first.macKey)
        #expect(keys.key(named: first.name, at: at(1))?.isCurrent == false)
        #expect(keys.key(named: second.name, at: at(1))?.isCurrent == true)
    }

    @Test func itOpensForTwoMore() throws {
        let keys = TLSTicketKeys()
        let first = try #require(keys.current(at: at(0)))
        for hours in 1...2 { _ = keys.current(at: at(hours)) }
        let opened = try #require(keys.key(named: first.name, at: at(2, 3599))).key
        #expect(opened.cipherKey == first.cipherKey && opened.macKey == first.macKey)
        #expect(keys.key(named: first.name, at: at(3)) == nil)
        // It is gone then, not only refused.
        _ = keys.current(at: at(3))
        #expect(keys.key(named: first.name, at: at(2, 3599)) == nil)
    }

    /// Where nobody has shaken hands meanwhile, nobody has changed the key either: it does not seal all the same.
    @Test func aKeyThatRestedLongSealsNoMore() throws {
        let keys = TLSTicketKeys()
        let first = try #require(keys.current(at: at(0)))
        #expect(keys.key(named: first.name, at: at(1, 1))?.isCurrent == false)
        #expect(try #require(keys.current(at: at(90))).name != first.name)
    }

    @Test func nobodyElsesTicketIsOpened() {
        let keys = TLSTicketKeys()
        _ = keys.current(at: at(0))
        #expect(keys.key(named: [UInt8](repeating: 0, count: 16), at: at(0)) == nil)
    }
}
