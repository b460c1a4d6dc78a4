/// The other readings of a path that has parameters in its segments (`/admin;v=1/x`, RFC 3986 section 3.3), or delimiters
/// that are escaped (`/things%3Apurge`).
///
/// Some servers drop parameters before they choose a handler, others take them for part of the name, and some decode `%3B`
/// first. Most decode every escape before they choose; by the letter an escaped delimiter is another character (section 2.2).
/// The gateway forwards the path as it is, so it must judge it under each of these.
enum PathParameters {
    /// Which readings a path has besides the one as it stands.
    struct Presence: Equatable {
        /// It holds `;`.
        var plain = false
        /// It holds `%3B`.
        var encoded = false
        /// It holds an escaped delimiter that a path may hold as it is.
        var delimiters = false
    }

    static func presence(in path: Span<UInt8>) -> Presence {
        var presence = Presence()
        for index in 0..<path.count {
            if path[index] == 0x3B {
                presence.plain = true
            } else if path[index] == 0x25, let delimiter = delimiter(path, at: index) {
                presence.delimiters = true
                if delimiter == 0x3B { presence.encoded = true }
            }
        }
        return presence
    }

    /// The path with the parameters of every segment removed.
    ///
    /// - Parameter decoding: whether `%3B` begins parameters as `;` does.
    /// - Returns: `nil` when what is left has an empty segment before its last or a dot segment, which an
    ///   upstream could then resolve to a place that was never matched.
    static func removed(from path: Span<UInt8>, decoding: Bool) -> [UInt8]? {
        var output: [UInt8] = []
        output.reserveCapacity(path.count)
        var isParameter = false
        var segmentStart = 0
        for index in 0..<path.count {
            let byte = path[index]
            if byte == 0x2F {
                if !output.isEmpty, isTreacherous(output[segmentStart...], isLast: false) {
                    return nil
                }
                output.append(byte)
                segmentStart = output.count
                isParameter = false
            } else if byte == 0x3B || (decoding && delimiter(path, at: index) == 0x3B) {
                isParameter = true
            } else if !isParameter {
                output.append(byte)
            }
        }
        return isTreacherous(output[segmentStart...], isLast: true) ? nil : output
    }

    /// The path as a server reads it that decodes it first.
    static func decodingDelimiters(of path: Span<UInt8>) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(path.count)
        var index = 0
        while index < path.count {
            if let delimiter = delimiter(path, at: index) {
                output.append(delimiter)
                index += 3
            } else {
                output.append(path[index])
                index += 1
            }
        }
        return output
    }

    /// The delimiter that is escaped there: of sub-delims, `:` and `@`, which a segment may hold (RFC 3986 section 3.3). The
    /// canonical path's escapes have upper-case digits; those of others are read too.
    private static func delimiter(_ path: Span<UInt8>, at index: Int) -> UInt8? {
        guard index + 2 < path.count, path[index] == 0x25 else { return nil }
        let low = path[index + 2]
        // Below `0` stands no digit, and the fold would make one of a control character.
        guard low >= 0x30 else { return nil }
        let folded = low | 0x20
        switch (path[index + 1], folded) {
        // ! $ & ' ( ) * + ,
        case (0x32, 0x31), (0x32, 0x34), (0x32, 0x36...0x39): return 0x20 + (folded - 0x30)
        case (0x32, 0x61...0x63): return 0x2A + (folded - 0x61)
        // : ; =
        case (0x33, 0x61), (0x33, 0x62), (0x33, 0x64): return 0x3A + (folded - 0x61)
        case (0x34, 0x30): return 0x40
        default: return nil
        }
    }

    private static func isTreacherous(_ segment: ArraySlice<UInt8>, isLast: Bool) -> Bool {
        segment.isEmpty ? !isLast : segment.count <= 2 && segment.allSatisfy { $0 == 0x2E }
    }
}
