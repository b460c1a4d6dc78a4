import Primitives

/// An answer's head, parsed into offsets over its bytes; reused from answer to answer.
public final class ResponseHead: MessageHead {
    public var version: HTTPVersion { facts.version }
    /// 100 to 599.
    public var status: Int { facts.status }
    public var reason: ByteRange { facts.reason }
    public var framing: BodyFraming { facts.framing }
    public var keepsAlive: Bool { facts.keepsAlive }
    /// What Content-Length said, also where no body follows (an answer to HEAD, a 304).
    public var hasContentLength: Bool { facts.hasContentLength }

    // Of this module alone, as the storage.
    var facts = Facts()

    /// What a parsed head says.
    struct Facts {
        var version = HTTPVersion.http11
        var status = 0
        var reason = ByteRange.empty
        var framing = BodyFraming.none
        var keepsAlive = true
        var hasContentLength = false
    }

    public init() {
        super.init(bytes: 0, fields: 0)
    }

    /// 1xx: the final answer is still to come.
    public var isInterim: Bool { status < 200 }

    public func reset() {
        change { $0.removeAll() }
        facts = Facts()
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
