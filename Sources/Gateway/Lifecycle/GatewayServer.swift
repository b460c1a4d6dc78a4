import Configuration
import Cryptography
import Glibc
import OAuth
import Primitives
import Store
import Telemetry
import Transport

/// The running gateway: starts the workers, obeys signals, reloads, drains. Its own thread is the control thread,
/// the only one that signals reach; it may block.
public final class GatewayServer {
    public static let version = "0.1.0"
    private static let tick: Duration = .milliseconds(200)
    private static let lookUpTime: Duration = .seconds(1)
    /// How far the ceiling of accepted timestamps runs ahead of the clock: what an honest client notices of a crash.
    private static let ceilingLead: Int64 = 3

    private let configurationPath: String
    private let notifier: ServiceNotifier
    private let writer: LogWriter
    private let errors: ErrorLog
    private let store: StateStore
    private let shared: SharedState
    private let resolver: Resolver
    private let listeners: ListenerTable
    private let ticketKeys = TLSTicketKeys()
    private var certificates = CertificateWatch()
    /// The change of a certificate file that was refused: it is not tried again before the files change again.
    private var refusedTLS: TLSMaterial.Stamps?
    private var snapshot: GatewaySnapshot
    /// When the conf was loaded that counts now.
    private var configuredAt: WallTime
    private var threads: [Transport.Thread] = []
    private let news: StateNews
    /// Names of issuers that are taken for away: a drill.
    private let awayIssuers: Set<String>
    private var lastCeiling: Int64 = 0
    private var isWatchdogDue = MonotonicInstant.now()
    private var seenPulses: [Int] = []
    /// What was asked about keys shows by then.
    private var rotationPause = MonotonicInstant.now()
    /// When the store is told again whom the conf declares.
    private var declarationDue = MonotonicInstant.now()
    /// Of the store's records.
    private var toldFaults: Set<String> = []
    /// When a secret of a client ends, and the clients must be known without it.
    private var nextExpiry: WallTime?

    // MARK: Start

    /// Loads the conf, opens store, logs and listeners, and starts the workers.
    ///
    /// - Parameter drill: what is to seem away.
    /// - Throws: one clear line and the exit code's kind; nothing runs then.
    public init(configurationPath: String, drill: Drill = Drill()) throws(StartError) {
        self.configurationPath = configurationPath
        awayIssuers = drill.issuers
        Signals.block()
        Descriptors.raiseLimit()
        Memory.joinFreedBlocks()
        notifier = ServiceNotifier.fromEnvironment()
        guard DigestAlgorithm.allCases.allSatisfy(\.isAvailable) else {
            throw StartError(
                .software, "OpenSSL lacks one of SHA-1, SHA-256, SHA-384, SHA-512")
        }
        var warnings: [String] = []
        let configuration = try ConfigurationFile.load(configurationPath) { warnings.append($0) }
        try drill.check(configuration)
        do throws(LogError) {
            writer = try LogWriter(
                access: .init(configuration.log.access), error: .init(configuration.log.error))
        } catch {
            throw StartError(.configuration, "\(error)")
        }
        errors = ErrorLog(writer: writer, level: .init(configuration.log.errorLevel))
        for warning in warnings { errors.warn("the conf", ["warning": warning]) }
        let opened = try OpenedState(configuration, isAway: drill.isStoreAway)
        if let fault = opened.fault {
            errors.error("the store is away", ["cause": "\(fault)"])
            // Their tokens need no store (on_store_failure is about what does), and our own have no keys until then.
            if !configuration.issuers.isEmpty, opened.revocations == nil {
                errors.error(
                    "what was revoked is not known until the store is back: tokens of outside issuers pass",
                    [:])
            }
        }
        store = opened.store
        listeners = ListenerTable(
            activated: ActivatedSockets { name in
                unsafe getenv(name).flatMap { unsafe String(validatingCString: $0) }
            })
        let workers = configuration.workers ?? Processors.count
        let state = opened.snapshot
        do {
            shared = try SharedState(
                workerCount: workers, accessWriter: writer, errors: errors, opened: opened)
            let shared = self.shared
            resolver = try Resolver { addresses in
                shared.postToAll(.addresses(addresses))
                shared.namesFound(addresses.keys)
            }
        } catch {
            throw StartError(.software, "\(error)")
        }
        news = StateNews(state)
        nextExpiry = state.nextExpiry(after: .now())
        snapshot = GatewaySnapshot(
            configuration: configuration, material: try Material(configuration), state: state,
            tls: try TLSMaterial(configuration, ticketKeys: ticketKeys),
            listeners: try listeners.bind(configuration, workers: workers))
        configuredAt = .now()
        for fault in opened.revocations?.faults ?? [] { errors.fault("\(fault)") }
        tellFaults()
        let names = watchNames(configuration)
        try startWorkers(workers)
        configureIssuers()
        waitForNames(names)
        observeStore(since: state.generation)
    }

