import Primitives

// The few ways in which this target puts text into a line. None of them allocates when the output has room.

/// Appends our own text.
func appendText(_ text: StaticString, to output: inout [UInt8]) {
    text.withUTF8Buffer { unsafe output.append(contentsOf: $0) }
}

/// Appends `value` with leading zeros.
func appendDigits(_ value: Int, width: Int, to output: inout [UInt8]) {
    var divisor = 1
    for _ in 1..<width { divisor *= 10 }
    while divisor > 0 {
        output.append(UInt8(truncatingIfNeeded: value / divisor % 10) + 0x30)
        divisor /= 10
    }
}

/// Appends text of any origin to a line that people read: printable ASCII and well-formed UTF-8 stay, and all
/// that could end the line, move a terminal's cursor or pass for something else is written as `\xHH`: controls (C0,
/// DEL and C1), U+2028 and U+2029, broken UTF-8, the backslash, and the quotation mark. With
/// `asciiOnly`, as nginx does in its `combined` lines, every byte from 0x80 on is.
func appendEscaped(_ text: Span<UInt8>, asciiOnly: Bool = false, to output: inout [UInt8]) {
    var index = 0
    while index < text.count {
        let byte = text[index]
        var length = 1
        var isPlain = byte >= 0x20 && byte < 0x7F && byte != 0x22 && byte != 0x5C
        if byte >= 0x80, !asciiOnly {
            length = max(JSONText.sequenceLength(text, at: index), 1)
            isPlain = length > 1 && !isInvisible(text, at: index, length: length)
        }
        for offset in 0..<length {
            if isPlain {
                output.append(text[index + offset])
            } else {
                appendHexEscape(text[index + offset], to: &output)
            }
        }
        index += length
    }
}

/// Whether the well-formed sequence at `index` is a C1 control (U+0080 to U+009F) or a line or paragraph separator.
private func isInvisible(_ text: Span<UInt8>, at index: Int, length: Int) -> Bool {
    if length == 2 { return text[index] == 0xC2 && text[index + 1] < 0xA0 }
    return length == 3 && text[index] == 0xE2 && text[index + 1] == 0x80
        && (text[index + 2] == 0xA8 || text[index + 2] == 0xA9)
}

private func appendHexEscape(_ byte: UInt8, to output: inout [UInt8]) {
    output.append(0x5C)
    output.append(0x78)
    output.append(hexDigit(byte >> 4))
    output.append(hexDigit(byte & 15))
}

private func hexDigit(_ nibble: UInt8) -> UInt8 {
    nibble < 10 ? nibble + 0x30 : nibble + 0x37
}
