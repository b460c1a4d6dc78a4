/// How much of a table each client holds, so that none fills it alone.
///
/// A client may hold three times as much as is free: alone three quarters of the table, the next one three quarters of
/// what is left then, and so on. As time lets go of what they hold, their shares become alike.
///
/// It is counted in a fixed number of places, 4 KiB for each part and stretch of time, so that it costs the same however
/// many clients there are. Each client has two, counts in both, and is refused only where both are full: others who hold
/// all that they may can at worst take its room too. With N of those that is so in (1 - (511/512)^N)^2 of the table's
/// parts, each of which has places of its own: 0.04% with 10, 3% with 100, three quarters with 1000.
struct ReplayShares {
    private static let timesFree = 3
    /// Of each of the two rows.
    private static let placeCount = 512

    /// By time, since what is held is let go of by time.
    private var slots: [Int64: [UInt32]] = [:]
    private var held = [UInt32](repeating: 0, count: 2 * placeCount)

    /// Where a client is counted, in each row once.
    struct Places {
        fileprivate let first: Int
        fileprivate let second: Int
    }

    /// - Parameter part: of the table; each has its own `ReplayShares`.
    static func places(of client: String, in part: Int) -> Places {
        // Its key is random, so that nobody can choose a name for its places.
        var hasher = Hasher()
        hasher.combine(part)
        hasher.combine(client)
        let hash = UInt(bitPattern: hasher.finalize())
        let count = UInt(placeCount)
        return Places(
            first: Int(hash % count), second: placeCount + Int(hash / count % count))
    }

    func hasRoom(_ places: Places, free: Int) -> Bool {
        // What it holds itself is in both counts.
        Int(min(held[places.first], held[places.second])) < Self.timesFree * free
    }

    mutating func add(_ places: Places, at slot: Int64) {
        add(places.first, at: slot)
        add(places.second, at: slot)
    }

    private mutating func add(_ place: Int, at slot: Int64) {
        slots[slot, default: [UInt32](repeating: 0, count: 2 * Self.placeCount)][place] += 1
        held[place] += 1
    }

    /// What was added for slots before this one is held no more.
    mutating func remove(before slot: Int64) {
        for old in slots.keys where old < slot {
            guard let counts = slots.removeValue(forKey: old) else { continue }
            for place in counts.indices { held[place] -= counts[place] }
        }
    }
}
