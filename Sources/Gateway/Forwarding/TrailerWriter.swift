import HTTP

/// Relays the trailers of an upstream's chunked answer (RFC 9110 section 6.5).
///
/// Trailers of requests are not relayed at all in this version: a field that was not there when the request
/// was judged must not turn up behind it.
public enum TrailerWriter {
    /// Appends the lines of a trailer section, without the empty line that ends it.
    ///
    /// What frames, routes or authenticates a message, or says how to read its content, has no meaning behind
    /// it and is left out (section 6.5.1), and so are the identity fields, in every spelling.
    ///
    /// - Parameters:
    ///   - fields: as the decoder found them, ranges of `bytes`.
    public static func append(_ fields: [FieldLine], _ bytes: [UInt8], to output: inout [UInt8]) {
        for line in fields where isTrailer(line.id) {
            output.append(contentsOf: bytes[line.name.range])
            output.append(": ")
            output.append(contentsOf: bytes[line.value.range])
            output.append("\r\n")
        }
    }

    private static func isTrailer(_ id: FieldName) -> Bool {
        guard !id.isHopByHop else { return false }
        switch id {
        case .identity, .host, .contentLength, .contentType, .expect, .authorization, .cookie,
            .setCookie, .forwarded, .xForwardedFor, .xForwardedProto, .xForwardedHost, .via, .date:
            return false
        default:
            return true
        }
    }
}
