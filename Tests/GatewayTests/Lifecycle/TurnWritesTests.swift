import Primitives
import Testing

@testable import Gateway

struct TurnWritesTests {
    private final class Writer: TurnWriter {
        var written: [String] = []
        var whenWritten: () -> Void = {}

        func writePutOff(_ bytes: Span<UInt8>) {
            var copy: [UInt8] = []
            copy.append(bytes)
            written.append(String(decoding: copy, as: UTF8.self))
            whenWritten()
        }
    }

    private let writes = TurnWrites()

    private func add(_ text: String, _ writer: Writer) -> TurnWrites.Place? {
        let bytes = Array(text.utf8)
        return writes.add(writer, bytes.span)
    }

    private func endTurn() {
        writes.beginLeaving()
        writes.writeAll()
    }

    @Test func eachIsWrittenOnceUnlessItIsTakenBack() throws {
        let (one, two, three) = (Writer(), Writer(), Writer())
        #expect(add("one", one) != nil)
        let second = try #require(add("second", two))
        #expect(add("third", three) != nil)
        #expect(writes.remove(second) == Array("second".utf8))
        #expect(writes.remove(second).isEmpty)
        endTurn()
        #expect(one.written == ["one"] && two.written.isEmpty && three.written == ["third"])
        #expect(writes.isEmpty)
        #expect(add("next", two) != nil)
        endTurn()
        endTurn()
        #expect(two.written == ["next"] && one.written == ["one"])
    }

    /// Nor once as many turns have passed as there are buffers.
    @Test func aPlaceIsGoodForItsOwnTurn() throws {
        let (mine, other) = (Writer(), Writer())
        let place = try #require(add("mine", mine))
        for _ in 0..<4 {
            endTurn()
            #expect(add("other", other) != place)
            #expect(writes.remove(place).isEmpty)
        }
        endTurn()
        #expect(mine.written == ["mine"] && other.written.count == 4)
    }

    /// What one write sets going may call back another that has not had its turn, and put off something new.
    @Test func oneThatIsLeavingCanBeTakenBack() throws {
        let (first, second, third) = (Writer(), Writer(), Writer())
        var (place, taken): (TurnWrites.Place?, [UInt8]) = (nil, [])
        first.whenWritten = {
            first.whenWritten = {}
            #expect(add("new", third) != nil)
            if let place { taken = writes.remove(place) }
        }
        #expect(add("first", first) != nil)
        place = add("second", second)
        endTurn()
        #expect(taken == Array("second".utf8))
        #expect(second.written.isEmpty && third.written.isEmpty)
        endTurn()
        #expect(second.written.isEmpty && third.written == ["new"])
    }

    @Test func aLargeOneAndOneTooManyGoAtOnce() {
        let writer = Writer()
        let limit = String(repeating: "x", count: TurnWrites.limitBytes)
        #expect(add(limit + "x", writer) == nil)
        #expect(!writes.hasRoom(for: TurnWrites.limitBytes + 1))
        for _ in 0..<TurnWrites.totalBytes / TurnWrites.limitBytes {
            #expect(writes.hasRoom(for: TurnWrites.limitBytes))
            #expect(add(limit, writer) != nil)
        }
        #expect(add("x", writer) == nil)
        #expect(!writes.hasRoom(for: 1))
    }

    /// What is written in its place leaves in its turn, between those that were copied there, and can be taken back.
    @Test func whatIsComposedLeavesAsTheOthersDo() throws {
        let (one, two, three) = (Writer(), Writer(), Writer())
        #expect(add("one", one) != nil)
        let second = writes.add(two) { $0 += Array("second".utf8) }
        let third = writes.add(three) { $0 += Array("third".utf8) }
        #expect(add("last", one) != nil)
        #expect(writes.remove(third) == Array("third".utf8))
        #expect(writes.remove(third).isEmpty)
        endTurn()
        #expect(one.written == ["one", "last"])
        #expect(two.written == ["second"] && three.written.isEmpty)
        #expect(writes.remove(second).isEmpty)
    }
}
