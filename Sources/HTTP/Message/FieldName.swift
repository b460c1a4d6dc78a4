/// The field names that the gateway treats specially, as small integers; every other name is `other`.
public enum FieldName: UInt8, Sendable, CaseIterable {
    case other = 0
    case host, contentLength, transferEncoding, connection, keepAlive, proxyConnection, te
    case trailer, upgrade, expect, authorization, proxyAuthorization, proxyAuthenticate
    case contentType, forwarded, xForwardedFor, xForwardedProto, xForwardedHost, via
    case xRequestID, traceparent, tracestate, cookie, setCookie, date, server, http2Settings
    case userAgent, referer, dpop
    /// `X-Auth-Scheme`, `-Client`, `-Subject`, `-Scopes`, `-Issuer` and `-Shadow`, in any letter case and with `_` or another
    /// symbol for `-`: what an upstream believes of the gateway alone (CVE-2025-64484 is the class).
    case identity

    /// The name in lower case; empty for `other` and `identity`.
    public var text: StaticString {
        switch self {
        case .other, .identity: ""
        case .host: "host"
        case .contentLength: "content-length"
        case .transferEncoding: "transfer-encoding"
        case .connection: "connection"
        case .keepAlive: "keep-alive"
        case .proxyConnection: "proxy-connection"
        case .te: "te"
        case .trailer: "trailer"
        case .upgrade: "upgrade"
        case .expect: "expect"
        case .authorization: "authorization"
        case .proxyAuthorization: "proxy-authorization"
        case .proxyAuthenticate: "proxy-authenticate"
        case .contentType: "content-type"
        case .forwarded: "forwarded"
        case .xForwardedFor: "x-forwarded-for"
        case .xForwardedProto: "x-forwarded-proto"
        case .xForwardedHost: "x-forwarded-host"
        case .via: "via"
        case .xRequestID: "x-request-id"
        case .traceparent: "traceparent"
        case .tracestate: "tracestate"
        case .cookie: "cookie"
        case .setCookie: "set-cookie"
        case .date: "date"
        case .server: "server"
        case .http2Settings: "http2-settings"
        case .userAgent: "user-agent"
        case .referer: "referer"
        case .dpop: "dpop"
        }
    }

    /// Concerns one connection, never passes a proxy (RFC 9110 section 7.6.1; HTTP2-Settings: RFC 7540 section 3.2.1).
    public var isHopByHop: Bool {
        switch self {
        case .connection, .keepAlive, .proxyConnection, .te, .trailer, .transferEncoding, .upgrade,
            .http2Settings, .proxyAuthenticate, .proxyAuthorization:
            true
        default:
            false
        }
    }

    /// Finds a name by its length and then its bytes, in any letter case.
    public static func lookup(_ name: Span<UInt8>) -> FieldName {
        switch name.count {
        case 2: match(name, .te)
        case 3: match(name, .via)
        case 4: match(name, .host, .date, .dpop)
        case 6: match(name, .expect, .cookie, .server)
        case 7: match(name, .upgrade, .trailer, .referer)
        case 9: match(name, .forwarded)
        case 10: match(name, .connection, .userAgent, .keepAlive, .setCookie, .tracestate)
        case 11: match(name, .traceparent)
        case 12: match(name, .contentType, .xRequestID)
        case 13:
            isIdentity(name) ? .identity : match(name, .authorization)
        case 14:
            isIdentity(name) ? .identity : match(name, .contentLength, .http2Settings)
        case 15: match(name, .xForwardedFor)
        case 16: match(name, .xForwardedHost, .proxyConnection)
        case 17: match(name, .transferEncoding, .xForwardedProto)
        case 18: match(name, .proxyAuthenticate)
        case 19: match(name, .proxyAuthorization)
        default: .other
        }
    }

    /// The candidate of that name; the first or second letters differ wherever there are several, so one is compared whole.
    @inline(__always)
    private static func match(
        _ name: Span<UInt8>, _ first: FieldName, _ second: FieldName = .other,
        _ third: FieldName = .other, _ fourth: FieldName = .other, _ fifth: FieldName = .other
    ) -> FieldName {
        if first.isNamed(name) { return first }
        if second != .other, second.isNamed(name) { return second }
        if third != .other, third.isNamed(name) { return third }
        if fourth != .other, fourth.isNamed(name) { return fourth }
        if fifth != .other, fifth.isNamed(name) { return fifth }
        return .other
    }

    private func isNamed(_ name: Span<UInt8>) -> Bool { text.equalsIgnoringCase(name) }

    private static func isIdentity(_ name: Span<UInt8>) -> Bool {
        guard name[0] | 0x20 == 0x78, name[2] | 0x20 == 0x61 else { return false }
        func isCalled(_ candidate: StaticString) -> Bool {
            candidate.equalsIgnoringCase(name, foldsSymbols: true)
        }
        return isCalled("x-auth-scheme") || isCalled("x-auth-client") || isCalled("x-auth-subject")
            || isCalled("x-auth-scopes") || isCalled("x-auth-issuer") || isCalled("x-auth-shadow")
    }
}

extension StaticString {
    /// Whether this text, in lower case, is the name but for the case of its letters. Every name of every head is looked up:
    /// eight bytes are compared at once, the last of them perhaps twice.
    fileprivate func equalsIgnoringCase(_ name: Span<UInt8>) -> Bool {
        let count = utf8CodeUnitCount
        guard name.count == count else { return false }
        guard count >= 8 else { return equalsIgnoringCase(name, foldsSymbols: false) }
        return unsafe name.withUnsafeBytes { bytes in
            let text = unsafe UnsafeRawBufferPointer(start: utf8Start, count: count)
            var offset = 0
            while true {
                let word = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                let wanted = unsafe text.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                guard StaticString.lowercased(word) == wanted else { return false }
                if offset == count - 8 { return true }
                offset = min(offset + 8, count - 8)
            }
        }
    }

    /// Eight bytes, A to Z of them in lower case: which bytes are letters is worked out in the top bit of each, which no
    /// addition can carry out of.
    private static func lowercased(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let low = word & (0x7F * ones)
        let isPastZ = low + (0x7F - 0x5A) * ones
        let isFromA = low + (0x80 - 0x41) * ones
        let isUpper = (isFromA ^ isPastZ) & ~word & (0x80 * ones)
        return word | isUpper >> 2
    }

    /// Compares with a text in lower case; `foldsSymbols` takes every byte but letters and digits for `-`:
    /// CGI-like upstreams make `HTTP_X_AUTH_CLIENT` of `X_Auth_Client`, some also of `X.Auth.Client`.
    func equalsIgnoringCase(_ bytes: Span<UInt8>, foldsSymbols: Bool) -> Bool {
        guard bytes.count == utf8CodeUnitCount else { return false }
        for index in 0..<bytes.count {
            var byte = bytes[index]
            if byte >= 0x41, byte <= 0x5A { byte |= 0x20 }
            if foldsSymbols, !ASCII.isDigit(byte), byte &- 0x61 >= 26 { byte = 0x2D }
            if unsafe utf8Start[index] != byte { return false }
        }
        return true
    }
}
