import Primitives

/// An answer's head, parsed into offsets over its bytes; reused from answer to answer.
public final class ResponseHead {
    public internal(set) var bytes: [UInt8] = []
    public internal(set) var fields: [FieldLine] = []
    public internal(set) var version = HTTPVersion.http11
    /// 100 to 599.
    public internal(set) var status = 0
    public internal(set) var reason = ByteRange.empty
    public internal(set) var framing = BodyFraming.none
    public internal(set) var keepsAlive = true
    /// What Content-Length said, also where no body follows (an answer to HEAD, a 304).
    public internal(set) var hasContentLength = false

    public init() {}

    /// 1xx: the final answer is still to come.
    public var isInterim: Bool { status < 200 }

    public func reset() {
        if bytes.capacity > 64 << 10 { bytes = [] } else { bytes.removeAll(keepingCapacity: true) }
        fields.removeAll(keepingCapacity: true)
        version = .http11
        status = 0
        reason = .empty
        framing = .none
        keepsAlive = true
        hasContentLength = false
    }

    /// All of the head's bytes; valid until the head is parsed or reset again.
    public var content: Span<UInt8> {
        @_lifetime(borrow self)
        get { unsafe _overrideLifetime(bytes.span, borrowing: self) }
    }

    @_lifetime(borrow self)
    public func span(of part: ByteRange) -> Span<UInt8> {
        unsafe _overrideLifetime(bytes.span.extracting(part.range), borrowing: self)
    }

    public func value(of id: FieldName) -> FieldLine? {
        for line in fields where line.id == id { return line }
        return nil
    }

    /// Whether the field line is named by `Connection`.
    public func connectionNames(_ line: FieldLine) -> Bool {
        line.isConnectionOption
    }
}

/// What `Connection` fields name (RFC 9110 section 7.6.1).
enum ConnectionOptions {
    /// Marks the fields that are named. The options are read once each, however many fields there are.
    static func mark(_ fields: inout [FieldLine], _ bytes: Span<UInt8>) {
        for connection in fields.indices where fields[connection].id == .connection {
            var tokens = TokenList(fields[connection].value.range)
            while let token = tokens.next(in: bytes) {
                let option = bytes.extracting(token)
                for index in fields.indices where fields[index].name.count == token.count {
                    let name = bytes.extracting(fields[index].name.range)
                    if ASCII.equalIgnoringCase(option, name) {
                        fields[index].isConnectionOption = true
                    }
                }
            }
        }
    }
}
