import Primitives
import Testing

@testable import Gateway

/// Where the messages of a call's answer begin and end, however its bytes are cut.
struct GRPCMessagesTests {
    /// An empty message, one of 3 bytes that is compressed, one of 300.
    private static let stream: [UInt8] =
        [0, 0, 0, 0, 0] + [1, 0, 0, 0, 3, 7, 7, 7] + [0, 0, 0, 1, 44]
        + [UInt8](repeating: 9, count: 300)
    private static let ends: Set<Int> = [0, 5, 13, 318]

    @Test(arguments: [1, 2, 3, 5, 7, 64]) func aCutIsBetweenMessagesWhereNoneHasBegun(step: Int) {
        var messages = GRPCMessages()
        #expect(messages.areWhole)
        var offset = 0
        while offset < Self.stream.count {
            let end = min(offset + step, Self.stream.count)
            messages.take(Self.stream.span, offset..<end)
            offset = end
            #expect(messages.areWhole == Self.ends.contains(offset), "at \(offset)")
        }
    }

    @Test func theLongestMessageIsFollowed() {
        var messages = GRPCMessages()
        let head: [UInt8] = [0, 255, 255, 255, 255]
        messages.take(head.span, 0..<5)
        #expect(!messages.areWhole)
        messages.take(Self.stream.span, 0..<Self.stream.count)
        #expect(!messages.areWhole)
    }
}
