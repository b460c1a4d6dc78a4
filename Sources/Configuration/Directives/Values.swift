import Primitives

/// Readers of single values. Each reports what is wrong and gives `nil`.
extension Interpreter {
    /// `512 64k 1m 2g`, in bytes.
    mutating func size(_ argument: Argument, _ range: ClosedRange<Int>) -> Int? {
        let expected =
            "expected a size from \(sizeText(range.lowerBound)) to "
            + "\(sizeText(range.upperBound)), as 512, 64k, 1m or 2g"
        let units = [("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30)]
        let unit = units.first { argument.text.hasSuffix($0.0) }
        let digits = unit == nil ? argument.text[...] : argument.text.dropLast()
        guard let number = unsignedInteger(digits) else {
            sink.error("\(shown(argument.text)) is no size", at: argument.span, expected)
            return nil
        }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: unit?.1 ?? 1)
        guard !overflow, range.contains(bytes) else {
            sink.error("\(shown(argument.text)) is out of range", at: argument.span, expected)
            return nil
        }
        return bytes
    }

    /// `250ms 5s 10m 1h 7d`; the unit is never left out.
    mutating func duration(
        _ argument: Argument,
        _ range: ClosedRange<Duration> = .milliseconds(1)...Interpreter.longest
    ) -> Duration? {
        let expected =
            "expected a time from \(durationText(range.lowerBound)) to "
            + "\(durationText(range.upperBound)), as 250ms, 5s, 10m, 1h or 7d"
        let units: [(String, Int)] = [
            ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
        ]
        guard let unit = units.first(where: { argument.text.hasSuffix($0.0) }),
            let number = unsignedInteger(argument.text.dropLast(unit.0.count))
        else {
            sink.error("\(shown(argument.text)) is no time", at: argument.span, expected)
            return nil
        }
        let (milliseconds, overflow) = number.multipliedReportingOverflow(by: unit.1)
        guard !overflow, range.contains(.milliseconds(milliseconds)) else {
            sink.error("\(shown(argument.text)) is out of range", at: argument.span, expected)
            return nil
        }
        return .milliseconds(milliseconds)
    }

    static var longest: Duration { .seconds(3650 * 86_400) }

    mutating func integer(_ argument: Argument, _ range: ClosedRange<Int>) -> Int? {
        guard let number = unsignedInteger(argument.text[...]), range.contains(number) else {
            sink.error(
                "\(shown(argument.text)) is no number in range", at: argument.span,
                "expected \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return number
    }

    /// Digits alone: no sign, no blank, no overflow.
    private func unsignedInteger(_ text: Substring) -> Int? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return Int(text)
    }

    /// One of `choices`. `later` are known too, and refused by name.
    mutating func choice(
        _ argument: Argument, _ choices: [String], later: [String] = []
    ) -> String? {
        if choices.contains(argument.text) { return argument.text }
        if later.contains(argument.text) {
            sink.error(
                "\(shown(argument.text)) is not in this version of Gatehouse", at: argument.span,
                "expected \(listed(choices))")
            return nil
        }
        let near = nearestName(to: argument.text, among: choices)
        sink.error(
            "unknown value \(shown(argument.text))", at: argument.span,
            near.map { "did you mean \(shown($0))?" } ?? "expected \(listed(choices))")
        return nil
    }

    /// As `choice`, for an enum.
    mutating func choice<Value: RawRepresentable<String> & CaseIterable>(
        _ argument: Argument, _ type: Value.Type, later: [String] = []
    ) -> Value? {
        choice(argument, type.allCases.map(\.rawValue), later: later).flatMap(Value.init(rawValue:))
    }

    mutating func flag(_ argument: Argument) -> Bool? {
        choice(argument, ["on", "off"]).map { $0 == "on" }
    }

    /// A switch of which this version has `off` alone.
    mutating func offOnly(_ statement: Statement) {
        guard choice(statement.arguments[0], ["on", "off"]) == "on" else { return }
        sink.error(
            "\(shown(statement.name.text + " on")) is not in this version of Gatehouse",
            at: statement.arguments[0].span, "expected off")
    }

    /// Values that each pass `read`, every one at most once.
    mutating func list<Value: Hashable>(
        _ arguments: [Argument], _ read: (inout Interpreter, Argument) -> Value?
    ) -> [Value]? {
        var values: [Value] = []
        var seen: Set<Value> = []
        for argument in arguments {
            guard let value = read(&self, argument) else { continue }
            guard seen.insert(value).inserted else {
                sink.error("\(shown(argument.text)) is here twice", at: argument.span)
                continue
            }
            values.append(value)
        }
        return values.count == arguments.count ? values : nil
    }

    /// The name of a listener, an upstream or an issuer: it appears in logs and metrics.
    mutating func name(_ argument: Argument) -> String? {
        let text = argument.text
        let isLegal = text.utf8.allSatisfy {
            isASCIILetterOrDigit($0) || $0 == 45 || $0 == 46 || $0 == 95
        }
        guard isLegal, !text.isEmpty, text.utf8.count <= 64 else {
            sink.error(
                "\(shown(text)) is no name", at: argument.span,
                "expected 1 to 64 letters, digits, '-', '_' or '.'")
            return nil
        }
        return text
    }

    /// Free text that is compared byte for byte, such as an audience or a claim's value.
    mutating func text(_ argument: Argument, limit: Int = 1024) -> String? {
        let text = argument.text
        guard !text.isEmpty, text.utf8.count <= limit,
            !text.unicodeScalars.contains(where: isControl)
        else {
            sink.error(
                "\(shown(text)) cannot be used here", at: argument.span,
                "expected 1 to \(limit) bytes without control characters")
            return nil
        }
        return text
    }

    /// A scope-token (RFC 6749 section 3.3): printable ASCII without blank, `"` and `\`.
    mutating func scope(_ argument: Argument) -> String? {
        let isLegal = argument.text.utf8.allSatisfy {
            (0x21...0x7E).contains($0) && $0 != 0x22 && $0 != 0x5C
        }
        guard isLegal, !argument.text.isEmpty, argument.text.utf8.count <= 256 else {
            sink.error(
                "\(shown(argument.text)) is no scope", at: argument.span,
                "expected printable ASCII without blanks, '\"' and '\\' (RFC 6749 section 3.3)")
            return nil
        }
        return argument.text
    }

    /// An absolute http or https URL without query and fragment (RFC 8414 section 2).
    mutating func url(_ argument: Argument) -> String? {
        guard let fault = urlFault(argument.text) else { return argument.text }
        sink.error(
            "\(shown(argument.text)) \(fault)", at: argument.span,
            "expected https://HOST[:PORT][/PATH]")
        return nil
    }

    /// A URL that we ask ourselves, perhaps with a query. What comes from there is believed: in clear it comes from this
    /// machine alone.
    mutating func askedURL(_ argument: Argument) -> String? {
        let text = argument.text
        let fault =
            urlFault(text, allowsQuery: true)
            ?? (isAskable(text) ? nil : "is http, and not of this machine")
        guard let fault else { return text }
        sink.error(
            "\(shown(text)) \(fault)", at: argument.span,
            "expected https://HOST[:PORT][/PATH]; http for localhost, 127.0.0.1 and [::1] alone")
        return nil
    }

    mutating func prefix(_ argument: Argument) -> IPPrefix? {
        if let prefix = IPPrefix(argument.text) { return prefix }
        let expected =
            argument.text == "all"
            ? "for every address write 0.0.0.0/0 ::/0"
            : "expected an address block such as 10.0.0.0/8, without bits beyond its length"
        sink.error("\(shown(argument.text)) is no address block", at: argument.span, expected)
        return nil
    }

    /// `HOST:PORT`, `[V6]:PORT` or `unix:/path`.
    /// An address to listen on: a socket that systemd has bound is one too.
    mutating func ownEndpoint(_ argument: Argument) -> Endpoint? {
        guard argument.text.hasPrefix("systemd:") else { return endpoint(argument) }
        let name = String(argument.text.dropFirst(8))
        // FileDescriptorName= of systemd.socket(5): ASCII without control characters and ':'.
        guard !name.isEmpty, name.utf8.count <= 255,
            name.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: ":") })
        else {
            sink.error(
                "\(shown(argument.text)) names no socket of systemd", at: argument.span,
                "expected systemd:NAME, with the NAME of FileDescriptorName= in the socket unit")
            return nil
        }
        return .activated(name: name)
    }

    mutating func endpoint(_ argument: Argument) -> Endpoint? {
        let expected = "expected HOST:PORT, [V6]:PORT or unix:/path"
        guard let endpoint = Endpoint(argument.text),
            !argument.text.unicodeScalars.contains(where: isControl)
        else {
            sink.error("\(shown(argument.text)) is no address", at: argument.span, expected)
            return nil
        }
        if case .name(let host, _) = endpoint {
            // `10.0.0.256` would be looked up as a name.
            let last = host.split(separator: ".", omittingEmptySubsequences: false).last ?? ""
            guard !last.utf8.allSatisfy({ (48...57).contains($0) }) else {
                sink.error("\(shown(host)) is no IPv4 address", at: argument.span, expected)
                return nil
            }
        }
        return endpoint
    }
}

