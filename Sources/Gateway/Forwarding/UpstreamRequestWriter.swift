import HTTP
import Primitives

/// What is known of the client's connection, apart from anything the client says.
public struct ConnectionFacts: Sendable {
    /// The client's address as text (`192.0.2.1`, `2001:db8::1`), without a port; empty for a unix socket.
    public var clientAddress: [UInt8]
    public var isTLS: Bool
    /// The host that the client asked for, where a trusted proxy has put another into `Host`.
    public var authority: [UInt8]?
    /// The trusted proxies between, nearest to the client first.
    public var proxies: [[UInt8]]

    public init(
        clientAddress: [UInt8], isTLS: Bool, authority: [UInt8]? = nil, proxies: [[UInt8]] = []
    ) {
        self.clientAddress = clientAddress
        self.isTLS = isTLS
        self.authority = authority
        self.proxies = proxies
    }
}

/// Writes the head of the request to the upstream: one well-formed HTTP/1.1 head, from what was judged.
///
/// It takes a `Permit`, which Authorization alone can make, and forwards by the route and for the principal
/// of that permit. One per worker; it keeps its buffers.
public struct UpstreamRequestWriter {
    private var filter = ClientFieldFilter()

    public init() {}

    /// Appends the head, up to and with its empty line.
    ///
    /// - Parameters:
    ///   - path: the canonical path that was matched; the query is the head's, byte for byte.
    ///   - framing: of the body as it will be sent: `.none`, `.length` or `.chunked`.
    ///   - upgrade: what the request asks for instead of a body.
    mutating func append(
        _ permit: Permit, _ head: RequestHead, path: Span<UInt8>, connection: ConnectionFacts,
        trace: borrowing RequestTrace, framing: BodyFraming, upgrade: WebSocketUpgrade? = nil,
        to output: inout [UInt8]
    ) {
        let bytes = head.content
        let route = permit.route
        appendRequestLine(head, bytes, path: path, route, to: &output)
        if !route.fields.replaced.contains(.host) {
            if head.authority.count > 0 {
                output.append("Host: ", bytes.extracting(head.authority.range), "\r\n")
            } else {
                let authority = route.upstreamAuthority
                output.append("Host: ", authority.span, "\r\n")
            }
        }
        let fields = head.lines
        let continuesTrace = trace.isContinued && !route.fields.replaced.contains(.traceparent)
        var hasVia = false
        var lines = FieldLines(of: bytes)
        for index in fields.indices {
            let line = fields[index]
            if line.id == .via { hasVia = true }
            guard
                filter.passes(line, of: head, bytes, route: route, continuesTrace: continuesTrace)
            else { continue }
            if let upgrade, upgrade.replaces(line, of: head) { continue }
            lines.append(line, to: &output)
        }
        lines.flush(to: &output)
        // Ours come last and after every field of their names was left out above. No `Connection` can name
        // them: the client's is not sent.
        if let principal = permit.principal { output.append(contentsOf: principal.identityFields) }
        appendForwarding(head, bytes, connection, route.fields.replaced, to: &output)
        if !route.fields.replaced.contains(.via) {
            appendVia(
                receivedIn: head.version, hasVia ? fields : Span(), bytes, to: &output)
        }
        appendTrace(trace, route.fields.replaced, to: &output)
        output.append(contentsOf: route.fields.lines)
        if let upgrade {
            upgrade.appendFields(to: &output)
        } else {
            appendFraming(framing, to: &output)
        }
        output.append("\r\n")
    }

    /// The lines of a request's trailer section, without those that no trailer section may have and those that no head
    /// of this client may: what was judged must not change behind it.
    mutating func trailerLines(
        _ trailers: Trailers, of head: RequestHead, _ route: CompiledRoute
    ) -> [UInt8] {
        var output: [UInt8] = []
        for line in trailers.fields where TrailerWriter.isTrailer(line.id) {
            guard
                filter.passes(
                    line, of: head, trailers.bytes.span, route: route, continuesTrace: false),
                !head.connectionNames(trailers.bytes.span.extracting(line.name.range))
            else { continue }
            TrailerWriter.append(line, of: trailers, to: &output)
        }
        return output
    }

