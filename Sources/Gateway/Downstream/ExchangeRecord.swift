import HTTP
import Primitives
import Telemetry

/// The access-log line of an exchange.
extension Exchange {
    /// What the access log will say and nobody else keeps.
    struct Record {
        /// 0 when the connection ended before an answer.
        var status = 0
        var reason: Reason?
        var scheme: AccessRecord.Scheme?
        /// Whom a credential names that proves nobody: a principal is kept as such.
        var client: [UInt8] = []
        var authenticationDuration: Duration?
        /// Of the server that was asked; empty when none was.
        var upstream: [UInt8] = []
        var upstreamStatus: Int?
        var upstreamDuration: Duration?
        var bytesOut = 0
    }

    /// Writes the line, once, when the outcome is known. Nothing is formatted while the log is off.
    func log() {
        worker.countAnswer()
        guard worker.shared.accessWriter.writesAccessLog else { return }
        worker.writeLine { fill(&$0) }
    }

    private func fill(_ line: inout AccessRecord) {
        line.reset()
        line.time = worker.loop.wallNow
        line.requestID.replace(with: trace.requestID)
        line.clientAddress = clientText
        if let tls = client?.tls { line.tlsVersion = tls.version.bytes }
        line.listener = listener.nameBytes
        line.version =
            switch head.version {
            case .http10: .http10
            case .http11: .http11
            case .http2: .http2
            }
        if !isHeadUnread {
            let head = self.head
            line.method.replace(with: head.span(of: head.methodRange))
            line.host.replace(with: head.span(of: head.authority))
            line.path.replace(with: canonicalPathBytes)
            if head.hasQuery { line.query.replace(with: head.span(of: head.query)) }
        }
        line.route = route?.path ?? []
        line.status = record.status
        line.bytesIn = body.received
        line.bytesOut = record.bytesOut
        line.duration = worker.elapsed(since: startedAt)
        line.authenticationDuration = record.authenticationDuration
        line.upstream = record.upstream
        line.upstreamDuration = record.upstreamDuration
        line.upstreamStatus = record.upstreamStatus
        line.scheme = record.scheme
        line.reason = record.reason
        if let principal {
            principal.appendClient(to: &line.client)
            principal.appendSubject(to: &line.subject)
            principal.appendScopes(to: &line.scopes)
        } else {
            line.client.replace(with: record.client)
        }
        if trace.traceparent.count == 55 {
            line.traceID.append(contentsOf: trace.traceparent[RequestTrace.traceIDRange])
        }
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
