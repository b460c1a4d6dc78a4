/// Bytes that must not be seen: they print as `<redacted>`, compare in constant time and never reach a log.
///
/// The comparison takes a time that depends on the lengths alone, never on where the bytes differ.
public struct Secret: Sendable {
    private let bytes: [UInt8]

    public init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    public init(utf8 text: String) {
        self.bytes = Array(text.utf8)
    }

    public var count: Int { bytes.count }
    public var isEmpty: Bool { bytes.isEmpty }

    /// The bytes themselves; every use of this is a place to look at in a review.
    public var exposed: [UInt8] { bytes }

    /// Whether the two hold the same bytes, in constant time for equal lengths.
    public func matches(_ other: [UInt8]) -> Bool {
        guard bytes.count == other.count else { return false }
        var difference: UInt8 = 0
        for index in bytes.indices {
            difference |= bytes[index] ^ other[index]
        }
        return difference == 0
    }
}

extension Secret: Equatable {
    public static func == (left: Secret, right: Secret) -> Bool { left.matches(right.bytes) }
}

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "<redacted>" }
    public var debugDescription: String { "<redacted>" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
