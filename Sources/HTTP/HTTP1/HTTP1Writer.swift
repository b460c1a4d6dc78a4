import Primitives

/// Writes the pieces of HTTP/1.1 messages into a byte array.
public enum HTTP1Writer {
    /// The line before a chunk's content (RFC 9112 section 7.1); `size` is positive.
    public static func appendChunkHeader(size: Int, to output: inout [UInt8]) {
        let first = output.count
        var rest = size
        repeat {
            let digit = UInt8(truncatingIfNeeded: rest & 15)
            output.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
            rest >>= 4
        } while rest > 0
        output[first...].reverse()
        output.append(0x0D)
        output.append(0x0A)
    }

    /// `HTTP/1.1 200 OK` and its CR LF.
    public static func appendStatusLine(_ status: Int, to output: inout [UInt8]) {
        output.append("HTTP/1.1 ")
        JSONText.appendInteger(status, to: &output)
        output.append(0x20)
        output.append(reasonPhrase(status))
        output.append("\r\n")
    }

    public static func appendField(
        _ name: StaticString, _ value: Span<UInt8>, to output: inout [UInt8]
    ) {
        output.append(name)
        output.append(": ")
        output.append(value)
        output.append("\r\n")
    }

    public static func appendField(
        _ name: StaticString, _ value: Int, to output: inout [UInt8]
    ) {
        output.append(name)
        output.append(": ")
        JSONText.appendInteger(value, to: &output)
        output.append("\r\n")
    }

    /// The registry's phrase for a status; empty for one that it does not have (RFC 9110 section 15).
    public static func reasonPhrase(_ status: Int) -> StaticString {
        switch status {
        case 100: "Continue"
        case 102: "Processing"
        case 103: "Early Hints"
        case 200: "OK"
        case 201: "Created"
        case 202: "Accepted"
        case 203: "Non-Authoritative Information"
        case 204: "No Content"
        case 205: "Reset Content"
        case 206: "Partial Content"
        case 300: "Multiple Choices"
        case 301: "Moved Permanently"
        case 302: "Found"
        case 303: "See Other"
        case 304: "Not Modified"
        case 307: "Temporary Redirect"
        case 308: "Permanent Redirect"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 402: "Payment Required"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 406: "Not Acceptable"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 410: "Gone"
        case 411: "Length Required"
        case 412: "Precondition Failed"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 415: "Unsupported Media Type"
        case 416: "Range Not Satisfiable"
        case 417: "Expectation Failed"
        case 421: "Misdirected Request"
        case 422: "Unprocessable Content"
        case 425: "Too Early"
        case 426: "Upgrade Required"
        case 428: "Precondition Required"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 451: "Unavailable For Legal Reasons"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        default: ""
        }
    }
}