    private func startWorkers(_ count: Int) throws(StartError) {
        raiseCeiling(waits: true)
        for index in 0..<count {
            let shared = self.shared
            let snapshot = self.snapshot
            do throws(SystemError) {
                threads.append(
                    try Transport.Thread(name: "gh-worker-\(index)") {
                        do {
                            let worker = try Worker(
                                index: index, shared: shared, snapshot: snapshot)
                            try worker.run(mailbox: shared.mailboxes[index])
                        } catch {
                            shared.errors.error(
                                "a worker could not start", ["cause": "\(error)"])
                            shared.workerFailed()
                        }
                    })
            } catch {
                throw StartError(.software, "\(error)")
            }
        }
    }

    /// Clients and keys that any process changes in the store reach every worker without a reload.
    private func observeStore(since generation: Int64) {
        let news = self.news
        let shared = self.shared
        do throws(StoreError) {
            try store.observeChanges(
                since: generation, revocationsSince: shared.firstRevocations?.through
            ) { result in
                switch result {
                case .success(let change):
                    if !change.revocations.isEmpty {
                        shared.postToAll(.revoked(change.revocations))
                    }
                    for fault in change.faults { shared.errors.fault("\(fault)") }
                    guard let state = change.snapshot else { return }
                    shared.storeAnswered(.reading, isWell: true)
                    news.put(state)
                case .failure(let error):
                    shared.storeAnswered(.reading, isWell: false)
                    shared.errors.error("the store is away", ["cause": "\(error)"])
                }
            }
        } catch {
            errors.error("the store cannot be watched", ["cause": "\(error)"])
        }
    }

    /// The first requests should find their upstreams; a name that is not found in this time is looked up again later.
    private func waitForNames(_ names: Set<String>) {
        let deadline = MonotonicInstant.now() + GatewayServer.lookUpTime
        while !shared.areFound(names), MonotonicInstant.now() < deadline {
            _ = poll(nil, 0, 2)
        }
    }

    @discardableResult
    private func watchNames(_ configuration: Configuration) -> Set<String> {
        var names: Set<String> = []
        for upstream in configuration.upstreams {
            for case .name(let name, _) in upstream.servers { names.insert(name) }
        }
        resolver.watch(names)
        return names
    }

    // MARK: Running

    /// Runs until a signal ends it.
    ///
    /// - Returns: the process's exit code: 0 after a drain, 1 when a second signal cut it short or a worker failed.
    public func run() -> Int32 {
        declareClients()
        errors.notice(
            "gatehouse is ready",
            ["workers": "\(shared.workerCount)", "listeners": listeners.description])
        notifier.ready(status: "serving")
        while true {
            switch Signals.wait(GatewayServer.tick) {
            case .terminate: return drain()
            case .reload: reload()
            case .reopen: writer.reopen()
            case .tellCounts: shared.postToAll(.tellCounts)
            case .none: break
            }
            if shared.hasWorkerFailed { return 70 }
            raiseCeiling(waits: false)
            takeNews()
            declareClients()
            rotateKeys()
            lookAtCertificates()
            feedWatchdog()
        }
    }

    /// The watchdog is fed only while every worker's loop turns.
    private func feedWatchdog() {
        guard let interval = notifier.watchdogInterval else { return }
        let now = MonotonicInstant.now()
        guard isWatchdogDue <= now else { return }
        let pulses = shared.pulseCounts
        let areTurning = zip(pulses, seenPulses).allSatisfy { $0 > $1 }
        if seenPulses.isEmpty || areTurning { notifier.watchdog() }
        seenPulses = pulses
        shared.postToAll(.ping)
        isWatchdogDue = now + interval / 3
    }

