import HTTP
import OAuth
import Telemetry

/// The limits that a request would meet. Their budgets live in the running gateway: nothing is taken from them, and how
/// much is left is not known here.
extension Explainer {
    /// Before any credential is looked at.
    mutating func tellEarlyRates(_ path: [UInt8]) {
        guard let rates = snapshot.rates else { return }
        let head = self.head
        let isOurs = snapshot.authority(on: listener.name).map {
            AuthorityEndpoints.find(path, $0) != nil
        }
        var route: Int?
        let sought = head.isAsterisk ? [0x2F] : path
        if isOurs != true,
            case .route(let found) = snapshot.routes.match(
                authority: head.span(of: head.authority), path: sought.span)
        {
            route = found.index
        }
        var met: [CompiledRate] = []
        rates.forEachEarly(listener: listener.name, route: route) { met += $0 }
        tell(met, .routing, "before any credential")
    }

    /// When it may pass.
    mutating func tellLateRates(_ principal: Principal?, _ route: Int?) {
        guard let rates = snapshot.rates else { return }
        let client = principal?.outsideIssuer == nil ? principal?.clientID : nil
        tellLateRates(rates, route, client: client)
    }

    /// At an endpoint of the authority.
    mutating func tellLateRates(ofClient id: String) {
        guard let rates = snapshot.rates else { return }
        tellLateRates(rates, nil, client: id)
    }

    private mutating func tellLateRates(_ rates: RatePlan, _ route: Int?, client: String?) {
        var met: [CompiledRate] = []
        rates.forEachLate(listener: listener.name, route: route, client: client) { met += $0 }
        if route == nil { met.removeAll { $0.limit.subject == .route } }
        tell(met, .authorization, "once all else holds")
    }

    private mutating func tell(_ rates: [CompiledRate], _ phase: Phase, _ when: String) {
        for rate in rates {
            say(phase, "\(rate.text): judged \(when); nothing was taken from it here")
        }
    }
}
