import Primitives

/// Reads request heads (RFC 9112 sections 2 to 6), strictly: every departure from the grammar is a fault, as soon as its
/// byte is in. A head may arrive in any pieces; they are kept in the head itself.
public struct RequestHeadParser {
    private enum Stage {
        case requestLine
        case fields
    }

    /// Empty lines before a request line that are forgiven (RFC 9112 section 2.2).
    private static let emptyLineLimit = 4

    public let limits: HTTP1Limits
    private var lines = HeadLines()
    private var stage = Stage.requestLine
    private var emptyLines = 0
    private var checked = 0
    private var framing = FramingFacts()
    /// Whether a byte of a head has come since `reset`.
    public private(set) var hasBegun = false

    public init(limits: HTTP1Limits) {
        self.limits = limits
    }

    /// Makes the parser ready for the next head.
    public mutating func reset() {
        lines = HeadLines()
        stage = .requestLine
        emptyLines = 0
        checked = 0
        framing = FramingFacts()
        hasBegun = false
    }

    /// Takes bytes of `input` from `offset` on into `head`, which must be empty when a head begins.
    public mutating func parse(
        _ input: Span<UInt8>, from offset: Int, into head: RequestHead
    ) throws(HTTP1Error) -> HeadProgress {
        // Worked on apart, so that the head is written to once.
        var facts = head.facts
        defer { head.facts = facts }
        return try head.change { storage throws(HTTP1Error) in
            try parse(input, from: offset, &storage, &facts)
        }
    }

    private mutating func parse(
        _ input: Span<UInt8>, from offset: Int, _ head: inout HeadStorage,
        _ facts: inout RequestHead.Facts
    ) throws(HTTP1Error) -> HeadProgress {
        var offset = offset
        if offset < input.count { hasBegun = true }
        while true {
            switch stage {
            case .requestLine:
                guard let line = try requestLine(input, &offset, &head.bytes) else {
                    return .incomplete
                }
                if line.isEmpty {
                    emptyLines += 1
                    guard emptyLines <= RequestHeadParser.emptyLineLimit else {
                        throw .tooManyEmptyLines
                    }
                    lines.drop(line, from: &head.bytes)
                    checked = 0
                } else {
                    try RequestLine.read(line, of: head.bytes.span, &facts)
                    stage = .fields
                }
            case .fields:
                let event = try lines.next(
                    input, from: &offset, into: &head.bytes, allowsTab: true,
                    limit: limits.headBytes)
                guard case .line(let line) = event else { return .incomplete }
                if line.isEmpty {
                    try framing.finish(&facts)
                    if framing.connectionNamesFields {
                        let bytes = head.bytes
                        ConnectionOptions.mark(&head.fields, bytes.span)
                    }
                    return .complete(nextOffset: offset)
                }
                guard head.fields.count < limits.fieldCount else { throw .tooManyFields }
                let field = try HeadLines.field(head.bytes.span, line)
                head.fields.append(field)
                if field.id != .other { try framing.note(field, head.bytes.span, &facts) }
            }
        }
    }

    private mutating func requestLine(
        _ input: Span<UInt8>, _ offset: inout Int, _ bytes: inout [UInt8]
    ) throws(HTTP1Error) -> Range<Int>? {
        let event: HeadLines.Event
        do throws(HTTP1Error) {
            event = try lines.next(
                input, from: &offset, into: &bytes, allowsTab: false,
                limit: limits.requestLineBytes + 2)
        } catch {
            // A wrong byte before this one came first.
            try refuseEarly(bytes.span)
            throw error == .headTooLarge ? .requestLineTooLong : error
        }
        try refuseEarly(bytes.span)
        guard case .line(let line) = event else { return nil }
        return line
    }

    /// What can be no request line is refused before its end comes: a TLS ClientHello, say, has no line end.
    private mutating func refuseEarly(_ bytes: Span<UInt8>) throws(HTTP1Error) {
        guard checked < bytes.count else { return }
        if checked == 0, bytes[0] != 0x0D, bytes[0] < 0x80, !ASCII.isTokenCharacter(bytes[0]) {
            throw .invalidMethod
        }
        guard ASCII.firstHigh(bytes, from: checked) == bytes.count else {
            throw .invalidRequestLine
        }
        checked = bytes.count
    }
}

/// The request line (RFC 9112 section 3): exactly two spaces, a token, a target, a version.
enum RequestLine {
    static func read(
        _ line: Range<Int>, of bytes: Span<UInt8>, _ facts: inout RequestHead.Facts
    ) throws(HTTP1Error) {
        var first = line.lowerBound
        while first < line.upperBound, ASCII.isTokenCharacter(bytes[first]) { first += 1 }
        guard first > line.lowerBound else { throw .invalidMethod }
        guard first < line.upperBound else { throw .invalidRequestLine }
        guard bytes[first] == 0x20 else { throw .invalidMethod }
        var second = first + 1
        while second < line.upperBound, bytes[second] != 0x20 { second += 1 }
        guard second < line.upperBound, second > first + 1 else { throw .invalidRequestLine }
        try version(bytes.extracting(second + 1..<line.upperBound), &facts)
        facts.methodRange = ByteRange(start: line.lowerBound, count: first - line.lowerBound)
        facts.method = Method(bytes.extracting(line.lowerBound..<first))
        facts.target = ByteRange(start: first + 1, count: second - first - 1)
        try target(bytes, first + 1..<second, &facts)
    }

