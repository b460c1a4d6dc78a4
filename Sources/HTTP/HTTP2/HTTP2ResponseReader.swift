import Primitives

/// Fills a `ResponseHead` from the decoded fields of one HTTP/2 answer (RFC 9113 section 8.3.2), judged by the rules that
/// HTTP/1.1 has for length; an upstream is untrusted too.
struct HTTP2ResponseReader {
    let head: ResponseHead
    private let limits: HTTP1Limits
    private var facts = FramingFacts()
    private var size = 0
    private var error: HTTP1Error?

    init(head: ResponseHead, limits: HTTP1Limits) {
        self.head = head
        self.limits = limits
        head.reset()
        head.facts.version = .http2
    }

    mutating func take(_ name: Span<UInt8>, _ value: Span<UInt8>) {
        size += name.count + value.count + 4
        guard error == nil else { return }
        guard size <= limits.headBytes else { return fail(.headTooLarge) }
        if name.count > 0, name[0] == 0x3A { return takeStatus(value) }
        guard head.lines.count < limits.fieldCount else { return fail(.tooManyFields) }
        let line = FieldLine(id: FieldName.lookup(name), name: keep(name), value: keep(value))
        head.change { $0.fields.append(line) }
        guard line.id != .other else { return }
        let head = self.head
        do throws(HTTP1Error) {
            try facts.note(line, head.content)
        } catch {
            fail(error)
        }
    }

    private mutating func fail(_ fault: HTTP1Error) {
        error = error ?? fault
    }

    private func keep(_ text: Span<UInt8>) -> ByteRange {
        let start = head.content.count
        head.change { $0.bytes.append(text) }
        return ByteRange(start: start, count: text.count)
    }

    /// `:status` is the only pseudo-field of an answer; the library refuses every other.
    private mutating func takeStatus(_ value: Span<UInt8>) {
        guard value.count == 3 else { return fail(.invalidStatusLine) }
        var status = 0
        for index in 0..<3 {
            guard ASCII.isDigit(value[index]) else { return fail(.invalidStatusLine) }
            status = status * 10 + Int(value[index] - 0x30)
        }
        // There is no switch of protocols (section 8.6).
        guard (100...599).contains(status), status != 101 else { return fail(.invalidStatusLine) }
        head.facts.status = status
    }

    /// The head is whole.
    mutating func finish(isToHead: Bool, endsStream: Bool) throws(HTTP1Error) {
        if let error { throw error }
        guard head.status != 0, !(head.isInterim && endsStream) else { throw .invalidStatusLine }
        let framing = try facts.framing(version: .http2)
        head.facts.hasContentLength = facts.hasContentLength
        head.facts.keepsAlive = true
        if isToHead || head.isInterim || head.status == 204 || head.status == 304 {
            head.facts.framing = .none
        } else if endsStream {
            head.facts.framing = .length(0)
        } else {
            head.facts.framing = framing == .none ? .chunked : framing
        }
    }
}
