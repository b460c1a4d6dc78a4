import HTTP
import Primitives
import Telemetry

/// A request's head as `explain` tells of it: what was read, without what proves anything to anyone.
enum HeadReport {
    private static let shownValueBytes = 200

    static func lines(_ head: RequestHead) -> [String] {
        var target: [UInt8] = []
        target.append(head.span(of: head.isAsterisk ? head.target : head.path))
        if head.hasQuery {
            target.append(0x3F)
            QueryRedaction.append(query: head.span(of: head.query), to: &target)
        }
        let method = text(head.span(of: head.methodRange))
        let authority = text(head.span(of: head.authority))
        return [
            "\(method) \(text(target.span)), host \(authority.isEmpty ? "not named" : authority)"
        ] + head.fields.map { field(head, $0) } + ["body: \(framing(head.framing))"]
    }

    private static func field(_ head: RequestHead, _ line: FieldLine) -> String {
        let name = text(head.span(of: line.name))
        var value = Array(text(head.span(of: line.value)).utf8)
        if hidden.contains(name.lowercased()) {
            // The scheme says what is looked for; a cookie has none.
            let scheme = value.prefix { $0 != 0x20 && $0 != 0x3D }
            let shown = name.lowercased().hasSuffix("authorization") ? scheme.count : 0
            return "\(name): \(String(decoding: scheme.prefix(shown), as: UTF8.self)) "
                + "(\(value.count) bytes, not shown)"
        }
        guard value.count > shownValueBytes else {
            return "\(name): \(String(decoding: value, as: UTF8.self))"
        }
        value.removeSubrange(shownValueBytes...)
        return "\(name): \(String(decoding: value, as: UTF8.self))…"
    }

    private static let hidden: Set<String> = [
        "authorization", "proxy-authorization", "cookie", "x-api-key", "dpop",
    ]

    private static func framing(_ framing: BodyFraming) -> String {
        switch framing {
        case .none, .untilClose: "none"
        case .length(let count): "\(count) bytes"
        case .chunked: "chunked"
        }
    }

    private static func text(_ span: Span<UInt8>) -> String {
        var bytes: [UInt8] = []
        bytes.append(span)
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Text of strangers on a terminal.
public enum PrintableText {
    /// Controls, and what turns the direction of text, as `\u{1b}`: nothing that a request carries may act on the
    /// terminal of who looks at it, or look like a line of ours.
    public static func escaped(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: acts) else { return text }
        var output = ""
        for scalar in text.unicodeScalars {
            if acts(scalar) {
                output += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                output.unicodeScalars.append(scalar)
            }
        }
        return output
    }

    /// A text of JSON, in which such characters stand in strings alone, but for the line ends between its values.
    public static func escapedJSON(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { acts($0) && $0 != "\n" }) else { return text }
        var output = ""
        for scalar in text.unicodeScalars {
            if acts(scalar), scalar != "\n" {
                let digits = String(scalar.value, radix: 16)
                output += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            } else {
                output.unicodeScalars.append(scalar)
            }
        }
        return output
    }

    private static func acts(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F...0x9F, 0x061C, 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}
