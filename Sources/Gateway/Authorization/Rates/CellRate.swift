import Configuration

/// The generic cell rate algorithm (ITU-T I.371): a budget that fills evenly, kept as one moment.
///
/// That moment, the theoretical arrival, is when the next request would come if they came evenly. One that comes earlier
/// passes as long as it is early by no more than the burst allows.
struct CellRate: Sendable, Equatable {
    /// Nanoseconds from one request to the next.
    let interval: UInt64
    /// By how much one may be early.
    let tolerance: UInt64

    init(interval: UInt64, burst: Int) {
        self.interval = max(1, interval)
        tolerance = self.interval.multipliedSaturating(by: UInt64(max(1, burst) - 1))
    }

    /// How long a budget that is used up takes to be full again.
    var span: UInt64 { tolerance.addedSaturating(interval) }

    enum Verdict: Equatable {
        /// - Parameter arrival: to be kept.
        case passes(arrival: UInt64)
        /// - Parameters:
        ///   - wait: nanoseconds until one would pass.
        ///   - arrival: to be kept: what it was, unless the clock has gone back.
        case refused(wait: UInt64, arrival: UInt64)
    }

    /// Two clocks' readings may cross on their way to the lock; what is further off is a clock that has gone back.
    static let slack: UInt64 = 1_000_000_000

    /// - Parameter arrival: what was kept; 0: nothing.
    func judge(_ arrival: UInt64, at now: UInt64) -> Verdict {
        let passing = now.addedSaturating(tolerance)
        // No clock that only goes on has left more behind: nobody is shut out until it is there again.
        let latest = passing.addedSaturating(interval)
        let kept = arrival > latest.addedSaturating(CellRate.slack) ? latest : arrival
        guard kept > passing else {
            return .passes(arrival: max(kept, now).addedSaturating(interval))
        }
        return .refused(wait: kept - passing, arrival: kept)
    }

    /// What is kept once a request that was counted is taken back.
    ///
    /// Exactly what was before, if it comes at once. What time has filled again meanwhile is given back a second time, of what
    /// others have drawn since: no more than one request for each that is taken back.
    func takenBack(_ arrival: UInt64) -> UInt64 {
        arrival > interval ? arrival - interval : 0
    }

    /// What is kept once it is known that nothing passes elsewhere.
    ///
    /// - Parameter wait: nanoseconds until one would pass there; here nobody waits for longer than one interval either.
    func usedUp(_ arrival: UInt64, wait: UInt64, at now: UInt64) -> UInt64 {
        max(arrival, now.addedSaturating(tolerance).addedSaturating(min(wait, interval)))
    }
}

extension UInt64 {
    fileprivate func addedSaturating(_ other: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }

    fileprivate func multipliedSaturating(by other: UInt64) -> UInt64 {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }
}
