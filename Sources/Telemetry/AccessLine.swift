import Primitives

/// The two forms of an access-log line, without its line end.
enum AccessLine {
    /// Puts the line; room that is full afterwards was too small for it.
    static func putJSON(
        _ record: borrowing AccessRecord, time: inout LogTime, to line: inout OutputSpan<UInt8>
    ) {
        line.put("{\"time\":\"")
        line.put(time.text(of: record.time))
        line.put("\"")
        putField(",\"request_id\":\"", record.requestID.span, to: &line)
        putField(",\"client_address\":\"", record.clientAddress.span, to: &line)
        putField(",\"listener\":\"", record.listener.span, to: &line)
        line.put(",\"protocol\":\"")
        line.put(record.version.text)
        line.put("\"")
        putField(",\"method\":\"", record.method.span, to: &line)
        putField(",\"host\":\"", record.host.span, to: &line)
        putPath(record.path.span, query: record.query.span, to: &line)
        putField(",\"route\":\"", record.route.span, to: &line)
        putField(",\"status\":", record.status, to: &line)
        putField(",\"bytes_in\":", record.bytesIn, to: &line)
        putField(",\"bytes_out\":", record.bytesOut, to: &line)
        putField(",\"duration_ms\":", record.duration, to: &line)
        putField(",\"auth_ms\":", record.authenticationDuration, to: &line)
        putField(",\"upstream\":\"", record.upstream.span, to: &line)
        putField(",\"upstream_ms\":", record.upstreamDuration, to: &line)
        putField(",\"upstream_status\":", record.upstreamStatus, to: &line)
        if let scheme = record.scheme {
            line.put(",\"scheme\":\"")
            line.put(scheme.text)
            line.put("\"")
        }
        putField(",\"client\":\"", record.client.span, to: &line)
        putField(",\"subject\":\"", record.subject.span, to: &line)
        putField(",\"scopes\":\"", record.scopes.span, to: &line)
        if let reason = record.reason {
            putField(",\"reason\":\"", reason.rawValue.utf8Span.span, to: &line)
        }
        putField(",\"tls_version\":\"", record.tlsVersion.span, to: &line)
        putField(",\"trace_id\":\"", record.traceID.span, to: &line)
        line.put("}")
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
    @inline(__always)
    private static func putField(
        _ name: StaticString, _ value: Span<UInt8>, to line: inout OutputSpan<UInt8>
    ) {
        guard !value.isEmpty else { return }
        line.put(name)
        line.putJSON(value)
        line.put("\"")
    }

    @inline(__always)
    private static func putField(
        _ name: StaticString, _ value: Int?, to line: inout OutputSpan<UInt8>
    ) {
        guard let value else { return }
        line.put(name)
        line.putInteger(value)
    }

    @inline(__always)
    private static func putField(
        _ name: StaticString, _ value: Duration?, to line: inout OutputSpan<UInt8>
    ) {
        guard let value else { return }
        line.put(name)
        line.putMilliseconds(value)
    }

    /// The canonical path, and behind a `?` the redacted query.
    private static func putPath(
        _ path: Span<UInt8>, query: Span<UInt8>, to line: inout OutputSpan<UInt8>
    ) {
        guard !path.isEmpty else { return }
        line.put(",\"path\":\"")
        line.putJSON(path)
        if !query.isEmpty {
            line.put("?")
            if QueryRedaction.hidesNothing(of: query) {
                line.putJSON(query)
            } else {
                var redacted: [UInt8] = []
                QueryRedaction.append(query: query, to: &redacted)
                line.putJSON(redacted.span)
            }
        }
        line.put("\"")
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
