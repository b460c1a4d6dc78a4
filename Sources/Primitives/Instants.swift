import Glibc

/// A point on the monotonic clock, in nanoseconds. Deadlines and durations use it alone, so that a step
/// of the wall clock never ends a connection early or keeps it for ever.
public struct MonotonicInstant: Sendable, Hashable, Comparable {
    public let nanoseconds: UInt64

    public init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    /// Reads CLOCK_MONOTONIC. The loop reads it once a turn and passes it on as `now`.
    public static func now() -> MonotonicInstant {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicInstant(
            nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
    }

    public static func < (left: MonotonicInstant, right: MonotonicInstant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// The instant `duration` later; saturates rather than wraps.
    public static func + (left: MonotonicInstant, duration: Duration) -> MonotonicInstant {
        let (sum, overflow) = left.nanoseconds.addingReportingOverflow(duration.wholeNanoseconds)
        return MonotonicInstant(nanoseconds: overflow ? .max : sum)
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    public static func - (left: MonotonicInstant, earlier: MonotonicInstant) -> Duration {
        left.nanoseconds <= earlier.nanoseconds
            ? .zero : .nanoseconds(Int64(clamping: left.nanoseconds - earlier.nanoseconds))
    }
}

/// A point in wall-clock time: what `exp`, `nbf` and `oauth_timestamp` are judged by.
public struct WallTime: Sendable, Hashable, Comparable {
    /// Nanoseconds since 1970-01-01T00:00:00Z.
    public let nanoseconds: Int64

    public init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// Saturates: a moment beyond the year 2262, which a token may name, is the last that there is, and never one past.
    public init(seconds: Int64) {
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        nanoseconds = overflow ? (seconds < 0 ? .min : .max) : scaled
    }

    /// Whole seconds since the epoch (NumericDate of RFC 7519 section 2).
    public var seconds: Int64 { nanoseconds / 1_000_000_000 }

    public static func now() -> WallTime {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
    }

    public static func < (left: WallTime, right: WallTime) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// The moment `seconds` later, or earlier where they are negative; saturates.
    public func adding(seconds: Int64) -> WallTime {
        let span = WallTime(seconds: seconds).nanoseconds
        let (sum, overflow) = nanoseconds.addingReportingOverflow(span)
        return WallTime(nanoseconds: overflow ? (seconds < 0 ? .min : .max) : sum)
    }
}

extension Duration {
    private static let attosecondsInNanosecond: UInt64 = 1_000_000_000

    /// Nanoseconds, clamped to 0 ... UInt64.max.
    public var wholeNanoseconds: UInt64 {
        // One division of 128 by 64 bits: several times a request, deadlines are made by it.
        let whole = attoseconds
        guard whole > 0 else { return 0 }
        let high = UInt64(truncatingIfNeeded: whole >> 64)
        guard high < Duration.attosecondsInNanosecond else { return .max }
        let parts = (high, UInt64(truncatingIfNeeded: whole))
        return Duration.attosecondsInNanosecond.dividingFullWidth(parts).quotient
    }

    /// Whole seconds, rounded down.
    public var wholeSeconds: Int64 { components.seconds }
}
