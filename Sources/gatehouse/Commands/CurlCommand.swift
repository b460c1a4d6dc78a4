import ArgumentParser
import Foundation

/// A curl command line as people copy it, turned into the request that it would send. It knows the options that shape a
/// request and those that do not matter here; any other is refused by name, since to guess whether it takes a value
/// would explain another request. It runs nothing.
struct CurlCommand {
    private(set) var request: [UInt8] = []

    private var method: String?
    private var fields: [String] = []
    private var data: [[UInt8]] = []
    private var url: String?
    private var isGet = false
    private var isJSON = false

    private static let shorthands: [Character: String] = [
        "X": "--request", "H": "--header", "d": "--data", "u": "--user", "A": "--user-agent",
        "e": "--referer", "b": "--cookie", "G": "--get", "I": "--head", "o": "--output",
        "w": "--write-out", "m": "--max-time", "s": "--silent", "S": "--show-error",
        "v": "--verbose",
        "i": "--include", "k": "--insecure", "L": "--location", "f": "--fail", "N": "--no-buffer",
        "g": "--globoff", "O": "--remote-name", "D": "--dump-header",
    ]
    private static let flagsOfNoMatter: Set<String> = [
        "--silent", "--show-error", "--verbose", "--include", "--insecure", "--location", "--fail",
        "--no-buffer", "--globoff", "--compressed", "--http1.1", "--path-as-is", "--remote-name",
        "--fail-with-body", "--no-progress-meter",
    ]
    private static let valuesOfNoMatter: Set<String> = [
        "--output", "--write-out", "--max-time", "--connect-timeout", "--cacert", "--retry",
        "--resolve", "--dump-header",
    ]

    init(_ text: String) throws {
        var words = try ShellWords.split(text)[...]
        guard words.popFirst() == "curl" else {
            throw ValidationError("--curl takes a command that begins with curl")
        }
        while let word = words.popFirst() {
            if word.hasPrefix("--") {
                try take(word, &words)
            } else if word.hasPrefix("-"), word.count > 1 {
                try takeShorthands(word.dropFirst(), &words)
            } else {
                url = word
            }
        }
        guard let url else { throw ValidationError("the curl command has no URL") }
        request = try written(url)
    }

    /// `-sSXPOST`: flags in a row, of which the last may take what follows.
    private mutating func takeShorthands(
        _ letters: Substring, _ words: inout ArraySlice<String>
    ) throws {
        var letters = letters
        while let letter = letters.popFirst() {
            guard let option = Self.shorthands[letter] else {
                throw ValidationError("the curl option -\(letter) is not known here")
            }
            let takesValue =
                !Self.flagsOfNoMatter.contains(option) && !["--get", "--head"].contains(option)
            if takesValue, !letters.isEmpty {
                words.insert(String(letters), at: words.startIndex)
                letters = ""
            }
            try take(option, &words)
        }
    }

    private mutating func take(_ option: String, _ words: inout ArraySlice<String>) throws {
        if Self.flagsOfNoMatter.contains(option) { return }
        switch option {
        case "--get": isGet = true
        case "--head": method = "HEAD"
        default:
            guard let value = words.popFirst() else {
                throw ValidationError(
                    "the curl option \(option) needs a value, or is not known here")
            }
            if !Self.valuesOfNoMatter.contains(option) { try take(option, value) }
        }
    }

    private mutating func take(_ option: String, _ value: String) throws {
        switch option {
        case "--request": method = value
        case "--header": fields.append(value)
        case "--user":
            let credentials = Data(value.utf8).base64EncodedString()
            fields.append("Authorization: Basic \(credentials)")
        case "--oauth2-bearer": fields.append("Authorization: Bearer \(value)")
        case "--user-agent": fields.append("User-Agent: \(value)")
        case "--referer": fields.append("Referer: \(value)")
        case "--cookie": fields.append("Cookie: \(value)")
        case "--url": url = value
        case "--data-raw": data.append(Array(value.utf8))
        case "--data", "--data-ascii":
            // curl takes line ends out of a file, unless it is --data-binary.
            data.append(
                try content(value).filter { $0 != 0x0A && $0 != 0x0D || !value.hasPrefix("@") })
        case "--data-binary": data.append(try content(value))
        case "--data-urlencode": data.append(try encoded(value))
        case "--json":
            isJSON = true
            data.append(try content(value))
        default: throw ValidationError("the curl option \(option) is not known here")
        }
    }

