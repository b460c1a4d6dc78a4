import CNghttp2
import Primitives

/// Content of one stream on its way out, and what ends it.
struct StreamOutput {
    private var bytes: [UInt8] = []
    private var start = 0
    /// No more content will come.
    var isEnded = false
    /// Field lines that follow the content.
    var trailers: [UInt8] = []
    /// The library has asked, found nothing, and waits to be told.
    var isDeferred = false

    var count: Int { bytes.count - start }

    mutating func append(_ content: Span<UInt8>) {
        bytes.append(content)
    }

    /// Copies the next content into the room that the library gives.
    mutating func copy(into room: UnsafeMutableBufferPointer<UInt8>) -> Int {
        let amount = min(count, room.count)
        for index in 0..<amount { unsafe room[index] = bytes[start + index] }
        start += amount
        if start == bytes.count {
            bytes.removeAll(keepingCapacity: bytes.capacity <= 64 << 10)
            start = 0
        }
        return amount
    }
}

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

    /// Appends whole lines; a line without its form, which is never written, is left out.
    mutating func append(lines: Span<UInt8>) {
        var index = 0
        while index < lines.count {
            let start = text.count
            while index < lines.count, lines[index] != 0x3A, lines[index] != 0x0D {
                text.append(ASCII.lowercased(lines[index]))
                index += 1
            }
            let middle = text.count
            guard index + 1 < lines.count, lines[index] == 0x3A else {
                text.removeSubrange(start...)
                return
            }
            index += 2
            while index < lines.count, lines[index] != 0x0D {
                text.append(lines[index])
                index += 1
            }
            index += 2
            let isSecret = FieldName.lookup(text.span.extracting(start..<middle)).isSecret
            fields.append((start..<middle, middle..<text.count, isSecret))
        }
    }

    /// Hands the fields to a call of the library, which copies them.
    func withFields<Result>(
        _ body: (UnsafePointer<nghttp2_nv>?, Int) -> Result
    ) -> Result {
        unsafe text.withUnsafeBufferPointer { text in
            let base = unsafe UnsafeMutablePointer(mutating: text.baseAddress)
            let list = unsafe fields.map { field in
                unsafe nghttp2_nv(
                    name: base.map { unsafe $0 + field.name.lowerBound },
                    value: base.map { unsafe $0 + field.value.lowerBound },
                    namelen: field.name.count, valuelen: field.value.count,
                    // What must not be guessed from how well it compresses (RFC 7541 section 7.1.3).
                    flags: UInt8(
                        field.isSecret
                            ? NGHTTP2_NV_FLAG_NO_INDEX.rawValue : NGHTTP2_NV_FLAG_NONE.rawValue))
            }
            return unsafe list.withUnsafeBufferPointer { unsafe body($0.baseAddress, $0.count) }
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
