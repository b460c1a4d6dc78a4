/// What a head's fields say about framing, host and connection, gathered line by line and judged at the end
/// (RFC 9112 sections 3.2, 6 and 9).
struct FramingFacts {
    private var hosts = 0
    private var contentLength: Int?
    private var transferEncodings = 0
    private var isChunked = false
    private var saysClose = false
    private var saysKeepAlive = false
    private var saysUpgrade = false
    private var hasUpgrade = false
    private var connectionOptions = 0
    private var namesFields = false

    /// Options in all `Connection` fields of a head: each is compared with each field, so that a long list would cost
    /// far more than its bytes.
    private static let connectionOptionLimit = 100

    /// - Parameters:
    ///   - bytes: of the head.
    ///   - facts: what the field says of the request itself goes there at once.
    mutating func note(
        _ line: FieldLine, _ bytes: Span<UInt8>, _ facts: inout RequestHead.Facts
    ) throws(HTTP1Error) {
        let value = bytes.extracting(line.value.range)
        switch line.id {
        case .host:
            hosts += 1
            guard hosts == 1 else { throw .hostRepeated }
            guard Authority.isValid(value) else { throw .hostInvalid }
            if facts.isAbsoluteForm {
                let target = bytes.extracting(facts.authority.range)
                guard ASCII.equalIgnoringCase(target, value) else { throw .hostDisagrees }
            } else {
                facts.authority = line.value
            }
        case .expect:
            let known: StaticString = "100-continue"
            if known.equalsIgnoringCase(value, foldsSymbols: false) {
                facts.expectsContinue = true
            } else {
                facts.hasUnknownExpectation = true
            }
        case .upgrade:
            hasUpgrade = true
            let known: StaticString = "websocket"
            if known.equalsIgnoringCase(value, foldsSymbols: false) {
                facts.upgradesToWebSocket = true
            }
        default:
            try note(line, bytes)
        }
    }

    /// The fields that requests and answers read alike.
    mutating func note(_ line: FieldLine, _ bytes: Span<UInt8>) throws(HTTP1Error) {
        switch line.id {
        case .contentLength:
            guard contentLength == nil else { throw .contentLengthRepeated }
            contentLength = try FramingFacts.length(bytes.extracting(line.value.range))
        case .transferEncoding:
            try noteTransferEncoding(bytes.extracting(line.value.range))
        case .connection:
            try noteConnection(line, bytes)
        default:
            break
        }
    }

    /// 1*DIGIT, small enough for an Int: no sign, no list, nothing else (RFC 9110 section 8.6).
    private static func length(_ text: Span<UInt8>) throws(HTTP1Error) -> Int {
        guard text.count > 0, text.count <= 18 else { throw .contentLengthInvalid }
        var length = 0
        for index in 0..<text.count {
            guard ASCII.isDigit(text[index]) else { throw .contentLengthInvalid }
            length = length * 10 + Int(text[index] - 0x30)
        }
        return length
    }

    /// `chunked`, once, and nothing else: another coding, a list or a parameter is refused.
    private mutating func noteTransferEncoding(_ text: Span<UInt8>) throws(HTTP1Error) {
        transferEncodings += 1
        guard transferEncodings == 1, text.count > 0 else { throw .transferEncodingInvalid }
        for index in 0..<text.count where !ASCII.isTokenCharacter(text[index]) {
            throw .transferEncodingInvalid
        }
        let chunked: StaticString = "chunked"
        guard chunked.equalsIgnoringCase(text, foldsSymbols: false) else {
            throw .unknownTransferCoding
        }
        isChunked = true
    }

    private mutating func noteConnection(
        _ line: FieldLine, _ bytes: Span<UInt8>
    ) throws(HTTP1Error) {
        let close: StaticString = "close"
        let keepAlive: StaticString = "keep-alive"
        let upgrade: StaticString = "upgrade"
        var tokens = TokenList(line.value.range)
        while let range = tokens.next(in: bytes) {
            connectionOptions += 1
            guard connectionOptions <= FramingFacts.connectionOptionLimit else {
                throw .tooManyFields
            }
            let token = bytes.extracting(range)
            if close.equalsIgnoringCase(token, foldsSymbols: false) {
                saysClose = true
            } else if keepAlive.equalsIgnoringCase(token, foldsSymbols: false) {
                saysKeepAlive = true
            } else {
                if upgrade.equalsIgnoringCase(token, foldsSymbols: false) { saysUpgrade = true }
                namesFields = true
            }
        }
    }

    /// Judges a request's fields together. What `Connection` names is the caller's to mark.
    func finish(_ facts: inout RequestHead.Facts) throws(HTTP1Error) {
        if hosts == 0, facts.version != .http10 || facts.isAbsoluteForm { throw .hostMissing }
        facts.framing = try framing(version: facts.version)
        facts.keepsAlive = keepsAlive(version: facts.version)
        facts.wantsUpgrade = saysUpgrade && hasUpgrade
        facts.upgradesToWebSocket = facts.upgradesToWebSocket && facts.wantsUpgrade
        if facts.version == .http10 {
            // RFC 9110 section 10.1.1: a 1.0 client knows no interim answers.
            facts.expectsContinue = false
            facts.hasUnknownExpectation = false
            // Section 7.8: nor can it ask for another protocol.
            facts.wantsUpgrade = false
            facts.upgradesToWebSocket = false
        }
    }

    /// Whether `Connection` names anything besides `close` and `keep-alive`.
    var connectionNamesFields: Bool { namesFields }

    func framing(version: HTTPVersion) throws(HTTP1Error) -> BodyFraming {
        if isChunked {
            guard version != .http10 else { throw .transferEncodingInHTTP10 }
            guard contentLength == nil else { throw .framingConflict }
            return .chunked
        }
        guard let contentLength else { return .none }
        return .length(contentLength)
    }

    /// RFC 9112 section 9.3.
    func keepsAlive(version: HTTPVersion) -> Bool {
        if saysClose { return false }
        return version != .http10 || saysKeepAlive
    }

    var hasContentLength: Bool { contentLength != nil }
}
