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
    private var facts = FramingFacts()
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
        facts = FramingFacts()
        hasBegun = false
    }

    /// Takes bytes of `input` from `offset` on into `head`, which must be empty when a head begins.
    public mutating func parse(
        _ input: Span<UInt8>, from offset: Int, into head: RequestHead
    ) throws(HTTP1Error) -> HeadProgress {
        var offset = offset
        if offset < input.count { hasBegun = true }
        while true {
            switch stage {
            case .requestLine:
                guard let line = try requestLine(input, &offset, head) else { return .incomplete }
                if line.isEmpty {
                    emptyLines += 1
                    guard emptyLines <= RequestHeadParser.emptyLineLimit else {
                        throw .tooManyEmptyLines
                    }
                    lines.drop(line, from: &head.bytes)
                    checked = 0
                } else {
                    try RequestLine.read(line, into: head)
                    stage = .fields
                }
            case .fields:
                let event = try lines.next(
                    input, from: &offset, into: &head.bytes, allowsTab: true,
                    limit: limits.headBytes)
                guard case .line(let line) = event else { return .incomplete }
                if line.isEmpty {
                    try facts.finish(head)
                    return .complete(nextOffset: offset)
                }
                guard head.fields.count < limits.fieldCount else { throw .tooManyFields }
                let field = try HeadLines.field(head.content, line)
                head.fields.append(field)
                if field.id != .other { try facts.note(field, head) }
            }
        }
    }

    private mutating func requestLine(
        _ input: Span<UInt8>, _ offset: inout Int, _ head: RequestHead
    ) throws(HTTP1Error) -> Range<Int>? {
        let event: HeadLines.Event
        do throws(HTTP1Error) {
            event = try lines.next(
                input, from: &offset, into: &head.bytes, allowsTab: false,
                limit: limits.requestLineBytes + 2)
        } catch {
            // A wrong byte before this one came first.
            try refuseEarly(head)
            throw error == .headTooLarge ? .requestLineTooLong : error
        }
        try refuseEarly(head)
        guard case .line(let line) = event else { return nil }
        return line
    }

    /// What can be no request line is refused before its end comes: a TLS ClientHello, say, has no line end.
    private mutating func refuseEarly(_ head: RequestHead) throws(HTTP1Error) {
        let bytes = head.content
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
    static func read(_ line: Range<Int>, into head: RequestHead) throws(HTTP1Error) {
        let bytes = head.content
        var first = line.lowerBound
        while first < line.upperBound, ASCII.isTokenCharacter(bytes[first]) { first += 1 }
        guard first > line.lowerBound else { throw .invalidMethod }
        guard first < line.upperBound else { throw .invalidRequestLine }
        guard bytes[first] == 0x20 else { throw .invalidMethod }
        var second = first + 1
        while second < line.upperBound, bytes[second] != 0x20 { second += 1 }
        guard second < line.upperBound, second > first + 1 else { throw .invalidRequestLine }
        try version(bytes.extracting(second + 1..<line.upperBound), head)
        head.methodRange = ByteRange(start: line.lowerBound, count: first - line.lowerBound)
        head.method = Method(bytes.extracting(line.lowerBound..<first))
        head.target = ByteRange(start: first + 1, count: second - first - 1)
        try target(bytes, first + 1..<second, head)
    }

    private static func version(_ text: Span<UInt8>, _ head: RequestHead) throws(HTTP1Error) {
        // HTTP/d.d
        guard text.count == 8, text[0] == 0x48, text[1] == 0x54, text[2] == 0x54, text[3] == 0x50,
            text[4] == 0x2F, ASCII.isDigit(text[5]), text[6] == 0x2E, ASCII.isDigit(text[7])
        else { throw .invalidVersion }
        switch (text[5], text[7]) {
        case (0x31, 0x31): head.version = .http11
        case (0x31, 0x30): head.version = .http10
        default: throw .unsupportedVersion
        }
    }

    static func target(
        _ bytes: Span<UInt8>, _ range: Range<Int>, _ head: RequestHead
    ) throws(HTTP1Error) {
        var question = range.upperBound
        for index in range {
            let byte = bytes[index]
            // Visible ASCII; a fragment is never sent (RFC 9110 section 4.2.5).
            guard byte > 0x20, byte < 0x7F, byte != 0x23 else { throw .invalidTarget }
            if byte == 0x3F, question == range.upperBound { question = index }
        }
        head.hasQuery = question < range.upperBound
        if head.hasQuery {
            head.query = ByteRange(start: question + 1, count: range.upperBound - question - 1)
        }
        if head.method == .connect {
            // Authority form: the gateway opens no tunnel, so only the shape is looked at.
            guard Authority.isValid(bytes.extracting(range)) else { throw .invalidTarget }
            head.path = ByteRange(start: range.lowerBound, count: range.count)
            return
        }
        if bytes[range.lowerBound] == 0x2F {
            head.path = ByteRange(start: range.lowerBound, count: question - range.lowerBound)
        } else if range.count == 1, bytes[range.lowerBound] == 0x2A, head.method == .options {
            head.isAsterisk = true
            head.path = ByteRange(start: range.lowerBound, count: 1)
        } else {
            try absolute(bytes, range.lowerBound..<question, head)
        }
        try escapes(bytes, head.path.range)
    }

    /// `http://authority[path]` (RFC 9112 section 3.2.2).
    private static func absolute(
        _ bytes: Span<UInt8>, _ range: Range<Int>, _ head: RequestHead
    ) throws(HTTP1Error) {
        var start = range.lowerBound
        if hasPrefix("http://", bytes, range) {
            start += 7
        } else if hasPrefix("https://", bytes, range) {
            start += 8
            head.targetSchemeIsHTTPS = true
        } else {
            throw .invalidTarget
        }
        var slash = start
        while slash < range.upperBound, bytes[slash] != 0x2F { slash += 1 }
        guard Authority.isValid(bytes.extracting(start..<slash)) else { throw .invalidTarget }
        head.isAbsoluteForm = true
        head.authority = ByteRange(start: start, count: slash - start)
        head.path = ByteRange(start: slash, count: range.upperBound - slash)
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
