import Primitives

/// A connection whose small writes may wait for the end of the loop's turn.
protocol TurnWriter: AnyObject {
    /// Writes what was put off; nothing of it is put off any more.
    ///
    /// - Parameter bytes: what was to be kept.
    func writePutOff(_ bytes: Span<UInt8>)
}

/// Whole requests and answers that were made in one turn of the loop, and leave together at its end.
///
/// Who wakes up then, a server or a client with many connections, finds all of them and need not be woken for each: on a
/// busy gateway a wake-up costs more than the write that causes it. One a worker; a turn later nothing of it is left.
final class TurnWrites {
    /// Larger ones go at once: there the wait costs more than it saves.
    static let limitBytes = 8 << 10
    /// What a turn may put off: of usual requests and answers a thousand.
    static let totalBytes = 2 << 20
    /// Room that is kept from turn to turn.
    private static let keptBytes = 4 << 20

    /// Where something was put off.
    struct Place: Equatable {
        fileprivate let turn: UInt32
        fileprivate let index: Int32
    }

    /// What one turn has put off.
    private struct Turn {
        struct Entry {
            /// `nil`: it has been written, or will never be.
            var writer: (any TurnWriter)?
            let range: Range<Int>
        }

        var number: UInt32
        var bytes: [UInt8] = []
        var entries: [Entry] = []

        init(number: UInt32) {
            self.number = number
        }

        mutating func add(_ writer: any TurnWriter, _ text: Span<UInt8>) -> Place? {
            let start = bytes.count
            guard text.count <= TurnWrites.limitBytes,
                start + text.count <= TurnWrites.totalBytes
            else { return nil }
            bytes.append(text)
            return enter(writer, from: start)
        }

        mutating func enter(_ writer: any TurnWriter, from start: Int) -> Place {
            entries.append(Entry(writer: writer, range: start..<bytes.count))
            return Place(turn: number, index: Int32(entries.count - 1))
        }

        /// Takes one out; `nil`: it is not this turn's, or not there any more.
        mutating func remove(_ place: Place) -> [UInt8]? {
            let index = Int(place.index)
            guard place.turn == number, index < entries.count, entries[index].writer != nil else {
                return nil
            }
            entries[index].writer = nil
            return Array(bytes[entries[index].range])
        }

        /// Takes the next one out that is still there.
        mutating func takeNext(from index: inout Int) -> (any TurnWriter, Range<Int>)? {
            while index < entries.count {
                defer { index += 1 }
                if let writer = entries[index].writer.take() {
                    return (writer, entries[index].range)
                }
            }
            return nil
        }

        /// The room stays, for the turns to come.
        mutating func begin(_ number: UInt32) {
            self.number = number
            bytes.removeAll(keepingCapacity: bytes.capacity <= TurnWrites.keptBytes)
            entries.removeAll(keepingCapacity: true)
        }
    }

    private var collecting = Turn(number: 0)
    private var leaving = Turn(number: 1)
    private var lastNumber: UInt32 = 1

    var isEmpty: Bool { collecting.entries.isEmpty }

    /// - Returns: its place, to call it back by; `nil`: it must be written at once.
    func add(_ writer: any TurnWriter, _ text: Span<UInt8>) -> Place? {
        collecting.add(writer, text)
    }

    /// Whether something of about so many bytes may wait for the turn's end.
    func hasRoom(for count: Int) -> Bool {
        count <= TurnWrites.limitBytes && collecting.bytes.count + count <= TurnWrites.totalBytes
    }

    /// Puts off what is written where it waits, without a copy. Whoever calls it has asked whether there is room.
    ///
    /// - Parameter compose: appends it.
    func add(_ writer: any TurnWriter, _ compose: (inout [UInt8]) -> Void) -> Place {
        // Apart, so that whatever composes may look at this too.
        var bytes: [UInt8] = []
        swap(&bytes, &collecting.bytes)
        let start = bytes.count
        compose(&bytes)
        swap(&bytes, &collecting.bytes)
        return collecting.enter(writer, from: start)
    }

    /// Takes one out before its time: from this turn's, or from those that are being written just now.
    func remove(_ place: Place) -> [UInt8] {
        collecting.remove(place) ?? leaving.remove(place) ?? []
    }

    /// Ends the turn: what is put off from now on belongs to the next.
    func beginLeaving() {
        swap(&collecting, &leaving)
        lastNumber &+= 1
        collecting.begin(lastNumber)
    }

    /// Writes all of the turn that has ended, in their order.
    func writeAll() {
        // Nothing is added to a turn that has ended; another's bytes may be taken out of it meanwhile.
        let bytes = leaving.bytes
        var index = 0
        while let (writer, range) = leaving.takeNext(from: &index) {
            writer.writePutOff(bytes.span.extracting(range))
        }
    }
}
