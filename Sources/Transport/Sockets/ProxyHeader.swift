import Primitives

/// What stands in front of a connection that a proxy passes on (the PROXY protocol, versions 1 and 2, of HAProxy's
/// doc/proxy-protocol.txt): where the connection really comes from.
public enum ProxyHeader: Equatable, Sendable {
    /// The proxy speaks for itself (a health check), or does not say: the socket's own address counts.
    case local
    case from(IPAddress, port: UInt16)
}

public enum ProxyHeaderError: Error, Equatable, Sendable {
    /// No header of either version begins or goes on like this.
    case malformed
    case tooLong
}

/// Reads a PROXY header from pieces, and never a byte behind it: what follows is TLS's or HTTP's.
public struct ProxyHeaderReader: Sendable {
    /// The longest line of version 1, its line end included (section 2.1).
    private static let lineLimit = 107
    /// Version 2 may carry more facts behind the addresses; they are skipped.
    private static let extensionLimit = 4096
    private static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    /// PP2_TYPE_CRC32C.
    private static let checksumType: UInt8 = 0x03
    private static let lineStart = Array("PROXY ".utf8)

    private var bytes: [UInt8] = []

    public init() {}

    /// Whether a byte has come.
    public var hasBegun: Bool { !bytes.isEmpty }

    /// Takes what belongs to the header.
    ///
    /// - Returns: how many bytes of `input` that is, and the header once it is whole.
    public mutating func take(
        _ input: Span<UInt8>
    ) throws(ProxyHeaderError) -> (used: Int, header: ProxyHeader?) {
        for index in 0..<input.count {
            bytes.append(input[index])
            guard let header = try whole() else { continue }
            return (index + 1, header)
        }
        return (input.count, nil)
    }

    private func whole() throws(ProxyHeaderError) -> ProxyHeader? {
        let known = min(bytes.count, 6)
        if bytes[..<known].elementsEqual(ProxyHeaderReader.lineStart[..<known]) {
            guard bytes.last == 0x0A else {
                guard bytes.count < ProxyHeaderReader.lineLimit else { throw .tooLong }
                return nil
            }
            return try line()
        }
        let signed = min(bytes.count, 12)
        guard bytes[..<signed].elementsEqual(ProxyHeaderReader.signature[..<signed]) else {
            throw .malformed
        }
        guard bytes.count >= 16 else { return nil }
        let length = Int(bytes[14]) << 8 | Int(bytes[15])
        guard length <= ProxyHeaderReader.extensionLimit else { throw .tooLong }
        return bytes.count == 16 + length ? try binary() : nil
    }

    /// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443`, or `PROXY UNKNOWN` and anything.
    private func line() throws(ProxyHeaderError) -> ProxyHeader {
        guard bytes.count >= 8, bytes[bytes.count - 2] == 0x0D else { throw .malformed }
        let text = String(decoding: bytes.dropLast(2), as: UTF8.self)
        let words = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        if words.count >= 2, words[1] == "UNKNOWN" { return .local }
        guard words.count == 6, let source = IPAddress(words[2]),
            let destination = IPAddress(words[3]), let port = number(words[4]),
            number(words[5]) != nil
        else { throw .malformed }
        switch (words[1], source, destination) {
        case ("TCP4", .v4, .v4), ("TCP6", .v6, .v6): return .from(source.unmapped, port: port)
        default: throw .malformed
        }
    }

    private func number(_ text: String) -> UInt16? {
        // Decimal without leading zeros (section 2.1).
        guard text.utf8.allSatisfy({ (48...57).contains($0) }), text == "0" || !text.hasPrefix("0")
        else { return nil }
        return UInt16(text)
    }

    private func binary() throws(ProxyHeaderError) -> ProxyHeader {
        guard bytes[12] >> 4 == 2, isChecksumRight else { throw .malformed }
        switch bytes[12] & 0x0F {
        case 0: return .local
        case 1: break
        default: throw .malformed
        }
        let addresses = bytes[16...]
        switch bytes[13] {
        case 0x11:
            guard addresses.count >= 12 else { throw .malformed }
            return from(addresses.prefix(4), port: addresses.dropFirst(8))
        case 0x21:
            guard addresses.count >= 36 else { throw .malformed }
            return from(addresses.prefix(16), port: addresses.dropFirst(32))
        default:
            // Datagrams, unix sockets and what later versions know: nothing that can be used (section 2.2).
            return .local
        }
    }

    /// Whether the header is what its sender made of it, where it says so (section 2.2.4): the sum is that of the header with
    /// zeros in its place.
    private var isChecksumRight: Bool {
        guard let place = checksumPlace else { return true }
        guard place.count == 4 else { return false }
        let said = bytes[place].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        var header = bytes
        header.replaceSubrange(place, with: repeatElement(0, count: place.count))
        return CRC32C.sum(of: header) == said
    }

    /// The first of the facts behind the addresses that is a checksum, of whatever length. What is no list of facts has none.
    private var checksumPlace: Range<Int>? {
        var offset: Int
        switch bytes[13] >> 4 {
        case 0: offset = 16
        case 1: offset = 16 + 12
        case 2: offset = 16 + 36
        default: offset = 16 + 216
        }
        while offset + 3 <= bytes.count {
            let value =
                offset + 3..<offset + 3 + (Int(bytes[offset + 1]) << 8 | Int(bytes[offset + 2]))
            guard value.upperBound <= bytes.count else { return nil }
            if bytes[offset] == ProxyHeaderReader.checksumType { return value }
            offset = value.upperBound
        }
        return nil
    }

    private func from(_ address: ArraySlice<UInt8>, port: ArraySlice<UInt8>) -> ProxyHeader {
        guard let source = IPAddress(bytes: address) else { return .local }
        let number = port.prefix(2).reduce(UInt16(0)) { $0 << 8 | UInt16($1) }
        return .from(source.unmapped, port: number)
    }
}
