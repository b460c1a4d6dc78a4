import Primitives
import Telemetry

/// Looks, on the control thread, for certificate files that have changed and for certificates about to end.
struct CertificateWatch {
    private static let period: Duration = .seconds(2)
    private static let warningDays: [Int64] = [1, 7, 30]

    private var lookAt = MonotonicInstant.now()
    /// The tightest warning that was given, by file.
    private var warned: [String: Int64] = [:]

    /// Whether it is time to look.
    mutating func isDue(at now: MonotonicInstant) -> Bool {
        guard lookAt <= now else { return false }
        lookAt = now + CertificateWatch.period
        return true
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
            guard warned[path].map({ mark < $0 }) ?? true else { continue }
            warned[path] = mark
            errors.warn(
                mark == 0 ? "a certificate has ended" : "a certificate ends soon",
                ["certificate": path, "days_left": "\(max(0, left / 86_400))"])
        }
    }
}
