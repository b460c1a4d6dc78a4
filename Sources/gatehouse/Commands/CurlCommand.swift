import ArgumentParser
import Foundation

/// A curl command line as people copy it, turned into the request that it would send. It knows the options that shape a
/// request; it runs nothing.
struct CurlCommand {
    let request: [UInt8]

    init(_ text: String) throws {
        var words = try CurlCommand.words(text)[...]
        guard words.popFirst() == "curl" else {
            throw ValidationError("--curl takes a command that begins with curl")
        }
        var method: String?
        var headers: [String] = []
        var data: [String] = []
        var url: String?
        var isGet = false
        func value(_ option: String) throws -> String {
            guard let value = words.popFirst() else {
                throw ValidationError("\(option) needs a value")
            }
            return value
        }
        while let word = words.popFirst() {
            switch word {
            case "-X", "--request": method = try value(word)
            case "-H", "--header": headers.append(try value(word))
            case "-d", "--data", "--data-raw", "--data-binary", "--data-ascii":
                data.append(try value(word))
            case "--data-urlencode": data.append(CurlCommand.encoded(try value(word)))
            case "-u", "--user":
                let credentials = Data(try value(word).utf8).base64EncodedString()
                headers.append("Authorization: Basic \(credentials)")
            case "-A", "--user-agent": headers.append("User-Agent: \(try value(word))")
            case "-G", "--get": isGet = true
            case "-I", "--head": method = "HEAD"
            case "--url": url = try value(word)
            case "-o", "--output", "-w", "--write-out", "-m", "--max-time", "--connect-timeout",
                "--cacert":
                _ = try value(word)
            case let option where option.hasPrefix("-"):
                continue
            default: url = word
            }
        }
        guard let url else { throw ValidationError("the curl command has no URL") }
        request = try CurlCommand.request(
            url, method: method, headers: headers, data: data.joined(separator: "&"),
            isGet: isGet)
    }

    private static func request(
        _ url: String, method: String?, headers: [String], data: String, isGet: Bool
    ) throws -> [UInt8] {
        let text = url.contains("://") ? url : "http://\(url)"
        guard let start = text.range(of: "://")?.upperBound else {
            throw ValidationError("\(url): not a URL")
        }
        let rest = text[start...].prefix { $0 != "#" }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let authority = rest[..<end]
        var target = String(rest[end...])
        if !target.hasPrefix("/") { target = "/" + target }
        if isGet, !data.isEmpty { target += (target.contains("?") ? "&" : "?") + data }
        let body = isGet ? "" : data
        let hasBody = !body.isEmpty
        var lines = ["\(method ?? (hasBody ? "POST" : "GET")) \(target) HTTP/1.1"]
        func hasHeader(_ name: String) -> Bool {
            headers.contains { $0.lowercased().hasPrefix(name + ":") }
        }
        if !hasHeader("host") { lines.append("Host: \(authority)") }
        lines += headers
        if hasBody {
            if !hasHeader("content-type") {
                lines.append("Content-Type: application/x-www-form-urlencoded")
            }
            lines.append("Content-Length: \(body.utf8.count)")
        }
        return Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + body).utf8)
    }

    private static func encoded(_ pair: String) -> String {
        let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        var allowed = CharacterSet.alphanumerics
        allowed.insert(charactersIn: "-._~")
        let value = String(parts.last ?? "").addingPercentEncoding(withAllowedCharacters: allowed)
        return parts.count == 2 ? "\(parts[0])=\(value ?? "")" : value ?? ""
    }

    /// Splits as a shell does: quotes, backslashes, line continuations.
    static func words(_ text: String) throws -> [String] {
        var words: [String] = []
        var word: String?
        var quote: Character?
        var characters = text[...]
        while let character = characters.popFirst() {
            switch (quote, character) {
            case ("'", "'"), ("\"", "\""):
                quote = nil
            case (nil, "'"), (nil, "\""):
                quote = character
                word = word ?? ""
            case (nil, "\\"), ("\"", "\\"):
                guard let next = characters.popFirst() else { break }
                if next != "\n" { word = (word ?? "") + String(next) }
            case (nil, _) where character.isWhitespace:
                if let finished = word { words.append(finished) }
                word = nil
            default:
                word = (word ?? "") + String(character)
            }
        }
        guard quote == nil else {
            throw ValidationError("a quote of the curl command is not closed")
        }
        if let word { words.append(word) }
        return words
    }
}
