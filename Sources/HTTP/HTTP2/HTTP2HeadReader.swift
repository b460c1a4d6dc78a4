import Primitives

/// Fills a `RequestHead` from the decoded fields of one HTTP/2 request (RFC 9113 section 8.3): the same head that HTTP/1.1
/// fills, judged by the same rules for target, authority and length.
///
/// The library has refused what makes a message malformed (order and number of pseudo-fields, bytes of names and values,
/// connection-specific fields). What is left is bounded here, while it is decoded.
struct HTTP2HeadReader {
    let head: RequestHead
    private let limits: HTTP1Limits
    private var framing = FramingFacts()
    /// Worked on apart, so that not each field is an access to the head; the head has them when it is whole.
    private var storage: HeadStorage
    private var facts = RequestHead.Facts()
    private var size = 0
    private var error: HTTP1Error?
    private var path = ByteRange.empty
    private var authority: ByteRange?
    private var hasKnownScheme = false
    private var asksForWebSocket = false
    private var isExtendedConnect = false
    /// Where the crumbs of the cookie are gathered (section 8.2.3).
    private var cookies: [UInt8] = []

    init(head: RequestHead, limits: HTTP1Limits) {
        self.head = head
        self.limits = limits
        head.reset()
        storage = HeadStorage()
        head.change { swap(&storage, &$0) }
        facts.version = .http2
        // Said at once: of a head that turns out to be malformed the log has at least its version.
        head.facts.version = .http2
    }

    mutating func take(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        // As long as HTTP/1.1 would write it: name, colon, blank, value, line end.
        size += name.count + value.count + 4
        guard error == nil else { return }
        guard size <= limits.headBytes else { return fail(.headTooLarge) }
        if name.count > 0, name[0] == 0x3A { return takePseudo(name, value) }
        let id = FieldName.lookup(name)
        if id == .cookie {
            if !cookies.isEmpty { cookies.append("; ") }
            cookies.append(value)
            return
        }
        append(id, name, value)
    }

    private mutating func fail(_ fault: HTTP1Error) {
        error = error ?? fault
    }

    private mutating func append(
        _ id: FieldName, _ name: Span<UInt8>, _ value: Span<UInt8>
    ) {
        guard storage.fields.count < limits.fieldCount else { return fail(.tooManyFields) }
        // As HTTP/1.1 would write it, so that what is forwarded can be copied as it stands.
        let start = storage.bytes.count
        storage.bytes.append(name, ": ", value, "\r\n")
        let line = FieldLine(
            id: id, name: ByteRange(start: start, count: name.count),
            value: ByteRange(start: start + name.count + 2, count: value.count))
        storage.fields.append(line)
        guard line.id != .other else { return }
        do throws(HTTP1Error) {
            let bytes = storage.bytes
            try framing.note(line, bytes.span, &facts)
        } catch {
            fail(error)
        }
    }

    private mutating func keep(_ text: Span<UInt8>) -> ByteRange {
        let start = storage.bytes.count
        storage.bytes.append(text)
        return ByteRange(start: start, count: text.count)
    }

    private mutating func takePseudo(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        let isWebSocket: StaticString = "websocket"
        switch name.count {
        case 7 where name[1] == 0x6D:  // :method
            facts.method = Method(value)
            facts.methodRange = keep(value)
        case 7:  // :scheme
            let (http, https): (StaticString, StaticString) = ("http", "https")
            hasKnownScheme = http.equals(value) || https.equals(value)
        case 5:  // :path
            guard value.count <= limits.requestLineBytes else { return fail(.requestLineTooLong) }
            path = keep(value)
        case 10:  // :authority
            authority = keep(value)
        default:  // :protocol
            isExtendedConnect = true
            asksForWebSocket = isWebSocket.equals(value)
        }
    }

    /// The head is whole.
    ///
    /// - Parameter endsStream: whether no content follows.
    /// - Throws: for what HTTP/1.1 refuses too, with the same answer.
    mutating func finish(endsStream: Bool) throws(HTTP1Error) {
        defer {
            // Together: what the facts say are places in the storage.
            head.change { swap(&storage, &$0) }
            head.facts = facts
        }
        if let error { throw error }
        if !cookies.isEmpty {
            let (name, value) = (Array("cookie".utf8), cookies)
            append(.cookie, name.span, value.span)
            if let error { throw error }
        }
        if isExtendedConnect {
            // RFC 8441 section 4: only WebSocket is known here. It stands for a GET with an upgrade (section 5), and is
            // judged as that. A stream that has ended already can carry no tunnel.
            guard asksForWebSocket else { throw .tunnelNotOffered }
            guard !endsStream else { throw .invalidTarget }
            facts.method = .get
            let get = Array("GET".utf8)
            facts.methodRange = keep(get.span)
            facts.wantsUpgrade = true
            facts.upgradesToWebSocket = true
        } else if facts.method == .connect {
            throw .tunnelNotOffered
        }
        guard hasKnownScheme else { throw .invalidTarget }
        facts.target = path
        let bytes = storage.bytes
        try RequestLine.target(bytes.span, path.range, &facts)
        guard !facts.isAbsoluteForm else { throw .invalidTarget }
        try checkAuthority()
        if endsStream || facts.upgradesToWebSocket {
            facts.framing = .none
        } else {
            let length = try framing.framing(version: .http2)
            facts.framing = length == .none ? .chunked : length
        }
    }

    /// `:authority` and `host` must name the same place (section 8.3.1).
    private mutating func checkAuthority() throws(HTTP1Error) {
        guard let authority else {
            guard !facts.authority.isEmpty else { throw .hostMissing }
            return
        }
        let bytes = storage.bytes
        let text = bytes.span.extracting(authority.range)
        guard Authority.isValid(text) else { throw .hostInvalid }
        if !facts.authority.isEmpty {
            let host = bytes.span.extracting(facts.authority.range)
            guard ASCII.equalIgnoringCase(text, host) else {
                throw .hostDisagrees
            }
        }
        facts.authority = authority
    }
}
