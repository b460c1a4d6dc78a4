import Primitives

/// What the access log says of one request. The worker fills one record, hands it to `AccessLog.write`, and resets
/// it for the next: the arrays keep their room, so that a warm record costs no allocation.
///
/// Text fields hold bytes as the peer sent them; the log escapes. An empty one is left out of the line. A name that
/// the configuration knows (listener, route, upstream) is assigned, which shares its storage; bytes of a request
/// are copied in with `replace(with:)`.
public struct AccessRecord {
    public enum HTTPVersion: Sendable {
        case http10, http11, http2

        var text: StaticString {
            switch self {
            case .http10: "HTTP/1.0"
            case .http11: "HTTP/1.1"
            case .http2: "HTTP/2.0"
            }
        }
    }

    public enum Scheme: Sendable {
        case bearer, dpop, oauth1, certificate

        var text: StaticString {
            switch self {
            case .bearer: "bearer"
            case .dpop: "dpop"
            case .oauth1: "oauth1"
            case .certificate: "certificate"
            }
        }
    }

    /// When the first byte of the request was read.
    public var time = WallTime(nanoseconds: 0)
    public var requestID: [UInt8] = []
    /// The peer's address without its port, `unix:` for a unix socket; made once per connection.
    public var clientAddress: [UInt8] = []
    public var listener: [UInt8] = []
    public var version = HTTPVersion.http11
    public var method: [UInt8] = []
    public var host: [UInt8] = []
    /// The canonical path: what was matched and forwarded.
    public var path: [UInt8] = []
    /// What stood after the `?`, as received; the log redacts it. Empty for none.
    public var query: [UInt8] = []
    public var route: [UInt8] = []
    /// 0 when the connection ended before an answer.
    public var status = 0
    /// Bytes of the request's and the response's body, without head and framing.
    public var bytesIn = 0
    public var bytesOut = 0
    public var duration = Duration.zero
    /// What Authentication and Authorization took; `nil` when they were not reached.
    public var authenticationDuration: Duration?
    /// The server that was asked, not the group; empty when none was.
    public var upstream: [UInt8] = []
    public var upstreamDuration: Duration?
    public var upstreamStatus: Int?
    public var scheme: Scheme?
    public var client: [UInt8] = []
    public var subject: [UInt8] = []
    /// Space-separated (RFC 6749 section 3.3).
    public var scopes: [UInt8] = []
    public var reason: Reason?
    public var tlsVersion: [UInt8] = []
    /// 32 hex digits of `traceparent`.
    public var traceID: [UInt8] = []
    /// Only the `combined` format writes these two.
    public var referer: [UInt8] = []
    public var userAgent: [UInt8] = []

    public init() {}

    /// Makes the record empty for the next request; the room of the copied fields stays.
    public mutating func reset() {
        time = WallTime(nanoseconds: 0)
        requestID.clear()
        method.clear()
        host.clear()
        path.clear()
        query.clear()
        client.clear()
        subject.clear()
        scopes.clear()
        traceID.clear()
        referer.clear()
        userAgent.clear()
        // These share a storage that is not ours: keeping the capacity would copy it.
        clientAddress.drop()
        listener.drop()
        route.drop()
        upstream.drop()
        tlsVersion.drop()
        version = .http11
        status = 0
        bytesIn = 0
        bytesOut = 0
        duration = .zero
        authenticationDuration = nil
        upstreamDuration = nil
        upstreamStatus = nil
        scheme = nil
        reason = nil
    }
}

extension [UInt8] {
    /// Most are empty while no log is written.
    fileprivate mutating func clear() {
        if !isEmpty { removeAll(keepingCapacity: true) }
    }

    fileprivate mutating func drop() {
        if !isEmpty { self = [] }
    }

    /// Makes the array a copy of `bytes` in the room it has.
    public mutating func replace(with bytes: [UInt8]) {
        removeAll(keepingCapacity: true)
        append(contentsOf: bytes)
    }

    /// Makes the array a copy of `bytes` in the room it has.
    public mutating func replace(with bytes: Span<UInt8>) {
        removeAll(keepingCapacity: true)
        unsafe bytes.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
    }
}