    private func content(_ value: String) throws -> [UInt8] {
        value.hasPrefix("@") ? try InputFile.read(String(value.dropFirst())) : Array(value.utf8)
    }

    /// `content`, `=content` or `name=content`; the content alone is encoded.
    private func encoded(_ value: String) throws -> [UInt8] {
        guard !value.hasPrefix("@") else {
            throw ValidationError("--data-urlencode @FILE is not known here")
        }
        let parts = value.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        var text = ""
        for byte in (parts.last ?? "").utf8 {
            let isUnreserved =
                byte.isASCIILetterOrDigit || [0x2D, 0x2E, 0x5F, 0x7E].contains(byte)
            text +=
                isUnreserved
                ? String(UnicodeScalar(byte))
                : (byte < 16 ? "%0" : "%")
                    + String(byte, radix: 16, uppercase: true)
        }
        let name = parts.count == 2 ? String(parts[0]) : ""
        return Array((name.isEmpty ? text : "\(name)=\(text)").utf8)
    }

    private func written(_ url: String) throws -> [UInt8] {
        let text = url.contains("://") ? url : "http://\(url)"
        guard let start = text.range(of: "://")?.upperBound else {
            throw ValidationError("\(url): not a URL")
        }
        let rest = text[start...].prefix { $0 != "#" }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        var target = String(rest[end...])
        if !target.hasPrefix("/") { target = "/" + target }
        let content = data.isEmpty ? nil : Array(data.joined(separator: [UInt8(0x26)]))
        if isGet, let content {
            target += (target.contains("?") ? "&" : "?") + String(decoding: content, as: UTF8.self)
        }
        let body = isGet ? nil : content
        var lines = ["\(method ?? (body == nil ? "GET" : "POST")) \(target) HTTP/1.1"]
        if !has("host") { lines.append("Host: \(rest[..<end])") }
        lines += fields
        if let body {
            let type = isJSON ? "application/json" : "application/x-www-form-urlencoded"
            if !has("content-type") { lines.append("Content-Type: \(type)") }
            if !has("content-length") { lines.append("Content-Length: \(body.count)") }
        }
        return Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + (body ?? [])
    }

    private func has(_ name: String) -> Bool {
        fields.contains { $0.lowercased().hasPrefix(name + ":") }
    }
}

extension UInt8 {
    fileprivate var isASCIILetterOrDigit: Bool {
        switch self {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: false
        }
    }
}

/// Words as a POSIX shell makes them of a line, without expansions: quotes, backslashes, continued lines.
enum ShellWords {
    private enum Quote {
        case none, single, double
        /// `$'…'`, as browsers copy bodies with quotes in them.
        case escaped
    }

    static func split(_ text: String) throws -> [String] {
        var words: [String] = []
        var word: String?
        var quote = Quote.none
        // Windows' line ends are one Character, and one too many.
        var rest = text.replacingOccurrences(of: "\r\n", with: "\n")[...]
        while let character = rest.popFirst() {
            switch (quote, character) {
            case (.none, "$") where rest.first == "'":
                rest.removeFirst()
                quote = .escaped
                word = word ?? ""
            case (.none, "'"), (.none, "\""):
                quote = character == "'" ? .single : .double
                word = word ?? ""
            case (.single, "'"), (.double, "\""), (.escaped, "'"):
                quote = .none
            case (.none, "\\"), (.double, "\\"), (.escaped, "\\"):
                guard let next = rest.popFirst() else { break }
                if quote == .escaped, !"nrt'\"\\".contains(next) {
                    throw ValidationError("\\\(next) in $'…' is not known here")
                }
                word = (word ?? "") + unescaped(next, quote)
                if word == "" { word = nil }
            case (.none, _) where character.isWhitespace:
                if let word { words.append(word) }
                word = nil
            default:
                word = (word ?? "") + String(character)
            }
        }
        guard quote == .none else {
            throw ValidationError("a quote of the curl command is not closed")
        }
        if let word { words.append(word) }
        return words
    }

    private static func unescaped(_ next: Character, _ quote: Quote) -> String {
        switch (quote, next) {
        case (.none, "\n"), (.double, "\n"): ""
        case (.escaped, "n"): "\n"
        case (.escaped, "r"): "\r"
        case (.escaped, "t"): "\t"
        case (.double, _) where !["\\", "\"", "$", "`"].contains(next): "\\" + String(next)
        case (.none, _), (.single, _), (.double, _), (.escaped, _): String(next)
        }
    }
}
