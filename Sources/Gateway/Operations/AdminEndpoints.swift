import HTTP
import Primitives
import Telemetry

/// What the admin listener answers: whether the gateway lives and whether it is ready.
enum AdminEndpoints {
    /// The addresses that may always ask.
    private static let home = [IPPrefix("127.0.0.0/8"), IPPrefix("::1")].compactMap { $0 }

    static func answer(_ exchange: Exchange) {
        guard isAllowed(exchange) else { return exchange.refuse(.addressDenied) }
        switch String(decoding: exchange.canonicalPath, as: UTF8.self) {
        case "/healthz": answer(exchange, status: 200, "ok\n")
        case "/readyz": answerReadiness(exchange)
        default: exchange.refuse(.noRoute)
        }
    }

    /// Loopback and the unix socket are at home; everyone else must be named by `allow`.
    private static func isAllowed(_ exchange: Exchange) -> Bool {
        guard let peer = exchange.client?.address else { return true }
        let allowed = exchange.snapshot.configuration.admin?.allow ?? []
        return (home + allowed).contains { $0.contains(peer) }
    }

    private static func answerReadiness(_ exchange: Exchange) {
        var reasons: [String] = []
        if exchange.worker.isDraining { reasons.append(Reason.shuttingDown.rawValue) }
        if exchange.worker.shared.isStoreAway { reasons.append(Reason.storeUnavailable.rawValue) }
        for group in exchange.worker.upstreams where group.servers.isEmpty {
            reasons.append("\(Reason.noHealthyUpstream.rawValue) \(group.configuration.name)")
        }
        guard reasons.isEmpty else {
            return answer(exchange, status: 503, reasons.joined(separator: "\n") + "\n")
        }
        answer(exchange, status: 200, "ready\n")
    }

    private static func answer(_ exchange: Exchange, status: Int, _ text: String) {
        guard exchange.head.method == .get || exchange.head.method == .head else {
            var refusal = Refusal(.methodNotAllowed)
            refusal.allow = Array("GET, HEAD".utf8)
            return exchange.refuse(refusal)
        }
        var fields: [UInt8] = []
        fields.append("Cache-Control: no-store\r\n")
        exchange.answer(
            status: status, contentType: "text/plain; charset=utf-8", body: Array(text.utf8),
            fields: fields)
    }
}
