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
        guard decode(path, into: &output) else { return false }
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
                guard high.end(), decodeASCII(value, path, at: index, into: &output) else {
                    return false
                }
            } else {
                guard high.take(value) else { return false }
                appendEscape(value, to: &output)
            }
            index += 3
        }
        return high.end()
    }

    private static func decodeASCII(
        _ value: UInt8, _ path: Span<UInt8>, at index: Int, into output: inout [UInt8]
    ) -> Bool {
        switch value {
        case 0x2E, 0x2F, 0x5C, 0x00..<0x20, 0x7F:
            return false
        case 0x25:
            // Escaped twice: an upstream that decodes once more must not find what we would have refused.
            if let inner = escapeDigits(path, at: index + 3) {
                switch inner {
                case 0x25, 0x2E, 0x2F, 0x5C, 0x00..<0x20, 0x7F: return false
                default: break
                }
            }
            appendEscape(value, to: &output)
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F, 0x7E:
            output.append(value)
        default:
            appendEscape(value, to: &output)
        }
        return true
    }

    private static func escape(_ path: Span<UInt8>, at index: Int) -> UInt8? {
        escapeDigits(path, at: index + 1)
    }

    private static func escapeDigits(_ path: Span<UInt8>, at index: Int) -> UInt8? {
        guard index + 1 < path.count else { return nil }
        let high = ASCII.hexValue(path[index])
        let low = ASCII.hexValue(path[index + 1])
        guard high < 16, low < 16 else { return nil }
        return high << 4 | low
    }

    private static func appendEscape(_ value: UInt8, to output: inout [UInt8]) {
        output.append(0x25)
        for digit in [value >> 4, value & 15] {
            output.append(digit < 10 ? 0x30 + digit : 0x37 + digit)
        }
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

    /// Watches escaped bytes above 0x7F: they must be UTF-8 in its shortest form, and not a fullwidth dot,
    /// slash or backslash, which some readers fold to the plain one.
    private struct HighBytes {
        private var bytes: [UInt8] = []

        mutating func take(_ value: UInt8) -> Bool {
            guard bytes.count < 4 else { return false }
            bytes.append(value)
            let expected =
                switch bytes[0] {
                case 0xC2...0xDF: 2
                case 0xE0...0xEF: 3
                case 0xF0...0xF4: 4
                default: 0
                }
            guard expected > 0 else { return false }
            if bytes.count < expected { return true }
            guard JSONText.sequenceLength(bytes.span, at: 0) == expected else { return false }
            let isFolded =
                bytes == [0xEF, 0xBC, 0x8E] || bytes == [0xEF, 0xBC, 0x8F]
                || bytes == [0xEF, 0xBC, 0xBC]
            bytes.removeAll(keepingCapacity: true)
            return !isFolded
        }

        /// A sequence must not be cut.
        func end() -> Bool { bytes.isEmpty }
    }
}
