import HTTP

/// Relays trailers (RFC 9110 section 6.5).
public enum TrailerWriter {
    /// Appends the lines of an answer's trailer section, without the empty line that ends it.
    ///
    /// What frames, routes or authenticates a message, or says how to read its content, has no meaning behind
    /// it and is left out (section 6.5.1), and so are the identity fields, in every spelling.
    ///
    public static func append(_ trailers: Trailers, to output: inout [UInt8]) {
        for line in trailers.fields where isTrailer(line.id) {
            append(line, of: trailers, to: &output)
        }
    }

    static func append(_ line: FieldLine, of trailers: Trailers, to output: inout [UInt8]) {
        output.append(contentsOf: trailers.bytes[line.name.range])
        output.append(": ")
        output.append(contentsOf: trailers.bytes[line.value.range])
        output.append("\r\n")
    }

    static func isTrailer(_ id: FieldName) -> Bool {
        guard !id.isHopByHop else { return false }
        switch id {
        case .identity, .host, .contentLength, .contentType, .expect, .authorization, .dpop,
            .cookie, .setCookie, .forwarded, .xForwardedFor, .xForwardedProto, .xForwardedHost,
            .via, .date:
            return false
        default:
            return true
        }
    }
}
