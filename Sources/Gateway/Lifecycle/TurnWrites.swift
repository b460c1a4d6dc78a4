import Primitives

/// A connection whose small writes may wait for the end of the loop's turn.
protocol TurnWriter: AnyObject {
    /// Writes what was put off; nothing of it is put off any more.
    func writePutOff(_ bytes: Span<UInt8>)
}

/// Whole requests and answers that were made in one turn of the loop, and leave together at its end.
///
/// Who wakes up then, a server or a client with many connections, finds all of them and need not be woken for each: on a
/// busy gateway a wake-up costs more than the write that causes it. One a worker; a turn later nothing of it is left.
struct TurnWrites {
    /// Larger ones go at once: there the copy costs more than it saves.
    static let limitBytes = 8 << 10
    /// What a turn may put off.
    private static let totalBytes = 1 << 20

    private struct Entry {
        /// `nil`: it has been written, or will never be.
        var writer: (any TurnWriter)?
        let range: Range<Int>
    }

    private var bytes: [UInt8] = []
    private var entries: [Entry] = []

    var isEmpty: Bool { entries.isEmpty }

    /// - Returns: its place, to call it back by; `nil`: it must be written at once.
    mutating func add(_ writer: any TurnWriter, _ text: Span<UInt8>) -> Int32? {
        guard text.count <= TurnWrites.limitBytes,
            bytes.count + text.count <= TurnWrites.totalBytes
        else { return nil }
        let start = bytes.count
        bytes.append(text)
        entries.append(Entry(writer: writer, range: start..<bytes.count))
        return Int32(entries.count - 1)
    }

    /// Takes one out before its time.
    mutating func remove(_ place: Int32) -> [UInt8] {
        let index = Int(place)
        guard index < entries.count, entries[index].writer != nil else { return [] }
        entries[index].writer = nil
        return Array(bytes[entries[index].range])
    }

    /// Writes all of them, in their order. What that sets going belongs into another.
    func writeAll() {
        for entry in entries { entry.writer?.writePutOff(bytes.span.extracting(entry.range)) }
    }

    /// The room stays, for the turns to come.
    mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        entries.removeAll(keepingCapacity: true)
    }
}
