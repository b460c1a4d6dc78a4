import HTTP

/// Decides which of a client's fields reach the upstream.
///
/// What the gateway says itself (identity, forwarding, framing, ids) goes in every spelling that an upstream
/// might read as the same name: a server that makes `HTTP_X_AUTH_CLIENT` of a field's name cannot tell
/// `X_Auth_Client` from `X-Auth-Client`.
struct ClientFieldFilter {
    /// A name with `_` or another symbol in it, as it reads with `-`.
    private var folded: [UInt8] = []

    init() {
        folded.reserveCapacity(64)
    }

    /// - Parameters:
    ///   - bytes: the head's.
    ///   - continuesTrace: whether `tracestate` belongs to the `traceparent` that is sent.
    mutating func passes(
        _ line: FieldLine, of head: RequestHead, _ bytes: Span<UInt8>, route: CompiledRoute,
        continuesTrace: Bool
    ) -> Bool {
        let name = line.name.range
        let id = line.id == .other ? self.id(of: bytes, name) : line.id
        guard !id.isHopByHop else { return false }
        switch id {
        case .host, .contentLength, .transferEncoding, .expect, .identity, .forwarded,
            .xForwardedFor, .xForwardedProto, .xForwardedHost, .via, .xRequestID, .traceparent:
            // The gateway writes its own, or answers for it.
            return false
        case .tracestate:
            guard continuesTrace else { return false }
        case .authorization, .dpop:
            // A proof goes where its token goes.
            guard route.forwardsAuthorization else { return false }
        case .other:
            guard !Self.isForwardingClaim(bytes, name) else { return false }
        default:
            break
        }
        if route.fields.drops(bytes, name) { return false }
        return !head.connectionNames(line)
    }

    /// The id of a name that is not one of the known names as it stands.
    private mutating func id(of bytes: Span<UInt8>, _ name: Range<Int>) -> FieldName {
        var index = name.lowerBound
        // Letters, digits and `-` are what they are.
        while index < name.upperBound, foldedNameByte(bytes[index]) == lowercased(bytes[index]) {
            index += 1
        }
        guard index < name.upperBound else { return .other }
        folded.removeAll(keepingCapacity: true)
        for index in name { folded.append(foldedNameByte(bytes[index])) }
        return FieldName.lookup(folded.span)
    }

    /// Fields in which a proxy in front would tell what it saw or which target was meant. What a trusted proxy tells is
    /// read by `ForwardedClient` and written anew; all else may be the client's invention, and some frameworks route by it
    /// (CVE-2026-40575 class; X-Original-URL in IIS and Symfony).
    private static func isForwardingClaim(_ bytes: Span<UInt8>, _ name: Range<Int>) -> Bool {
        guard name.count >= 9, lowercased(bytes[name.lowerBound]) == 0x78 else { return false }
        for prefix in forwardingPrefixes where name.count >= prefix.count {
            if matchesFolded(prefix, bytes, name) { return true }
        }
        return name.count == realIP.count && matchesFolded(realIP, bytes, name)
    }

    private static let forwardingPrefixes = [
        Array("x-forwarded-".utf8), Array("x-original-".utf8), Array("x-rewrite-".utf8),
    ]
    private static let realIP = Array("x-real-ip".utf8)
}
