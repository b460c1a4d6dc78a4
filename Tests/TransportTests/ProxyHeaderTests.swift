import Primitives
import Testing

@testable import Transport

/// The PROXY protocol's headers (doc/proxy-protocol.txt of HAProxy, sections 2.1 and 2.2).
struct ProxyHeaderTests {
    static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    static func binary(_ command: UInt8, _ family: UInt8, _ rest: [UInt8]) -> [UInt8] {
        signature + [command, family, UInt8(rest.count >> 8), UInt8(rest.count & 0xFF)] + rest
    }
    static let four: [UInt8] = [192, 0, 2, 1, 192, 0, 2, 2, 0xDC, 0x04, 0x01, 0xBB]
    static let six: [UInt8] =
        [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [1]
        + [UInt8](repeating: 0, count: 15) + [2, 0xDC, 0x04, 0x01, 0xBB]

    static let headers: [(bytes: [UInt8], header: ProxyHeader)] = [
        (line("TCP4 192.0.2.1 192.0.2.2 56324 443"), .from(.v4(0xC000_0201), port: 56324)),
        (line("TCP6 2001:db8::1 ::2 0 65535"), .from(.v6(0x2001_0DB8_0000_0000, 1), port: 0)),
        (line("UNKNOWN"), .local),
        (line("UNKNOWN ffff::1 what ever 1 2"), .local),
        (binary(0x21, 0x11, four), .from(.v4(0xC000_0201), port: 56324)),
        (binary(0x21, 0x21, six), .from(.v6(0x2001_0DB8_0000_0000, 1), port: 56324)),
        // An IPv4 client of a dual-stack proxy, facts behind the addresses, a health check, a unix socket.
        (
            binary(
                0x21, 0x21,
                [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF, 192, 0, 2, 1] + six[16...]),
            .from(.v4(0xC000_0201), port: 56324)
        ),
        (
            binary(0x21, 0x11, four + [0x04, 0x00, 0x01, 0xAA]),
            .from(.v4(0xC000_0201), port: 56324)
        ),
        (binary(0x20, 0x00, []), .local), (binary(0x20, 0x11, four), .local),
        (binary(0x21, 0x31, [UInt8](repeating: 1, count: 216)), .local),
    ]

    static func line(_ text: String) -> [UInt8] { Array("PROXY \(text)\r\n".utf8) }

    /// Whole, and cut at every byte; never a byte of what follows.
    @Test(arguments: headers) func aHeaderIsReadAndNothingBehindIt(
        bytes: [UInt8], header: ProxyHeader
    ) throws {
        let input = bytes + Array("GET / HTTP/1.1\r\n".utf8)
        var reader = ProxyHeaderReader()
        let (used, found) = try reader.take(input.span)
        #expect(used == bytes.count)
        #expect(found == header)
        for cut in 0..<bytes.count {
            var reader = ProxyHeaderReader()
            let (first, none) = try reader.take(input.span.extracting(0..<cut))
            #expect(first == cut)
            #expect(none == nil)
            let (second, found) = try reader.take(input.span.extracting(cut..<input.count))
            #expect(cut + second == bytes.count)
            #expect(found == header)
        }
    }

    @Test(arguments: [
        Array("GET / HTTP/1.1\r\n".utf8), Array("PROXX ".utf8), Array("\r\n\r\n\0\r\nQUIX".utf8),
        line("TCP4 192.0.2.1 192.0.2.2 56324"), line("TCP4 192.0.2.1 192.0.2.2 56324 443 "),
        line("TCP4 2001:db8::1 ::2 1 2"), line("TCP6 192.0.2.1 192.0.2.2 1 2"),
        line("TCP4 192.0.2.1 192.0.2.2 65536 443"), line("TCP4 192.0.2.1 192.0.2.2 056 443"),
        line("TCP4 192.0.2.256 192.0.2.2 1 443"), line("UDP4 192.0.2.1 192.0.2.2 1 443"),
        line("tcp4 192.0.2.1 192.0.2.2 1 443"), Array("PROXY UNKNOWN\n".utf8), line(""),
        line("TCP4  192.0.2.1 192.0.2.2 1 443"), line("TCP4 192.0.2.1\0 192.0.2.2 1 443"),
        binary(0x11, 0x11, four), binary(0x22, 0x11, four),
        binary(0x21, 0x11, Array(four.dropLast())),
        binary(0x21, 0x21, Array(six.dropLast())),
    ])
    func anythingElseIsMalformed(bytes: [UInt8]) {
        var reader = ProxyHeaderReader()
        #expect(throws: ProxyHeaderError.malformed) { try reader.take(bytes.span) }
    }

    // MARK: The checksum

    /// RFC 3720 appendix B.4.
    @Test func theSumIsCastagnolis() {
        #expect(CRC32C.sum(of: Array("123456789".utf8)) == 0xE306_9283)
        #expect(CRC32C.sum(of: [UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
        #expect(CRC32C.sum(of: []) == 0)
    }

    /// A header with its checksum behind the addresses, between two other facts.
    static func summed(_ command: UInt8, _ family: UInt8, _ addresses: [UInt8]) -> [UInt8] {
        let before: [UInt8] = [0x04, 0x00, 0x02, 0xAA, 0xAA]
        let after: [UInt8] = [0x05, 0x00, 0x01, 0x07]
        var header = binary(
            command, family, addresses + before + [0x03, 0x00, 0x04, 0, 0, 0, 0] + after)
        let sum = CRC32C.sum(of: header)
        let place = 16 + addresses.count + before.count + 3
        for index in 0..<4 {
            header[place + index] = UInt8(truncatingIfNeeded: sum >> (24 - 8 * UInt32(index)))
        }
        return header
    }

    static let summedHeaders = [
        summed(0x21, 0x11, four), summed(0x21, 0x21, six), summed(0x20, 0x00, []),
        summed(0x21, 0x31, [UInt8](repeating: 1, count: 216)),
    ]

    @Test(arguments: summedHeaders) func aRightChecksumPasses(bytes: [UInt8]) throws {
        var reader = ProxyHeaderReader()
        #expect(try reader.take(bytes.span).header != nil)
    }

    /// A sum of another length is none that could be right.
    @Test(arguments: summedHeaders) func aChecksumOfAnotherLengthIsMalformed(bytes: [UInt8]) {
        var changed = bytes
        changed[bytes.count - 16 + 7] = 3
        var reader = ProxyHeaderReader()
        #expect(throws: ProxyHeaderError.malformed) { try reader.take(changed.span) }
    }

    /// Whatever was changed on the way: an address, a port, a fact, the sum.
    @Test(arguments: summedHeaders) func aWrongChecksumIsMalformed(bytes: [UInt8]) {
        // By these the sum is found: the length of the fact before it, its own type and length.
        let leads = [1, 2, 5, 6, 7].map { bytes.count - 16 + $0 }
        for index in 16..<bytes.count where !leads.contains(index) {
            var changed = bytes
            changed[index] ^= 0x40
            var reader = ProxyHeaderReader()
            #expect(throws: ProxyHeaderError.malformed, "at \(index)") {
                try reader.take(changed.span)
            }
        }
    }

