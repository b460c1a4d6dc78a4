/// A stretch of bytes in one of the files of a load.
struct SourceSpan: Equatable {
    /// Its number in `DiagnosticSink.files`.
    var file: Int
    var start: Int
    var end: Int

    /// The file itself rather than anything in it.
    static func whole(_ file: Int) -> SourceSpan {
        SourceSpan(file: file, start: -1, end: -1)
    }

    var isWholeFile: Bool { start < 0 }
    /// The place just behind, where something is missing.
    var after: SourceSpan { SourceSpan(file: file, start: end, end: end) }
}

/// One conf file: its text and the names it goes by.
struct SourceFile {
    /// As the operator wrote it; this is what diagnostics show.
    let name: String
    /// Absolute; relative names inside the file are relative to its folder.
    let path: String
    let bytes: [UInt8]
    /// The offset of each line's first byte: every route asks for its line, and a file may hold thousands.
    private let lineStarts: [Int]

    init(name: String, path: String, bytes: [UInt8]) {
        self.name = name
        self.path = path
        self.bytes = bytes
        var starts = [0]
        for (index, byte) in bytes.enumerated() where byte == UInt8(ascii: "\n") {
            starts.append(index + 1)
        }
        lineStarts = starts
    }

    var directory: String { parentDirectory(path) }

    /// Line number and column from 1, the text of the line, and how many scalars of it the span
    /// covers.
    func place(of span: SourceSpan) -> (number: Int, column: Int, line: String, length: Int) {
        let start = min(max(0, span.start), bytes.count)
        let number = lineNumber(at: start)
        let lineStart = lineStarts[number - 1]
        var lineEnd = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
        if lineEnd > start, bytes[lineEnd - 1] == UInt8(ascii: "\r") { lineEnd -= 1 }
        let column = 1 + scalarCount(bytes[lineStart..<start])
        let length = scalarCount(bytes[start..<max(start, min(span.end, lineEnd))])
        return (number, column, printable(bytes[lineStart..<lineEnd]), length)
    }

    /// From 1; the last line that begins at or before the offset.
    func lineNumber(at offset: Int) -> Int {
        var (low, high) = (0, lineStarts.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if lineStarts[middle] <= offset { low = middle } else { high = middle }
        }
        return low + 1
    }

    private func scalarCount(_ bytes: ArraySlice<UInt8>) -> Int {
        String(decoding: bytes, as: UTF8.self).unicodeScalars.count
    }

    /// The line for a terminal: what is no UTF-8 or a control becomes U+FFFD, scalar for scalar.
    private func printable(_ bytes: ArraySlice<UInt8>) -> String {
        var line = ""
        for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
            line.unicodeScalars.append(isControl(scalar) && scalar != "\t" ? "\u{FFFD}" : scalar)
        }
        return line
    }
}

/// The folder of an absolute path.
func parentDirectory(_ path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "/" }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}

/// `path` as an absolute one; what is relative is relative to `directory`.
func resolvedPath(_ path: String, in directory: String) -> String {
    if path.hasPrefix("/") { return path }
    return directory.hasSuffix("/") ? directory + path : "\(directory)/\(path)"
}
