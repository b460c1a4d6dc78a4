/// Conf text that is being written.
struct ConfText {
    private(set) var text = ""
    private var depth = 0

    mutating func line(_ name: String, _ value: String) {
        raw(name, [confWord(value)])
    }

    /// Nothing at all for an empty list: no directive takes none.
    mutating func line(_ name: String, _ values: [String]) {
        if !values.isEmpty { raw(name, values.map(confWord)) }
    }

    /// `words` are written as they are.
    mutating func raw(_ name: String, _ words: [String]) {
        indent()
        text += ([name] + words).joined(separator: " ") + ";\n"
    }

    mutating func block(_ name: String, _ argument: String, _ body: (inout ConfText) -> Void) {
        block(name, [argument], body)
    }

    mutating func block(
        _ name: String, _ arguments: [String] = [], _ body: (inout ConfText) -> Void
    ) {
        indent()
        text += ([name] + arguments.map(confWord)).joined(separator: " ") + " {\n"
        depth += 1
        body(&self)
        depth -= 1
        indent()
        text += "}\n"
    }

    private mutating func indent() {
        text += String(repeating: "    ", count: depth)
    }
}

/// A value as an argument: bare where that is safe, else quoted.
func confWord(_ value: String) -> String {
    let isBare = value.utf8.allSatisfy {
        isASCIILetterOrDigit($0) || "-._/:@*=+,~%&?!|<>()[]^$".utf8.contains($0)
    }
    if isBare, !value.isEmpty { return value }
    var quoted = "\""
    for scalar in value.unicodeScalars {
        switch scalar {
        case "\"": quoted += "\\\""
        case "\\": quoted += "\\\\"
        case "$": quoted += "\\$"
        case "\n": quoted += "\\n"
        default: quoted.unicodeScalars.append(scalar)
        }
    }
    return quoted + "\""
}
