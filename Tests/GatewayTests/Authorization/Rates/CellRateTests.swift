import Testing

@testable import Gateway

/// The algorithm alone, by a clock that is given.
struct CellRateTests {
    /// Ten a second, five at once.
    private let rate = CellRate(interval: 100, burst: 5)

    /// What passes of requests at these moments; `wait` of those that do not.
    private func judge(_ rate: CellRate, _ moments: [UInt64], from arrival: UInt64 = 0) -> [UInt64?]
    {
        var arrival = arrival
        return moments.map { now in
            switch rate.judge(arrival, at: now) {
            case .passes(let next):
                arrival = next
                return nil
            case .refused(let wait, let kept):
                arrival = kept
                return wait
            }
        }
    }

    @Test func exactlyTheBurstPassesAtOnce() {
        let moments = [UInt64](repeating: 1000, count: 8)
        #expect(judge(rate, moments) == [nil, nil, nil, nil, nil, 100, 100, 100])
        #expect(judge(CellRate(interval: 100, burst: 1), moments).filter { $0 == nil }.count == 1)
        #expect(
            judge(CellRate(interval: 1, burst: 1_000_000), [UInt64](repeating: 9, count: 9))
                == [UInt64?](repeating: nil, count: 9))
    }

    @Test func oneComesBackInEachInterval() {
        let burst = [UInt64](repeating: 1000, count: 5)
        let results = judge(rate, burst + [1099, 1100, 1100, 1199, 1200, 1201])
        #expect(results.dropFirst(5) == [1, nil, 100, 1, nil, 99])
    }

    @Test func afterTheWholeTimeTheWholeBurstIsBackAndNoMore() {
        let burst = [UInt64](repeating: 1000, count: 5)
        let later = [UInt64](repeating: 1500, count: 6)
        #expect(judge(rate, burst + later).dropFirst(5) == [nil, nil, nil, nil, nil, 100])
        let muchLater = [UInt64](repeating: 1_000_000, count: 6)
        #expect(judge(rate, burst + muchLater).dropFirst(5) == [nil, nil, nil, nil, nil, 100])
    }

    /// However requests come, in any time no more pass than the burst and what the rate gives.
    @Test func neverMoreThanBurstAndRate() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<50 {
            var moment: UInt64 = 1000
            let moments = (0..<400).map { _ in
                moment += UInt64.random(in: 0...60, using: &generator)
                return moment
            }
            let passed = zip(moments, judge(rate, moments)).filter { $0.1 == nil }.map(\.0)
            for (index, first) in passed.enumerated() {
                for (more, last) in passed[index...].enumerated() {
                    #expect(more + 1 <= 5 + Int((last - first) / 100))
                }
            }
            // And never less than the rate alone, for somebody who asks all the time.
            #expect(passed.count >= Int((moment - moments[0]) / 100))
        }
    }

    @Test func whatIsRefusedCostsNothing() {
        let burst = [UInt64](repeating: 1000, count: 5)
        let insistent = [UInt64](repeating: 1050, count: 100)
        #expect(judge(rate, burst + insistent + [1100]).last == .some(nil))
    }

    /// A clock that has gone back by an hour shuts nobody out for an hour, and gives nothing away.
    @Test func aClockThatGoesBack() {
        let hour: UInt64 = 3_600_000_000_000
        let second: UInt64 = 1_000_000_000
        let rate = CellRate(interval: second, burst: 2)
        let results = judge(
            rate, [2 * hour, 2 * hour, hour, hour + second - 1, hour + second, hour + second])
        #expect(results == [nil, nil, second, 1, nil, second])
        // Readings of two threads that cross are no such clock.
        let crossed = judge(rate, [second + 500, second + 500, second])
        #expect(crossed == [nil, nil, second + 500])
    }

    @Test func timesThatDoNotFit() {
        let end = UInt64.max
        #expect(CellRate(interval: end, burst: 1000).tolerance == end)
        #expect(judge(rate, [end - 10, end - 10, end]).allSatisfy { $0 == nil })
        let slow = CellRate(interval: end, burst: 1)
        #expect(judge(slow, [5, 6])[0] == nil)
        #expect(CellRate(interval: 0, burst: 0) == CellRate(interval: 1, burst: 1))
    }

    @Test func whatIsTakenBackIsThereAgain() {
        guard case .passes(let once) = rate.judge(0, at: 1000),
            case .passes(let twice) = rate.judge(once, at: 1000)
        else {
            Issue.record("the first two did not pass")
            return
        }
        #expect(rate.takenBack(twice) == once)
        #expect(rate.takenBack(50) == 0)
    }
}
