/// The other readings of a path that has parameters in its segments (`/admin;v=1/x`, RFC 3986 section 3.3).
///
/// Some servers drop them before they choose a handler, others take them for part of the name, and some
/// decode `%3B` first. The gateway forwards the path as it is, so it must judge it under each of these.
enum PathParameters {
    /// Which readings a path has besides the one as it stands.
    struct Presence: Equatable {
        /// It holds `;`.
        var plain = false
        /// It holds `%3B`.
        var encoded = false
    }

    static func presence(in path: Span<UInt8>) -> Presence {
        var presence = Presence()
        for index in 0..<path.count {
            if path[index] == 0x3B {
                presence.plain = true
            } else if path[index] == 0x25, isEncodedSemicolon(path, at: index) {
                presence.encoded = true
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
            } else if byte == 0x3B || (decoding && isEncodedSemicolon(path, at: index)) {
                isParameter = true
            } else if !isParameter {
                output.append(byte)
            }
        }
        return isTreacherous(output[segmentStart...], isLast: true) ? nil : output
    }

    private static func isEncodedSemicolon(_ path: Span<UInt8>, at index: Int) -> Bool {
        index + 2 < path.count && path[index] == 0x25 && path[index + 1] == 0x33
            && path[index + 2] | 0x20 == 0x62
    }

    private static func isTreacherous(_ segment: ArraySlice<UInt8>, isLast: Bool) -> Bool {
        segment.isEmpty ? !isLast : segment.count <= 2 && segment.allSatisfy { $0 == 0x2E }
    }
}