    @Test func lengthsHaveALimit() throws {
        // 107 bytes is the longest line, its end included.
        let longest = Array(("PROXY UNKNOWN " + String(repeating: "x", count: 91) + "\r\n").utf8)
        #expect(longest.count == 107)
        var reader = ProxyHeaderReader()
        #expect(try reader.take(longest.span).header == .local)
        let tooLong = Array(("PROXY UNKNOWN " + String(repeating: "x", count: 93)).utf8)
        #expect(throws: ProxyHeaderError.tooLong) {
            var reader = ProxyHeaderReader()
            _ = try reader.take(tooLong.span)
        }
        let most = Self.binary(0x21, 0x11, Self.four + [UInt8](repeating: 0, count: 4096 - 12))
        var other = ProxyHeaderReader()
        #expect(try other.take(most.span).used == 16 + 4096)
        let more = Self.binary(0x21, 0x11, Self.four + [UInt8](repeating: 0, count: 4097 - 12))
        #expect(throws: ProxyHeaderError.tooLong) {
            var reader = ProxyHeaderReader()
            _ = try reader.take(more.span)
        }
    }

    @Test func activatedSocketsAreFoundByName() throws {
        let environment = ["LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "api:"]
        let other = ActivatedSockets({ environment[$0] }, processID: 8)
        #expect(throws: SystemError(call: "LISTEN_FDNAMES", code: 2)) {
            try other.sockets(named: "api")
        }
        let sockets = ActivatedSockets({ environment[$0] }, processID: 7)
        #expect(throws: SystemError(call: "LISTEN_FDNAMES", code: 2)) {
            try sockets.sockets(named: "web")
        }
    }
}
