import Foundation
import Primitives
import Testing

@testable import Telemetry

@Suite struct LogTimeTests {
    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_767_225_600_007, "2026-01-01T00:00:00.007Z"),
        (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (-1, "1970-01-01T00:00:00.000Z"),
        (Int64.max / 1_000_000, "2262-04-11T23:47:16.854Z"),
    ])
    func isWrittenAsRFC3339(milliseconds: Int64, text: String) {
        var time = LogTime(.rfc3339)
        #expect(written(&time, milliseconds) == text)
    }

    @Test func theCacheFollowsTheSecond() {
        var time = LogTime(.rfc3339)
        #expect(written(&time, 1_767_225_599_999) == "2025-12-31T23:59:59.999Z")
        #expect(written(&time, 1_767_225_600_000) == "2026-01-01T00:00:00.000Z")
        #expect(written(&time, 1_767_225_600_001) == "2026-01-01T00:00:00.001Z")
        #expect(written(&time, 1_767_225_599_000) == "2025-12-31T23:59:59.000Z")
    }

    /// One point in each month of 60 years, against Foundation's own calendar.
    @Test func agreesWithFoundation() {
        let calendar = ISO8601DateFormatter()
        calendar.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
        var time = LogTime(.rfc3339)
        for month in 0..<720 {
            let milliseconds = Int64(month) * 2_629_746_000 + 123
            let date = Date(timeIntervalSince1970: Double(milliseconds) / 1000)
            #expect(written(&time, milliseconds) == calendar.string(from: date))
        }
    }

    @Test func theCommonLogHasNoMilliseconds() {
        var time = LogTime(.commonLog)
        #expect(written(&time, 1_767_225_600_999) == "01/Jan/2026:00:00:00 +0000")
    }

    private func written(_ time: inout LogTime, _ milliseconds: Int64) -> String {
        var output: [UInt8] = []
        time.append(WallTime(nanoseconds: milliseconds * 1_000_000), to: &output)
        return String(decoding: output, as: UTF8.self)
    }
}
