/// One `rate_limit` line: how many requests may come from or to one of something.
public struct RateLimit: Sendable, Hashable {
    /// What the rate counts by.
    public enum Unit: String, Sendable, CaseIterable {
        case second = "s"
        case minute = "m"
        case hour = "h"
        case day = "d"

        public var seconds: Int {
            switch self {
            case .second: 1
            case .minute: 60
            case .hour: 3600
            case .day: 86_400
            }
        }
    }

    /// What has a budget of its own.
    public enum Subject: String, Sendable, CaseIterable {
        /// Whoever was proven, of its issuer; the address where nobody was.
        case client
        case address
        case route
    }

    /// Requests in a `unit`.
    public var count: Int
    public var unit: Unit
    /// How many may come at once.
    public var burst: Int
    public var subject: Subject

    /// - Parameter burst: `nil`: what the rate allows in a second, at least one.
    public init(_ count: Int, per unit: Unit, burst: Int? = nil, of subject: Subject) {
        self.count = count
        self.unit = unit
        self.burst = burst ?? max(1, count / unit.seconds)
        self.subject = subject
    }

    /// Nanoseconds from one request to the next at that rate, rounded up: never more than was allowed.
    public var interval: UInt64 {
        let (span, count) = (UInt64(unit.seconds) * 1_000_000_000, UInt64(max(1, count)))
        return (span + count - 1) / count
    }

    /// As the conf has it, without the name of the directive.
    public var text: String {
        "\(count)/\(unit.rawValue) burst \(burst) per \(subject.rawValue)"
    }

    /// More in a second nobody could mean.
    public static let perSecondLimit = 1_000_000
    public static let burstLimit = 1_000_000
    /// A burst that was used up is back after so long at the latest: until then it is remembered.
    public static let longestRefill: Duration = .seconds(30 * 86_400)
    /// Lines of one place.
    public static let lineLimit = 16
}
