import Primitives

/// A request's head: its bytes, parsed once into offsets over them. Reused from request to request; filled by HTTP/1
/// now and by HTTP/2 later, so that routing and authentication exist once.
public final class RequestHead: MessageHead {
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

    // Of this module alone, as the storage.
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
        super.init(bytes: 2048, fields: 32)
    }

    /// Forgets the head where it holds room for more than so many bytes, and the room with it.
    public func trim(to limit: Int) {
        guard heldBytes > limit else { return }
        change { $0 = HeadStorage() }
        reset()
    }

    /// Makes the head empty; the room of its arrays stays, unless a large head has grown it.
    public func reset() {
        change { $0.removeAll() }
        facts = Facts()
    }

    /// Whether `TE` says that the client takes trailers (RFC 9110 section 10.1.4).
    public var takesTrailers: Bool {
        let trailers: StaticString = "trailers"
        let (lines, bytes) = (self.lines, content)
        for index in lines.indices where lines[index].id == .te {
            var tokens = TokenList(lines[index].value.range)
            while let token = tokens.next(in: bytes) {
                if trailers.equalsIgnoringCase(bytes.extracting(token), foldsSymbols: false) {
                    return true
                }
            }
        }
        return false
    }

    /// Whether `Connection` names a field of this name, which need not be one of the head's.
    public func connectionNames(_ name: Span<UInt8>) -> Bool {
        let (lines, bytes) = (self.lines, content)
        for index in lines.indices where lines[index].id == .connection {
            var tokens = TokenList(lines[index].value.range)
            while let token = tokens.next(in: bytes) {
                if ASCII.equalIgnoringCase(bytes.extracting(token), name) { return true }
            }
        }
        return false
    }

}
