extension [UInt8] {
    /// Appends the bytes of a literal; no `String` is made.
    @inline(__always)
    mutating func append(_ text: StaticString) {
        // A literal that is a single scalar may have no pointer; none of ours is shorter than it needs be,
        // but the type allows it.
        if text.hasPointerRepresentation {
            unsafe append(
                contentsOf: UnsafeBufferPointer(
                    start: text.utf8Start, count: text.utf8CodeUnitCount))
        } else {
            append(contentsOf: String(describing: text).utf8)
        }
    }

    /// Appends a quoted-string (RFC 9110 section 5.6.4).
    mutating func appendQuoted(_ text: ArraySlice<UInt8>) {
        append(0x22)
        for byte in text {
            if byte == 0x22 || byte == 0x5C { append(0x5C) }
            append(byte)
        }
        append(0x22)
    }
}
