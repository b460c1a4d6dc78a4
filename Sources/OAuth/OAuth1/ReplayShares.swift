/// How much of a table each client holds, so that none fills it alone.
///
/// A client may hold three times as much as is free: alone three quarters of the table, the next one three quarters of
/// what is left then, and so on. As time lets go of what they hold, their shares become alike.
///
/// It is counted in a fixed number of places, 2 KiB for each part and stretch of time, so that it costs the same however
/// many clients there are. Two may share a
/// place; not in every part of the table, since each part has places of its own: what one of them loses by
/// that is one request in some hundreds, and only while the other holds all that it may.
struct ReplayShares {
    private static let timesFree = 3
    private static let placeCount = 512

    /// By time, since what is held is let go of by time.
    private var slots: [Int64: [UInt32]] = [:]
    private var held = [UInt32](repeating: 0, count: placeCount)

    /// - Parameter part: of the table; each has its own `ReplayShares`.
    static func place(of client: String, in part: Int) -> Int {
        // Its key is random, so that nobody can choose a name for its place.
        var hasher = Hasher()
        hasher.combine(part)
        hasher.combine(client)
        return Int(UInt(bitPattern: hasher.finalize()) % UInt(placeCount))
    }

    func hasRoom(_ place: Int, free: Int) -> Bool {
        Int(held[place]) < Self.timesFree * free
    }

    mutating func add(_ place: Int, at slot: Int64) {
        slots[slot, default: [UInt32](repeating: 0, count: Self.placeCount)][place] += 1
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
