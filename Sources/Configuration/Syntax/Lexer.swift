/// A bare word or a quoted string, escapes and `${NAME}` resolved.
struct Argument: Equatable {
    var text: String
    var span: SourceSpan
    var isQuoted = false
    /// Nothing but blanks stands before it on its line.
    var startsLine = false
    /// A mistake inside it has been reported; whoever reads it stays silent.
    var isFaulty = false
}

enum Token {
    case word(Argument)
    case semicolon(SourceSpan)
    case open(SourceSpan)
    case close(SourceSpan)
    case end(SourceSpan)
}

/// Cuts one conf file into tokens.
///
///     word    = bare / DQUOTE *( byte / "\" ( DQUOTE / "\" / "n" / "$" ) ) DQUOTE
///     bare    = 1*( any byte but blanks, ";", "{", "}", DQUOTE and "\" ), with "${" NAME "}"
/// anywhere
///
/// The bytes are UTF-8 without controls other than tab, CR and LF: `ConfigurationFiles` sees to
/// that.
struct Lexer {
    /// Bytes of one argument after expansion.
    static let argumentLimit = 8192

    private let bytes: [UInt8]
    private let file: Int
    private let environment: (String) -> String?
    private var offset = 0
    private var isLineStart = true

    init(bytes: [UInt8], file: Int, environment: @escaping (String) -> String?) {
        self.bytes = bytes
        self.file = file
        self.environment = environment
    }

    mutating func next(_ sink: inout DiagnosticSink) -> Token {
        skipBlanksAndComments()
        let startsLine = isLineStart
        isLineStart = false
        let start = offset
        guard offset < bytes.count else { return .end(span(from: start)) }
        switch bytes[offset] {
        case UInt8(ascii: ";"):
            offset += 1
            return .semicolon(span(from: start))
        case UInt8(ascii: "{"):
            offset += 1
            return .open(span(from: start))
        case UInt8(ascii: "}"):
            offset += 1
            return .close(span(from: start))
        case UInt8(ascii: "\""):
            return .word(quotedString(startsLine, &sink))
        default:
            return .word(bareWord(startsLine, &sink))
        }
    }

    private func span(from start: Int) -> SourceSpan {
        SourceSpan(file: file, start: start, end: offset)
    }

