import HTTP
import Primitives

/// The parameters of a signed request, decoded: from the Authorization field, the query and a form
/// body (RFC 5849 section 3.4.1.3.1). Reused from request to request; bounded in number.
public final class OAuth1Parameters {
    public enum Source: UInt8, Sendable {
        case header, query, form
    }

    /// One parameter: ranges of `decoded`.
    public struct Item: Sendable {
        public let name: Range<Int>
        public let value: Range<Int>
        public let source: Source
    }

    /// More than any honest client sends; each costs a comparison or two.
    public static let limit = 1000

    /// Names that begin with `oauth_`: RFC 5849 and its extensions have eleven. Each is compared
    /// with each.
    static let protocolLimit = 32

    public private(set) var decoded: [UInt8] = []
    public private(set) var items: [Item] = []

    public init() {}

    public func removeAll() {
        decoded.removeAll(keepingCapacity: decoded.capacity <= 64 << 10)
        items.removeAll(keepingCapacity: true)
    }

    /// Reads the parameters of an Authorization field of the OAuth scheme (section 3.5.1):
    /// `name="value"`, separated by commas, both percent-encoded. `realm` is left out, as the base
    /// string leaves it out.
    public func addHeader(_ bytes: Span<UInt8>, _ value: Range<Int>) throws(OAuth1Error) {
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
    public func addPairs(
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

    private func add(
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
        items.append(
            Item(name: start..<middle, value: middle..<decoded.count, source: source))
    }

    /// Adds a decoded parameter as it is; for signing and for tables of tests.
    public func add(name: [UInt8], value: [UInt8], _ source: Source) {
        let start = decoded.count
        decoded += name
        let middle = decoded.count
        decoded += value
        items.append(Item(name: start..<middle, value: middle..<decoded.count, source: source))
    }

    // MARK: Looking up

    public func isNamed(_ item: Item, _ name: StaticString) -> Bool {
        guard item.name.count == name.utf8CodeUnitCount else { return false }
        for offset in 0..<item.name.count
        where unsafe decoded[item.name.lowerBound + offset] != name.utf8Start[offset] {
            return false
        }
        return true
    }

    /// Whether the name begins with `oauth_`.
    public func isProtocol(_ item: Item) -> Bool {
        guard item.name.count > 6 else { return false }
        let prefix: StaticString = "oauth_"
        for offset in 0..<6
        where unsafe decoded[item.name.lowerBound + offset] != prefix.utf8Start[offset] {
            return false
        }
        return true
    }

    public func value(_ item: Item) -> ArraySlice<UInt8> { decoded[item.value] }

    public func name(_ item: Item) -> ArraySlice<UInt8> { decoded[item.name] }

    /// The parameter of that name; `nil` when there is none.
    ///
    /// - Throws: `.duplicateParameter`, `.twoLocations` when there are two (sections 3.1 and 3.5).
    func single(_ name: StaticString) throws(OAuth1Error) -> Item? {
        var found: Item?
        for item in items where isNamed(item, name) {
            if let found {
                throw found.source == item.source ? .duplicateParameter : .twoLocations
            }
            found = item
        }
        return found
    }
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
