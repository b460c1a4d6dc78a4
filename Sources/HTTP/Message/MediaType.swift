import Primitives

/// What a message's content is (RFC 9110 section 8.3), where the gateway treats it in its own way.
enum MediaType {
    /// Whether a Content-Type names the type, in lower case, with or without parameters.
    ///
    /// - Parameter allowsSuffix: also `type+suffix`.
    static func matches(
        _ value: Span<UInt8>, _ type: StaticString, allowsSuffix: Bool = false
    ) -> Bool {
        let count = type.utf8CodeUnitCount
        guard value.count >= count,
            type.equalsIgnoringCase(value.extracting(0..<count), foldsSymbols: false)
        else { return false }
        guard value.count > count else { return true }
        switch value[count] {
        case 0x3B, 0x20, 0x09: return true
        case 0x2B: return allowsSuffix
        default: return false
        }
    }

    static func isGRPC(_ value: Span<UInt8>) -> Bool {
        matches(value, "application/grpc", allowsSuffix: true)
    }
}

extension MessageHead {
    /// Whether the content is a gRPC call's, which expects its refusal as a gRPC status.
    public final var isGRPC: Bool {
        guard let line = value(of: .contentType) else { return false }
        return MediaType.isGRPC(span(of: line.value))
    }
}

extension ResponseHead {
    /// Whether the content may go on for as long as both sides like: server-sent events, a gRPC call.
    public var isLasting: Bool {
        guard let line = value(of: .contentType) else { return false }
        let type = span(of: line.value)
        return MediaType.matches(type, "text/event-stream") || MediaType.isGRPC(type)
    }
}
