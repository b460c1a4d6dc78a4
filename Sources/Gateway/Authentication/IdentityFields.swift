import Primitives

/// Writes values that come from tokens and registrations as field values.
///
/// Visible ASCII stays; `%`, controls, DEL and whatever is not ASCII is percent-encoded byte by byte, so that
/// no value can end its line and no two values look alike: without encoding `%` a client named `%C3%A9` would be
/// another one named `é`. Nothing is refused here: what is wrong with a token's texts `TokenClaims` has refused, and names from
/// the conf and the store come too.
enum IdentityFields {
    /// Appends the line of a field, unless its value is empty. A space inside the value stays; at its ends,
    /// where it would be trimmed, it is encoded.
    static func append(_ name: StaticString, value: Span<UInt8>, to output: inout [UInt8]) {
        guard value.count > 0 else { return }
        if value.isVisible(without: percent) { return output.append(name, value, "\r\n") }
        output.append(name)
        appendEncoded(value, keepingSpaces: true, to: &output)
        output.append("\r\n")
    }

    static func append(_ name: StaticString, value: String, to output: inout [UInt8]) {
        append(name, value: value.utf8Span.span, to: &output)
    }

    /// Appends the line of a field whose values are separated by spaces; none where there is no value. A space inside
    /// one of them, which would make two of it, is encoded.
    ///
    /// - Parameter forEach: hands each value over.
    static func append(
        _ name: StaticString, to output: inout [UInt8],
        forEach: (_ add: (Span<UInt8>) -> Void) -> Void
    ) {
        var isEmpty = true
        forEach { value in
            guard value.count > 0 else { return }
            if isEmpty { output.append(name) } else { output.append(0x20) }
            isEmpty = false
            guard !value.isVisible(without: percent) else { return output.append(value) }
            appendEncoded(value, keepingSpaces: false, to: &output)
        }
        if !isEmpty { output.append("\r\n") }
    }

    private static let percent: UInt8 = 0x25

    /// - Parameter keepingSpaces: those between other bytes.
    private static func appendEncoded(
        _ value: Span<UInt8>, keepingSpaces: Bool, to output: inout [UInt8]
    ) {
        for index in 0..<value.count {
            let byte = value[index]
            let isInside = index > 0 && index < value.count - 1
            let isKept = byte == 0x20 && isInside && keepingSpaces
            if isKept || (0x21...0x7E ~= byte && byte != percent) {
                output.append(byte)
            } else {
                output.append(percent)
                output.append(hexDigit(byte >> 4))
                output.append(hexDigit(byte & 15))
            }
        }
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? 0x30 + value : 0x37 + value
    }
}