func isASCIILetterOrDigit(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
}

/// `tchar` of RFC 9110 section 5.6.2.
func isToken(_ text: String) -> Bool {
    !text.isEmpty
        && text.utf8.allSatisfy { isASCIILetterOrDigit($0) || "!#$%&'*+-.^_`|~".utf8.contains($0) }
}

/// What is wrong with a URL for an issuer or a base string; `nil` when nothing is.
private func urlFault(_ text: String, allowsQuery: Bool = false) -> String? {
    guard text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
        return "holds bytes that no URL has"
    }
    guard let scheme = ["https://", "http://"].first(where: text.hasPrefix) else {
        return "is no http or https URL"
    }
    let illegal = allowsQuery ? "#\"<>\\^`{|}" : "?#\"<>\\^`{|}"
    guard !text.utf8.contains(where: illegal.utf8.contains) else {
        return text.contains("?") && !allowsQuery
            ? "has a query" : text.contains("#") ? "has a fragment" : "holds bytes that no URL has"
    }
    let authority = text.dropFirst(scheme.count).prefix { $0 != "/" && $0 != "?" }
    guard !authority.contains("@") else { return "names a user" }
    var port: Substring?
    var host = authority
    if let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") {
        host = authority[..<colon]
        port = authority[authority.index(after: colon)...]
    }
    if let port {
        guard !port.isEmpty, port.utf8.allSatisfy({ (48...57).contains($0) }),
            let number = UInt16(port),
            number > 0
        else { return "has no valid port" }
    }
    return isHost(String(host)) ? nil : "has no valid host"
}

