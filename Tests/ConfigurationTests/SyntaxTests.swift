import Configuration
import Testing

@Suite struct SyntaxTests {
    struct Fault: Sendable, CustomTestStringConvertible {
        var name: String
        var conf: String
        var summaries: [String]
        var testDescription: String { name }
    }

    static let faults: [Fault] = [
        Fault(
            name: "a ';' missing at the end of a block", conf: "log { access off }",
            summaries: ["1:17: error: 'access' is not ended"]),
        Fault(
            name: "a ';' missing at the end of the file", conf: "workers 1",
            summaries: ["1:10: error: 'workers' is not ended"]),
        Fault(
            name: "a ';' missing at a line's end, before a block",
            conf: base + "workers 1\nlog { access off; }",
            summaries: ["4:10: error: 'workers' is not ended"]),
        Fault(
            name: "a ';' missing at a line's end, before a directive",
            conf: base + "workers 1\nshutdown_timeout x;",
            summaries: ["4:10: error: 'workers' is not ended", "5:18: error: 'x' is no time"]),
        Fault(
            name: "a block that is not closed", conf: "log {\n access off;\n",
            summaries: ["1:5: error: this block is not closed"]),
        Fault(
            name: "a '}' too many", conf: base + "}",
            summaries: ["4:1: error: this '}' closes nothing"]),
        Fault(
            name: "a '}' in place of ';' at the top", conf: base + "workers 1 }",
            summaries: [
                "4:10: error: 'workers' is not ended", "4:11: error: this '}' closes nothing",
            ]),
        Fault(
            name: "a ';' after a block", conf: base + "log {};",
            summaries: ["4:7: error: a ';' without a directive"]),
        Fault(
            name: "a block without a name; the rest is read",
            conf: base + "{ a { b; } }\nworkers x;",
            summaries: [
                "4:1: error: a block without a name", "5:9: error: 'x' is no number in range",
            ]),
        Fault(
            name: "a string over a line's end",
            conf: base + "oauth1 { realm \"a b;\n}\nworkers x;",
            summaries: [
                "4:16: error: this string is not closed on its line",
                "6:9: error: 'x' is no number in range",
            ]),
        Fault(
            name: "a string at the end of the file", conf: "workers \"1",
            summaries: ["1:9: error: this string is not closed on its line"]),
        Fault(
            name: "an unknown escape", conf: base + #"oauth1 { realm "a\tb"; }"#,
            summaries: ["4:18: error: unknown escape"]),
        Fault(
            name: "a string with text behind", conf: base + #"oauth1 { realm "a"b; }"#,
            summaries: ["4:19: error: a blank is missing after this string"]),
        Fault(
            name: "a quote in a bare word", conf: base + #"oauth1 { realm a"b; }"#,
            summaries: ["4:17: error: a quote inside a bare word"]),
        Fault(
            name: "a backslash in a bare word", conf: base + #"oauth1 { realm a\b; }"#,
            summaries: ["4:17: error: a backslash inside a bare word"]),
        Fault(
            name: "single quotes", conf: base + "oauth1 { realm 'ab'; }",
            summaries: ["4:16: error: single quotes do not quote"]),
        Fault(
            name: "an unset variable", conf: base + "oauth1 { realm x${NOT_SET}; }",
            summaries: ["4:17: error: the environment variable 'NOT_SET' is not set"]),
        Fault(
            name: "a variable without its end", conf: base + "oauth1 { realm ${NOT_SET; }",
            summaries: ["4:16: error: this is no name of an environment variable"]),
        Fault(
            name: "a variable without a name", conf: base + "oauth1 { realm ${}; }",
            summaries: ["4:16: error: this is no name of an environment variable"]),
        Fault(
            name: "a NUL byte", conf: "workers 1;\nwork\0ers 1;",
            summaries: ["2:5: error: a NUL byte in the text"]),
        Fault(
            name: "a control character", conf: "workers \u{1B}[31m;",
            summaries: ["1:9: error: a control character in the text"]),
        Fault(
            name: "a lone CR", conf: "# hidden\rworkers 1;",
            summaries: ["1:9: error: a control character in the text"]),
        Fault(
            name: "columns are characters, not bytes", conf: base + "oauth1 { realm \"é\" ü; }",
            summaries: ["4:20: error: 'realm' takes no such argument"]),
    ]

    @Test(arguments: faults) func faultAndItsPlace(fault: Fault) {
        let result = Memory.usual.load(fault.conf)
        #expect(result.configuration == nil)
        #expect(result.summaries == fault.summaries)
    }

    @Test func invalidUTF8IsNoText() {
        var source = Memory().source
        source.readFile = { _, _ in .success(Array("workers 1;\nlog \"".utf8) + [0xC3, 0x28]) }
        let result = ConfigurationLoader.load(path: "gateway.conf", source: source)
        #expect(result.summaries == ["2:6: error: this is not UTF-8 text"])
    }

