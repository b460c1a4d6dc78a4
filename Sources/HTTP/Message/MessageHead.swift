import Primitives

/// A part of a head's bytes.
public struct ByteRange: Sendable, Equatable {
    public var start: UInt32
    public var count: UInt32

    public init(start: Int, count: Int) {
        self.start = UInt32(start)
        self.count = UInt32(count)
    }

    public static let empty = ByteRange(start: 0, count: 0)

    public var range: Range<Int> { Int(start)..<Int(start) + Int(count) }
    public var isEmpty: Bool { count == 0 }
}

public enum HTTPVersion: UInt8, Sendable {
    case http10, http11, http2
}

/// One field line: which field, and where its name and value (without the white space around it) stand in `bytes`.
public struct FieldLine: Sendable {
    public let id: FieldName
    public let name: ByteRange
    public let value: ByteRange
    /// Whether `Connection` names the field.
    var isConnectionOption = false
}

/// What a head was read from, and its lines.
struct HeadStorage {
    var bytes: [UInt8] = []
    var fields: [FieldLine] = []

    /// The room stays, unless a large head has grown it.
    mutating func removeAll() {
        if bytes.capacity > 64 << 10 { bytes = [] } else { bytes.removeAll(keepingCapacity: true) }
        fields.removeAll(keepingCapacity: true)
    }
}

/// How the length of a body is known (RFC 9112 section 6.3).
public enum BodyFraming: Sendable, Equatable {
    case none
    case length(Int)
    case chunked
    /// Until the connection ends; answers only.
    case untilClose
}

/// What the heads of requests and of answers have in common: their bytes, and offsets over them. Reused from message to
/// message.
public class MessageHead {
    /// The head as received: for HTTP/1 from the start line up to and with the empty line.
    public final var bytes: [UInt8] { storage.bytes }
    public final var fields: [FieldLine] { storage.fields }

    /// Of this module alone, and changed by `change` alone: no access to it lasts, so that the compiler proves them exclusive.
    /// To check each as it runs was a third of a request's cost once.
    fileprivate final var storage: HeadStorage

    init(bytes: Int, fields: Int) {
        var empty = HeadStorage()
        empty.bytes.reserveCapacity(bytes)
        empty.fields.reserveCapacity(fields)
        storage = empty
    }

    /// Changes what is stored, apart from here.
    @inline(__always)
    final func change<Result, Fault: Error>(
        _ body: (inout HeadStorage) throws(Fault) -> Result
    ) throws(Fault) -> Result {
        var apart = HeadStorage()
        swap(&apart, &storage)
        defer { swap(&apart, &storage) }
        return try body(&apart)
    }

    /// Room for so many bytes is held.
    final var heldBytes: Int { storage.bytes.capacity }

    /// All of the head's bytes; valid until the head is parsed or reset again, which its exchange does only between two
    /// messages.
    public final var content: Span<UInt8> {
        @_lifetime(borrow self)
        get { unsafe _overrideLifetime(storage.bytes.span, borrowing: self) }
    }

    /// The field lines, under the same rule; to go through them so counts no reference.
    public final var lines: Span<FieldLine> {
        @_lifetime(borrow self)
        get { unsafe _overrideLifetime(storage.fields.span, borrowing: self) }
    }

    /// The bytes of a part, under the same rule.
    @_lifetime(borrow self)
    public final func span(_ range: Range<Int>) -> Span<UInt8> {
        content.extracting(range)
    }

    @_lifetime(borrow self)
    public final func span(of part: ByteRange) -> Span<UInt8> {
        content.extracting(part.range)
    }

    /// The first line of a field.
    public final func value(of id: FieldName) -> FieldLine? {
        let lines = self.lines
        for index in lines.indices where lines[index].id == id { return lines[index] }
        return nil
    }

    /// The line of a field that comes once; `nil` also where it comes more than once.
    public final func onlyValue(of id: FieldName) -> FieldLine? {
        var found: FieldLine?
        let lines = self.lines
        for index in lines.indices where lines[index].id == id {
            guard found == nil else { return nil }
            found = lines[index]
        }
        return found
    }

    public final func count(of id: FieldName) -> Int {
        var count = 0
        let lines = self.lines
        for index in lines.indices where lines[index].id == id { count += 1 }
        return count
    }

    /// Whether a part equals a text in lower case, in any letter case.
    public final func equals(_ part: ByteRange, _ text: StaticString) -> Bool {
        text.equalsIgnoringCase(span(of: part), foldsSymbols: false)
    }

    /// Whether the field line is named by `Connection`, so that it must not be passed on (RFC 9110 section 7.6.1).
    public final func connectionNames(_ line: FieldLine) -> Bool {
        line.isConnectionOption
    }
}
