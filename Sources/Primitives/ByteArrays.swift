extension [UInt8] {
    /// Appends the bytes of a span with one copy.
    @inlinable public mutating func append(_ span: Span<UInt8>) {
        unsafe span.withUnsafeBufferPointer { bytes in unsafe append(contentsOf: bytes) }
    }

    /// Appends a part of a span with one copy; `range` must lie within it.
    @inlinable public mutating func append(_ span: Span<UInt8>, _ range: Range<Int>) {
        append(span.extracting(range))
    }

    /// Appends the bytes of a literal.
    @inlinable public mutating func append(_ literal: StaticString) {
        unsafe append(
            contentsOf: UnsafeBufferPointer(
                start: literal.utf8Start, count: literal.utf8CodeUnitCount))
    }
}

extension StaticString {
    /// Whether these are its bytes.
    @inlinable public func equals(_ bytes: Span<UInt8>) -> Bool {
        guard bytes.count == utf8CodeUnitCount else { return false }
        for index in 0..<bytes.count where unsafe utf8Start[index] != bytes[index] { return false }
        return true
    }
}
