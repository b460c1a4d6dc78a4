/// `name *argument ( ";" | "{" *directive "}" )`, not yet understood.
struct Statement {
    var name: Argument
    var arguments: [Argument]
    /// `nil`: ended by `;`.
    var block: [Statement]?

    /// A mistake in its own words (not in its block) has been reported.
    var isFaulty: Bool { name.isFaulty || arguments.contains { $0.isFaulty } }
    /// The last word before `;` or `{`.
    var lastWord: Argument { arguments.last ?? name }
}

/// Makes statements of one file's tokens. After a mistake it goes on with the next directive, so
/// that one reading finds all mistakes.
struct Parser {
    /// Blocks within blocks; the deepest that mean anything are three.
    static let depthLimit = 16
    static let argumentCountLimit = 1024
    /// Directives of one file: what is kept of them costs some hundred times the byte that `;`
    /// takes.
    static let statementLimit = 200_000

    private var lexer: Lexer
    private var count = 0

    static func parse(
        _ bytes: [UInt8], file: Int, environment: @escaping (String) -> String?,
        _ sink: inout DiagnosticSink
    ) -> [Statement] {
        var parser = Parser(lexer: Lexer(bytes: bytes, file: file, environment: environment))
        return parser.statements(openedAt: nil, depth: 0, &sink)
    }

    private init(lexer: Lexer) {
        self.lexer = lexer
    }

    /// Reads up to the `}` of the block, or to the end of the file. Recursion ends at `depthLimit`.
    private mutating func statements(
        openedAt brace: SourceSpan?, depth: Int, _ sink: inout DiagnosticSink
    ) -> [Statement] {
        var result: [Statement] = []
        while !sink.isFull {
            switch lexer.next(&sink) {
            case .word(let name):
                let (statement, closesBlock) = statement(name, depth, &sink)
                count += 1
                guard count <= Parser.statementLimit else {
                    sink.error(
                        "more than \(Parser.statementLimit) directives in one file", at: name.span)
                    drain(&sink)
                    return result
                }
                result.append(statement)
                if closesBlock {
                    if brace != nil { return result }
                }
            case .semicolon(let span):
                sink.error(
                    "a ';' without a directive", at: span, "a block is not followed by ';'")
            case .open(let span):
                sink.error("a block without a name", at: span, "expected a directive before '{'")
                skipBlock(&sink)
            case .close(let span):
                if brace != nil { return result }
                sink.error("this '}' closes nothing", at: span, "expected a directive")
            case .end:
                if let brace { sink.error("this block is not closed", at: brace, "expected '}'") }
                return result
            }
        }
        return result
    }

    /// The rest of a directive. `closesBlock`: the `}` of the block around it was met in place of
    /// `;`.
    private mutating func statement(
        _ name: Argument, _ depth: Int, _ sink: inout DiagnosticSink
    ) -> (Statement, closesBlock: Bool) {
        var statement = Statement(name: name, arguments: [], block: nil)
        while true {
            switch lexer.next(&sink) {
            case .word(let argument):
                guard statement.arguments.count < Parser.argumentCountLimit else {
                    sink.error(
                        "more than \(Parser.argumentCountLimit) arguments", at: argument.span,
                        "is a ';' missing?")
                    drain(&sink)
                    return (statement, false)
                }
                statement.arguments.append(argument)
            case .semicolon:
                return (statement, false)
            case .open(let brace):
                guard depth < Parser.depthLimit else {
                    sink.error("blocks are nested more than \(Parser.depthLimit) deep", at: brace)
                    skipBlock(&sink)
                    return (statement, false)
                }
                statement.block = statements(openedAt: brace, depth: depth + 1, &sink)
                return (statement, false)
            case .close(let brace):
                reportMissingEnd(of: statement, &sink)
                if depth == 0 {
                    sink.error("this '}' closes nothing", at: brace, "expected a directive")
                }
                return (statement, true)
            case .end:
                reportMissingEnd(of: statement, &sink)
                return (statement, false)
            }
        }
    }

    private func reportMissingEnd(of statement: Statement, _ sink: inout DiagnosticSink) {
        // An unclosed string has taken the ';' with it, and has been reported.
        guard !statement.isFaulty else { return }
        sink.error(
            "\(shown(statement.name.text)) is not ended", at: statement.lastWord.span.after,
            "expected ';' or '{'")
    }

    /// Passes over a block whose `{` has been read.
    private mutating func skipBlock(_ sink: inout DiagnosticSink) {
        var open = 1
        while open > 0 {
            switch lexer.next(&sink) {
            case .open: open += 1
            case .close: open -= 1
            case .end: return
            case .word, .semicolon: break
            }
        }
    }

    /// Gives up on the rest of the file.
    private mutating func drain(_ sink: inout DiagnosticSink) {
        var discarded = sink
        while true {
            if case .end = lexer.next(&discarded) { return }
        }
    }
}
