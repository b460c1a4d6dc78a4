import Primitives

extension [UInt8] {
    /// Appends a quoted-string (RFC 9110 section 5.6.4).
    mutating func appendQuoted(_ text: Span<UInt8>) {
        append(0x22)
        for index in text.indices {
            let byte = text[index]
            if byte == 0x22 || byte == 0x5C { append(0x5C) }
            append(byte)
        }
        append(0x22)
    }
}
