import HTTP
import Primitives

/// A body of the media type `application/x-www-form-urlencoded`, strictly read: whole escapes, UTF-8, no NUL, no
/// name twice (RFC 6749 section 3.2 and appendix B).
public struct FormParameters: Sendable {
    public static let byteLimit = 64 << 10
    public static let countLimit = 100
    /// The two that may stand more than once (RFC 8707 section 2, RFC 8693 section 2.1).
    private static let repeatable = [Array("audience".utf8), Array("resource".utf8)]

    /// By the bytes of the name: `String` takes names for equal that differ in their bytes.
    private var values: [[UInt8]: [String]] = [:]

    /// The form of a request that must have one.
    ///
    /// - Throws: `.invalidRequest`, also where the media type is another.
    init(formOf head: RequestHead, _ body: Span<UInt8>) throws(TokenRequestError) {
        guard OAuth1Verifier.hasFormBody(head) else {
            throw .invalidRequest("The body must be application/x-www-form-urlencoded.")
        }
        try self.init(body)
    }

    /// - Throws: `.invalidRequest`.
    public init(_ body: Span<UInt8>) throws(TokenRequestError) {
        guard body.count <= FormParameters.byteLimit else {
            throw .invalidRequest("The form is too large.")
        }
        var count = 0
        var start = 0
        while start < body.count {
            var end = start
            var equals: Int?
            while end < body.count, body[end] != 0x26 {
                if body[end] == 0x3D, equals == nil { equals = end }
                end += 1
            }
            if end > start {
                count += 1
                guard count <= FormParameters.countLimit else {
                    throw .invalidRequest("The form has too many parameters.")
                }
                let name = try FormParameters.text(body, start..<(equals ?? end))
                let value = try FormParameters.text(body, (equals.map { $0 + 1 } ?? end)..<end)
                try add(Array(name.utf8), value)
            }
            start = end + 1
        }
    }

    private mutating func add(_ name: [UInt8], _ value: String) throws(TokenRequestError) {
        guard values[name] == nil || FormParameters.repeatable.contains(name) else {
            throw .invalidRequest("A parameter is repeated.")
        }
        values[name, default: []].append(value)
    }

    private static func text(
        _ body: Span<UInt8>, _ range: Range<Int>
    ) throws(TokenRequestError) -> String {
        guard let text = decoded(body, range) else {
            throw .invalidRequest("A parameter is not form-encoded UTF-8.")
        }
        return text
    }

    /// The form-decoded text; `nil` for a broken escape, bytes that are not UTF-8, or a NUL.
    static func decoded(_ bytes: Span<UInt8>, _ range: Range<Int>) -> String? {
        var output: [UInt8] = []
        guard PercentCoding.decode(bytes, range, plus: .isSpace, into: &output),
            !output.contains(0)
        else { return nil }
        return String(validating: output, as: UTF8.self)
    }

    /// The value; `nil` when absent or empty, which is the same (RFC 6749 section 3.2).
    public subscript(_ name: String) -> String? { all(name).first }

    /// Every value that is not empty, in the order of the form.
    public func all(_ name: String) -> [String] {
        (values[Array(name.utf8)] ?? []).filter { !$0.isEmpty }
    }
}
