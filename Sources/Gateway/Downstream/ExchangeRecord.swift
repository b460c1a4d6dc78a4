import HTTP
import Primitives
import Telemetry

/// The access-log line of an exchange.
extension Exchange {
    /// Writes the line, once, when the outcome is known. Nothing is formatted while the log is off.
    func log() {
        worker.countAnswer()
        guard worker.shared.accessWriter.writesAccessLog else { return }
        record.time = worker.loop.wallNow
        record.requestID.replace(with: trace.requestID)
        record.clientAddress = clientText
        if let tls = client?.tls { record.tlsVersion = tls.version.bytes }
        record.listener = listener.nameBytes
        record.version =
            switch head.version {
            case .http10: .http10
            case .http11: .http11
            case .http2: .http2
            }
        if !isHeadUnread {
            let head = self.head
            record.method.replace(with: head.span(of: head.methodRange))
            record.host.replace(with: head.span(of: head.authority))
            record.path.replace(with: canonicalPath)
            if head.hasQuery { record.query.replace(with: head.span(of: head.query)) }
        }
        record.route = route?.path ?? []
        record.bytesIn = body.received
        record.duration = worker.elapsed(since: startedAt)
        if let principal {
            record.client.replace(with: principal.clientBytes)
            record.subject.append(contentsOf: principal.subject.utf8)
            for scope in principal.scopes {
                if !record.scopes.isEmpty { record.scopes.append(0x20) }
                record.scopes.append(scope.utf8Span.span)
            }
        }
        if trace.traceparent.count == 55 {
            record.traceID.append(contentsOf: trace.traceparent[RequestTrace.traceIDRange])
        }
        worker.accessLog.write(&record)
    }
}

extension HTTP1Error {
    /// The log's word for it.
    var reason: Reason {
        switch self {
        case .requestLineTooLong: .uriTooLong
        case .headTooLarge, .tooManyFields, .trailersTooLarge: .headTooLarge
        case .unsupportedVersion: .unsupportedVersion
        case .tunnelNotOffered: .upgradeNotSupported
        default: .badRequest
        }
    }
}
