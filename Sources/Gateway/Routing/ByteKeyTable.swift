/// Finds a small integer by a byte string that ends a longer one: host names, and the suffixes of them that
/// a wildcard stands for, in a table that is built once.
///
/// Keys are hashed from their last byte to their first, so that one walk over a host name from right to
/// left yields the hash of every suffix on its way. The keys are the operator's, never a peer's: a peer can
/// choose what is looked up, but not how long the run of full slots is that its look-up may have to pass.
struct ByteKeyTable: Sendable {
    /// The hash of the empty string, to begin a walk with (FNV-1a, 64 bits).
    static let emptyHash: UInt64 = 0xCBF2_9CE4_8422_2325

    /// Index into `keys` plus one, 0 for an empty slot. The count is a power of two, at least twice that of
    /// the keys, so that a run of full slots is short and always ends.
    private let slots: [Int32]
    private let keys: [(bytes: [UInt8], hash: UInt64, value: Int)]

    var isEmpty: Bool { keys.isEmpty }

    /// - Parameter entries: the keys (in the case they are looked up in) and their values; of equal keys the
    ///   first counts.
    init(_ entries: [(key: [UInt8], value: Int)]) {
        var size = 4
        while size < entries.count * 2 { size *= 2 }
        var slots = [Int32](repeating: 0, count: size)
        var keys: [(bytes: [UInt8], hash: UInt64, value: Int)] = []
        for entry in entries {
            let hash = entry.key.reversed().reduce(Self.emptyHash) { Self.extend($0, with: $1) }
            var slot = Self.slot(of: hash, size)
            while slots[slot] != 0, keys[Int(slots[slot]) - 1].bytes != entry.key {
                slot = (slot + 1) & (size - 1)
            }
            guard slots[slot] == 0 else { continue }
            keys.append((entry.key, hash, entry.value))
            slots[slot] = Int32(keys.count)
        }
        self.slots = slots
        self.keys = keys
    }

    /// The hash of `byte` followed by the string whose hash is given.
    @inline(__always)
    static func extend(_ hash: UInt64, with byte: UInt8) -> UInt64 {
        (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3
    }

    /// The value of the key that equals `text[range]`, ASCII letters of the text read as lower case.
    ///
    /// - Parameter hash: of those bytes in lower case, taken from the last to the first.
    func value(of text: Span<UInt8>, in range: Range<Int>, hash: UInt64) -> Int? {
        var slot = Self.slot(of: hash, slots.count)
        while slots[slot] != 0 {
            let index = Int(slots[slot]) - 1
            if keys[index].hash == hash, Self.matches(keys[index].bytes, text, range) {
                return keys[index].value
            }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    private static func slot(of hash: UInt64, _ size: Int) -> Int {
        // The high half of an FNV hash is the better mixed one.
        Int(truncatingIfNeeded: hash ^ (hash >> 32)) & (size - 1)
    }

    private static func matches(_ key: [UInt8], _ text: Span<UInt8>, _ range: Range<Int>) -> Bool {
        guard key.count == range.count else { return false }
        for offset in 0..<key.count where key[offset] != lowercased(text[range.lowerBound + offset])
        {
            return false
        }
        return true
    }
}

/// An ASCII letter in lower case; any other byte as it is.
@inline(__always)
func lowercased(_ byte: UInt8) -> UInt8 {
    byte &- 0x41 < 26 ? byte | 0x20 : byte
}
