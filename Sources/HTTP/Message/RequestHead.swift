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

/// A request's head: its bytes, parsed once into offsets over them. Reused from request to request; filled by HTTP/1
/// now and by HTTP/2 later, so that routing and authentication exist once.
public final class RequestHead {
    /// The head as received: for HTTP/1 the request line up to and with the empty line.
    public var bytes: [UInt8] { storage.bytes }
    public var fields: [FieldLine] { storage.fields }
    public var method: Method { facts.method }
    public var methodRange: ByteRange { facts.methodRange }
    public var version: HTTPVersion { facts.version }
    /// The target as received.
    public var target: ByteRange { facts.target }
    /// The path of the target, undecoded; `*` for the asterisk form. Empty stands for `/` (absolute form without a path).
    public var path: ByteRange { facts.path }
    public var hasQuery: Bool { facts.hasQuery }
    /// What follows the `?`, undecoded.
    public var query: ByteRange { facts.query }
    /// Host and port as received, from Host or from an absolute target (they agree); empty when an HTTP/1.0 request has none.
    public var authority: ByteRange { facts.authority }
    public var isAsterisk: Bool { facts.isAsterisk }
    public var isAbsoluteForm: Bool { facts.isAbsoluteForm }
    /// The scheme of an absolute target; it says nothing about the connection.
    public var targetSchemeIsHTTPS: Bool { facts.targetSchemeIsHTTPS }
    public var framing: BodyFraming { facts.framing }
    /// Whether version and `Connection` let the connection go on.
    public var keepsAlive: Bool { facts.keepsAlive }
    /// `Expect: 100-continue` on HTTP/1.1 or later.
    public var expectsContinue: Bool { facts.expectsContinue }
    public var hasUnknownExpectation: Bool { facts.hasUnknownExpectation }
    /// `Connection: upgrade` with an Upgrade field.
    public var wantsUpgrade: Bool { facts.wantsUpgrade }
    public var upgradesToWebSocket: Bool { facts.upgradesToWebSocket }

    // Of this module alone: the compiler proves its accesses exclusive, where it would check those of public properties at
    // each use, which was a third of a request's cost.
    var storage = HeadStorage()
    var facts = Facts()

    /// What a parsed head says.
    struct Facts {
        var method = Method.get
        var methodRange = ByteRange.empty
        var version = HTTPVersion.http11
        var target = ByteRange.empty
        var path = ByteRange.empty
        var query = ByteRange.empty
        var authority = ByteRange.empty
        var framing = BodyFraming.none
        var hasQuery = false
        var isAsterisk = false
        var isAbsoluteForm = false
        var targetSchemeIsHTTPS = false
        var keepsAlive = true
        var expectsContinue = false
        var hasUnknownExpectation = false
        var wantsUpgrade = false
        var upgradesToWebSocket = false
    }

    public init() {
        storage.bytes.reserveCapacity(2048)
        storage.fields.reserveCapacity(32)
    }

    /// Makes the head empty; the room of its arrays stays, unless a large head has grown it.
    public func reset() {
        storage.removeAll()
        facts = Facts()
    }

    /// The bytes of a part of the head; valid until the head is parsed or reset again, which its exchange does only
    /// between two requests.
    @_lifetime(borrow self)
    public func span(_ range: Range<Int>) -> Span<UInt8> {
        unsafe _overrideLifetime(storage.bytes.span.extracting(range), borrowing: self)
    }

    /// All of the head's bytes, under the same rule.
    public var content: Span<UInt8> {
        @_lifetime(borrow self)
        get { unsafe _overrideLifetime(storage.bytes.span, borrowing: self) }
    }

    @_lifetime(borrow self)
    public func span(of part: ByteRange) -> Span<UInt8> {
        unsafe _overrideLifetime(storage.bytes.span.extracting(part.range), borrowing: self)
    }

    /// The first line of a field.
    public func value(of id: FieldName) -> FieldLine? {
        for line in storage.fields where line.id == id { return line }
        return nil
    }

    /// The line of a field that comes once; `nil` also where it comes more than once.
    public func onlyValue(of id: FieldName) -> FieldLine? {
        var found: FieldLine?
        for line in storage.fields where line.id == id {
            guard found == nil else { return nil }
            found = line
        }
        return found
    }

    public func count(of id: FieldName) -> Int {
        var count = 0
        for line in storage.fields where line.id == id { count += 1 }
        return count
    }

    /// Whether a part equals a text in lower case, in any letter case.
    public func equals(_ part: ByteRange, _ text: StaticString) -> Bool {
        text.equalsIgnoringCase(span(of: part), foldsSymbols: false)
    }

    /// Whether `TE` says that the client takes trailers (RFC 9110 section 10.1.4).
    public var takesTrailers: Bool {
        let trailers: StaticString = "trailers"
        for line in storage.fields where line.id == .te {
            var tokens = TokenList(line.value.range)
            while let token = tokens.next(in: storage.bytes.span) {
                if trailers.equalsIgnoringCase(
                    storage.bytes.span.extracting(token), foldsSymbols: false)
                {
                    return true
                }
            }
        }
        return false
    }

    /// Whether `Connection` names a field of this name, which need not be one of the head's.
    public func connectionNames(_ name: Span<UInt8>) -> Bool {
        for line in storage.fields where line.id == .connection {
            var tokens = TokenList(line.value.range)
            while let token = tokens.next(in: storage.bytes.span) {
                if ASCII.equalIgnoringCase(storage.bytes.span.extracting(token), name) {
                    return true
                }
            }
        }
        return false
    }

    /// Whether the field line is named by `Connection`, so that it must not be passed on (RFC 9110 section 7.6.1).
    public func connectionNames(_ line: FieldLine) -> Bool {
        line.isConnectionOption
    }
}
