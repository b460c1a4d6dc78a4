/// Reads a conf file and those that it includes into one tree of statements.
struct ConfigurationFiles {
    static let fileSizeLimit = 1 << 20
    static let fileCountLimit = 64
    /// Files that include files.
    static let includeDepthLimit = 8

    private let source: ConfigurationSource
    private var fileCount = 0
    /// The files being read now, outermost first.
    private var open: [String] = []

    init(source: ConfigurationSource) {
        self.source = source
    }

    /// The statements of the file at `path` (as the operator named it), includes expanded.
    mutating func statements(of path: String, _ sink: inout DiagnosticSink) -> [Statement] {
        let resolved = resolvedPath(path, in: source.workingDirectory)
        switch source.readFile(resolved, ConfigurationFiles.fileSizeLimit) {
        case .failure(let error):
            let file = sink.open(SourceFile(name: path, path: resolved, bytes: []))
            sink.error("cannot be read: \(error)", at: .whole(file))
            return []
        case .success(let bytes):
            return parse(SourceFile(name: path, path: resolved, bytes: bytes), &sink)
        }
    }

    private mutating func parse(_ text: SourceFile, _ sink: inout DiagnosticSink) -> [Statement] {
        fileCount += 1
        let file = sink.open(text)
        if let fault = textFault(text.bytes, file: file) {
            sink.error(fault.message, at: fault.span)
            return []
        }
        let parsed = Parser.parse(
            text.bytes, file: file, environment: source.environment, &sink)
        open.append(text.path)
        defer { open.removeLast() }
        return expand(parsed, in: text, &sink)
    }

    /// What makes a file no text. It is not read further: every byte of a binary would be a
    /// mistake.
    private func textFault(
        _ bytes: [UInt8], file: Int
    ) -> (message: String, span: SourceSpan)? {
        do throws(UTF8.ValidationError) {
            _ = try UTF8Span(validating: bytes.span)
        } catch {
            let range = error.byteOffsets
            return (
                "this is not UTF-8 text",
                SourceSpan(file: file, start: range.lowerBound, end: range.upperBound)
            )
        }
        let control = bytes.indices.first { index in
            switch bytes[index] {
            case 0x09, 0x0A: false
            // A lone CR hides the rest of its line in a terminal.
            case 0x0D: index + 1 < bytes.count && bytes[index + 1] != 0x0A
            case 0x00..<0x20, 0x7F: true
            default: false
            }
        }
        guard let control else { return nil }
        let name = bytes[control] == 0 ? "a NUL byte" : "a control character"
        return ("\(name) in the text", SourceSpan(file: file, start: control, end: control + 1))
    }

    /// Puts the statements of included files in the place of `include`. The parser bounds the
    /// recursion into blocks, `includeDepthLimit` the one into files.
    private mutating func expand(
        _ statements: [Statement], in text: SourceFile, _ sink: inout DiagnosticSink
    ) -> [Statement] {
        var result: [Statement] = []
        for var statement in statements {
            if statement.name.text == "include" {
                result += included(by: statement, in: text, &sink)
                continue
            }
            if let block = statement.block { statement.block = expand(block, in: text, &sink) }
            result.append(statement)
        }
        return result
    }

    /// `include PATTERN;`
    private mutating func included(
        by statement: Statement, in text: SourceFile, _ sink: inout DiagnosticSink
    ) -> [Statement] {
        guard !statement.isFaulty else { return [] }
        guard let argument = statement.arguments.first, statement.arguments.count == 1,
            statement.block == nil, !argument.text.isEmpty
        else {
            sink.error(
                "'include' takes one pattern", at: statement.name.span, "expected include PATTERN;")
            return []
        }
        guard open.count <= ConfigurationFiles.includeDepthLimit else {
            sink.error(
                "files include files more than \(ConfigurationFiles.includeDepthLimit) deep",
                at: argument.span)
            return []
        }
        let pattern = resolvedPath(argument.text, in: text.directory)
        let hasWildcard = pattern.utf8.contains { $0 == 42 || $0 == 63 || $0 == 91 }  // * ? [
        // A pattern may match nothing (an empty conf.d); a plain name that is not there is a
        // mistake.
        let paths = hasWildcard ? source.glob(pattern) : [pattern]
        var result: [Statement] = []
        for path in paths {
            result += include(path, argument, &sink)
        }
        return result
    }

    private mutating func include(
        _ path: String, _ argument: Argument, _ sink: inout DiagnosticSink
    ) -> [Statement] {
        guard !open.contains(path) else {
            let cycle = (open.drop { $0 != path } + [path]).joined(separator: " -> ")
            sink.error("this include is a cycle: \(cycle)", at: argument.span)
            return []
        }
        guard fileCount < ConfigurationFiles.fileCountLimit else {
            sink.error(
                "more than \(ConfigurationFiles.fileCountLimit) files", at: argument.span)
            return []
        }
        switch source.readFile(path, ConfigurationFiles.fileSizeLimit) {
        case .failure(let error):
            sink.error("cannot include \(shown(path)): \(error)", at: argument.span)
            return []
        case .success(let bytes):
            return parse(SourceFile(name: path, path: path, bytes: bytes), &sink)
        }
    }
}