    private func appendRequestLine(
        _ head: RequestHead, _ bytes: Span<UInt8>, path: Span<UInt8>, _ route: CompiledRoute,
        to output: inout [UInt8]
    ) {
        output.append("", bytes.extracting(head.methodRange.range), " ")
        if head.isAsterisk {
            // About the server, not a resource of it (RFC 9110 section 9.3.7): there is no path to rewrite.
            output.append("*")
        } else {
            route.rewrites.append(path, to: &output)
            if head.hasQuery {
                output.append("?", bytes.extracting(head.query.range), "")
            }
        }
        output.append(" HTTP/1.1\r\n")
    }

    private func appendForwarding(
        _ head: RequestHead, _ bytes: Span<UInt8>, _ connection: ConnectionFacts,
        _ replaced: FieldEdits.Own, to output: inout [UInt8]
    ) {
        let address = connection.clientAddress
        let told = connection.authority ?? []
        let host =
            connection.authority == nil ? bytes.extracting(head.authority.range) : told.span
        if !replaced.contains(.forwarded) {
            // RFC 7239 section 4.
            output.append("Forwarded: for=")
            appendNode(address, to: &output)
            output.append(connection.isTLS ? ";proto=https" : ";proto=http")
            if !host.isEmpty {
                output.append(";host=")
                output.appendQuoted(host)
            }
            for proxy in connection.proxies {
                output.append(", for=")
                appendNode(proxy, to: &output)
            }
            output.append("\r\n")
        }
        if !replaced.contains(.xForwardedFor), !address.isEmpty || !connection.proxies.isEmpty {
            output.append("X-Forwarded-For: ", address.span, address.isEmpty ? "unknown" : "")
            for proxy in connection.proxies {
                output.append(", ", proxy.span, "")
            }
            output.append("\r\n")
        }
        if !replaced.contains(.xForwardedProto) {
            output.append(
                connection.isTLS
                    ? "X-Forwarded-Proto: https\r\n" : "X-Forwarded-Proto: http\r\n")
        }
        if !replaced.contains(.xForwardedHost), !host.isEmpty {
            output.append("X-Forwarded-Host: ", host, "\r\n")
        }
    }

    /// An IPv6 address is quoted and in brackets (RFC 7239 section 6).
    private func appendNode(_ address: [UInt8], to output: inout [UInt8]) {
        if address.isEmpty {
            output.append("unknown")
        } else if address.contains(0x3A) {
            output.append("\"[", address.span, "]\"")
        } else {
            output.append(address.span)
        }
    }

    private func appendTrace(
        _ trace: borrowing RequestTrace, _ replaced: FieldEdits.Own, to output: inout [UInt8]
    ) {
        if !replaced.contains(.xRequestID) {
            output.append("X-Request-Id: ", trace.requestID.span, "\r\n")
        }
        if !replaced.contains(.traceparent) {
            output.append("traceparent: ", trace.traceparent.span, "\r\n")
        }
    }
}

/// Appends `Via` as one list: what came in, then ours with the version the message was received in (RFC 9110
/// section 7.6.3).
func appendVia(
    receivedIn version: HTTPVersion, _ fields: Span<FieldLine>, _ bytes: Span<UInt8>,
    to output: inout [UInt8]
) {
    // Mostly nothing came in, and then it is one text.
    var hasBegun = false
    for index in fields.indices where fields[index].id == .via {
        let value = fields[index].value.range
        if value.isEmpty { continue }
        output.append(hasBegun ? "" : "Via: ", bytes.extracting(value), ", ")
        hasBegun = true
    }
    switch version {
    case .http10: output.append(hasBegun ? "1.0 gatehouse\r\n" : "Via: 1.0 gatehouse\r\n")
    case .http11: output.append(hasBegun ? "1.1 gatehouse\r\n" : "Via: 1.1 gatehouse\r\n")
    case .http2: output.append(hasBegun ? "2 gatehouse\r\n" : "Via: 2 gatehouse\r\n")
    }
}

/// Appends the field that frames a body; nothing for a message without one or one that ends with its
/// connection.
func appendFraming(_ framing: BodyFraming, to output: inout [UInt8]) {
    switch framing {
    case .none, .untilClose:
        break
    case .length(let count):
        output.append("Content-Length: ")
        JSONText.appendInteger(count, to: &output)
        output.append("\r\n")
    case .chunked:
        output.append("Transfer-Encoding: chunked\r\n")
    }
}
