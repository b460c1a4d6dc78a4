import Primitives

/// Percent-coding as OAuth 1.0 wants it (RFC 5849 section 3.6): only unreserved characters stay,
/// hexadecimal digits are upper case.
public enum PercentCoding {
    /// How `+` is read: a space in a query and a form, itself in the Authorization field.
    public enum Plus: Sendable {
        case isSpace
        case isPlus
    }

    /// Appends the encoded form of `bytes`.
    public static func encode(_ bytes: Span<UInt8>, into output: inout [UInt8]) {
        output.append(addingCapacity: 3 * bytes.count) { (text: inout OutputSpan<UInt8>) in
            for index in 0..<bytes.count {
                let byte = bytes[index]
                if isUnreserved(byte) {
                    text.append(byte)
                } else {
                    text.append(0x25)
                    text.append(upperHex(byte >> 4))
                    text.append(upperHex(byte & 15))
                }
            }
        }
    }

    @inline(__always)
    static func append(_ byte: UInt8, to output: inout [UInt8]) {
        if isUnreserved(byte) {
            output.append(byte)
        } else {
            output.append(0x25)
            output.append(upperHex(byte >> 4))
            output.append(upperHex(byte & 15))
        }
    }

    @inline(__always)
    static func isUnreserved(_ byte: UInt8) -> Bool {
        // - . 0-9 in the low half; A-Z _ a-z ~ in the high half (RFC 3986 section 2.3).
        let low: UInt64 = 0x03FF_6000_0000_0000
        let high: UInt64 = 0x47FF_FFFE_87FF_FFFE
        if byte < 64 { return low >> UInt64(byte) & 1 == 1 }
        if byte < 128 { return high >> UInt64(byte - 64) & 1 == 1 }
        return false
    }

    @inline(__always)
    static func upperHex(_ digit: UInt8) -> UInt8 { digit < 10 ? 0x30 + digit : 0x37 + digit }

    /// Appends the decoded form of `bytes[range]`.
    ///
    /// - Returns: false for a `%` that two hexadecimal digits do not follow; `output` then holds a
    ///   part.
    public static func decode(
        _ bytes: Span<UInt8>, _ range: Range<Int>, plus: Plus, into output: inout [UInt8]
    ) -> Bool {
        var isWhole = true
        output.append(addingCapacity: range.count) { (text: inout OutputSpan<UInt8>) in
            var index = range.lowerBound
            while index < range.upperBound {
                let byte = bytes[index]
                index += 1
                if byte == 0x2B, plus == .isSpace {
                    text.append(0x20)
                } else if byte != 0x25 {
                    text.append(byte)
                } else {
                    guard index + 1 < range.upperBound, let high = hexValue(bytes[index]),
                        let low = hexValue(bytes[index + 1])
                    else {
                        isWhole = false
                        return
                    }
                    text.append(high << 4 | low)
                    index += 2
                }
            }
        }
        return isWhole
    }

    @inline(__always)
    private static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}
