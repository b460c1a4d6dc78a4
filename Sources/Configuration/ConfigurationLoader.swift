/// What came of reading a conf.
public struct LoadResult: Sendable {
    /// `nil` when there is any error: a conf is used whole or not at all.
    public let configuration: Configuration?
    /// Every mistake and every doubt, files in the order in which they were opened, then by place;
    /// at most 100 of each severity.
    public let diagnostics: [Diagnostic]
}

/// Reads conf files.
public enum ConfigurationLoader {
    /// Reads the conf at `path` and all that it includes.
    ///
    /// The environment and the named files are looked at, nothing is changed, and the content of a
    /// secret file is never read.
    ///
    /// - Parameter path: relative to the source's working directory, or absolute; diagnostics show
    ///   it as given.
    public static func load(path: String, source: ConfigurationSource) -> LoadResult {
        var sink = DiagnosticSink()
        var files = ConfigurationFiles(source: source)
        let statements = files.statements(of: path, &sink)
        // Of a file that could not be read at all nothing more is to be said.
        guard sink.errorCount == 0 || !statements.isEmpty else {
            return LoadResult(configuration: nil, diagnostics: sink.ordered)
        }
        var interpreter = Interpreter(source: source, sink: sink)
        interpreter.interpret(statements)
        return LoadResult(
            configuration: interpreter.sink.errorCount == 0 ? interpreter.configuration : nil,
            diagnostics: interpreter.sink.ordered)
    }
}
