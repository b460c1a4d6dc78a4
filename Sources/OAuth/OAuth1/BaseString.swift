import Primitives

/// Makes signature base strings (RFC 5849 section 3.4.1) in buffers that are kept.
public struct BaseString {
    /// How names are put in order.
    public enum Order: Sendable {
        /// By their encoded octets (section 3.4.1.3.2).
        case encoded
        /// By their decoded octets, as Ruby's and PHP's clients do; it covers the same parameters.
        case decoded
    }

    private struct Pair {
        var name: Range<Int>
        var value: Range<Int>
        let item: Int
    }

    private var encoded: [UInt8] = []
    private var pairs: [Pair] = []
    /// `a=1&b=2`: the normalised parameters, from the last `normalize`.
    public var normalized: [UInt8] {
        var text: [UInt8] = []
        for (index, pair) in pairs.enumerated() {
            if index > 0 { text.append(0x26) }
            text.append(encoded.span, pair.name)
            text.append(0x3D)
            text.append(encoded.span, pair.value)
        }
        return text
    }

    public init() {}

    /// Encodes and sorts the parameters; the signature itself is left out.
    public mutating func normalize(_ parameters: OAuth1Parameters, order: Order) {
        encoded.removeAll(keepingCapacity: true)
        pairs.removeAll(keepingCapacity: true)
        let decoded = parameters.decoded
        for (index, item) in parameters.items.enumerated() where item.known != .signature {
            let start = encoded.count
            PercentCoding.encode(decoded.span.extracting(item.name), into: &encoded)
            let middle = encoded.count
            PercentCoding.encode(decoded.span.extracting(item.value), into: &encoded)
            pairs.append(Pair(name: start..<middle, value: middle..<encoded.count, item: index))
        }
        sort(parameters, order)
    }

    /// Whether sorting by decoded octets would leave the order of the last `normalize(_:order:
    /// .encoded)` as it is.
    public func isInDecodedOrder(_ parameters: OAuth1Parameters) -> Bool {
        for (left, right) in zip(pairs, pairs.dropFirst()) {
            let left = parameters.items[left.item]
            let right = parameters.items[right.item]
            if BaseString.precedes(
                parameters.decoded, right.name, right.value, left.name, left.value)
            {
                return false
            }
        }
        return true
    }

    private mutating func sort(_ parameters: OAuth1Parameters, _ order: Order) {
        switch order {
        case .encoded:
            let bytes = encoded
            pairs.sort { left, right in
                BaseString.precedes(bytes, left.name, left.value, right.name, right.value)
            }
        case .decoded:
            let bytes = parameters.decoded
            let items = parameters.items
            pairs.sort { left, right in
                BaseString.precedes(
                    bytes, items[left.item].name, items[left.item].value, items[right.item].name,
                    items[right.item].value)
            }
        }
    }

    private static func precedes(
        _ bytes: [UInt8], _ leftName: Range<Int>, _ leftValue: Range<Int>,
        _ rightName: Range<Int>, _ rightValue: Range<Int>
    ) -> Bool {
        let names = compare(bytes, leftName, rightName)
        return names != 0 ? names < 0 : compare(bytes, leftValue, rightValue) < 0
    }

    private static func compare(_ bytes: [UInt8], _ left: Range<Int>, _ right: Range<Int>) -> Int {
        for offset in 0..<min(left.count, right.count) {
            let difference =
                Int(bytes[left.lowerBound + offset]) - Int(bytes[right.lowerBound + offset])
            if difference != 0 { return difference }
        }
        return left.count - right.count
    }

    /// Appends `METHOD&uri&parameters` for what was normalised last.
    ///
    /// - Parameters:
    ///   - method: as sent; it is upper-cased, and encoded like everything else (section 3.4.1.1).
    ///   - uri: the base string URI (section 3.4.1.2).
    public func append(method: Span<UInt8>, uri: [UInt8], to output: inout [UInt8]) {
        for index in 0..<method.count {
            let byte = method[index]
            PercentCoding.append(byte &- 0x61 < 26 ? byte & 0xDF : byte, to: &output)
        }
        output.append(0x26)
        PercentCoding.encode(uri.span, into: &output)
        // The normalised parameters, encoded once more.
        var joint: StaticString = "&"
        for pair in pairs {
            output.append(joint)
            PercentCoding.encode(encoded.span.extracting(pair.name), into: &output)
            output.append("%3D")
            PercentCoding.encode(encoded.span.extracting(pair.value), into: &output)
            joint = "%26"
        }
        if pairs.isEmpty { output.append(joint) }
    }

    /// Appends the base string URI (section 3.4.1.2): scheme and host in lower case, the default
    /// port left out, the path as received.
    public static func appendURI(
        isTLS: Bool, authority: Span<UInt8>, path: Span<UInt8>, to output: inout [UInt8]
    ) {
        output.append(isTLS ? "https://" : "http://")
        let end = hostEnd(authority)
        for index in 0..<end {
            let byte = authority[index]
            output.append(byte &- 0x41 < 26 ? byte | 0x20 : byte)
        }
        if !isDefaultPort(authority, from: end, isTLS: isTLS) {
            output.append(authority.extracting(end..<authority.count))
        }
        if path.count == 0 { output.append(0x2F) } else { output.append(path) }
    }

    /// Where the host ends and a port may begin.
    private static func hostEnd(_ authority: Span<UInt8>) -> Int {
        var index = authority.count
        while index > 0 {
            index -= 1
            if authority[index] == 0x3A { return index }
            if authority[index] == 0x5D { break }
        }
        return authority.count
    }

    private static func isDefaultPort(
        _ authority: Span<UInt8>, from start: Int, isTLS: Bool
    ) -> Bool {
        var port = 0
        for index in min(start + 1, authority.count)..<authority.count {
            let digit = authority[index] &- 0x30
            guard digit < 10, port < 100_000 else { return false }
            port = port * 10 + Int(digit)
        }
        return start + 1 >= authority.count || port == (isTLS ? 443 : 80)
    }
}