    private static func version(_ text: Span<UInt8>, _ facts: inout RequestHead.Facts)
        throws(HTTP1Error)
    {
        // HTTP/d.d
        guard text.count == 8, text[0] == 0x48, text[1] == 0x54, text[2] == 0x54, text[3] == 0x50,
            text[4] == 0x2F, ASCII.isDigit(text[5]), text[6] == 0x2E, ASCII.isDigit(text[7])
        else { throw .invalidVersion }
        switch (text[5], text[7]) {
        case (0x31, 0x31): facts.version = .http11
        case (0x31, 0x30): facts.version = .http10
        default: throw .unsupportedVersion
        }
    }

    static func target(
        _ bytes: Span<UInt8>, _ range: Range<Int>, _ facts: inout RequestHead.Facts
    ) throws(HTTP1Error) {
        var question = range.upperBound
        for index in range {
            let byte = bytes[index]
            // Visible ASCII; a fragment is never sent (RFC 9110 section 4.2.5).
            guard byte > 0x20, byte < 0x7F, byte != 0x23 else { throw .invalidTarget }
            if byte == 0x3F, question == range.upperBound { question = index }
        }
        facts.hasQuery = question < range.upperBound
        if facts.hasQuery {
            facts.query = ByteRange(
                start: question + 1, count: range.upperBound - question - 1)
        }
        if facts.method == .connect {
            // Authority form: the gateway opens no tunnel, so only the shape is looked at.
            guard Authority.isValid(bytes.extracting(range)) else { throw .invalidTarget }
            facts.path = ByteRange(start: range.lowerBound, count: range.count)
            return
        }
        if bytes[range.lowerBound] == 0x2F {
            facts.path = ByteRange(start: range.lowerBound, count: question - range.lowerBound)
        } else if range.count == 1, bytes[range.lowerBound] == 0x2A, facts.method == .options {
            facts.isAsterisk = true
            facts.path = ByteRange(start: range.lowerBound, count: 1)
        } else {
            try absolute(bytes, range.lowerBound..<question, &facts)
        }
        try escapes(bytes, facts.path.range)
    }

    /// `http://authority[path]` (RFC 9112 section 3.2.2).
    private static func absolute(
        _ bytes: Span<UInt8>, _ range: Range<Int>, _ facts: inout RequestHead.Facts
    ) throws(HTTP1Error) {
        var start = range.lowerBound
        if hasPrefix("http://", bytes, range) {
            start += 7
        } else if hasPrefix("https://", bytes, range) {
            start += 8
            facts.targetSchemeIsHTTPS = true
        } else {
            throw .invalidTarget
        }
        var slash = start
        while slash < range.upperBound, bytes[slash] != 0x2F { slash += 1 }
        guard Authority.isValid(bytes.extracting(start..<slash)) else { throw .invalidTarget }
        facts.isAbsoluteForm = true
        facts.authority = ByteRange(start: start, count: slash - start)
        facts.path = ByteRange(start: slash, count: range.upperBound - slash)
    }

    private static func hasPrefix(
        _ prefix: StaticString, _ bytes: Span<UInt8>, _ range: Range<Int>
    ) -> Bool {
        range.count >= prefix.utf8CodeUnitCount
            && prefix.equalsIgnoringCase(
                bytes.extracting(range.lowerBound..<range.lowerBound + prefix.utf8CodeUnitCount),
                foldsSymbols: false)
    }

    /// Every `%` of the path begins a whole escape (RFC 3986 section 2.1).
    private static func escapes(_ bytes: Span<UInt8>, _ range: Range<Int>) throws(HTTP1Error) {
        for index in range where bytes[index] == 0x25 {
            guard index + 2 < range.upperBound, ASCII.hexValue(bytes[index + 1]) < 16,
                ASCII.hexValue(bytes[index + 2]) < 16
            else { throw .invalidTarget }
        }
    }
}

/// Host and port (RFC 9110 section 4.2.1, RFC 3986 section 3.2), without userinfo.
enum Authority {
    static func isValid(_ text: Span<UInt8>) -> Bool {
        guard text.count > 0, text.count <= 512 else { return false }
        var index = 0
        if text[0] == 0x5B {
            index = 1
            while index < text.count, text[index] != 0x5D { index += 1 }
            guard index < text.count, isIPLiteral(text.extracting(1..<index)) else { return false }
            index += 1
        } else {
            while index < text.count, isHostByte(text, index) { index += 1 }
            guard index > 0 else { return false }
        }
        return index == text.count || isPort(text.extracting(index..<text.count))
    }

    /// reg-name: unreserved, sub-delims but for the comma (which would make a list), whole escapes never.
    private static func isHostByte(_ text: Span<UInt8>, _ index: Int) -> Bool {
        switch text[index] {
        case 0x41...0x5A, 0x61...0x7A, 0x30...0x39, 0x2D, 0x2E, 0x5F, 0x7E: true
        case 0x21, 0x24, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x2B, 0x3B, 0x3D: true
        default: false
        }
    }

    /// What may stand in brackets: an IPv6 address. An IPv4 address may not, zones and later versions are not served.
    private static func isIPLiteral(_ text: Span<UInt8>) -> Bool {
        guard text.count >= 2, text.count <= 45 else { return false }
        var characters: [UInt8] = []
        characters.append(text)
        guard case .v6 = IPAddress(String(decoding: characters, as: UTF8.self)) else {
            return false
        }
        return true
    }

    /// `:` and at most five digits up to 65535; an empty port is the default one.
    private static func isPort(_ text: Span<UInt8>) -> Bool {
        guard text[0] == 0x3A, text.count <= 6 else { return false }
        var port = 0
        for index in 1..<text.count {
            guard ASCII.isDigit(text[index]) else { return false }
            port = port * 10 + Int(text[index] - 0x30)
        }
        return port <= 65535
    }
}
