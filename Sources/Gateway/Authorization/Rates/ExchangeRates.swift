import HTTP
import OAuth
import Primitives
import Store
import Telemetry

/// The limits that an exchange meets, each kind in its one step.
extension Exchange {
    /// Before anything else is looked at: whoever guesses at secrets, or wants signatures checked, is bound too.
    ///
    /// - Parameter hasPath: whether the path is one that can be routed by; else only the listener's lines are met.
    /// - Returns: false when the request was refused.
    func meetEarlyRates(_ rates: RatePlan, hasPath: Bool) -> Bool {
        let isOurs = snapshot.authority(on: listener.name).map {
            AuthorityEndpoints.find(canonicalPath, $0) != nil
        }
        // For the log, too, should the request end here.
        if hasPath, isOurs != true, case .route(let found) = matchedRoute { route = found }
        let index = route?.index
        worker.rateStep.begin()
        rates.forEachEarly(listener: listener.name, route: index) { some in
            add(some, client: .address(clientAddress), rates, index)
        }
        // No store is asked about addresses.
        return worker.rateStep.isEmpty || drawHere(at: .now())
    }

    /// Once the request may pass: strangers use up nobody's budget.
    func meetLateRates(_ rates: RatePlan, _ permit: Permit) {
        self.permit = permit
        let principal = permit.principal
        let client = principal?.outsideIssuer == nil ? principal?.clientID : nil
        worker.rateStep.begin()
        let index = permit.route.index
        let subject = RateSubject(principal, address: clientAddress)
        rates.forEachLate(listener: listener.name, route: index, client: client) { some in
            add(some, client: subject, rates, index)
        }
        drawOnBudgets { exchange in
            guard let permit = exchange.permit else { return exchange.refuse(.internalError) }
            exchange.forward(permit)
        }
    }

    /// A client has proven itself to an endpoint of the authority, where there is no route.
    func meetRates(ofClient id: String, then next: @escaping (Exchange) -> Void) {
        guard let rates = snapshot.rates else { return next(self) }
        record.client = Array(id.utf8)
        worker.rateStep.begin()
        let subject = RateSubject.client(issuer: nil, record.client)
        rates.forEachLate(listener: listener.name, route: nil, client: id) { some in
            add(some, client: subject, rates, nil)
        }
        drawOnBudgets(next)
    }

    private func add(
        _ some: [CompiledRate], client: RateSubject, _ rates: RatePlan, _ route: Int?
    ) {
        worker.rateStep.add(
            some, client: client, address: clientAddress,
            route: route.map { rates.routeIDs[$0] } ?? [], to: worker.shared.rates)
    }

    /// - Parameter now: read anew: other workers' readings are in the table.
    /// - Returns: false when the request was refused.
    private func drawHere(at now: MonotonicInstant) -> Bool {
        let verdict = worker.shared.rates.table.take(worker.rateStep.claims, at: now)
        guard case .refused(let rate, let wait) = verdict else { return true }
        refuse(Refusal(rate, wait: wait))
        return false
    }

    private func drawOnBudgets(_ next: @escaping (Exchange) -> Void) {
        guard !worker.rateStep.isEmpty else { return next(self) }
        let limiter = worker.shared.rates
        let now = MonotonicInstant.now()
        guard drawHere(at: now) else { return }
        let claims = worker.rateStep.claims
        let shared = claims.filter(\.isShared)
        guard !shared.isEmpty, limiter.asksStore(at: now) else { return next(self) }
        let asked = shared.map { claim in
            let limit = claim.rate.limit
            return RateClaim(id: claim.id, interval: limit.interval, burst: limit.burst)
        }
        ask(.takeRates(asked), settling: { limiter.settle(claims, shared, $0) }) {
            exchange, result in
            guard case .success(.refused(let index, let wait)) = result else {
                // Where the store has failed it has been counted here.
                return next(exchange)
            }
            exchange.refuse(Refusal(shared[index].rate, wait: wait))
        }
    }
}

extension Refusal {
    /// - Parameter wait: nanoseconds until a request would pass.
    init(_ rate: CompiledRate, wait: UInt64) {
        self.init(.rateLimited)
        let seconds = Int(
            clamping: max(1, wait / 1_000_000_000 + (wait % 1_000_000_000 > 0 ? 1 : 0)))
        retryAfterSeconds = seconds
        self.rate = RefusedRate(
            name: rate.name, quota: rate.limit.count, windowSeconds: rate.limit.unit.seconds)
    }
}
