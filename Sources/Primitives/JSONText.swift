/// Writes JSON text (RFC 8259) into a byte array: what the access log, the problem bodies, the token
/// endpoint and `--json` use. It cannot write anything that is not valid JSON text of its strings: invalid
/// UTF-8 becomes U+FFFD, controls are escaped, so a client can never forge a log line.
public enum JSONText {
    /// Appends `"text"`, escaped.
    public static func appendString(_ text: Span<UInt8>, to output: inout [UInt8]) {
        output.append(0x22)
        appendEscaped(text, to: &output)
        output.append(0x22)
    }

    /// Appends what stands between the quotation marks.
    public static func appendEscaped(_ text: Span<UInt8>, to output: inout [UInt8]) {
        var index = 0
        while true {
            let end = endOfPlain(text, from: index)
            if end > index { output.append(text, index..<end) }
            index = end
            guard index < text.count else { break }
            let byte = text[index]
            switch byte {
            case 0x22, 0x5C:
                output.append(0x5C)
                output.append(byte)
                index += 1
            case 0x0A:
                output.append(contentsOf: [0x5C, 0x6E])
                index += 1
            case 0..<0x20, 0x7F:
                appendEscape(byte, to: &output)
                index += 1
            default:
                let length = sequenceLength(text, at: index)
                if length == 0 {
                    output.append(contentsOf: [0xEF, 0xBF, 0xBD])
                    index += 1
                } else {
                    for offset in 0..<length { output.append(text[index + offset]) }
                    index += length
                }
            }
        }
    }

    /// The first byte from `start` that does not stand for itself in a string (a control, DEL, `"`, `\\`, or none of
    /// ASCII), or `count`; eight bytes a step.
    public static func endOfPlain(_ text: Span<UInt8>, from start: Int = 0) -> Int {
        let raw = unsafe text.bytes
        var index = start
        while index + 8 <= text.count {
            // The loop's condition is the bound; any bit pattern is an integer.
            let word = unsafe UInt64(
                littleEndian: raw.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self))
            let found = special(word)
            if found != 0 { return index + found.trailingZeroBitCount >> 3 }
            index += 8
        }
        guard index < text.count else { return index }
        // What is left, in the order of a load; the zeros behind it are found only where nothing before them is.
        var rest: UInt64 = 0
        for place in index..<text.count { rest = rest << 8 | UInt64(text[place]) }
        rest <<= UInt64(8 - (text.count - index)) * 8
        return min(index + special(rest.byteSwapped).trailingZeroBitCount >> 3, text.count)
    }

    private static let ones: UInt64 = 0x0101_0101_0101_0101

    /// The top bit of the first byte that does not stand for itself is set. A borrow or a carry can set another only behind
    /// that one.
    @inline(__always)
    private static func special(_ word: UInt64) -> UInt64 {
        let quotes = (word ^ ones &* 0x22) &- ones
        let slashes = (word ^ ones &* 0x5C) &- ones
        return (word | (word &+ ones) | (word &- ones &* 0x20) | quotes | slashes)
            & (ones &* 0x80)
    }

    public static func appendString(_ text: String, to output: inout [UInt8]) {
        let bytes = Array(text.utf8)
        appendString(bytes.span, to: &output)
    }

    /// Appends an array of strings.
    public static func appendStrings(_ items: [String], to output: inout [UInt8]) {
        output.append(0x5B)
        for (index, item) in items.enumerated() {
            if index > 0 { output.append(0x2C) }
            appendString(item, to: &output)
        }
        output.append(0x5D)
    }

    /// Appends the decimal digits of `value`.
    public static func appendInteger(_ value: Int, to output: inout [UInt8]) {
        var magnitude = value.magnitude
        // 2^64 has 20 digits.
        var digits = InlineArray<21, UInt8>(repeating: 0)
        var start = digits.count
        repeat {
            start -= 1
            digits[start] = UInt8(truncatingIfNeeded: magnitude % 10) + 0x30
            magnitude /= 10
        } while magnitude > 0
        if value < 0 {
            start -= 1
            digits[start] = 0x2D
        }
        output.append(digits.span, start..<digits.count)
    }

    private static func appendEscape(_ byte: UInt8, to output: inout [UInt8]) {
        let hex: StaticString = "0123456789abcdef"
        output.append(contentsOf: [0x5C, 0x75, 0x30, 0x30])
        for nibble in [byte >> 4, byte & 15] {
            output.append(unsafe hex.utf8Start[Int(nibble)])
        }
    }

    /// How long the well-formed UTF-8 sequence at `index` is (RFC 3629 section 4); 0 where there is none.
    /// U+2028, U+2029 and C1 controls are well-formed and stay.
    public static func sequenceLength(_ text: Span<UInt8>, at index: Int) -> Int {
        func continuation(_ offset: Int, _ low: UInt8 = 0x80, _ high: UInt8 = 0xBF) -> Bool {
            index + offset < text.count && text[index + offset] >= low
                && text[index + offset] <= high
        }
        switch text[index] {
        case 0x00...0x7F:
            return 1
        case 0xC2...0xDF:
            return continuation(1) ? 2 : 0
        case 0xE0:
            return continuation(1, 0xA0) && continuation(2) ? 3 : 0
        case 0xED:
            return continuation(1, 0x80, 0x9F) && continuation(2) ? 3 : 0
        case 0xE1...0xEC, 0xEE...0xEF:
            return continuation(1) && continuation(2) ? 3 : 0
        case 0xF0:
            return continuation(1, 0x90) && continuation(2) && continuation(3) ? 4 : 0
        case 0xF1...0xF3:
            return continuation(1) && continuation(2) && continuation(3) ? 4 : 0
        case 0xF4:
            return continuation(1, 0x80, 0x8F) && continuation(2) && continuation(3) ? 4 : 0
        default:
            return 0
        }
    }
}
