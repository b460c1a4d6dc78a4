import OAuth
import Primitives
import Synchronization
import Telemetry
import Transport

/// All that is asked of others about tokens: keys of outside issuers, and introspection. One thread for the process, with a
/// loop of its own; workers ask by messages and are answered by theirs.
final class IssuerService: Sendable {
    fileprivate enum Order: Sendable {
        case configure(IssuerPlans)
        case keys(KeySetName, Waiter, having: KeySet?)
        case introspect(Secret, TokenDigest, from: IPAddress?, Waiter?)
        case addresses([String: [IPAddress]])
        case stop
    }

    let errors: ErrorLog
    /// What the introspection server said; any thread.
    let introspections = IntrospectionCache()
    private let orders: Mailbox<Order>
    private let workers: [Mailbox<WorkerMessage>]
    /// Asked by workers before they put an exchange aside.
    private struct Gate {
        /// Until when no token has the keys fetched.
        var closedUntil: MonotonicInstant?
        /// The last that were published, which a worker may not have seen yet.
        var newest: KeySet?
        /// The last fetch failed.
        var isFailing = false
    }

    private let gates = Mutex<[KeySetName: Gate]>([:])
    private let thread = Mutex<Thread?>(nil)
    private let hasFailed = Atomic(false)

    init(workers: [Mailbox<WorkerMessage>], errors: ErrorLog) throws(SystemError) {
        orders = try Mailbox()
        self.workers = workers
        self.errors = errors
    }

    // MARK: Any thread

    /// A configuration is put to use. The thread begins with the first that asks anybody.
    func configure(_ plans: IssuerPlans) throws(SystemError) {
        let isRunning = thread.withLock { $0 != nil }
        if !isRunning {
            guard !plans.isEmpty else { return }
            let started = try Thread(name: "gh-issuers") {
                do throws(SystemError) {
                    try IssuerLoop(service: self, orders: self.orders).run()
                } catch {
                    self.errors.error("nobody can be asked about tokens", ["cause": "\(error)"])
                    self.hasFailed.store(true, ordering: .relaxed)
                }
            }
            thread.withLock { $0 = started }
        }
        orders.post(.configure(plans))
    }

    /// Whether there is anybody to ask: false when the system gave the thread no descriptors.
    var isUsable: Bool { !hasFailed.load(ordering: .relaxed) }

    /// Whether a token whose `kid` no key has may wait: a fetch is under way, or may begin, or has ended and what it brought
    /// is on its way to the worker.
    ///
    /// - Parameter keys: those that the worker has.
    func prospect(
        of name: KeySetName, having keys: KeySet?, now: MonotonicInstant
    ) -> KeyProspect {
        gates.withLock { gates in
            guard let gate = gates[name] else { return .mayFind }
            if let newest = gate.newest, newest !== keys { return .mayFind }
            guard let closedUntil = gate.closedUntil, closedUntil > now else { return .mayFind }
            return gate.isFailing ? .unavailable : .none
        }
    }

    /// Answers the waiter with `.keysFetched` once a fetch has ended.
    ///
    /// - Parameter known: those that the worker has.
    func askForKeys(_ name: KeySetName, _ waiter: Waiter, having known: KeySet?) {
        orders.post(.keys(name, waiter, having: known))
    }

    /// Answers the waiter with `.introspected`.
    ///
    /// - Parameters:
    ///   - address: of the client that showed the token.
    ///   - waiter: `nil`: nobody waits, what is remembered is asked about anew.
    func introspect(
        _ token: Secret, _ digest: TokenDigest, from address: IPAddress?, _ waiter: Waiter?
    ) {
        orders.post(.introspect(token, digest, from: address, waiter))
    }

    func stop() {
        guard let thread = thread.withLock({ $0 }) else { return }
        orders.post(.stop)
        thread.join()
    }

    // MARK: The issuers' thread

    func open(_ name: KeySetName) {
        gates.withLock { $0[name]?.closedUntil = nil }
    }

    func close(_ name: KeySetName, until instant: MonotonicInstant, isFailing: Bool) {
        gates.withLock {
            $0[name, default: Gate()].closedUntil = instant
            $0[name]?.isFailing = isFailing
        }
    }