    private func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
            || byte == UInt8(ascii: "\n")
    }

    private mutating func skipBlanksAndComments() {
        if offset == 0, bytes.starts(with: [0xEF, 0xBB, 0xBF]) { offset = 3 }  // a byte order mark
        while offset < bytes.count {
            if bytes[offset] == UInt8(ascii: "#") {
                offset = bytes[offset...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
            } else if isBlank(bytes[offset]) {
                if bytes[offset] == UInt8(ascii: "\n") { isLineStart = true }
                offset += 1
            } else {
                return
            }
        }
    }

    private func endsWord(at index: Int) -> Bool {
        guard index < bytes.count else { return true }
        switch bytes[index] {
        case UInt8(ascii: ";"), UInt8(ascii: "{"), UInt8(ascii: "}"): return true
        default: return isBlank(bytes[index])
        }
    }

    private mutating func bareWord(_ startsLine: Bool, _ sink: inout DiagnosticSink) -> Argument {
        let start = offset
        var value: [UInt8] = []
        var isFaulty = false
        if bytes[offset] == UInt8(ascii: "'") {
            sink.error(
                "single quotes do not quote", at: SourceSpan(file: file, start: start, end: start),
                "use double quotes")
            isFaulty = true
        }
        while !endsWord(at: offset) {
            let byte = bytes[offset]
            if isExpansion(at: offset) {
                isFaulty = !expand(into: &value, &sink) || isFaulty
                continue
            }
            if !isFaulty, byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                let what = byte == UInt8(ascii: "\"") ? "quote" : "backslash"
                sink.error(
                    "a \(what) inside a bare word",
                    at: SourceSpan(file: file, start: offset, end: offset + 1),
                    "put the whole argument into double quotes")
                isFaulty = true
            }
            value.append(byte)
            offset += 1
        }
        return finished(value, start, (false, startsLine, isFaulty), &sink)
    }

    private mutating func quotedString(
        _ startsLine: Bool, _ sink: inout DiagnosticSink
    ) -> Argument {
        let start = offset
        var value: [UInt8] = []
        var isFaulty = false
        offset += 1
        while true {
            // A string ends on its line: one forgotten quote must not swallow the rest of the file.
            guard offset < bytes.count, bytes[offset] != UInt8(ascii: "\n") else {
                sink.error(
                    "this string is not closed on its line", at: span(from: start),
                    "expected '\"'; a line break inside a string is written \\n")
                return finished(value, start, (true, startsLine, true), &sink)
            }
            let byte = bytes[offset]
            if byte == UInt8(ascii: "\"") {
                offset += 1
                break
            }
            if byte == UInt8(ascii: "\\") {
                isFaulty = !escape(into: &value, &sink) || isFaulty
            } else if isExpansion(at: offset) {
                isFaulty = !expand(into: &value, &sink) || isFaulty
            } else {
                value.append(byte)
                offset += 1
            }
        }
        if !endsWord(at: offset) {
            sink.error(
                "a blank is missing after this string",
                at: SourceSpan(file: file, start: offset, end: offset), "expected a blank or ';'")
            isFaulty = true
            while !endsWord(at: offset) { offset += 1 }
        }
        return finished(value, start, (true, startsLine, isFaulty), &sink)
    }

    private mutating func escape(
        into value: inout [UInt8], _ sink: inout DiagnosticSink
    ) -> Bool {
        let start = offset
        offset += 1
        guard offset < bytes.count, bytes[offset] != UInt8(ascii: "\n") else { return true }
        let byte = bytes[offset]
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "$"):
            value.append(byte)
        case UInt8(ascii: "n"):
            value.append(UInt8(ascii: "\n"))
        default:
            sink.error(
                "unknown escape", at: SourceSpan(file: file, start: start, end: start + 2),
                "expected \\\", \\\\, \\n or \\$")
            return false
        }
        offset += 1
        return true
    }

    private func isExpansion(at index: Int) -> Bool {
        bytes[index] == UInt8(ascii: "$") && index + 1 < bytes.count
            && bytes[index + 1] == UInt8(ascii: "{")
    }

    /// `${NAME}` at `offset`; false after a reported fault.
    private mutating func expand(
        into value: inout [UInt8], _ sink: inout DiagnosticSink
    ) -> Bool {
        let start = offset
        offset += 2
        let nameStart = offset
        while offset < bytes.count, isNameByte(bytes[offset]) { offset += 1 }
        let name = bytes[nameStart..<offset]
        guard offset < bytes.count, bytes[offset] == UInt8(ascii: "}"), let first = name.first,
            !(48...57).contains(first)
        else {
            sink.error(
                "this is no name of an environment variable", at: span(from: start),
                "expected ${NAME}; in a quoted string \\$ is a plain '$'")
            if offset < bytes.count, bytes[offset] == UInt8(ascii: "}") { offset += 1 }
            return false
        }
        offset += 1
        let variable = String(decoding: name, as: UTF8.self)
        guard let expansion = environment(variable) else {
            sink.error(
                "the environment variable \(shown(variable)) is not set", at: span(from: start))
            return false
        }
        // Only what a quoted string could say: the effective conf must be printable as a conf.
        guard expansion.unicodeScalars.allSatisfy({ !isControl($0) || $0 == "\n" || $0 == "\t" })
        else {
            sink.error(
                "the value of \(shown(variable)) holds a control character", at: span(from: start))
            return false
        }
        // Many expansions of a long value in one argument are cut off here, not after.
        if value.count <= Lexer.argumentLimit { value += Array(expansion.utf8) }
        return true
    }

    private func isNameByte(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (97...122).contains(byte | 0x20) || byte == UInt8(ascii: "_")
    }

    private func finished(
        _ value: [UInt8], _ start: Int,
        _ marks: (isQuoted: Bool, startsLine: Bool, isFaulty: Bool), _ sink: inout DiagnosticSink
    ) -> Argument {
        var isFaulty = marks.isFaulty
        if value.count > Lexer.argumentLimit, !isFaulty {
            sink.error(
                "this argument is longer than \(Lexer.argumentLimit) bytes", at: span(from: start))
            isFaulty = true
        }
        return Argument(
            text: String(decoding: value, as: UTF8.self), span: span(from: start),
            isQuoted: marks.isQuoted, startsLine: marks.startsLine, isFaulty: isFaulty)
    }
}
