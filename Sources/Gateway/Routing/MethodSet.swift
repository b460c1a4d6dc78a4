import HTTP

/// The methods that a route takes, or that a requirement is about. Names are case-sensitive (RFC 9110
/// section 9.1).
public struct MethodSet: Sendable {
    private let known: UInt16
    private let extensions: [[UInt8]]
    private let takesAny: Bool
    /// The value of the `Allow` field that names them (RFC 9110 section 10.2.1).
    public let allow: [UInt8]

    /// The standard methods that a route without `methods` takes, in the order `Allow` names them.
    private static let standard: [(name: String, method: Method)] = [
        ("GET", .get), ("HEAD", .head), ("POST", .post), ("PUT", .put), ("PATCH", .patch),
        ("DELETE", .delete), ("OPTIONS", .options),
    ]

    /// - Parameters:
    ///   - names: as the conf has them; empty is every method. CONNECT and TRACE are never members: the one
    ///     asks for a tunnel, the other for an echo of fields that the gateway may have added.
    ///   - coveringHead: whether `GET` stands for `HEAD` too. What is demanded of GET must be, or HEAD would
    ///     be a way around it; what is allowed as GET need not be.
    init(_ names: [String], coveringHead: Bool = false) {
        var known: UInt16 = 0
        var extensions: [[UInt8]] = []
        var listed: [String] = []
        for name in names.isEmpty ? Self.standard.map(\.name) : names {
            guard name != "CONNECT", name != "TRACE", !listed.contains(name) else { continue }
            listed.append(name)
            if let method = Self.standard.first(where: { $0.name == name })?.method {
                known |= Self.bit(method)
            } else {
                extensions.append(Array(name.utf8))
            }
        }
        if coveringHead, known & Self.bit(.get) != 0 { known |= Self.bit(.head) }
        self.known = known
        self.extensions = extensions
        takesAny = names.isEmpty
        allow = Array(listed.joined(separator: ", ").utf8)
    }

    /// - Parameter name: the method's bytes; only looked at for one that HTTP's own list lacks.
    func contains(_ method: Method, name: Span<UInt8>) -> Bool {
        switch method {
        case .get, .head, .post, .put, .patch, .delete, .options:
            return known & Self.bit(method) != 0
        case .connect, .trace:
            return false
        case .other:
            if takesAny { return true }
            for candidate in extensions where equal(candidate, name) { return true }
            return false
        }
    }

    private static func bit(_ method: Method) -> UInt16 { 1 << UInt16(method.rawValue) }
}

/// Whether the two hold the same bytes; not for secrets.
@inline(__always)
func equal(_ left: [UInt8], _ right: Span<UInt8>) -> Bool {
    guard left.count == right.count else { return false }
    for index in 0..<left.count where left[index] != right[index] { return false }
    return true
}
