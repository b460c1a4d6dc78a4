import Configuration
import HTTP

/// `set_header` and `remove_header` of a route, and which of the client's fields they take away.
struct FieldEdits: Sendable {
    /// Lines that the gateway itself would write and that a `set_header` or `remove_header` takes out.
    struct Own: OptionSet, Sendable {
        let rawValue: UInt8
        static let host = Own(rawValue: 1)
        static let forwarded = Own(rawValue: 2)
        static let xForwardedFor = Own(rawValue: 4)
        static let xForwardedProto = Own(rawValue: 8)
        static let xForwardedHost = Own(rawValue: 16)
        static let via = Own(rawValue: 32)
        static let xRequestID = Own(rawValue: 64)
        static let traceparent = Own(rawValue: 128)
    }

    /// Names in lower case, `_` and other symbols as `-`.
    private let dropped: [[UInt8]]
    /// Bit n: some dropped name has n bytes, the last bit for 63 and more. Spares most fields the search.
    private let droppedLengths: UInt64
    let replaced: Own
    /// The lines of `set_header`, complete, in the order of the conf.
    let lines: [UInt8]

    /// Fields by which some frameworks take another method than the request line's. Where the route judges
    /// by method they would be a way around it.
    private static let methodOverrides = [
        "x-http-method-override", "x-http-method", "x-method-override",
    ]

    init(_ route: RouteConfiguration) {
        var dropped: [[UInt8]] = []
        var replaced: Own = []
        var lines: [UInt8] = []
        for setting in route.setHeaders {
            dropped.append(Self.folded(setting.name))
            let own = Self.own(FieldName.lookup(Self.folded(setting.name).span))
            // As with nginx's proxy_set_header, an empty value only removes.
            replaced.formUnion(setting.value.isEmpty ? own.subtracting(.host) : own)
            guard !setting.value.isEmpty else { continue }
            lines.append(contentsOf: setting.name.utf8)
            lines.append(contentsOf: ": ".utf8)
            lines.append(contentsOf: setting.value.utf8)
            lines.append(contentsOf: "\r\n".utf8)
        }
        for name in route.removeHeaders {
            dropped.append(Self.folded(name))
            // An upstream request without Host is none; it can be set to another, not taken away.
            replaced.formUnion(
                Self.own(FieldName.lookup(Self.folded(name).span)).subtracting(.host))
        }
        let judgesByMethod =
            !route.methods.isEmpty
            || route.requirements.contains {
                if case .scopes(_, let methods) = $0 { !methods.isEmpty } else { false }
            }
        if judgesByMethod { dropped.append(contentsOf: Self.methodOverrides.map(Self.folded)) }
        self.dropped = dropped
        droppedLengths = dropped.reduce(0) { $0 | Self.lengthBit($1.count) }
        self.replaced = replaced
        self.lines = lines
    }

    /// Whether a client's field of this name goes, in any letter case and with any symbol for `-`.
    @inline(__always)
    func drops(_ bytes: Span<UInt8>, _ name: Range<Int>) -> Bool {
        guard droppedLengths & Self.lengthBit(name.count) != 0 else { return false }
        for candidate in dropped where candidate.count == name.count {
            if matchesFolded(candidate, bytes, name) { return true }
        }
        return false
    }

    private static func lengthBit(_ count: Int) -> UInt64 { 1 << UInt64(min(count, 63)) }

    private static func folded(_ name: String) -> [UInt8] { name.utf8.map(foldedNameByte) }

    private static func own(_ id: FieldName) -> Own {
        switch id {
        case .host: .host
        case .forwarded: .forwarded
        case .xForwardedFor: .xForwardedFor
        case .xForwardedProto: .xForwardedProto
        case .xForwardedHost: .xForwardedHost
        case .via: .via
        case .xRequestID: .xRequestID
        case .traceparent: .traceparent
        default: []
        }
    }
}

/// A byte of a field name as CGI-like upstreams may see it: letters in one case, `_` and every other symbol the same as `-`.
@inline(__always)
func foldedNameByte(_ byte: UInt8) -> UInt8 {
    let lower = lowercased(byte)
    return lower &- 0x61 < 26 || byte &- 0x30 < 10 ? lower : 0x2D
}

/// Whether `bytes[range]`, folded, begins with or is `candidate`, which is folded already; the caller
/// compares the counts.
@inline(__always)
func matchesFolded(_ candidate: [UInt8], _ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
    for offset in 0..<candidate.count
    where candidate[offset] != foldedNameByte(bytes[range.lowerBound + offset]) {
        return false
    }
    return true
}
