/// A request method (RFC 9110 section 9; PATCH: RFC 5789). Case-sensitive; `other` is any further token, whose bytes
/// the head holds.
public enum Method: UInt8, Sendable, CaseIterable {
    case get, head, post, put, delete, connect, options, trace, patch, other

    /// Reads exactly the spelling of the RFC.
    public init(_ bytes: Span<UInt8>) {
        let candidates: (Method, Method) =
            switch bytes.count {
            case 3: (.get, .put)
            case 4: (.post, .head)
            case 5: (.patch, .trace)
            case 6: (.delete, .other)
            case 7: (.options, .connect)
            default: (.other, .other)
            }
        if candidates.0.name.equals(bytes) {
            self = candidates.0
        } else if candidates.1.name.equals(bytes) {
            self = candidates.1
        } else {
            self = .other
        }
    }

    public var name: StaticString {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .delete: "DELETE"
        case .connect: "CONNECT"
        case .options: "OPTIONS"
        case .trace: "TRACE"
        case .patch: "PATCH"
        case .other: ""
        }
    }

    /// RFC 9110 section 9.2.1.
    public var isSafe: Bool {
        switch self {
        case .get, .head, .options, .trace: true
        case .post, .put, .delete, .connect, .patch, .other: false
        }
    }

    /// RFC 9110 section 9.2.2: sending it twice means what sending it once means.
    public var isIdempotent: Bool {
        isSafe || self == .put || self == .delete
    }
}
