/// Reads the heads of answers (RFC 9112 section 4) as strictly as those of requests: an upstream is untrusted too.
public struct ResponseHeadParser {
    public let limits: HTTP1Limits
    private var lines = HeadLines()
    private var isInFields = false
    private var framing = FramingFacts()

    public init(limits: HTTP1Limits) {
        self.limits = limits
    }

    public mutating func reset() {
        lines = HeadLines()
        isInFields = false
        framing = FramingFacts()
    }

    /// Takes bytes of `input` from `offset` on into `head`, which is emptied when a head begins.
    ///
    /// - Parameter requestMethod: an answer to HEAD has no body, whatever its fields say.
    public mutating func parse(
        _ input: Span<UInt8>, from offset: Int, into head: ResponseHead, requestMethod: Method
    ) throws(HTTP1Error) -> HeadProgress {
        if !isInFields, lines.currentStart == 0, !lines.hasBegun { head.reset() }
        // Worked on apart, so that the head is written to once.
        var facts = head.facts
        defer { head.facts = facts }
        return try head.change { storage throws(HTTP1Error) in
            try parse(input, from: offset, &storage, &facts, requestMethod)
        }
    }

    private mutating func parse(
        _ input: Span<UInt8>, from offset: Int, _ head: inout HeadStorage,
        _ facts: inout ResponseHead.Facts, _ method: Method
    ) throws(HTTP1Error) -> HeadProgress {
        var offset = offset
        while true {
            let event = try lines.next(
                input, from: &offset, into: &head.bytes, allowsTab: true, limit: limits.headBytes)
            guard case .line(let line) = event else { return .incomplete }
            if !isInFields {
                try ResponseHeadParser.statusLine(line, head.bytes.span, &facts)
                isInFields = true
            } else if line.isEmpty {
                try finish(&facts, method)
                if framing.connectionNamesFields {
                    let bytes = head.bytes
                    ConnectionOptions.mark(&head.fields, bytes.span)
                }
                return .complete(nextOffset: offset)
            } else {
                guard head.fields.count < limits.fieldCount else { throw .tooManyFields }
                let field = try HeadLines.field(head.bytes.span, line)
                head.fields.append(field)
                if field.id != .other { try framing.note(field, head.bytes.span) }
            }
        }
    }

    /// `HTTP/1.x SP 3DIGIT SP [reason]`; the space before an empty reason may be missing, as many servers leave it out.
    private static func statusLine(
        _ line: Range<Int>, _ head: Span<UInt8>, _ facts: inout ResponseHead.Facts
    ) throws(HTTP1Error) {
        let bytes = head.extracting(line)
        let prefix: StaticString = "HTTP/1."
        guard bytes.count >= 12, prefix.equals(bytes.extracting(0..<7)),
            bytes[7] == 0x30 || bytes[7] == 0x31, bytes[8] == 0x20, ASCII.isDigit(bytes[9]),
            ASCII.isDigit(bytes[10]), ASCII.isDigit(bytes[11]),
            bytes.count == 12 || bytes[12] == 0x20
        else { throw .invalidStatusLine }
        let status =
            Int(bytes[9] - 0x30) * 100 + Int(bytes[10] - 0x30) * 10 + Int(bytes[11] - 0x30)
        guard status >= 100, status <= 599 else { throw .invalidStatusLine }
        facts.version = bytes[7] == 0x31 ? .http11 : .http10
        facts.status = status
        let start = min(13, bytes.count)
        facts.reason = ByteRange(start: line.lowerBound + start, count: bytes.count - start)
    }

    private func finish(_ facts: inout ResponseHead.Facts, _ method: Method) throws(HTTP1Error) {
        let length = try framing.framing(version: facts.version)
        facts.keepsAlive = framing.keepsAlive(version: facts.version)
        facts.hasContentLength = framing.hasContentLength
        let isInterim = facts.status < 200
        if method == .head || isInterim || facts.status == 204 || facts.status == 304 {
            facts.framing = .none
        } else if length == .none {
            facts.framing = .untilClose
            facts.keepsAlive = false
        } else {
            facts.framing = length
        }
    }
}
