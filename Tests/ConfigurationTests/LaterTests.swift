import Testing

@testable import Configuration

/// What interface.md promises for a later version is refused by name: neither unknown nor accepted
/// in silence.
@Suite struct LaterTests {
    /// A conf and the name in its refusal.
    static let cases: [(conf: String, name: String)] = [
        ("upstream u { server a:1 weight=2; }", "weight"),
        ("upstream u { server a:1 backup; }", "backup"),
        ("upstream u { server a:1; balance least_requests; }", "least_requests"),
        ("upstream u { server a:1; balance random_two; }", "random_two"),
        ("upstream u { server a:1; balance hash X-Key; }", "hash"),
        ("upstream u { server a:1; retry_on connect 502; }", "502"),
        ("upstream u { server a:1; health { path /; } }", "health"),
        ("upstream u { server a:1; outlier { failures 5; } }", "outlier"),
        ("upstream u { server a:1; max_connections 5; }", "max_connections"),
        ("upstream u { server a:1; queue 5; }", "queue"),
        ("upstream u { server a:1; queue_timeout 5s; }", "queue_timeout"),
        ("route /x { upstream app; authenticate any session bearer; }", "session"),
        ("route /x { upstream app; authorization assert; }", "assert"),
        ("route /x { upstream app; shadow on; }", "shadow on"),
        ("route /x { upstream app; cors { origins a; } }", "cors"),
        ("route /x { upstream app; request_buffering on; }", "request_buffering on"),
        ("route /x { upstream app; deprecate oauth1; }", "deprecate"),
    ]

    @Test(arguments: cases) func refusedByName(conf: String, name: String) {
        let result = Memory.usual.load(base + conf)
        #expect(result.configuration == nil)
        #expect(
            result.diagnostics.filter { $0.severity == .error }.map(\.message)
                == ["'\(name)' is not in this version of Gatehouse"])
    }

    @Test func everyLaterDirectiveOfTheTableIsRefusedHere() {
        let later = Set(Directive.table.values.joined().filter(\.isLater).map(\.name))
        #expect(later.subtracting(LaterTests.cases.map(\.name)) == [])
    }

    /// A name in the table that no reader knows must refuse the conf, not be skipped.
    @Test func aNameWithoutAReaderRefuses() {
        var interpreter = Interpreter(source: Memory().source, sink: DiagnosticSink())
        let file = interpreter.sink.open(SourceFile(name: "c", path: "/c", bytes: Array("x;".utf8)))
        let span = SourceSpan(file: file, start: 0, end: 1)
        interpreter.unread(Statement(name: Argument(text: "x", span: span), arguments: []))
        #expect(interpreter.sink.errorCount == 1)
    }
}
