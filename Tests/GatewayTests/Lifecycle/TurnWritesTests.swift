import Primitives
import Testing

@testable import Gateway

struct TurnWritesTests {
    private final class Writer: TurnWriter {
        var written: [String] = []

        func writePutOff(_ bytes: Span<UInt8>) {
            var copy: [UInt8] = []
            copy.append(bytes)
            written.append(String(decoding: copy, as: UTF8.self))
        }
    }

    private func add(_ text: String, _ writer: Writer, _ writes: inout TurnWrites) -> Int32? {
        let bytes = Array(text.utf8)
        return writes.add(writer, bytes.span)
    }

    @Test func eachIsWrittenOnceUnlessItIsTakenBack() {
        var writes = TurnWrites()
        let (one, two, three) = (Writer(), Writer(), Writer())
        #expect(add("one", one, &writes) == 0)
        #expect(add("second", two, &writes) == 1)
        #expect(add("third", three, &writes) == 2)
        #expect(writes.remove(1) == Array("second".utf8))
        #expect(writes.remove(1).isEmpty)
        writes.writeAll()
        #expect(one.written == ["one"] && two.written.isEmpty && three.written == ["third"])
        // The places count anew.
        writes.removeAll()
        #expect(writes.isEmpty && writes.remove(0).isEmpty)
        #expect(add("next", two, &writes) == 0)
        writes.writeAll()
        #expect(two.written == ["next"] && one.written == ["one"])
    }

    @Test func aLargeOneAndOneTooManyGoAtOnce() {
        var writes = TurnWrites()
        let writer = Writer()
        let limit = String(repeating: "x", count: TurnWrites.limitBytes)
        #expect(add(limit + "x", writer, &writes) == nil)
        for place in 0..<128 { #expect(add(limit, writer, &writes) == Int32(place)) }
        #expect(add("x", writer, &writes) == nil)
    }
}