    /// Keeps the durable ceiling ahead of the clock; workers accept timestamps up to it without a write.
    private func raiseCeiling(waits: Bool) {
        // A store that several gateways share remembers each nonce itself.
        guard !store.isShared else { return }
        let wanted = WallTime.now().seconds + GatewayServer.ceilingLead
        guard wanted > lastCeiling else { return }
        lastCeiling = wanted
        let shared = self.shared
        if waits {
            do throws(StoreError) {
                try store.perform(.raiseCeiling(to: wanted))
                shared.replay.raiseCeiling(to: wanted)
            } catch {
                shared.storeAnswered(.writing, isWell: false)
                errors.error("the store is away", ["cause": "\(error)"])
            }
            return
        }
        store.submit(.raiseCeiling(to: wanted)) { result in
            switch result {
            case .success:
                shared.storeAnswered(.writing, isWell: true)
                shared.replay.raiseCeiling(to: wanted)
            case .failure(let error):
                if !shared.fails(.writing) {
                    shared.errors.error("the store is away", ["cause": "\(error)"])
                }
                shared.storeAnswered(.writing, isWell: false)
            }
        }
    }

    // MARK: Keys

    /// Makes the authority's next key in time, and takes away what no token can need any more. Of gateways that share a
    /// store one does it; the others find it done.
    private func rotateKeys() {
        guard let authority = snapshot.configuration.authority, snapshot.isStateKnown,
            rotationPause <= MonotonicInstant.now()
        else { return }
        let now = WallTime.now()
        switch KeyRotation(authority).step(news.current.keys, at: now, configuredAt: configuredAt) {
        case .none: return
        case .makeFirst: addKey(authority, activatesAt: now, isFirst: true)
        case .makeNext(let activatesAt): addKey(authority, activatesAt: activatesAt, isFirst: false)
        case .remove(let instant):
            rotate(.removeSigningKeys(endedBefore: instant))
        }
    }

    private func addKey(
        _ authority: AuthorityConfiguration, activatesAt: WallTime, isFirst: Bool
    ) {
        do throws(StoreError) {
            let key = try SigningKeyRecord.make(
                authority.signingAlgorithm, activatesAt: activatesAt)
            rotate(
                isFirst
                    ? .addFirstSigningKey(key)
                    : .addNextSigningKey(key, ifNoneAfter: WallTime.now()))
        } catch {
            errors.error("no signing key could be made", ["cause": "\(error)"])
        }
    }

    /// Until the outcome has come as news, nothing further is begun; after a failure not for a while.
    private func rotate<Value: Sendable>(_ operation: StoreOperation<Value>) {
        rotationPause = MonotonicInstant.now() + .seconds(1)
        let shared = self.shared
        store.submit(operation) { result in
            if case .failure(let error) = result {
                shared.errors.error("the signing keys stay as they are", ["cause": "\(error)"])
            }
        }
    }

    // MARK: Changes

    /// Tells the store whom the conf declares, so that who leaves it comes back without old tokens.
    private func declareClients() {
        let now = MonotonicInstant.now()
        guard declarationDue <= now else { return }
        declarationDue = now + DeclaredClients.interval
        let configuration = snapshot.configuration
        let time = WallTime.now()
        let errors = self.errors
        store.submit(
            .declareClients(
                Set(configuration.clients.map(\.id)), now: time,
                until: CommandLineRevocation.end(configuration, time))
        ) { result in
            guard case .failure(let error) = result else { return }
            // It is told again.
            errors.info("the store does not know whom the conf declares", ["cause": "\(error)"])
        }
    }

    /// Every worker uses the snapshot from now on, and those outside are asked by it.
    private func publish() {
        shared.postToAll(.configure(snapshot))
        configureIssuers()
    }

    private func configureIssuers() {
        do throws(SystemError) {
            try shared.issuers.configure(IssuerPlans(snapshot, away: awayIssuers))
        } catch {
            // Without it their tokens are refused with 503 for good: better to start anew.
            errors.error("nobody can be asked about tokens", ["cause": "\(error)"])
            shared.workerFailed()
        }
    }

    private func takeNews() {
        if let state = news.take() {
            nextExpiry = state.nextExpiry(after: .now())
            put(state, "clients and keys from the store")
        } else if let nextExpiry, nextExpiry <= .now() {
            let state = news.current
            self.nextExpiry = state.nextExpiry(after: .now())
            put(state, "a secret has ended")
        }
    }

