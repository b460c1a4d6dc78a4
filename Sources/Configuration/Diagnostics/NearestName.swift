/// The candidate that a misspelt word most likely means; `nil` when none is near enough to be
/// worth saying.
func nearestName(to word: String, among candidates: some Sequence<String>) -> String? {
    // Names are short; a long word is no misspelling of one, and its distance would only cost time.
    guard word.utf8.count <= 40 else { return nil }
    let lowered = word.lowercased()
    let bound = max(1, min(3, word.utf8.count / 3))
    var best: (name: String, distance: Int)?
    for candidate in candidates.sorted() where candidate != word {
        let distance = editDistance(Array(lowered.utf8), Array(candidate.lowercased().utf8))
        if distance <= bound, distance < best?.distance ?? .max { best = (candidate, distance) }
    }
    return best?.name
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the
/// other.
func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var twoBack: [Int] = []
    var previous = Array(0...right.count)
    for (row, byte) in left.enumerated() {
        var current = [row + 1]
        for (column, other) in right.enumerated() {
            var cost = min(
                previous[column] + (byte == other ? 0 : 1), previous[column + 1] + 1,
                current[column] + 1)
            let isSwap =
                row > 0 && column > 0 && byte == right[column - 1] && left[row - 1] == other
            if isSwap { cost = min(cost, twoBack[column - 1] + 1) }
            current.append(cost)
        }
        twoBack = previous
        previous = current
    }
    return previous[right.count]
}
