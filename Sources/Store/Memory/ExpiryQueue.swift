import Primitives

/// Which keys expire next: a binary heap, so that what has expired is found without a look at the rest.
///
/// A key may stand in it several times, when its record was replaced; whoever takes it out looks at the record.
struct ExpiryQueue<Key> {
    private var entries: [(expiresAt: WallTime, key: Key)] = []

    var count: Int { entries.count }

    mutating func add(_ key: Key, expiresAt: WallTime) {
        entries.append((expiresAt, key))
        var index = entries.count - 1
        while index > 0 {
            let parent = (index - 1) / 2
            guard entries[index].expiresAt < entries[parent].expiresAt else { return }
            entries.swapAt(index, parent)
            index = parent
        }
    }

    /// The key that expires first, taken out if it has expired at `now`.
    mutating func takeExpired(at now: WallTime) -> Key? {
        guard let first = entries.first, first.expiresAt <= now else { return nil }
        entries.swapAt(0, entries.count - 1)
        entries.removeLast()
        var index = 0
        while true {
            var smallest = index
            for child in [2 * index + 1, 2 * index + 2]
            where child < entries.count && entries[child].expiresAt < entries[smallest].expiresAt {
                smallest = child
            }
            guard smallest != index else { return first.key }
            entries.swapAt(index, smallest)
            index = smallest
        }
    }
}
