import HTTP
import Primitives

/// Where a request really comes from, by what proxies say that the listener trusts (`trusted_proxies`).
///
/// Proxies add at the right end, so that the list is read from there: what a trusted one has added is believed, up to the
/// first address that is none of them. What stands further left is that client's invention. A proxy that writes one
/// family of fields passes the other on as the client sent it; so one family is believed, X-Forwarded-For where it is
/// there (X-Forwarded-Proto and -Host count beside it alone), and a Forwarded that names somebody else beside it makes the
/// request one with two meanings.
struct ForwardedClient: Equatable {
    enum Fault: Error {
        case malformed
        /// The two families of fields name different clients.
        case contradictory
    }

    /// `nil`: the proxy does not say who it is.
    var address: IPAddress?
    /// The address as text, or `unknown`.
    var text: [UInt8]
    /// The proxies between the client and us, nearest to the client first.
    var proxies: [[UInt8]] = []
    /// Whether the client spoke TLS; `nil` where that is not said.
    var isTLS: Bool?
    /// What the client's `Host` was; `nil` where that is not said.
    var authority: [UInt8]?

    private static let entryLimit = 64

    /// - Parameter peer: whose connection it is.
    /// - Returns: `nil` when the peer is not trusted, or says nothing.
    init?(_ head: RequestHead, peer: IPAddress?, trusted: [IPPrefix]) throws(Fault) {
        guard let peer, trusted.contains(where: { $0.contains(peer) }) else { return nil }
        let addresses = ForwardedClient.list(head, .xForwardedFor)
        let elements = try ForwardedClient.elements(head)
        let protocols = ForwardedClient.list(head, .xForwardedProto)
        let hosts = ForwardedClient.list(head, .xForwardedHost)
        guard !addresses.isEmpty || !elements.isEmpty else { return nil }
        text = Array(peer.description.utf8)
        address = peer
        if addresses.isEmpty {
            let index = try walk(elements.map { $0["for"] ?? [] }, peer, trusted)
            if let index {
                isTLS = ForwardedClient.isTLS(elements[index]["proto"])
                authority = ForwardedClient.authority(elements[index]["host"])
            }
            return
        }
        let index = try walk(addresses, peer, trusted)
        isTLS = ForwardedClient.isTLS(
            ForwardedClient.pick(protocols, index, of: addresses.count))
        authority = ForwardedClient.authority(
            ForwardedClient.pick(hosts, index, of: addresses.count))
        guard !elements.isEmpty else { return }
        var other = self
        _ = try other.walk(elements.map { $0["for"] ?? [] }, peer, trusted)
        guard other.address == address else { throw .contradictory }
    }

    /// Follows the proxies from the nearest.
    ///
    /// - Returns: the client's place in the list.
    private mutating func walk(
        _ entries: [[UInt8]], _ peer: IPAddress, _ trusted: [IPPrefix]
    ) throws(Fault) -> Int? {
        guard entries.count <= ForwardedClient.entryLimit else { throw .malformed }
        guard !entries.isEmpty else { return nil }
        proxies = [Array(peer.description.utf8)]
        var index = entries.count - 1
        while true {
            guard let node = try ForwardedClient.node(entries[index]) else {
                address = nil
                text = Array("unknown".utf8)
                return index
            }
            address = node
            text = Array(node.description.utf8)
            guard index > 0, trusted.contains(where: { $0.contains(node) }) else { return index }
            proxies.insert(text, at: 0)
            index -= 1
        }
    }

    // MARK: The fields

