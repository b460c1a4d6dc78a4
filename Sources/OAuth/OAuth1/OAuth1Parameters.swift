import HTTP
import Primitives

/// The parameters of a signed request, decoded: from the Authorization field, the query and a form
/// body (RFC 5849 section 3.4.1.3.1). Reused from request to request; bounded in number.
public struct OAuth1Parameters {
    public enum Source: UInt8, Sendable {
        case header, query, form
    }

    /// One parameter: ranges of `decoded`.
    public struct Item: Sendable {
        public let name: Range<Int>
        public let value: Range<Int>
        public let source: Source
        let known: OAuth1ParameterName?
    }

    /// Where a known parameter stands among the items: the first two of its name.
    private struct Place {
        var first: Int32 = -1
        var second: Int32 = -1
    }

    /// More than any honest client sends; each costs a comparison or two.
    public static let limit = 1000

    /// Names that begin with `oauth_`: RFC 5849 and its extensions have eleven. Each that is not known is compared
    /// with each.
    static let protocolLimit = 32

    public private(set) var decoded: [UInt8] = []
    public private(set) var items: [Item] = []
    private var places = InlineArray<10, Place>(repeating: Place())
    private var protocolCount = 0
    private var knownCount = 0

    public init() {}

    public mutating func removeAll() {
        decoded.removeAll(keepingCapacity: decoded.capacity <= 64 << 10)
        items.removeAll(keepingCapacity: true)
        places = InlineArray(repeating: Place())
        protocolCount = 0
        knownCount = 0
    }

    /// Reads the parameters of an Authorization field of the OAuth scheme (section 3.5.1):
    /// `name="value"`, separated by commas, both percent-encoded. `realm` is left out, as the base
    /// string leaves it out.
    public mutating func addHeader(_ bytes: Span<UInt8>, _ value: Range<Int>) throws(OAuth1Error) {
        var scanner = AuthorizationScanner(bytes, value)
        var count = 0
        while let pair = try scanner.next(bytes) {
            count += 1
            if OAuth1Parameters.isRealm(bytes, pair.name) { continue }
            try add(bytes, pair.name, pair.value, plus: .isPlus, .header)
        }
        guard count > 0 else { throw .malformed }
    }

    static func isRealm(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        let realm: StaticString = "realm"
        guard range.count == realm.utf8CodeUnitCount else { return false }
        for offset in 0..<range.count
        where unsafe bytes[range.lowerBound + offset] | 0x20 != realm.utf8Start[offset] {
            return false
        }
        return true
    }

    /// Reads `application/x-www-form-urlencoded` pairs: the query's or a form body's (section
    /// 3.4.1.3.1).
    public mutating func addPairs(
        _ bytes: Span<UInt8>, _ range: Range<Int>, _ source: Source
    ) throws(OAuth1Error) {
        var start = range.lowerBound
        while start < range.upperBound {
            var end = start
            var equals: Int?
            while end < range.upperBound, bytes[end] != 0x26 {
                if bytes[end] == 0x3D, equals == nil { equals = end }
                end += 1
            }
            // An empty piece (`a&&b`) is no parameter.
            if end > start {
                let name = start..<(equals ?? end)
                let value = (equals.map { $0 + 1 } ?? end)..<end
                try add(bytes, name, value, plus: .isSpace, source)
            }
            start = end + 1
        }
    }

    private mutating func add(
        _ bytes: Span<UInt8>, _ name: Range<Int>, _ value: Range<Int>, plus: PercentCoding.Plus,
        _ source: Source
    ) throws(OAuth1Error) {
        guard items.count < OAuth1Parameters.limit else { throw .tooManyParameters }
        let start = decoded.count
        guard PercentCoding.decode(bytes, name, plus: plus, into: &decoded) else {
            throw .malformed
        }
        let middle = decoded.count
        guard PercentCoding.decode(bytes, value, plus: plus, into: &decoded) else {
            throw .malformed
        }
        note(start..<middle, middle..<decoded.count, source)
    }

    private mutating func note(_ name: Range<Int>, _ value: Range<Int>, _ source: Source) {
        let (isProtocol, known) = kind(of: name)
        if isProtocol { protocolCount += 1 }
        if let known {
            knownCount += 1
            if places[known.rawValue].first < 0 {
                places[known.rawValue].first = Int32(items.count)
            } else if places[known.rawValue].second < 0 {
                places[known.rawValue].second = Int32(items.count)
            }
        }
        items.append(Item(name: name, value: value, source: source, known: known))
    }