    func forget(_ name: KeySetName) {
        gates.withLock { _ = $0.removeValue(forKey: name) }
    }

    /// Every worker has the keys before any who waited for them goes on.
    func publish(_ keys: KeySet, as name: KeySetName) {
        gates.withLock { $0[name, default: Gate()].newest = keys }
        for worker in workers { worker.post(.keys([name: keys])) }
    }

    func resume(_ waiters: [Waiter], _ resumption: Resumption) {
        for waiter in waiters {
            workers[waiter.worker].post(.resume(ticket: waiter.ticket, resumption))
        }
    }
}

/// The loop of the issuers' thread with everything that it owns.
private final class IssuerLoop: EventHandler {
    private let loop: EventLoop
    private let client: FetchClient
    private let service: IssuerService
    private let orders: Mailbox<IssuerService.Order>
    private let resolver: Resolver
    private var keepers: [KeySetName: KeyKeeper] = [:]
    private var introspector: Introspector?
    /// Those that a reload has replaced, until who waits for them has an answer.
    private var leaving: [Introspector] = []

    init(
        service: IssuerService, orders: Mailbox<IssuerService.Order>
    ) throws(SystemError) {
        self.service = service
        self.orders = orders
        loop = try EventLoop()
        let resolver = try Resolver { orders.post(.addresses($0)) }
        self.resolver = resolver
        client = FetchClient(loop: loop) { resolver.watch($0) }
        _ = try loop.register(orders.descriptor, [.readable], self)
    }

    /// Runs until the order to stop.
    func run() {
        loop.run { self.turnEnded() }
        resolver.stop()
    }

    private func turnEnded() -> MonotonicInstant? {
        let due =
            [client.expire(), introspector?.tick()] + leaving.map { $0.tick() }
            + keepers.values.map { $0.tick() }
        leaving.removeAll(where: \.isIdle)
        return due.compactMap(\.self).min()
    }

    // MARK: Orders

    func ready(_ readiness: Readiness) {
        for order in orders.drain() {
            switch order {
            case .configure(let plans): configure(plans)
            case .addresses(let addresses): client.found(addresses)
            case .keys(let name, let waiter, let known):
                if let keeper = keepers[name] {
                    keeper.ask(waiter, having: known)
                } else {
                    // A reload has taken the issuer while the question was on its way.
                    service.resume([waiter], .keysFetched(.failed))
                }
            case .introspect(let token, let digest, let address, let waiter):
                if let introspector {
                    introspector.ask(token, digest, from: address, waiter)
                } else if let waiter {
                    service.resume([waiter], .introspected(.unavailable))
                }
            case .stop:
                loop.stop()
            }
        }
    }

    func deadlineReached() {}

    private func configure(_ plans: IssuerPlans) {
        let before = keepers
        keepers = [:]
        for issuer in plans.issuers {
            let tls = plans.tls[issuer.ca ?? ""]
            let isAway = plans.away.contains(issuer.name)
            let keeper =
                before[issuer.keySet]
                ?? KeyKeeper(issuer, tls: tls, isAway: isAway, client: client, service: service)
            keeper.update(issuer, tls: tls, isAway: isAway)
            keepers[issuer.keySet] = keeper
        }
        for (name, keeper) in before where keepers[name] == nil { keeper.retire() }
        configureIntrospection(plans)
        client.keepNames(
            Set(keepers.values.flatMap(\.hostNames) + [introspector?.hostName].compactMap(\.self)))
    }

    private func configureIntrospection(_ plans: IssuerPlans) {
        let ca = plans.introspection?.configuration.ca ?? ""
        // The same server by the same authorities: what it said still counts.
        if let introspector, introspector.server == plans.introspection,
            introspector.authorities == plans.stamps[ca]
        {
            return
        }
        if let introspector {
            introspector.retire()
            leaving.append(introspector)
        }
        service.introspections.removeAll()
        introspector = plans.introspection.map { server in
            Introspector(
                server, tls: plans.tls[ca], authorities: plans.stamps[ca],
                isAway: plans.away.contains(server.terms.name), client: client,
                service: service)
        }
    }
}
