import Primitives

/// Writes values that come from tokens and registrations as field values.
///
/// Visible ASCII stays; `%`, controls, DEL and whatever is not ASCII is percent-encoded byte by byte, so that
/// no value can end its line and no two values look alike: without encoding `%` a client named `%C3%A9` would be
/// another one named `é`. Nothing is refused here: of a token `HeaderText` has refused what is wrong, and names from the conf
/// and the store come too.
enum IdentityFields {
    /// Appends the line of a field, unless its value is empty. A space inside the value stays; at its ends,
    /// where it would be trimmed, it is encoded.
    static func append(_ name: StaticString, value: Span<UInt8>, to output: inout [UInt8]) {
        guard value.count > 0 else { return }
        if isPlain(value) { return output.append(name, value, "\r\n") }
        output.append(name)
        appendEncoded(value, keepingSpaces: true, to: &output)
        output.append("\r\n")
    }

    static func append(_ name: StaticString, value: String, to output: inout [UInt8]) {
        append(name, value: value.utf8Span.span, to: &output)
    }

    /// Writes the line of a field whose values are separated by spaces; none where there is no value. A space inside
    /// one of them, which would make two of it, is encoded.
    struct List {
        private let name: StaticString
        private var isEmpty = true

        init(_ name: StaticString) { self.name = name }

        mutating func append(_ value: Span<UInt8>, to output: inout [UInt8]) {
            guard value.count > 0 else { return }
            if isEmpty { output.append(name) } else { output.append(0x20) }
            isEmpty = false
            guard !isPlain(value) else { return output.append(value) }
            appendEncoded(value, keepingSpaces: false, to: &output)
        }

        func end(_ output: inout [UInt8]) {
            if !isEmpty { output.append("\r\n") }
        }
    }

    /// Whether all bytes stay as they are; eight a step.
    private static func isPlain(_ bytes: Span<UInt8>) -> Bool {
        let raw = unsafe bytes.bytes
        var index = 0
        while index + 8 <= bytes.count {
            // The loop's condition is the bound; any bit pattern is an integer.
            let word = unsafe raw.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
            guard isPlain(word) else { return false }
            index += 8
        }
        while index < bytes.count {
            guard isPlain(bytes[index]) else { return false }
            index += 1
        }
        return true
    }

    /// Whether none of the eight bytes is a control, a space, `%`, DEL or none of ASCII. Borrows and carries come only from bytes
    /// that are.
    @inline(__always)
    private static func isPlain(_ word: UInt64) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let percents = (word ^ ones &* 0x25) &- ones
        return (word | (word &+ ones) | (word &- ones &* 0x21) | percents) & (ones &* 0x80) == 0
    }

    @inline(__always)
    private static func isPlain(_ byte: UInt8) -> Bool {
        byte >= 0x21 && byte <= 0x7E && byte != 0x25
    }

    /// - Parameter keepingSpaces: those between other bytes.
    private static func appendEncoded(
        _ value: Span<UInt8>, keepingSpaces: Bool, to output: inout [UInt8]
    ) {
        for index in 0..<value.count {
            let byte = value[index]
            let isInside = index > 0 && index < value.count - 1
            if isPlain(byte) || (byte == 0x20 && isInside && keepingSpaces) {
                output.append(byte)
            } else {
                output.append(0x25)
                output.append(hexDigit(byte >> 4))
                output.append(hexDigit(byte & 15))
            }
        }
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? 0x30 + value : 0x37 + value
    }
}
