import Testing

@testable import Gateway

/// How many exchanges of a worker may wait for keys and for verdicts.
struct WaitCountsTests {
    @Test func eachCauseHasItsLimit() {
        var counts = WaitCounts()
        let one = WaitCounts.Cause.keys(
            KeySetName(issuer: "https://one.example", source: .discovery))
        let other = WaitCounts.Cause.keys(
            KeySetName(issuer: "https://other.example", source: .discovery))
        var taken = 0
        while taken <= 16_384, counts.begin(one) { taken += 1 }
        #expect(taken == 1024)
        while taken <= 32_768, counts.begin(.introspection) { taken += 1 }
        #expect(taken == 1024 + 16_384)
        let hasRoom = counts.begin(other)
        #expect(hasRoom)
        counts.end(.introspection)
        let isStillFull = !counts.begin(one)
        #expect(isStillFull)
        while taken <= 32_768, counts.begin(.introspection) { taken += 1 }
        #expect(taken == 1024 + 16_384 + 1)
    }
}
