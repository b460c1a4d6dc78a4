import CNghttp2
import Primitives

/// Makes the library's fields of field lines that the gateway wrote itself: `Name: value` CR LF each. Names become lower
/// case (RFC 9113 section 8.2.1). One per session; it keeps its buffers.
struct FieldBlock {
    private var text: [UInt8] = []
    private var fields: [(name: Range<Int>, value: Range<Int>, isSecret: Bool)] = []

    mutating func removeAll() {
        text.removeAll(keepingCapacity: true)
        fields.removeAll(keepingCapacity: true)
    }

    mutating func append(status: Int) {
        let start = text.count
        text.append(":status")
        let middle = text.count
        JSONText.appendInteger(status, to: &text)
        fields.append((start..<middle, middle..<text.count, false))
    }

    /// Appends the pseudo-fields and fields of a request (section 8.3.1).
    ///
    /// - Parameter head: request line, field lines, empty line, of HTTP/1.1 and as the gateway writes them. Fields of the
    ///   connection are left out (section 8.2.2), and so is `Host`, which is `:authority`.
    /// - Returns: whether the method is HEAD; `nil` for a head without its form, which is never written.
    mutating func append(requestHead head: Span<UInt8>, isTLS: Bool) -> Bool? {
        var end = 0
        var blanks: [Int] = []
        while end < head.count, head[end] != 0x0D {
            if head[end] == 0x20 { blanks.append(end) }
            end += 1
        }
        guard blanks.count == 2 else { return nil }
        let method = head.extracting(0..<blanks[0])
        appendField(":method", method)
        let (secure, clear) = (Array("https".utf8), Array("http".utf8))
        appendField(":scheme", isTLS ? secure.span : clear.span)
        appendField(":path", head.extracting(blanks[0] + 1..<blanks[1]))
        var start = end + 2
        let first = fields.count
        // Pseudo-fields come first: the authority is looked for before the fields are taken.
        while let line = FieldBlock.line(head, from: start) {
            if FieldName.lookup(head.extracting(line.name)) == .host {
                appendField(":authority", head.extracting(line.value))
            }
            start = line.next
        }
        guard fields.count == first + 1 else { return nil }
        start = end + 2
        while let line = FieldBlock.line(head, from: start) {
            let id = FieldName.lookup(head.extracting(line.name))
            if id != .host, !id.isHopByHop {
                appendField(head.extracting(line.name), head.extracting(line.value), id)
            }
            start = line.next
        }
        return Method(method) == .head
    }

    private static func line(
        _ head: Span<UInt8>, from start: Int
    ) -> (name: Range<Int>, value: Range<Int>, next: Int)? {
        var colon = start
        while colon < head.count, head[colon] != 0x3A, head[colon] != 0x0D { colon += 1 }
        guard colon + 1 < head.count, head[colon] == 0x3A else { return nil }
        var end = colon + 2
        while end < head.count, head[end] != 0x0D { end += 1 }
        return (start..<colon, min(colon + 2, end)..<end, end + 2)
    }

    private mutating func appendField(_ name: StaticString, _ value: Span<UInt8>) {
        let start = text.count
        text.append(name)
        let middle = text.count
        text.append(value)
        fields.append((start..<middle, middle..<text.count, false))
    }

    private mutating func appendField(_ name: Span<UInt8>, _ value: Span<UInt8>, _ id: FieldName) {
        let start = text.count
        for index in 0..<name.count { text.append(ASCII.lowercased(name[index])) }
        let middle = text.count
        text.append(value)
        fields.append((start..<middle, middle..<text.count, id.isSecret))
    }

    /// Appends whole lines; what comes behind a line without its form, which is never written, is left out.
    mutating func append(lines: Span<UInt8>) {
        // All at once; the names are made lower case where they stand then.
        let base = text.count
        text.append(lines)
        var start = 0
        while start < lines.count {
            var colon = start
            while colon < lines.count, lines[colon] != 0x3A, lines[colon] != 0x0D {
                text[base + colon] = ASCII.lowercased(lines[colon])
                colon += 1
            }
            guard colon + 1 < lines.count, lines[colon] == 0x3A else { return }
            let value = min(colon + 2, lines.count)
            var end = ASCII.firstControl(lines, from: value)
            while end < lines.count, lines[end] != 0x0D {
                end = ASCII.firstControl(lines, from: end + 1)
            }
            let isSecret = FieldName.lookup(lines.extracting(start..<colon)).isSecret
            fields.append((base + start..<base + colon, base + value..<base + end, isSecret))
            start = end + 2
        }
    }

    /// Hands the fields to a call of the library, which copies them.
    func withFields<Result>(
        _ body: (UnsafePointer<nghttp2_nv>?, Int) -> Result
    ) -> Result {
        unsafe text.withUnsafeBufferPointer { text in
            let base = unsafe UnsafeMutablePointer(mutating: text.baseAddress)
            return unsafe withUnsafeTemporaryAllocation(
                of: nghttp2_nv.self, capacity: fields.count
            ) { list in
                for (index, field) in fields.enumerated() {
                    let entry = unsafe nghttp2_nv(
                        name: base.map { unsafe $0 + field.name.lowerBound },
                        value: base.map { unsafe $0 + field.value.lowerBound },
                        namelen: field.name.count, valuelen: field.value.count,
                        // What must not be guessed from how well it compresses (RFC 7541 section 7.1.3).
                        flags: UInt8(
                            field.isSecret
                                ? NGHTTP2_NV_FLAG_NO_INDEX.rawValue
                                : NGHTTP2_NV_FLAG_NONE.rawValue))
                    unsafe list.initializeElement(at: index, to: entry)
                }
                return unsafe body(list.baseAddress, fields.count)
            }
        }
    }
}

extension FieldName {
    /// Whether the value is a credential.
    var isSecret: Bool {
        switch self {
        case .authorization, .proxyAuthorization, .cookie, .setCookie: true
        default: false
        }
    }
}
