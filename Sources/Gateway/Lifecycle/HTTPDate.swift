import Primitives

/// The `Date` field's text (IMF-fixdate, RFC 9110 section 5.6.7), made once a second.
struct HTTPDate {
    private var second: Int64 = .min
    private var text: [UInt8] = []

    mutating func bytes(at time: WallTime) -> [UInt8] {
        if time.seconds != second {
            second = time.seconds
            text = HTTPDate.format(seconds: second)
        }
        return text
    }

    static func format(seconds: Int64) -> [UInt8] {
        let days = seconds / 86400
        let rest = Int(seconds % 86400)
        let (year, month, day) = civil(days: Int(days))
        let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        let text =
            "\(weekdays[Int(days % 7)]), \(two(day)) \(months[month - 1]) \(year) "
            + "\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60)) GMT"
        return Array(text.utf8)
    }

    private static func two(_ number: Int) -> String {
        number < 10 ? "0\(number)" : "\(number)"
    }

    /// Days since 1970-01-01 to a Gregorian date, for dates from then on.
    private static func civil(days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }
}
