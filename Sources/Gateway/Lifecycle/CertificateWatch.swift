import Primitives
import Telemetry

/// Looks, on the control thread, for certificate files that have changed and for certificates about to end.
struct CertificateWatch {
    private static let period: Duration = .seconds(2)
    private static let warningDays: [Int64] = [1, 7, 30]

    private var lookAt = MonotonicInstant.now()
    /// The tightest warning that was given, by file, and of which end: a certificate that takes its place is warned of anew.
    private var warned: [String: (end: WallTime, mark: Int64)] = [:]
    /// The responses of which it was said that they do not count.
    private var staleStaples: [String: Range<WallTime>] = [:]

    /// Whether it is time to look.
    mutating func isDue(at now: MonotonicInstant) -> Bool {
        guard lookAt <= now else { return false }
        lookAt = now + CertificateWatch.period
        return true
    }

    /// Warns once of each OCSP response that is out of date: clients do without, and whoever should have fetched the next has
    /// not.
    mutating func warn(
        ofStaples staples: [String: Range<WallTime>], at now: WallTime, _ errors: ErrorLog
    ) {
        let stale = staples.filter { !$0.value.contains(now) }
        for (path, validity) in stale where staleStaples[path] != validity {
            let fault = now < validity.lowerBound ? "is of a time to come" : "is out of date"
            errors.warn(
                "an OCSP response \(fault) and is not sent along", ["stapling_file": path])
        }
        staleStaples = stale
    }

    /// Warns once 30 days before a certificate ends, once 7, once 1, and once when it has ended.
    mutating func warn(of expiries: [String: WallTime], at now: WallTime, _ errors: ErrorLog) {
        for (path, end) in expiries {
            let left = end.seconds - now.seconds
            let mark: Int64? =
                left <= 0 ? 0 : CertificateWatch.warningDays.first { left <= $0 * 86_400 }
            guard let mark else {
                warned[path] = nil
                continue
            }
            if let last = warned[path], last.end == end, last.mark <= mark { continue }
            warned[path] = (end, mark)
            errors.warn(
                mark == 0 ? "a certificate has ended" : "a certificate ends soon",
                ["certificate": path, "days_left": "\(max(0, left / 86_400))"])
        }
    }
}
