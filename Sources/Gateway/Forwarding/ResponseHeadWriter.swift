import HTTP
import Primitives

/// Relays the head of an upstream's answer to the client: its end-to-end fields, our own framing.
public enum ResponseHeadWriter {
    /// How the body of a final answer is framed on its way to the client.
    ///
    /// - Returns: `.untilClose` where the connection must be closed to end the body: its length is not known
    ///   and the client speaks HTTP/1.0 (RFC 9112 section 6.1).
    public static func framing(
        of response: ResponseHead, for version: HTTPVersion
    ) -> BodyFraming {
        switch response.framing {
        case .none: .none
        case .length(let count): .length(count)
        case .chunked, .untilClose: version == .http10 ? .untilClose : .chunked
        }
    }

    /// Whether an interim answer (1xx) goes on to the client.
    ///
    /// A 101 never does: no upgrade was asked for. HTTP/1.0 knows no interim answers, and a 100 is for who
    /// waits for one (RFC 9110 section 15.2).
    public static func relaysInterim(_ response: ResponseHead, to request: RequestHead) -> Bool {
        switch response.status {
        case 100: request.expectsContinue && request.version != .http10
        case 101: false
        default: response.isInterim && request.version != .http10
        }
    }

    /// Appends the 101 that opens a tunnel; for HTTP/2 the lines of the 200 that stands for it (RFC 8441 section 5).
    static func appendSwitch(
        _ response: ResponseHead, _ upgrade: WebSocketUpgrade, version: HTTPVersion,
        nonce: [UInt8] = [], hidesNonce: Bool = false, to output: inout [UInt8]
    ) {
        let bytes = response.content
        if version != .http2 { output.append("HTTP/1.1 101 Switching Protocols\r\n") }
        var lines = FieldLines(of: bytes)
        let fields = response.lines
        for index in fields.indices {
            let line = fields[index]
            if line.id.isHopByHop || upgrade.hides(line, of: response) { continue }
            // Neither has a body (RFC 9110 section 8.6).
            if line.id == .contentLength || response.connectionNames(line) { continue }
            if hidesNonce || !nonce.isEmpty, isNonce(bytes, line.name.range) { continue }
            lines.append(line, to: &output)
        }
        lines.flush(to: &output)
        ReplyWriter.appendNonce(nonce, to: &output)
        if version != .http2 {
            output.append("Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        }
    }

    /// Appends the head: for HTTP/1 with its status line, up to and with its empty line; for HTTP/2 the field lines
    /// alone, which the stream encodes.
    ///
    /// - Parameters:
    ///   - version: of the client's request.
    ///   - isHead: whether the request was HEAD; then the length that the upstream tells is passed on.
    ///   - closes: whether the connection ends after this answer; must be true where `framing` is
    ///     `.untilClose`.
    ///   - date: now, as an IMF-fixdate; sent when the upstream tells none.
    ///   - nonce: what the client's next DPoP proof must have (RFC 9449 section 8.2); empty: nothing is told.
    ///   - hidesNonce: the upstream's own is none of the client's concern: the proof is not the upstream's to judge, or
    ///     it is the gateway that asks for nonces, and the client would come with the wrong one.
    public static func append(
        _ response: ResponseHead, version: HTTPVersion, isHead: Bool, closes: Bool, date: [UInt8],
        nonce: [UInt8] = [], hidesNonce: Bool = false, to output: inout [UInt8]
    ) {
        let bytes = response.content
        let framing = framing(of: response, for: version)
        if version != .http2 {
            output.append("HTTP/1.1 ")
            JSONText.appendInteger(response.status, to: &output)
            output.append(" ")
            if response.version == .http2 {
                // HTTP/2 has none.
                output.append(HTTP1Writer.reasonPhrase(response.status))
            } else {
                output.append(bytes, response.reason.range)
            }
            output.append("\r\n")
        }
        let fields = response.lines
        let tellsNonce = !nonce.isEmpty
        var hasVia = false
        var hasDate = false
        var lines = FieldLines(of: bytes)
        for index in fields.indices {
            let line = fields[index]
            switch line.id {
            case .via:
                hasVia = true
                continue
            case .trailer where framing == .chunked && !isHead:
                // The trailers themselves are passed on too.
                break
            case .contentLength:
                // With a body `framing` says it. Without one it tells how long the body would be, which only
                // an answer to HEAD and a 304 may (RFC 9110 section 8.6).
                // Never a 204, not even to HEAD.
                guard framing == .none, isHead || response.status == 304, response.status != 204
                else { continue }
            case .date:
                hasDate = true
            default:
                guard !line.id.isHopByHop else { continue }
            }
            guard !response.connectionNames(line) else { continue }
            // Of two nonces the client could not tell whose is whose; and whoever kept this answer would tell it again when
            // the nonce is no longer good (RFC 9449 section 8.2).
            if hidesNonce || tellsNonce, isNonce(bytes, line.name.range) { continue }
            if tellsNonce, isCacheControl(bytes, line) { continue }
            lines.append(line, to: &output)
        }
        lines.flush(to: &output)
        appendVia(receivedIn: response.version, hasVia ? fields : Span(), bytes, to: &output)
        guard !response.isInterim else {
            if version != .http2 { output.append("\r\n") }
            return
        }
        if !hasDate { appendDate(date, to: &output) }
        if tellsNonce {
            ReplyWriter.appendNonce(nonce, to: &output)
            output.append("Cache-Control: no-store\r\n")
        }
        appendHeadEnd(framing, version, closes: closes, to: &output)
    }

    private static let nonceName = Array("dpop-nonce".utf8)
    private static let cacheControlName = Array("cache-control".utf8)

    private static func isCacheControl(_ bytes: Span<UInt8>, _ line: FieldLine) -> Bool {
        line.name.range.count == cacheControlName.count
            && matchesFolded(cacheControlName, bytes, line.name.range)
    }

    private static func isNonce(_ bytes: Span<UInt8>, _ name: Range<Int>) -> Bool {
        name.count == nonceName.count && matchesFolded(nonceName, bytes, name)
    }
}

/// Appends what the version needs to frame the message and to say whether the connection goes on, and what ends the
/// head. HTTP/2 frames by itself and forbids the fields that would (RFC 9113 section 8.2.2); only a length is told.
func appendHeadEnd(
    _ framing: BodyFraming, _ version: HTTPVersion, closes: Bool, to output: inout [UInt8]
) {
    if version == .http2 {
        if case .length = framing { appendFraming(framing, to: &output) }
        return
    }
    appendFraming(framing, to: &output)
    appendPersistence(version, closes: closes, to: &output)
    output.append("\r\n")
}

func appendDate(_ date: [UInt8], to output: inout [UInt8]) {
    output.append("Date: ", date.span, "\r\n")
}

/// Appends `Connection` where the version's default is not what will happen (RFC 9112 section 9.3).
func appendPersistence(_ version: HTTPVersion, closes: Bool, to output: inout [UInt8]) {
    if closes {
        output.append("Connection: close\r\n")
    } else if version == .http10 {
        output.append("Connection: keep-alive\r\n")
    }
}
