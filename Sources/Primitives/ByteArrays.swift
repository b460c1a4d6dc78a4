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

    /// Appends two spans with a literal behind each, in one go.
    public mutating func append(
        _ first: Span<UInt8>, _ joint: StaticString, _ second: Span<UInt8>, _ end: StaticString
    ) {
        let count =
            first.count + joint.utf8CodeUnitCount + second.count + end.utf8CodeUnitCount
        append(addingCapacity: count) { (output: inout OutputSpan<UInt8>) in
            unsafe output.withUnsafeMutableBufferPointer { room, initialized in
                var rest = UnsafeMutableRawBufferPointer(room)
                unsafe first.withUnsafeBytes { unsafe rest.take($0) }
                unsafe rest.take(joint.bytes)
                unsafe second.withUnsafeBytes { unsafe rest.take($0) }
                unsafe rest.take(end.bytes)
                initialized += count
            }
        }
    }

    /// Appends a span between two literals, in one go: mostly a field line.
    public mutating func append(_ begin: StaticString, _ span: Span<UInt8>, _ end: StaticString) {
        let count = begin.utf8CodeUnitCount + span.count + end.utf8CodeUnitCount
        append(addingCapacity: count) { (output: inout OutputSpan<UInt8>) in
            unsafe output.withUnsafeMutableBufferPointer { room, initialized in
                var rest = UnsafeMutableRawBufferPointer(room)
                unsafe rest.take(begin.bytes)
                unsafe span.withUnsafeBytes { unsafe rest.take($0) }
                unsafe rest.take(end.bytes)
                initialized += count
            }
        }
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
        // Most differ here.
        guard self[0] == other[0] else { return false }
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

extension Span<UInt8> {
    /// The first place from `start` on where the byte stands.
    public func firstIndex(of byte: UInt8, from start: Int) -> Int? {
        let rest = extracting(start..<count)
        return unsafe rest.withUnsafeBytes { bytes in
            guard let begin = bytes.baseAddress,
                let found = unsafe memchr(begin, Int32(byte), bytes.count)
            else { return nil }
            return unsafe start + begin.distance(to: found)
        }
    }

    /// The text that the bytes are, read as UTF-8; what is none becomes U+FFFD.
    public var text: String {
        unsafe withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }
}

extension Span<UInt8> {
    /// Whether all bytes are visible ASCII, and none of them is that one; eight a step.
    ///
    /// - Parameter excluded: of ASCII itself.
    public func isVisible(without excluded: UInt8) -> Bool {
        let raw = unsafe self.bytes
        let ones: UInt64 = 0x0101_0101_0101_0101
        var index = 0
        while index + 8 <= count {
            // The loop's condition is the bound; any bit pattern is an integer.
            let word = unsafe raw.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
            let matches = (word ^ ones &* UInt64(excluded)) &- ones
            // The top bit of each byte that is none, and maybe of its neighbour: borrows and carries come from no other.
            let found = word | (word &+ ones) | (word &- ones &* 0x21) | matches
            guard found & (ones &* 0x80) == 0 else { return false }
            index += 8
        }
        while index < count {
            guard self[index] >= 0x21, self[index] <= 0x7E, self[index] != excluded else {
                return false
            }
            index += 1
        }
        return true
    }
}

extension String {
    /// Equality of identifiers: byte for byte. `==` also holds between texts that Unicode calls equivalent, such as the
    /// letter K and the sign for kelvin.
    public func hasBytes(of other: String) -> Bool {
        utf8Span.span.equals(other.utf8Span.span)
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

extension StaticString {
    fileprivate var bytes: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: utf8Start, count: utf8CodeUnitCount)
    }
}

extension UnsafeMutableRawBufferPointer {
    /// Copies to the beginning, and goes on behind it; traps where there is no room.
    fileprivate mutating func take(_ bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count <= count)
        unsafe copyMemory(from: bytes)
        unsafe self = UnsafeMutableRawBufferPointer(rebasing: self[bytes.count...])
    }
}