    @Test func whatAConfMayBeWrittenIn() throws {
        let conf =
            "\u{FEFF}# first\r\n" + base.replacing("\n", with: "\r\n")
            + "oauth1{realm \"a # ${X}\\$ b\";}# last, without a line end"
        let configuration = try loaded(conf, Memory(environment: ["X": "; }"]))
        #expect(configuration.oauth1.realm == "a # ; }$ b")
    }

    @Test func aNumberSignInsideAWordIsNoComment() throws {
        let configuration = try loaded(base + "oauth1 { realm a#b; }")
        #expect(configuration.oauth1.realm == "a#b")
    }

    @Test func aVariableWithAControlCharacterIsRefused() {
        let memory = Memory(environment: ["X": "a\rb"])
        #expect(
            memory.load(base + "oauth1 { realm ${X}; }").summaries
                == ["4:16: error: the value of 'X' holds a control character"])
    }

    @Test func renderedDiagnosticPointsAtTheFault() {
        let result = Memory.usual.load(base + "\twrokers 1;\n")
        #expect(
            result.diagnostics.map { $0.rendered() } == [
                "gateway.conf:4:2: error: unknown directive 'wrokers'\n"
                    + "    \twrokers 1;\n    \t^~~~~~~\n    did you mean 'workers'?\n"
            ])
    }

    @Test func aLongLineIsCutAroundTheFault() throws {
        let line = "route / { upstream " + String(repeating: "x", count: 4000) + "; bogus; }"
        let diagnostic = try #require(
            Memory.usual.load(base + line).diagnostics.last { $0.message.contains("bogus") })
        #expect(
            diagnostic.column == line.distance(
                from: line.startIndex, to: line.firstRange(of: "bogus")!.lowerBound) + 1)
        #expect(diagnostic.sourceLine.count < 170)
        #expect(diagnostic.sourceLine.dropFirst(diagnostic.caretOffset).hasPrefix("bogus"))
    }
}

@Suite struct BoundTests {
    @Test func nestingIsBounded() {
        func nested(_ depth: Int) -> String {
            String(repeating: "a{", count: depth) + String(repeating: "}", count: depth)
        }
        #expect(!Memory().load(nested(16)).summaries.contains { $0.contains("deep") })
        #expect(
            Memory().load(nested(17)).summaries.contains { $0.contains("nested more than 16 deep") }
        )
        #expect(Memory().load(nested(400_000)).configuration == nil)
    }

    @Test func anArgumentIsBounded() {
        func realm(_ count: Int) -> [String] {
            Memory().load(base + "workers \(String(repeating: "1", count: count));").summaries
        }
        #expect(!realm(8192).contains { $0.contains("longer than") })
        #expect(realm(8193) == ["4:9: error: this argument is longer than 8192 bytes"])
    }

    @Test func anExpandedArgumentIsBounded() {
        let memory = Memory(environment: ["X": String(repeating: "x", count: 8000)])
        #expect(
            memory.load(base + "oauth1 { realm ${X}${X}${X}; }").summaries
                == ["4:16: error: this argument is longer than 8192 bytes"])
    }

    @Test func argumentsAreBounded() {
        let conf = base + "route /x { upstream app; methods" + String(repeating: " M", count: 1025)
        #expect(
            Memory().load(conf + "; }").summaries.contains {
                $0.contains("more than 1024 arguments")
            })
    }

    @Test func aFileIsBounded() {
        let padding = String(repeating: "#", count: (1 << 20) - base.utf8.count)
        #expect(Memory().load(base + padding).configuration != nil)
        #expect(
            Memory().load(base + padding + "#").summaries
                == ["0:0: error: cannot be read: longer than 1048576 bytes"])
    }

    @Test func diagnosticsAreBounded() {
        let result = Memory().load(base + String(repeating: "bogus;\n", count: 5000))
        #expect(result.configuration == nil)
        #expect(result.diagnostics.count == 100)
    }

    /// Warnings neither push out the error that refuses the conf, nor end the reading of a good
    /// one.
    @Test func manyWarningsChangeNothing() throws {
        let clients = (0..<150).map { "client c\($0) { secret_file /k/open; }\n" }.joined()
        let result = Memory.usual.load(clients + base)
        #expect(result.diagnostics.count == 100)
        #expect(result.configuration?.clients.count == 150)
        #expect(result.configuration?.routes.count == 1)
        #expect(Memory.usual.load(clients + base + "bogus;").configuration == nil)
        let upstreams = (0..<150).map { "upstream u\($0) { server 127.0.0.1:9; }\n" }.joined()
        #expect(Memory().load(base + upstreams).configuration != nil)
        #expect(
            Memory().load(base + upstreams + "route /x { upstream none; }").configuration == nil)
    }

    @Test func directivesOfAFileAreBounded() {
        let result = Memory().load(String(repeating: "a;", count: 200_001))
        #expect(result.configuration == nil)
        #expect(result.summaries.contains { $0.contains("more than 200000 directives") })
    }
}