    private func kind(of name: Range<Int>) -> (isProtocol: Bool, OAuth1ParameterName?) {
        let text = decoded.span.extracting(name)
        guard OAuth1Parameters.isProtocol(text) else { return (false, nil) }
        return (true, OAuth1ParameterName.lookup(text))
    }

    /// Adds a decoded parameter as it is; for signing and for tables of tests.
    public mutating func add(name: [UInt8], value: [UInt8], _ source: Source) {
        let start = decoded.count
        decoded += name
        let middle = decoded.count
        decoded += value
        note(start..<middle, middle..<decoded.count, source)
    }

    // MARK: Looking up

    /// Whether a name begins with `oauth_`, and goes on.
    private static func isProtocol(_ name: Span<UInt8>) -> Bool {
        let prefix: StaticString = "oauth_"
        return name.count > 6 && prefix.equals(name.extracting(0..<6))
    }

    func has(_ name: OAuth1ParameterName) -> Bool { places[name.rawValue].first >= 0 }

    public func value(_ item: Item) -> ArraySlice<UInt8> { decoded[item.value] }

    public func name(_ item: Item) -> ArraySlice<UInt8> { decoded[item.name] }

    /// The parameter of that name; `nil` when there is none.
    ///
    /// - Throws: `.duplicateParameter`, `.twoLocations` when there are two (sections 3.1 and 3.5).
    func single(_ name: OAuth1ParameterName) throws(OAuth1Error) -> Item? {
        let place = places[name.rawValue]
        guard place.first >= 0 else { return nil }
        let item = items[Int(place.first)]
        guard place.second < 0 else {
            throw items[Int(place.second)].source == item.source
                ? .duplicateParameter : .twoLocations
        }
        return item
    }

    /// The parameter of that name, which must have a value.
    func required(_ name: OAuth1ParameterName) throws(OAuth1Error) -> Item {
        guard let item = try single(name), !item.value.isEmpty else {
            throw .missingParameter("\(name.text)")
        }
        return item
    }

    /// Every protocol parameter at most once, and the known ones all in one place (sections 3.1 and 3.5).
    func refuseRepeats(besides source: Source) throws(OAuth1Error) {
        for name in OAuth1ParameterName.allCases {
            if let item = try single(name), item.source != source { throw .twoLocations }
        }
        guard protocolCount <= OAuth1Parameters.protocolLimit else { throw .tooManyParameters }
        guard protocolCount > knownCount else { return }
        let others = items.filter { item in
            item.known == nil && OAuth1Parameters.isProtocol(decoded.span.extracting(item.name))
        }
        for (index, item) in others.enumerated() {
            for other in others[(index + 1)...] where name(other) == name(item) {
                throw .duplicateParameter
            }
        }
    }

    func text(_ item: Item) -> String { String(decoding: value(item), as: UTF8.self) }
}

/// Walks through `name="value"` elements. Values must be quoted, `=` stands without white space,
/// empty list elements are skipped (RFC 9110 section 5.6.1).
struct AuthorizationScanner {
    private var position: Int
    private let end: Int

    /// - Parameter value: the field's value, which begins with the scheme.
    init(_ bytes: Span<UInt8>, _ value: Range<Int>) {
        position = min(value.lowerBound + 5, value.upperBound)
        end = value.upperBound
    }

    mutating func next(
        _ bytes: Span<UInt8>
    ) throws(OAuth1Error) -> (name: Range<Int>, value: Range<Int>)? {
        while position < end, isSpace(bytes[position]) || bytes[position] == 0x2C { position += 1 }
        guard position < end else { return nil }
        let nameStart = position
        while position < end, bytes[position] != 0x3D {
            guard !isSpace(bytes[position]), bytes[position] != 0x2C, bytes[position] != 0x22 else {
                throw .malformed
            }
            position += 1
        }
        let name = nameStart..<position
        guard !name.isEmpty, position + 1 < end, bytes[position + 1] == 0x22 else {
            throw .malformed
        }
        position += 2
        let valueStart = position
        var hasQuotedPair = false
        while position < end, bytes[position] != 0x22 {
            if bytes[position] == 0x5C {
                hasQuotedPair = true
                position += 1
            }
            position += 1
        }
        guard position < end else { throw .malformed }
        let value = valueStart..<position
        // A realm is a quoted-string and may have them; what is percent-encoded has no backslash.
        guard !hasQuotedPair || OAuth1Parameters.isRealm(bytes, name) else { throw .malformed }
        position += 1
        while position < end, isSpace(bytes[position]) { position += 1 }
        guard position == end || bytes[position] == 0x2C else { throw .malformed }
        return (name, value)
    }

    private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
}
