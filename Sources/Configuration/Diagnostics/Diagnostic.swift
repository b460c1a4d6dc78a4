/// One mistake, or one doubt, in a conf file and the place where it stands.
public struct Diagnostic: Sendable, Equatable {
    public enum Severity: String, Sendable, Equatable {
        /// The conf is not used.
        case error
        /// The conf is used, but something in it is probably not what was meant.
        case warning
    }
    public let severity: Severity
    /// The file as it was named on the command line or found by `include`.
    public let file: String
    /// From 1; 0 when the file as a whole is meant (it cannot be read).
    public let line: Int
    /// From 1, counted in Unicode scalars; 0 with `line` 0.
    public let column: Int
    /// How many scalars the caret underlines, at least 1.
    public let length: Int
    public let message: String
    /// The offending line without its line end; a part of it, marked by `…`, when it is very long.
    public let sourceLine: String
    /// Where in `sourceLine` the caret stands, from 0.
    public let caretOffset: Int
    /// What was expected, or the nearest known name.
    public let suggestion: String?

    /// `file:line:column: error: …`, the line, a caret under the fault, and what was expected.
    public func rendered() -> String {
        guard line > 0 else { return "\(file): \(severity.rawValue): \(message)\n" }
        var text = "\(file):\(line):\(column): \(severity.rawValue): \(message)\n"
        text += "    \(sourceLine)\n    "
        for scalar in sourceLine.unicodeScalars.prefix(caretOffset) {
            // A tab is repeated so that the caret stands under the fault at any tab width.
            text += scalar == "\t" ? "\t" : " "
        }
        text += "^" + String(repeating: "~", count: length - 1) + "\n"
        if let suggestion { text += "    \(suggestion)\n" }
        return text
    }
}

/// Collects the diagnostics of one load. It knows the files, so that a span is enough to report.
struct DiagnosticSink {
    /// Past this many errors the reading ends, and past this many warnings no more are kept:
    /// whoever reads them corrects these first.
    static let limit = 100
    private static let shownScalars = 160

    private(set) var files: [SourceFile] = []
    private(set) var errorCount = 0
    private var warningCount = 0
    private var reports: [(span: SourceSpan, diagnostic: Diagnostic)] = []

    /// The work may end: no further error is kept. Warnings alone never end it, since a conf
    /// without an error is used, and must then have been read whole.
    var isFull: Bool { errorCount >= DiagnosticSink.limit }

    /// All diagnostics: files in the order in which they were opened, then by place.
    var ordered: [Diagnostic] {
        let places = reports.indices.sorted { left, right in
            let (a, b) = (reports[left].span, reports[right].span)
            return (a.file, a.start, left) < (b.file, b.start, right)
        }
        return places.map { reports[$0].diagnostic }
    }

    /// Adds a file that spans may point into, and gives its number.
    mutating func open(_ file: SourceFile) -> Int {
        files.append(file)
        return files.count - 1
    }

    mutating func error(_ message: String, at span: SourceSpan, _ suggestion: String? = nil) {
        guard !isFull else { return }
        errorCount += 1
        add(.error, message, span, suggestion)
    }

    mutating func warning(_ message: String, at span: SourceSpan, _ suggestion: String? = nil) {
        guard warningCount < DiagnosticSink.limit else { return }
        warningCount += 1
        add(.warning, message, span, suggestion)
    }

    private mutating func add(
        _ severity: Diagnostic.Severity, _ message: String, _ span: SourceSpan,
        _ suggestion: String?
    ) {
        guard !span.isWholeFile else {
            reports.append(
                (
                    span,
                    Diagnostic(
                        severity: severity, file: files[span.file].name, line: 0, column: 0,
                        length: 1, message: message, sourceLine: "", caretOffset: 0,
                        suggestion: nil)
                ))
            return
        }
        let place = files[span.file].place(of: span)
        var scalars = Array(place.line.unicodeScalars)
        var caret = min(place.column - 1, scalars.count)
        if scalars.count > DiagnosticSink.shownScalars {
            let cut = max(0, caret - 40)
            let end = min(scalars.count, cut + DiagnosticSink.shownScalars)
            scalars =
                (cut > 0 ? ["…"] : []) + scalars[cut..<end] + (end < scalars.count ? ["…"] : [])
            caret = caret - cut + (cut > 0 ? 1 : 0)
        }
        var line = ""
        line.unicodeScalars.append(contentsOf: scalars)
        reports.append(
            (
                span,
                Diagnostic(
                    severity: severity, file: files[span.file].name, line: place.number,
                    column: place.column, length: max(1, min(place.length, scalars.count - caret)),
                    message: message, sourceLine: line, caretOffset: caret, suggestion: suggestion)
            ))
    }
}

/// A value in quotes for a message: short, and without a control that would act on a terminal.
func shown(_ text: String) -> String {
    var result = "'"
    for scalar in text.unicodeScalars.prefix(80) {
        switch scalar {
        case "\n": result += "\\n"
        case "\t": result += "\\t"
        default: result.unicodeScalars.append(isControl(scalar) ? "\u{FFFD}" : scalar)
        }
    }
    return result + (text.unicodeScalars.count > 80 ? "…'" : "'")
}

/// C0, DEL and C1.
func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
}

/// `a, b or c`.
func listed(_ words: [String], _ conjunction: String = "or") -> String {
    guard let last = words.last, words.count > 1 else { return words.first ?? "" }
    return words.dropLast().joined(separator: ", ") + " \(conjunction) " + last
}
