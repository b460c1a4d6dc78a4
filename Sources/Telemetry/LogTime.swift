import Primitives

/// Writes wall-clock times in UTC without allocating: the text is kept, and only what has changed is written anew,
/// since many lines share a second and some a millisecond. One per log, not shared.
public struct LogTime {
    public enum Style: Sendable {
        /// `2026-01-01T00:00:00.000Z` (RFC 3339 section 5.6).
        case rfc3339
        /// `01/Jan/2026:00:00:00 +0000`, as the `combined` format has it.
        case commonLog
    }

    private let style: Style
    private var cachedMillisecond = Int64.min
    private var cachedText: [UInt8] = []

    public init(_ style: Style) {
        self.style = style
    }

    /// Appends `time`; one before 1970 is written as the epoch, one after 9999 as its last millisecond.
    public mutating func append(_ time: WallTime, to output: inout [UInt8]) {
        output.append(text(of: time))
    }

    /// The text of `time`, under the same rule.
    @_lifetime(&self)
    mutating func text(of time: WallTime) -> Span<UInt8> {
        let milliseconds = min(max(time.nanoseconds / 1_000_000, 0), LogTime.lastMillisecond)
        if milliseconds != cachedMillisecond { write(milliseconds) }
        return cachedText.span
    }

    private mutating func write(_ milliseconds: Int64) {
        let second = milliseconds / 1000
        if second != cachedMillisecond / 1000 {
            cachedText.removeAll(keepingCapacity: true)
            let civil = CivilTime(secondsSinceEpoch: second)
            switch style {
            case .rfc3339: civil.appendRFC3339(to: &cachedText)
            case .commonLog: civil.appendCommonLog(to: &cachedText)
            }
        } else if style == .rfc3339 {
            cachedText.removeLast(LogTime.fractionLength)
        }
        cachedMillisecond = milliseconds
        guard style == .rfc3339 else { return }
        cachedText.append(0x2E)
        appendDigits(Int(milliseconds % 1000), width: 3, to: &cachedText)
        cachedText.append(0x5A)
    }

    /// Of `.000Z`.
    private static let fractionLength = 5
    private static let lastMillisecond: Int64 = 253_402_300_799_999
}

/// A date and time of day in the Gregorian calendar, UTC.
private struct CivilTime {
    private let year: Int
    private let month: Int
    private let day: Int
    private let secondOfDay: Int

    /// The civil-from-days algorithm over eras of 400 years that begin in March, so that the leap day is last.
    init(secondsSinceEpoch seconds: Int64) {
        let days = Int(seconds / 86_400) + 719_468
        let era = days / 146_097
        let dayOfEra = days % 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        secondOfDay = Int(seconds % 86_400)
    }

    func appendRFC3339(to output: inout [UInt8]) {
        appendDigits(year, width: 4, to: &output)
        output.append(0x2D)
        appendDigits(month, width: 2, to: &output)
        output.append(0x2D)
        appendDigits(day, width: 2, to: &output)
        output.append(0x54)
        appendTimeOfDay(to: &output)
    }

    func appendCommonLog(to output: inout [UInt8]) {
        let names: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"
        appendDigits(day, width: 2, to: &output)
        output.append(0x2F)
        names.withUTF8Buffer { text in
            for offset in 0..<3 { unsafe output.append(text[(month - 1) * 3 + offset]) }
        }
        output.append(0x2F)
        appendDigits(year, width: 4, to: &output)
        output.append(0x3A)
        appendTimeOfDay(to: &output)
        appendText(" +0000", to: &output)
    }

    private func appendTimeOfDay(to output: inout [UInt8]) {
        appendDigits(secondOfDay / 3600, width: 2, to: &output)
        output.append(0x3A)
        appendDigits(secondOfDay / 60 % 60, width: 2, to: &output)
        output.append(0x3A)
        appendDigits(secondOfDay % 60, width: 2, to: &output)
    }
}
