import Primitives
import TestSupport
import Testing

@testable import Telemetry

@Suite struct ErrorLogTests {
    @Test func aLineHasTimeLevelMessageAndFields() {
        #expect(
            line(
                .warn, "could not connect", ["server": "127.0.0.1:80", "after": "1 s", "none": ""])
                == "2026-01-01T00:00:00.000Z warn could not connect"
                + " server=127.0.0.1:80 after=\"1 s\" none=\"\"\n")
    }

    @Test(arguments: [
        ("a\nb", #""a\x0Ab""#), ("a\r", #""a\x0D""#), ("x=1", #""x=1""#),
        ("\"", #""\x22""#), ("\\n", #""\x5Cn""#), ("\u{1B}[2J", #""\x1B[2J""#),
        ("\u{9B}2J", #""\xC2\x9B2J""#), ("\u{2028}", #""\xE2\x80\xA8""#), ("\u{7F}", #""\x7F""#),
        ("é", "\"é\""), ("\0", #""\x00""#), ("plain-ASCII/1.0", "plain-ASCII/1.0"),
    ])
    func aValueCannotForgeALineOrAField(value: String, written: String) {
        #expect(
            line(.info, "m", ["k": value]) == "2026-01-01T00:00:00.000Z info m k=\(written)\n")
    }

    @Test func aMessageCannotForgeALine() {
        #expect(
            line(.info, "m\nfake", [:]) == "2026-01-01T00:00:00.000Z info m\\x0Afake\n")
    }

    @Test func aSecretIsNotWritten() {
        #expect(
            line(.error, "m", ["k": "\(Secret(utf8: "hunter2"))"])
                == "2026-01-01T00:00:00.000Z error m k=<redacted>\n")
    }

    @Test func whatIsBelowTheLevelIsNeitherMadeNorWritten() throws {
        let folder = try TemporaryDirectory()
        let writer = try LogWriter(access: .off, error: .file(folder.file("error.log")))
        let log = ErrorLog(writer: writer, level: .notice)
        var made = 0
        func text(_ text: String) -> String {
            made += 1
            return text
        }
        log.debug(text("d"))
        log.info(text("i"))
        log.notice(text("n"))
        log.warn(text("w"))
        log.error(text("e"))
        log.level = .error
        log.warn(text("w2"))
        writer.close()
        #expect(made == 3)
        let words = folder.read("error.log").split(separator: "\n").map {
            $0.split(separator: " ").dropFirst().joined(separator: " ")
        }
        #expect(words == ["notice n", "warn w", "error e"])
    }

    private func line(
        _ severity: Severity, _ message: String, _ fields: KeyValuePairs<String, String>
    ) -> String {
        var time = LogTime(.rfc3339)
        var line: [UInt8] = []
        ErrorLog.append(
            severity, message, fields, at: WallTime(seconds: 1_767_225_600), time: &time, to: &line)
        return String(decoding: line, as: UTF8.self)
    }
}
