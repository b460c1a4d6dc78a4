import Testing

@testable import HTTP

struct StreamOutputTests {
    /// A client that opens its window in small steps takes much and never lets the queue run empty.
    @Test func whatHasGoneOutIsForgotten() {
        var output = StreamOutput()
        var room = [UInt8](repeating: 0, count: 10_007)
        var next: UInt8 = 0
        var taken: UInt8 = 0
        let piece = (0..<16_384).map { _ in
            defer { next &+= 1 }
            return next
        }
        output.append(piece.span)
        for _ in 0..<2000 {
            while output.count < 20_000 { output.append(piece.span) }
            var flags: UInt32 = 0
            let count = room.withUnsafeMutableBufferPointer { output.give(into: $0, &flags) }
            #expect(count == 10_007 && flags == 0)
            for byte in room {
                guard byte == taken else {
                    Issue.record("out of order")
                    return
                }
                taken &+= 1
            }
            #expect(output.heldBytes < 128 << 10)
        }
    }
}