    /// The members of all fields of a name, in order.
    private static func list(_ head: RequestHead, _ name: FieldName) -> [[UInt8]] {
        head.fields.filter { $0.id == name }.flatMap { line in
            head.bytes[line.value.range].split(separator: 0x2C).map { Array(trimmed($0)) }
        }.filter { !$0.isEmpty }
    }

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        bytes.drop { $0 == 0x20 || $0 == 0x09 }.reversed().drop { $0 == 0x20 || $0 == 0x09 }
            .reversed()[...]
    }

    /// The elements of `Forwarded` (RFC 7239 section 4), names in lower case.
    private static func elements(_ head: RequestHead) throws(Fault) -> [[String: [UInt8]]] {
        var elements: [[String: [UInt8]]] = []
        for line in head.fields where line.id == .forwarded {
            for element in try split(head.bytes[line.value.range], at: 0x2C) {
                var pairs: [String: [UInt8]] = [:]
                for pair in try split(element, at: 0x3B) where !trimmed(pair).isEmpty {
                    let pair = trimmed(pair)
                    guard let equals = pair.firstIndex(of: 0x3D) else { throw .malformed }
                    let name = String(decoding: pair[..<equals], as: UTF8.self).lowercased()
                    // Twice in an element is two meanings.
                    guard pairs[name] == nil else { throw .malformed }
                    pairs[name] = try unquoted(pair[(equals + 1)...])
                }
                if !pairs.isEmpty { elements.append(pairs) }
            }
        }
        return elements
    }

    /// Splits at a separator outside quoted strings.
    private static func split(
        _ bytes: ArraySlice<UInt8>, at separator: UInt8
    ) throws(Fault) -> [ArraySlice<UInt8>] {
        var parts: [ArraySlice<UInt8>] = []
        var start = bytes.startIndex
        var isQuoted = false
        var index = bytes.startIndex
        while index < bytes.endIndex {
            switch bytes[index] {
            case 0x5C where isQuoted: index += 1
            case 0x22: isQuoted.toggle()
            case separator where !isQuoted:
                parts.append(bytes[start..<index])
                start = index + 1
            default: break
            }
            index += 1
        }
        guard !isQuoted, start <= bytes.endIndex else { throw .malformed }
        parts.append(bytes[start...])
        return parts
    }

    private static func unquoted(_ bytes: ArraySlice<UInt8>) throws(Fault) -> [UInt8] {
        guard bytes.first == 0x22 else { return Array(bytes) }
        guard bytes.count >= 2, bytes.last == 0x22 else { throw .malformed }
        var text: [UInt8] = []
        var isEscaped = false
        for byte in bytes.dropFirst().dropLast() {
            if byte == 0x5C, !isEscaped {
                isEscaped = true
            } else {
                text.append(byte)
                isEscaped = false
            }
        }
        return text
    }

    /// An address, with or without a port; `nil` for `unknown` and for a name that hides one (RFC 7239 section 6).
    private static func node(_ bytes: [UInt8]) throws(Fault) -> IPAddress? {
        var text = String(decoding: bytes, as: UTF8.self)
        // RFC 7239 lets an element say nothing of its client.
        if text.isEmpty || text.lowercased() == "unknown" || text.hasPrefix("_") { return nil }
        if let address = IPAddress(text) { return address.unmapped }
        if let colon = text.lastIndex(of: ":"), text[..<colon].hasSuffix("]") || text.contains(".")
        {
            text = String(text[..<colon])
        }
        if text.hasPrefix("["), text.hasSuffix("]") { text = String(text.dropFirst().dropLast()) }
        guard let address = IPAddress(text) else { throw .malformed }
        return address.unmapped
    }

    /// The member that belongs to the client's place, where each proxy has added one; else what the nearest has said.
    private static func pick(_ values: [[UInt8]], _ index: Int?, of count: Int) -> [UInt8]? {
        guard let index, values.count == count else { return values.last }
        return values[index]
    }

    private static func isTLS(_ scheme: [UInt8]?) -> Bool? {
        switch scheme.map({ String(decoding: $0, as: UTF8.self).lowercased() }) {
        case "https": true
        case "http": false
        default: nil
        }
    }

    /// Only what could be an authority: it is written into fields for the upstream and into base strings.
    private static func authority(_ text: [UInt8]?) -> [UInt8]? {
        guard let text, !text.isEmpty, text.count <= 255 else { return nil }
        let isLegal = text.allSatisfy { byte in
            (0x30...0x3A).contains(byte) || (0x41...0x5B).contains(byte)
                || (0x61...0x7A).contains(byte) || [0x2D, 0x2E, 0x5D, 0x5F].contains(byte)
        }
        return isLegal ? text : nil
    }
}
