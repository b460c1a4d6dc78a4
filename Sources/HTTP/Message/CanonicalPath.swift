import Primitives

/// The one path of a request: what is matched, authorised, logged and forwarded.
///
/// Dot segments are resolved and escapes of unreserved characters decoded (RFC 3986 section 6.2.2), so that no second
/// spelling of a path slips past a route. Whatever two readers could take in two ways is refused: escaped dots, slashes,
/// backslashes and controls, also escaped twice or in another encoding's clothes, empty segments, and dot segments that
/// carry parameters (CVE-2021-41773 is the class).
public enum CanonicalPath {
    /// Appends the canonical form of `path` to `output`.
    ///
    /// - Parameter path: as received, beginning with `/`; empty stands for `/`.
    /// - Returns: false when the path is refused; `output` then holds nothing of use.
    public static func canonicalize(_ path: Span<UInt8>, into output: inout [UInt8]) -> Bool {
        if path.count == 0 {
            output.append(0x2F)
            return true
        }
        guard path[0] == 0x2F else { return false }
        if isPlain(path) {
            output.append(path)
            return true
        }
        let start = output.count
        guard decode(path, into: &output), !isEscapedTwice(output, from: start) else {
            return false
        }
        return resolveDots(&output, from: start)
    }

    /// Whether the path is its own canonical form: no escape, no backslash, no empty segment, none that begins
    /// with a dot.
    private static func isPlain(_ path: Span<UInt8>) -> Bool {
        var before: UInt8 = 0
        for index in 0..<path.count {
            let byte = path[index]
            if byte == 0x25 || byte == 0x5C || byte <= 0x20 || byte >= 0x7F { return false }
            if before == 0x2F, byte == 0x2F || byte == 0x2E { return false }
            before = byte
        }
        return true
    }

    /// Decodes what is unreserved, upper-cases the escapes that stay, refuses those that hide something.
    private static func decode(_ path: Span<UInt8>, into output: inout [UInt8]) -> Bool {
        var index = 0
        var high = HighBytes()
        while index < path.count {
            let byte = path[index]
            guard byte > 0x20, byte < 0x7F, byte != 0x5C else { return false }
            guard byte == 0x25 else {
                guard high.end() else { return false }
                output.append(byte)
                index += 1
                continue
            }
            guard let value = escape(path, at: index) else { return false }
            if value < 0x80 {
                guard high.end(), decodeASCII(value, into: &output) else { return false }
            } else {
                guard high.take(value) else { return false }
                appendEscape(value, to: &output)
            }
            index += 3
        }
        return high.end()
    }

    private static func decodeASCII(
        _ value: UInt8, into output: inout [UInt8]
    ) -> Bool {
        switch value {
        case 0x2E, 0x2F, 0x5C, 0x00..<0x20, 0x7F:
            return false
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F, 0x7E:
            output.append(value)
        default:
            appendEscape(value, to: &output)
        }
        return true
    }

    /// Whether an escaped percent sign begins an escape of its own, also one in the style of `%u002e`: a reader that
    /// decodes once more would find another path. Looked for in the decoded form, as `%25%32%65` hides it from the raw one.
    private static func isEscapedTwice(_ output: [UInt8], from start: Int) -> Bool {
        var index = start
        while index + 4 < output.count {
            if output[index] == 0x25, output[index + 1] == 0x32, output[index + 2] == 0x35 {
                let next = output[index + 3]
                let isUnicode = next | 0x20 == 0x75
                if isUnicode || ASCII.hexValue(next) < 16, ASCII.hexValue(output[index + 4]) < 16 {
                    return true
                }
            }
            index += 1
        }
        return false
    }

    private static func escape(_ path: Span<UInt8>, at index: Int) -> UInt8? {
        guard index + 2 < path.count else { return nil }
        let high = ASCII.hexValue(path[index + 1])
        let low = ASCII.hexValue(path[index + 2])
        guard high < 16, low < 16 else { return nil }
        return high << 4 | low
    }

    private static func appendEscape(_ value: UInt8, to output: inout [UInt8]) {
        output.append(0x25)
        output.append(hexDigit(value >> 4))
        output.append(hexDigit(value & 15))
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? 0x30 + value : 0x37 + value
    }

    /// RFC 3986 section 5.2.4 in place; climbing above the root, an empty segment and `..;x` are refused.
    private static func resolveDots(_ output: inout [UInt8], from start: Int) -> Bool {
        var write = start
        var read = start
        while read < output.count {
            // At a slash: the segment behind it ends at the next one.
            var end = read + 1
            while end < output.count, output[end] != 0x2F { end += 1 }
            let count = end - read - 1
            let isLast = end == output.count
            if count == 0, !isLast { return false }
            var dots = 0
            while dots < count, output[read + 1 + dots] == 0x2E { dots += 1 }
            if dots == 1 || dots == 2, dots < count, output[read + 1 + dots] == 0x3B {
                return false
            }
            if dots == count, count == 1 || count == 2 {
                if count == 2 {
                    guard write > start else { return false }
                    repeat { write -= 1 } while output[write] != 0x2F
                }
                if isLast {
                    output[write] = 0x2F
                    write += 1
                }
            } else {
                for index in read..<end {
                    output[write] = output[index]
                    write += 1
                }
            }
            read = end
        }
        output.removeSubrange(write...)
        return true
    }

    /// Watches escaped bytes above 0x7F: they must be UTF-8 in its shortest form (RFC 3629 section 4), and no look-alike
    /// of a character that separates.
    private struct HighBytes {
        private var scalar: UInt32 = 0
        private var smallest: UInt32 = 0
        private var missing = 0

        mutating func take(_ value: UInt8) -> Bool {
            if missing > 0 {
                guard value & 0xC0 == 0x80 else { return false }
                scalar = scalar << 6 | UInt32(value & 0x3F)
                missing -= 1
                return missing > 0 || isAllowed
            }
            switch value {
            case 0xC2...0xDF: begin(value & 0x1F, missing: 1, smallest: 0x80)
            case 0xE0...0xEF: begin(value & 0x0F, missing: 2, smallest: 0x800)
            case 0xF0...0xF4: begin(value & 0x07, missing: 3, smallest: 0x10000)
            default: return false
            }
            return true
        }

        /// A sequence must not be cut.
        func end() -> Bool { missing == 0 }

        private mutating func begin(_ bits: UInt8, missing: Int, smallest: UInt32) {
            scalar = UInt32(bits)
            self.missing = missing
            self.smallest = smallest
        }

        private var isAllowed: Bool {
            guard scalar >= smallest, Unicode.Scalar(scalar) != nil else { return false }
            switch scalar {
            // Some readers fold these to `.`, `..`, `/`, `\` or `%` (compatibility forms, best fit mappings).
            case 0x2024, 0x2025, 0x2044, 0x2215, 0xFE52, 0xFE68, 0xFE6A, 0xFF05, 0xFF0E, 0xFF0F,
                0xFF3C:
                return false
            // C1 controls.
            case 0x80...0x9F: return false
            default: return true
            }
        }
    }
}
