import Primitives

/// A trailer section: field lines over their bytes (RFC 9110 section 6.5).
public struct Trailers: Sendable {
    public internal(set) var fields: [FieldLine]
    public internal(set) var bytes: [UInt8]

    public init() {
        fields = []
        bytes = []
    }

    init(fields: [FieldLine], bytes: [UInt8]) {
        self.fields = fields
        self.bytes = bytes
    }

    /// Adds a field of the gateway's own.
    public mutating func append(_ name: StaticString, _ value: [UInt8]) {
        let start = bytes.count
        bytes.append(name)
        let valueStart = bytes.count
        bytes.append(contentsOf: value)
        fields.append(
            FieldLine(
                id: FieldName.lookup(bytes.span.extracting(start..<valueStart)),
                name: ByteRange(start: start, count: valueStart - start),
                value: ByteRange(start: valueStart, count: value.count)))
    }

    public var isEmpty: Bool { fields.isEmpty }

    /// Adds a field that came by itself (HTTP/2).
    ///
    /// - Returns: false when the section is larger than a head may be.
    mutating func take(
        _ name: Span<UInt8>, _ value: Span<UInt8>, within limits: HTTP1Limits
    ) -> Bool {
        guard fields.count < limits.fieldCount,
            bytes.count + name.count + value.count + 4 <= limits.headBytes
        else { return false }
        let start = bytes.count
        bytes.append(name)
        bytes.append(value)
        fields.append(
            FieldLine(
                id: FieldName.lookup(name), name: ByteRange(start: start, count: name.count),
                value: ByteRange(start: start + name.count, count: value.count)))
        return true
    }
}
