import Primitives

/// The two forms of an access-log line, without its line end.
enum AccessLine {
    static func appendJSON(
        _ record: borrowing AccessRecord, time: inout LogTime, to line: inout [UInt8]
    ) {
        appendText("{\"time\":\"", to: &line)
        time.append(record.time, to: &line)
        line.append(0x22)
        appendField(",\"request_id\":\"", record.requestID.span, to: &line)
        appendField(",\"client_address\":\"", record.clientAddress.span, to: &line)
        appendField(",\"listener\":\"", record.listener.span, to: &line)
        appendText(",\"protocol\":\"", to: &line)
        appendText(record.version.text, to: &line)
        line.append(0x22)
        appendField(",\"method\":\"", record.method.span, to: &line)
        appendField(",\"host\":\"", record.host.span, to: &line)
        appendPath(record, to: &line)
        appendField(",\"route\":\"", record.route.span, to: &line)
        appendField(",\"status\":", record.status, to: &line)
        appendField(",\"bytes_in\":", record.bytesIn, to: &line)
        appendField(",\"bytes_out\":", record.bytesOut, to: &line)
        appendField(",\"duration_ms\":", record.duration, to: &line)
        appendField(",\"auth_ms\":", record.authenticationDuration, to: &line)
        appendField(",\"upstream\":\"", record.upstream.span, to: &line)
        appendField(",\"upstream_ms\":", record.upstreamDuration, to: &line)
        appendField(",\"upstream_status\":", record.upstreamStatus, to: &line)
        if let scheme = record.scheme {
            appendText(",\"scheme\":\"", to: &line)
            appendText(scheme.text, to: &line)
            line.append(0x22)
        }
        appendField(",\"client\":\"", record.client.span, to: &line)
        appendField(",\"subject\":\"", record.subject.span, to: &line)
        appendField(",\"scopes\":\"", record.scopes.span, to: &line)
        if let reason = record.reason {
            appendText(",\"reason\":\"", to: &line)
            line.append(contentsOf: reason.rawValue.utf8)
            line.append(0x22)
        }
        appendField(",\"tls_version\":\"", record.tlsVersion.span, to: &line)
        appendField(",\"trace_id\":\"", record.traceID.span, to: &line)
        line.append(0x7D)
    }

    /// `address - client [time] "METHOD target VERSION" status bytes "referer" "user agent"`. A query in the
    /// referer is redacted as our own is: it is another page's target.
    static func appendCombined(
        _ record: borrowing AccessRecord, time: inout LogTime, to line: inout [UInt8]
    ) {
        appendOrDash(record.clientAddress.span, to: &line)
        appendText(" - ", to: &line)
        appendOrDash(record.client.span, to: &line)
        appendText(" [", to: &line)
        time.append(record.time, to: &line)
        appendText("] \"", to: &line)
        appendEscaped(record.method.span, asciiOnly: true, to: &line)
        line.append(0x20)
        appendTarget(record.path.span, query: record.query.span, to: &line)
        line.append(0x20)
        appendText(record.version.text, to: &line)
        appendText("\" ", to: &line)
        appendDigits(record.status, width: 3, to: &line)
        line.append(0x20)
        JSONText.appendInteger(record.bytesOut, to: &line)
        appendText(" \"", to: &line)
        appendReferer(record.referer.span, to: &line)
        appendText("\" \"", to: &line)
        appendOrDash(record.userAgent.span, to: &line)
        line.append(0x22)
    }

    // MARK: JSON

    /// - Parameter name: with the opening quote of the value.
    private static func appendField(
        _ name: StaticString, _ value: Span<UInt8>, to line: inout [UInt8]
    ) {
        guard !value.isEmpty else { return }
        JSONText.appendString(name, value, to: &line)
    }

    private static func appendField(_ name: StaticString, _ value: Int?, to line: inout [UInt8]) {
        guard let value else { return }
        appendText(name, to: &line)
        JSONText.appendInteger(value, to: &line)
    }

    private static func appendField(
        _ name: StaticString, _ value: Duration?, to line: inout [UInt8]
    ) {
        guard let value else { return }
        appendText(name, to: &line)
        appendMilliseconds(value, to: &line)
    }

    /// The canonical path, and behind a `?` the redacted query.
    private static func appendPath(_ record: borrowing AccessRecord, to line: inout [UInt8]) {
        guard !record.path.isEmpty else { return }
        JSONText.appendString(",\"path\":\"", record.path.span, to: &line)
        guard !record.query.isEmpty else { return }
        // The two are escaped one after the other and then joined: no copy of them is made.
        line[line.count - 1] = 0x3F
        let start = line.count
        QueryRedaction.append(query: record.query.span, to: &line)
        requote(from: start, in: &line)
    }

    /// Escapes in place what stands raw in the line from `start` on, and ends the string.
    private static func requote(from start: Int, in line: inout [UInt8]) {
        var isPlain = true
        for index in start..<line.count where !isJSONPlain(line[index]) {
            isPlain = false
            break
        }
        if isPlain {
            line.append(0x22)
            return
        }
        // A query that the parser let through and is not plain ASCII is rare: this may allocate.
        let raw = Array(line[start...])
        line.removeSubrange(start...)
        var quoted: [UInt8] = []
        JSONText.appendString(raw.span, to: &quoted)
        line.append(contentsOf: quoted.dropFirst())
    }

    private static func isJSONPlain(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte < 0x7F && byte != 0x22 && byte != 0x5C
    }

    // MARK: combined

    private static func appendOrDash(_ text: Span<UInt8>, to line: inout [UInt8]) {
        if text.isEmpty { line.append(0x2D) }
        appendEscaped(text, asciiOnly: true, to: &line)
    }

    private static func appendTarget(
        _ path: Span<UInt8>, query: Span<UInt8>, to line: inout [UInt8]
    ) {
        appendOrDash(path, to: &line)
        guard !query.isEmpty else { return }
        line.append(0x3F)
        var redacted: [UInt8] = []
        QueryRedaction.append(query: query, to: &redacted)
        appendEscaped(redacted.span, asciiOnly: true, to: &line)
    }

    private static func appendReferer(_ referer: Span<UInt8>, to line: inout [UInt8]) {
        var mark = 0
        while mark < referer.count, referer[mark] != 0x3F { mark += 1 }
        if mark == referer.count { return appendOrDash(referer, to: &line) }
        appendTarget(
            referer.extracting(0..<mark), query: referer.extracting((mark + 1)..<referer.count),
            to: &line)
    }
}
