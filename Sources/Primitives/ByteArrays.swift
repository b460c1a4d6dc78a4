import Glibc

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

extension Span<UInt8> {
    /// Whether the other holds the same bytes. Stops at the first that differs: never for what a stranger may guess at.
    public func equals(_ other: Span<UInt8>) -> Bool {
        guard count == other.count else { return false }
        guard count > 0 else { return true }
        return unsafe withUnsafeBufferPointer { left in
            unsafe other.withUnsafeBufferPointer { right in
                guard let left = left.baseAddress, let right = right.baseAddress else {
                    return false
                }
                return unsafe memcmp(left, right, count) == 0
            }
        }
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
