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
    private var threads: [Transport.Thread] = []
    private let news: StateNews
    private var lastCeiling: Int64 = 0
    private var isWatchdogDue = MonotonicInstant.now()
    private var seenPulses: [Int] = []

    // MARK: Start

    /// Loads the conf, opens store, logs and listeners, and starts the workers.
    ///
    /// - Throws: one clear line and the exit code's kind; nothing runs then.
    public init(configurationPath: String) throws(StartError) {
        self.configurationPath = configurationPath
        Signals.block()
        Descriptors.raiseLimit()
        notifier = ServiceNotifier.fromEnvironment()
        guard DigestAlgorithm.allCases.allSatisfy(\.isAvailable) else {
            throw StartError(
                .software, "OpenSSL lacks one of SHA-1, SHA-256, SHA-384, SHA-512")
        }
        var warnings: [String] = []
        let configuration = try ConfigurationFile.load(configurationPath) { warnings.append($0) }
        do throws(LogError) {
            writer = try LogWriter(
                access: .init(configuration.log.access), error: .init(configuration.log.error))
        } catch {
            throw StartError(.configuration, "\(error)")
        }
        errors = ErrorLog(writer: writer, level: .init(configuration.log.errorLevel))
        for warning in warnings { errors.warn("the conf", ["warning": warning]) }
        let opened = try OpenedState(configuration)
        store = opened.store
        listeners = ListenerTable(
            activated: ActivatedSockets { name in
                unsafe getenv(name).flatMap { unsafe String(validatingCString: $0) }
            })
        let workers = configuration.workers ?? Processors.count
        let state = opened.snapshot
        do {
            shared = try SharedState(
                workerCount: workers, accessWriter: writer, errors: errors, store: store,
                replay: opened.replay)
            let shared = self.shared
            resolver = try Resolver { addresses in
                shared.postToAll(.addresses(addresses))
                shared.namesFound(addresses.keys)
            }
        } catch {
            throw StartError(.software, "\(error)")
        }
        news = StateNews(state)
        snapshot = GatewaySnapshot(
            configuration: configuration, material: try Material(configuration, state),
            tls: try TLSMaterial(configuration, ticketKeys: ticketKeys),
            listeners: try listeners.bind(configuration, workers: workers))
        let names = watchNames(configuration)
        try startWorkers(workers)
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
            try store.observeChanges(since: generation, revocationsSince: 0) { result in
                switch result {
                case .success(let change):
                    shared.storeAnswered(true)
                    if let state = change.snapshot { news.put(state) }
                case .failure(let error):
                    shared.storeAnswered(false)
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
        errors.notice(
            "gatehouse is ready",
            ["workers": "\(shared.workerCount)", "listeners": listeners.description])
        notifier.ready(status: "serving")
        while true {
            switch Signals.wait(GatewayServer.tick) {
            case .terminate: return drain()
            case .reload: reload()
            case .reopen: writer.reopen()
            case .none: break
            }
            if shared.hasWorkerFailed { return 70 }
            raiseCeiling(waits: false)
            takeNews()
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
        let wanted = WallTime.now().seconds + GatewayServer.ceilingLead
        guard wanted > lastCeiling else { return }
        lastCeiling = wanted
        let shared = self.shared
        if waits {
            do throws(StoreError) {
                try store.perform(.raiseCeiling(to: wanted))
                shared.replay.raiseCeiling(to: wanted)
            } catch {
                shared.storeAnswered(false)
                errors.error("the store is away", ["cause": "\(error)"])
            }
            return
        }
        store.submit(.raiseCeiling(to: wanted)) { result in
            switch result {
            case .success:
                shared.storeAnswered(true)
                shared.replay.raiseCeiling(to: wanted)
            case .failure(let error):
                if !shared.isStoreAway {
                    shared.errors.error("the store is away", ["cause": "\(error)"])
                }
                shared.storeAnswered(false)
            }
        }
    }

    // MARK: Changes

    private func takeNews() {
        guard let state = news.take() else { return }
        put(snapshot.configuration, state, "clients and keys from the store")
    }

    /// All or nothing: a conf with a mistake, a file that cannot be read, an address that cannot be bound, and the
    /// old configuration goes on as it was.
    private func reload() {
        notifier.reloading(now: MonotonicInstant.now())
        do throws(StartError) {
            let configuration = try ConfigurationFile.load(configurationPath)
            try refuseWhatNeedsRestart(configuration)
            let bound = try listeners.bind(configuration, workers: shared.workerCount)
            let material = try Material(configuration, news.current)
            let tls = try TLSMaterial(configuration, ticketKeys: ticketKeys)
            try replaceLogs(configuration)
            listeners.keep(bound)
            snapshot = GatewaySnapshot(
                configuration: configuration, material: material, tls: tls, listeners: bound)
            watchNames(configuration)
            shared.replay.setWindow(
                seconds: configuration.oauth1.timestampWindow.wholeSeconds)
            shared.postToAll(.configure(snapshot))
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

    private func put(_ configuration: Configuration, _ state: StoreSnapshot, _ what: String) {
        do throws(StartError) {
            snapshot = GatewaySnapshot(
                configuration: configuration, material: try Material(configuration, state),
                tls: snapshot.tls, listeners: snapshot.listeners)
            shared.postToAll(.configure(snapshot))
            errors.info("changed", ["what": what])
        } catch {
            errors.error("a change in the store could not be taken over", ["cause": "\(error)"])
        }
    }

    /// Certificates that were renewed are used for the connections that come; a broken or half-written file changes
    /// nothing, until it is changed again.
    private func lookAtCertificates() {
        guard certificates.isDue(at: .now()) else { return }
        certificates.warn(of: snapshot.tls.expiries, at: .now(), errors)
        let stamps = TLSMaterial.stamps(of: snapshot.configuration)
        guard stamps != snapshot.tls.stamps, stamps != refusedTLS else { return }
        do throws(StartError) {
            let tls = try TLSMaterial(snapshot.configuration, ticketKeys: ticketKeys)
            refusedTLS = nil
            snapshot = snapshot.with(tls)
            shared.postToAll(.configure(snapshot))
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
        while !shared.areAllIdle, MonotonicInstant.now() < deadline {
            if case .terminate = Signals.wait(.milliseconds(20)) {
                code = 1
                break
            }
        }
        shared.postToAll(.stop)
        for thread in threads { thread.join() }
        resolver.stop()
        saveNonces()
        store.close()
        errors.notice("stopped", [:])
        writer.close()
        return code
    }

    /// After this the next start refuses nothing that is new.
    private func saveNonces() {
        do throws(StoreError) {
            try store.perform(.endRun(savedNonces: shared.replay.saved))
        } catch {
            errors.error("the nonces could not be saved", ["cause": "\(error)"])
        }
    }
}
