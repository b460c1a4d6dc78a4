/// One limit that a request has to meet, where several gateways count together.
public struct RateClaim: Sendable, Hashable {
    /// Says nothing of whom it is about to whoever reads the store.
    public let id: [UInt8]
    /// Nanoseconds from one request to the next at the limit's rate.
    public let interval: UInt64
    /// How many may come at once; 1 at least.
    public let burst: Int

    public init(id: [UInt8], interval: UInt64, burst: Int) {
        self.id = id
        self.interval = interval
        self.burst = burst
    }
}

/// What the store says of a request and all of its limits.
public enum RateVerdict: Sendable, Equatable {
    /// It has been counted in each.
    case passes
    /// It has been counted in none.
    ///
    /// - Parameters:
    ///   - index: of the limit that it would have to wait for longest.
    ///   - wait: how long, in nanoseconds.
    case refused(index: Int, wait: UInt64)
}
