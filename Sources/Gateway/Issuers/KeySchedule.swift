import Primitives

/// When an issuer's keys are fetched: in the background by what the issuer says, in between for a `kid` that no key has.
///
/// Reads no clock: `now` comes in.
struct KeySchedule {
    /// What `Cache-Control` may choose from, and what holds without it.
    static let shortest: Duration = .seconds(300)
    static let longest: Duration = .seconds(86_400)
    static let usual: Duration = .seconds(3600)
    /// How often a `kid` that no key has may have the keys fetched.
    static let demandInterval: Duration = .seconds(10)
    /// How long keys serve on past the time at which they should have been fetched again.
    static let grace: Duration = .seconds(86_400)
    /// How long before their end the log tells of it.
    static let endWarning: Duration = .seconds(6 * 3600)
    private static let longestRetry: Duration = .seconds(60)

    /// When the background fetches next.
    private(set) var dueAt: MonotonicInstant
    /// Until then no token has the keys fetched.
    private(set) var demandClosedUntil = MonotonicInstant(nanoseconds: 0)
    /// Fetches of the background that failed, one after the other.
    private var failures = 0

    /// When the keys that came last serve no more.
    private(set) var endAt: MonotonicInstant?
    private var hasWarned = false

    /// What time has done to the keys.
    enum Aging {
        case nearsEnd
        case ended
    }

    init(now: MonotonicInstant) {
        dueAt = now
    }

    /// What has become of the keys since; each is told once.
    mutating func takeAging(now: MonotonicInstant) -> Aging? {
        guard let endAt else { return nil }
        if endAt <= now {
            self.endAt = nil
            return .ended
        }
        guard !hasWarned, endAt <= now + KeySchedule.endWarning else { return nil }
        hasWarned = true
        return .nearsEnd
    }

    /// Whether a token may have the keys fetched now; that takes the budget.
    mutating func takeDemand(now: MonotonicInstant) -> Bool {
        guard demandClosedUntil <= now else { return false }
        demandClosedUntil = now + KeySchedule.demandInterval
        return true
    }

    /// - Parameters:
    ///   - maxAge: what the answer says.
    ///   - jitter: 0 to 1; many gateways must not come at once.
    mutating func succeeded(now: MonotonicInstant, maxAge: Duration?, jitter: Double) {
        failures = 0
        let lifetime = KeySchedule.lifetime(maxAge)
        dueAt = now + (lifetime - lifetime * (jitter / 10))
        endAt = now + lifetime + KeySchedule.grace
        hasWarned = false
    }

    /// A fetch of the background failed: 1 s, 2 s, 4 s … 60 s, and up to a quarter more.
    mutating func failed(now: MonotonicInstant, jitter: Double) {
        let wait = min(KeySchedule.longestRetry, .seconds(1 << min(failures, 6)))
        failures += 1
        dueAt = now + (wait + wait * (jitter / 4))
    }

    /// The next fetch may come at once: how the server is spoken to has changed.
    mutating func hurry(now: MonotonicInstant) {
        dueAt = min(dueAt, now)
    }

    static func lifetime(_ maxAge: Duration?) -> Duration {
        min(longest, max(shortest, maxAge ?? usual))
    }
}
