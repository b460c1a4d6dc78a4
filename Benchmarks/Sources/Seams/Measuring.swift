import References

/// Something that a request goes through, and what its cost is held against. Each closure does its work `count` times.
struct Seam {
    let name: String
    let subject: (_ count: Int) -> Void
    let reference: String
    let base: (_ count: Int) -> Void
}

/// Keeps the optimiser from seeing that a result is not used.
@inline(never)
func use<Value>(_ value: borrowing Value) {}

enum Measuring {
    private static let sliceNanoseconds = 4_000_000.0
    private static let slices = 31

    /// Subject and reference in turns, so that a machine that drifts drifts for both. Prints medians and, of the ratio of
    /// neighbouring slices, the middle half.
    static func run(_ seam: Seam) {
        let subjectCount = calibrate(seam.subject)
        let baseCount = calibrate(seam.base)
        var subject: [Double] = []
        var base: [Double] = []
        var ratios: [Double] = []
        for _ in 0..<slices {
            subject.append(time(subjectCount, seam.subject))
            base.append(time(baseCount, seam.base))
            ratios.append(subject[subject.count - 1] / base[base.count - 1])
        }
        let before = reference_allocations()
        seam.subject(1000)
        let allocations = Double(reference_allocations() - before) / 1000
        ratios.sort()
        let columns = [
            pad(seam.name, 44), pad(number(median(subject), 0), -8),
            pad(number(allocations, 1), -8), pad(seam.reference, -44),
            pad(number(median(base), 0), -8), pad(number(median(ratios), 2), -7),
            "  \(number(ratios[slices / 4], 2))-\(number(ratios[slices * 3 / 4], 2))",
        ]
        print(columns.joined())
    }

    static func printHeading() {
        print(
            [
                pad("seam", 44), pad("ns", -8), pad("mallocs", -8), pad("reference", -44),
                pad("ns", -8),
                pad("ratio", -7), "  middle half",
            ].joined())
    }

    /// How often fits into a slice; what is slow at first has warmed up then.
    private static func calibrate(_ work: (Int) -> Void) -> Int {
        var count = 16
        while true {
            let each = time(count, work)
            if each * Double(count) > sliceNanoseconds / 4 {
                return max(1, Int(sliceNanoseconds / each))
            }
            count *= 4
        }
    }

    private static func time(_ count: Int, _ work: (Int) -> Void) -> Double {
        let start = reference_cpu_nanoseconds()
        work(count)
        return Double(reference_cpu_nanoseconds() - start) / Double(count)
    }

    private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

    /// With so many digits behind the point.
    static func number(_ value: Double, _ digits: Int) -> String {
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let whole = Int((value * scale).rounded())
        guard digits > 0 else { return "\(whole)" }
        let fraction = String(whole % Int(scale))
        let zeros = String(repeating: "0", count: digits - fraction.utf8.count)
        return "\(whole / Int(scale)).\(zeros)\(fraction)"
    }

    /// Filled up with spaces: behind the text, or, for a negative width, before it.
    static func pad(_ text: String, _ width: Int) -> String {
        let room = String(repeating: " ", count: max(0, abs(width) - text.count))
        return width < 0 ? room + text : text + room
    }
}