/// Whether a URL may be asked: https, or http on this machine.
public func isAskable(_ url: String) -> Bool {
    if url.hasPrefix("https://") { return true }
    guard url.hasPrefix("http://") else { return false }
    let authority = url.dropFirst("http://".utf8.count).prefix { $0 != "/" && $0 != "?" }
    let endpoint = Endpoint(String(authority)) ?? Endpoint("\(authority):80")
    switch endpoint {
    case .ip(.v4(let value), _): return value >> 24 == 127
    case .ip(let address, _): return address == .v6(0, 1)
    case .name(let name, _): return name.lowercased() == "localhost"
    case .unix, .activated, nil: return false
    }
}

/// A host name, an IPv4 address or an IPv6 address in brackets.
func isHost(_ text: String) -> Bool {
    guard let endpoint = Endpoint("\(text):1") else { return false }
    if case .unix = endpoint { return false }
    return text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { !$0.isEmpty }
}

/// The shortest form of a size: `65536` is `64k`.
func sizeText(_ bytes: Int) -> String {
    for (unit, factor) in [("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10)]
    where bytes > 0 && bytes % factor == 0 { return "\(bytes / factor)\(unit)" }
    return "\(bytes)"
}

/// The shortest form of a duration of whole milliseconds: `600s` is `10m`.
func durationText(_ duration: Duration) -> String {
    let milliseconds = duration.wholeNanoseconds / 1_000_000
    for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
    where milliseconds > 0 && milliseconds % UInt64(factor) == 0 {
        return "\(milliseconds / UInt64(factor))\(unit)"
    }
    return "\(milliseconds)ms"
}
