import Primitives

// How a line is written into room that was made for it once. What does not fit is left out, and the room is then full:
// whoever finds it full takes the line for cut and writes it anew into more, so that nobody need foresee its length.

extension OutputSpan<UInt8> {
    @inline(__always)
    mutating func put(_ byte: UInt8) {
        if !isFull { append(byte) }
    }

    /// Puts our own text.
    @inline(__always)
    mutating func put(_ literal: StaticString) {
        unsafe put(
            UnsafeRawBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
    }

    /// Puts text as it is.
    mutating func put(_ text: Span<UInt8>) {
        unsafe text.withUnsafeBytes { unsafe put($0) }
    }

    @inline(__always)
    private mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count <= freeCapacity else { return fill() }
        unsafe withUnsafeMutableBufferPointer { room, count in
            let rest = unsafe UnsafeMutableRawBufferPointer(
                UnsafeMutableBufferPointer(rebasing: room[count...]))
            unsafe rest.copyMemory(from: bytes)
            count += bytes.count
        }
    }

    private mutating func fill() {
        append(repeating: 0x20, count: freeCapacity)
    }

    /// Puts what stands between the quotation marks of a JSON string.
    mutating func putJSON(_ text: Span<UInt8>) {
        if JSONText.endOfPlain(text) == text.count { return put(text) }
        // Rare: this may allocate.
        var escaped: [UInt8] = []
        JSONText.appendEscaped(text, to: &escaped)
        put(escaped.span)
    }

    /// Puts the decimal digits of `value`.
    mutating func putInteger(_ value: Int) {
        if value < 0 { put(0x2D) }
        putDigits(value.magnitude)
    }

    private mutating func putDigits(_ value: UInt) {
        if value >= 10 { putDigits(value / 10) }
        put(UInt8(truncatingIfNeeded: value % 10) + 0x30)
    }

    /// Puts a duration as milliseconds with three decimals: `12.345`.
    mutating func putMilliseconds(_ duration: Duration) {
        let microseconds = UInt(clamping: duration.wholeNanoseconds / 1000)
        putDigits(microseconds / 1000)
        put(0x2E)
        let fraction = UInt8(microseconds % 1000 / 10)
        put(fraction / 10 + 0x30)
        put(fraction % 10 + 0x30)
        put(UInt8(truncatingIfNeeded: microseconds % 10) + 0x30)
    }
}
