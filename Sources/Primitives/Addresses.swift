import Glibc

/// An IP address in network byte order: 4 or 16 bytes.
public enum IPAddress: Sendable, Hashable {
    case v4(UInt32)
    /// High and low half, each in host order of the big-endian value.
    case v6(UInt64, UInt64)

    /// Reads `192.0.2.1` or `2001:db8::1` (without brackets or zone); `nil` for anything else.
    public init?(_ text: String) {
        // The C function would stop reading there.
        guard !text.utf8.contains(0) else { return nil }
        var four = in_addr()
        if unsafe inet_pton(AF_INET, text, &four) == 1 {
            self = .v4(UInt32(bigEndian: four.s_addr))
            return
        }
        var six = in6_addr()
        guard unsafe inet_pton(AF_INET6, text, &six) == 1 else { return nil }
        self = IPAddress(networkOrder: six)
    }

    /// From the C form, which holds network byte order.
    public init(networkOrder six: in6_addr) {
        let halves = unsafe withUnsafeBytes(of: six) { raw in
            unsafe (
                raw.loadUnaligned(fromByteOffset: 0, as: UInt64.self),
                raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
            )
        }
        self = .v6(UInt64(bigEndian: halves.0), UInt64(bigEndian: halves.1))
    }

    /// From its bytes in network order: 4 or 16 of them.
    public init?(bytes: some Collection<UInt8>) {
        func number(_ part: some Sequence<UInt8>) -> UInt64 {
            part.reduce(0) { $0 << 8 | UInt64($1) }
        }
        switch bytes.count {
        case 4: self = .v4(UInt32(truncatingIfNeeded: number(bytes)))
        case 16: self = .v6(number(bytes.prefix(8)), number(bytes.dropFirst(8)))
        default: return nil
        }
    }

    /// The address an IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) stands for, else itself, so that a
    /// rule written for IPv4 holds on a dual-stack socket too.
    public var unmapped: IPAddress {
        if case .v6(0, let low) = self, low >> 32 == 0xFFFF {
            return .v4(UInt32(truncatingIfNeeded: low))
        }
        return self
    }
}

extension IPAddress: CustomStringConvertible {
    public var description: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        switch self {
        case .v4(let value):
            var four = in_addr(s_addr: value.bigEndian)
            unsafe inet_ntop(AF_INET, &four, &text, socklen_t(text.count))
        case .v6:
            var six = in6
            unsafe inet_ntop(AF_INET6, &six, &text, socklen_t(text.count))
        }
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// The C form of an IPv6 address; all zero for IPv4.
    public var in6: in6_addr {
        var six = in6_addr()
        guard case .v6(let high, let low) = self else { return six }
        unsafe withUnsafeMutableBytes(of: &six) { raw in
            unsafe raw.storeBytes(of: high.bigEndian, toByteOffset: 0, as: UInt64.self)
            unsafe raw.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        return six
    }
}

/// A CIDR block, as `allow` and `deny` take it: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
public struct IPPrefix: Sendable, Hashable {
    public let address: IPAddress
    public let length: Int

    /// `nil` unless the text is an address with an optional `/length` in range and no bit set beyond it.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let address = IPAddress(String(parts[0])) else { return nil }
        let widest = if case .v4 = address { 32 } else { 128 }
        var length = widest
        if parts.count == 2 {
            guard let given = Int(parts[1]), parts[1].allSatisfy(\.isNumber), given <= widest,
                given >= 0
            else { return nil }
            length = given
        }
        self.address = address
        self.length = length
        guard contains(address), IPPrefix.masked(address, length) == address else { return nil }
    }

    public func contains(_ candidate: IPAddress) -> Bool {
        switch (address, candidate.unmapped) {
        case (.v4, .v4), (.v6, .v6):
            IPPrefix.masked(candidate.unmapped, length) == IPPrefix.masked(address, length)
        case (.v4, .v6), (.v6, .v4):
            false
        }
    }

    private static func masked(_ address: IPAddress, _ length: Int) -> IPAddress {
        switch address {
        case .v4(let value):
            .v4(length == 0 ? 0 : value & (UInt32.max << UInt32(32 - length)))
        case .v6(let high, let low):
            .v6(
                length == 0 ? 0 : high & (UInt64.max << UInt64(max(0, 64 - length))),
                length <= 64 ? 0 : low & (UInt64.max << UInt64(128 - length)))
        }
    }
}

/// Where something listens or is reached: an IP address and port, a host name and port, or a unix socket.
public enum Endpoint: Sendable, Hashable {
    case ip(IPAddress, port: UInt16)
    /// A name that is looked up (off the loop) before it can be used.
    case name(String, port: UInt16)
    case unix(path: String)
    /// A listening socket that systemd hands over under this name (sd_listen_fds(3)); it is nowhere to connect to.
    case activated(name: String)

    /// Reads `HOST:PORT`, `[V6]:PORT` or `unix:/path`; `nil` for anything else, port 0 included in `0...65535`.
    public init?(_ text: String) {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst(5))
            // sun_path holds 108 bytes with its NUL.
            guard path.hasPrefix("/"), path.utf8.count <= 107, !path.utf8.contains(0) else {
                return nil
            }
            self = .unix(path: path)
            return
        }
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }),
            let port = UInt16(digits)
        else { return nil }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
            guard case .v6(let high, let low)? = IPAddress(host) else { return nil }
            self = .ip(.v6(high, low), port: port)
            return
        }
        if let address = IPAddress(host) {
            guard case .v4 = address else { return nil }
            self = .ip(address, port: port)
            return
        }
        let legal = host.utf8.allSatisfy {
            ($0 >= 48 && $0 <= 57) || ($0 | 0x20 >= 97 && $0 | 0x20 <= 122) || $0 == 45 || $0 == 46
                || $0 == 95
        }
        guard legal, !host.isEmpty, host.utf8.count <= 253 else { return nil }
        self = .name(host, port: port)
    }

    public var port: UInt16? {
        switch self {
        case .ip(_, let port), .name(_, let port): port
        case .unix, .activated: nil
        }
    }
}

extension Endpoint: CustomStringConvertible {
    public var description: String {
        switch self {
        case .ip(.v4(let value), let port): "\(IPAddress.v4(value)):\(port)"
        case .ip(let address, let port): "[\(address)]:\(port)"
        case .name(let host, let port): "\(host):\(port)"
        case .unix(let path): "unix:\(path)"
        case .activated(let name): "systemd:\(name)"
        }
    }
}