    /// All or nothing: a conf with a mistake, a file that cannot be read, an address that cannot be bound, and the
    /// old configuration goes on as it was.
    private func reload() {
        notifier.reloading(now: MonotonicInstant.now())
        do throws(StartError) {
            let configuration = try ConfigurationFile.load(configurationPath)
            try refuseWhatNeedsRestart(configuration)
            let bound = try listeners.bind(configuration, workers: shared.workerCount)
            let material = try Material(configuration)
            let tls = try TLSMaterial(configuration, ticketKeys: ticketKeys)
            try replaceLogs(configuration)
            listeners.keep(bound)
            snapshot = GatewaySnapshot(
                configuration: configuration, material: material, state: news.current, tls: tls,
                listeners: bound)
            configuredAt = .now()
            watchNames(configuration)
            shared.replay.setWindows(configuration)
            publish()
            // After that: no token comes behind the revocation of those of a client that is gone.
            declarationDue = MonotonicInstant.now()
            errors.notice("reloaded", ["listeners": listeners.description])
        } catch {
            for line in error.description.split(separator: "\n") {
                errors.error(
                    "the reload was refused; the old configuration goes on", ["cause": "\(line)"])
            }
        }
        notifier.ready(status: "serving")
    }

    private func replaceLogs(_ configuration: Configuration) throws(StartError) {
        do throws(LogError) {
            try writer.replace(
                access: .init(configuration.log.access), error: .init(configuration.log.error))
        } catch {
            throw StartError(.configuration, "\(error)")
        }
        errors.level = .init(configuration.log.errorLevel)
    }

    /// What the process is built upon cannot change under it; saying so beats half a change.
    private func refuseWhatNeedsRestart(_ configuration: Configuration) throws(StartError) {
        let old = snapshot.configuration
        guard (configuration.workers ?? Processors.count) == shared.workerCount else {
            throw StartError(.configuration, "workers cannot change in a reload: restart")
        }
        guard configuration.store == old.store, configuration.secretsKeyFile == old.secretsKeyFile
        else {
            throw StartError(.configuration, "store and secrets cannot change in a reload: restart")
        }
    }

    private func put(_ state: StoreSnapshot, _ what: String) {
        snapshot = GatewaySnapshot(
            configuration: snapshot.configuration, material: snapshot.material, state: state,
            tls: snapshot.tls, listeners: snapshot.listeners)
        publish()
        errors.info("changed", ["what": what])
        tellFaults()
    }

    /// Once each, until it is gone and comes again.
    private func tellFaults() {
        for fault in snapshot.faults where !toldFaults.contains(fault) { errors.fault(fault) }
        toldFaults = Set(snapshot.faults)
    }

    /// Certificates that were renewed are used for the connections that come; a broken or half-written file changes
    /// nothing, until it is changed again.
    private func lookAtCertificates() {
        guard certificates.isDue(at: .now()) else { return }
        certificates.warn(of: snapshot.tls.expiries, at: .now(), errors)
        certificates.warn(ofStaples: snapshot.tls.staples, at: .now(), errors)
        let stamps = TLSMaterial.stamps(of: snapshot.configuration)
        guard stamps != snapshot.tls.stamps, stamps != refusedTLS else { return }
        do throws(StartError) {
            let tls = try TLSMaterial(snapshot.configuration, ticketKeys: ticketKeys)
            refusedTLS = nil
            snapshot = snapshot.with(tls)
            publish()
            errors.notice("certificates were loaded anew", [:])
        } catch {
            refusedTLS = stamps
            errors.error(
                "changed certificate files were refused; the old ones go on",
                ["cause": "\(error)"])
        }
    }

    // MARK: The end

    private func drain() -> Int32 {
        notifier.stopping(status: "draining")
        errors.notice("draining", [:])
        shared.postToAll(.drain)
        let deadline = MonotonicInstant.now() + snapshot.configuration.shutdownTimeout
        var code: Int32 = 0
        while !isDrained, MonotonicInstant.now() < deadline {
            if case .terminate = Signals.wait(.milliseconds(20)) {
                code = 1
                break
            }
        }
        shared.postToAll(.stop)
        for thread in threads { thread.join() }
        shared.issuers.stop()
        resolver.stop()
        saveNonces()
        store.close()
        errors.notice("stopped", [:])
        writer.close()
        return code
    }

    /// Nothing is open. A worker says once that it has nothing left, and may be given what another one accepted at the end:
    /// that is counted from the moment it was accepted.
    private var isDrained: Bool {
        shared.areAllIdle
            && snapshot.listeners.allSatisfy { $0.role == .admin || $0.load.isEmpty }
    }

    /// After this the next start refuses nothing that is new.
    private func saveNonces() {
        guard !store.isShared else { return }
        do throws(StoreError) {
            try store.perform(.endRun(savedNonces: shared.replay.saved))
        } catch {
            errors.error("the nonces could not be saved", ["cause": "\(error)"])
        }
    }
}

extension ErrorLog {
    /// Something in the store is not what was written.
    fileprivate func fault(_ cause: String) {
        error("a record of the store cannot be used", ["cause": cause])
    }
}
