import Configuration
import HTTP
import OAuth
import Primitives
import Store
import Telemetry
import Transport

/// One event loop with everything it owns: connections, upstream pools, caches, log buffer. One thread; nothing of it
/// is touched by another.
final class Worker {
    /// As many as the streams of some HTTP/2 connections: to make them anew in each burst costs more than the 4 KB of each.
    private static let spareLimit = 1024
    /// More answers come in pieces at a time only where their servers are slow.
    private static let spareReaderLimit = 64

    let index: Int
    let shared: SharedState
    let loop: EventLoop
    /// What is read goes here first, from every connection of this worker.
    let readBuffer = ByteBuffer(capacity: 64 << 10)
    /// The answer that is being put together in this turn, and the one connection whose it is.
    var answer: [UInt8] = []
    var answering: DownstreamConnection?
    /// A head or a reply that is being written; its stream takes it at once.
    var scratch: [UInt8] = []
    /// Frames of HTTP/2 that are being collected for one write; what the collecting sets going must not touch it.
    var frames: [UInt8] = []
    /// A request, or a chunk of its body, on its way to the upstream.
    private var outgoing: [UInt8] = []
    var identifiers: RequestIDSource
    var requestWriter = UpstreamRequestWriter()
    var replies: ReplyWriter
    private let accessLog: AccessLog
    /// The line that is being written; its texts keep their room.
    private var line = AccessRecord()
    private(set) var snapshot: GatewaySnapshot
    private(set) var authenticator: Authenticator
    private(set) var revocations = RevocationList()
    var storedTokens = StoredTokenCache()
    private var retiredCaches = RetiredCaches()
    /// The limits of the request that is being judged.
    var rateStep = RateStep()
    private(set) var upstreams: [UpstreamGroup] = []
    private(set) var addresses: [String: [IPAddress]] = [:]
    private(set) var isDraining = false
    /// Stands in for the listener of an exchange without a connection.
    let nowhere: ListenerContext

    private var listeners: [Int: ListenerContext] = [:]
    private var acceptors: [ListenerAcceptor] = []
    private var spareExchanges: [Exchange] = []
    private var spareReaders: [AnswerReader] = []
    /// Streams that end when their credential is withdrawn.
    private var watched: [ObjectIdentifier: Exchange] = [:]
    /// Exchanges that something off the loop is to answer.
    var waiting = WaitingExchanges()
    private var fetchedKeys: FetchedKeys = [:]
    private var unflushed: [any TurnFlushing] = []
    /// What leaves at the end of this turn.
    private let turnWrites = TurnWrites()
    /// Of the traffic listeners alone: a drain does not wait for the admin's.
    private var connections = 0
    private var httpDate = HTTPDate()
    private var logFlushedAt = MonotonicInstant(nanoseconds: 0)
    private var arrivalFailureLoggedAt: MonotonicInstant?
    private var cacheSweptAt = MonotonicInstant(nanoseconds: 0)
    /// Answers since the start; the debug log tells them at the end.
    private(set) var answers = 0

    init(index: Int, shared: SharedState, snapshot: GatewaySnapshot) throws {
        self.index = index
        self.shared = shared
        self.snapshot = snapshot
        loop = try EventLoop()
        identifiers = try RequestIDSource()
        replies = ReplyWriter(
            realm: snapshot.configuration.oauth1.realm,
            resourceMetadata: snapshot.authority?.resourceMetadata)
        accessLog = AccessLog(
            writer: shared.accessWriter, format: .init(snapshot.configuration.log.accessFormat))
        authenticator = try Authenticator(snapshot: snapshot, shared: shared)
        nowhere = ListenerContext(
            role: .traffic, configuration: ListenerConfiguration(name: ""),
            load: ListenerLoad(workers: 1))
        revocations.add(shared.firstRevocations?.revocations ?? [])
        configureUpstreams()
        configureListeners()
    }

    // MARK: Running

    /// Runs the loop until `stop`; called on the worker's thread.
    func run(mailbox: Mailbox<WorkerMessage>) throws(SystemError) {
        let receiver = MailReceiver(worker: self, mailbox: mailbox)
        _ = try loop.register(mailbox.descriptor, [.readable], receiver)
        loop.run { self.turnEnded() }
        accessLog.flush()
    }

    /// Writes at the end of the turn what streams of many exchanges have put together.
    func flushLater(_ connection: any TurnFlushing) {
        unflushed.append(connection)
    }

    /// Puts a small write off to the end of the turn.
    ///
    /// - Returns: its place; `nil`: it must be written at once.
    func putOff(_ bytes: Span<UInt8>, of writer: any TurnWriter) -> TurnWrites.Place? {
        turnWrites.add(writer, bytes)
    }

    /// Whether a request of about so many bytes may wait for the end of the turn.
    func mayPutOff(_ count: Int) -> Bool { turnWrites.hasRoom(for: count) }

    /// Puts a request off that may wait.
    ///
    /// - Parameter compose: appends it.
    func putOff(
        _ writer: any TurnWriter, _ compose: (inout [UInt8]) -> Void
    ) -> TurnWrites.Place {
        turnWrites.add(writer, compose)
    }

    /// Takes back what was put off: its turn has come early, or never comes.
    func takeBack(_ place: TurnWrites.Place) -> [UInt8] { turnWrites.remove(place) }

    private func flushConnections() {
        // What one flush sets going may ask for another.
        while !unflushed.isEmpty || !turnWrites.isEmpty {
            let connections = unflushed
            unflushed = []
            for connection in connections { connection.flush() }
            turnWrites.beginLeaving()
            turnWrites.writeAll()
        }
    }

    private func turnEnded() -> MonotonicInstant? {
        flushConnections()
        if isDraining, connections == 0 { shared.workerIsIdle(index) }
        if cacheSweptAt + .seconds(1) <= loop.now {
            // Tokens that have ended give their memory back, a few slots at a time: never one long pause.
            authenticator.cache?.removeEnded(at: loop.wallNow, steps: 256)
            revocations.removeEnded(at: loop.wallNow)
            cacheSweptAt = loop.now
        }
        let logDue = flushLog()
        return retiredCaches.discardSome() ? loop.now : logDue
    }

    /// Hands the log's lines over at most every 100 ms; returns when it wants to be called again.
    private func flushLog() -> MonotonicInstant? {
        guard accessLog.hasPending else {
            logFlushedAt = loop.now
            return nil
        }
        let due = logFlushedAt + .milliseconds(100)
        guard due <= loop.now else { return due }
        accessLog.flush()
        logFlushedAt = loop.now
        return nil
    }

    func receive(_ message: WorkerMessage) {
        switch message {
        case .connection(let descriptor, let listener, let load, let peer):
            open(descriptor, listener: listener, load: load, peer: peer)
        case .configure(let snapshot):
            configure(snapshot)
        case .addresses(let addresses):
            self.addresses.merge(addresses) { $1 }
            for group in upstreams { group.resolve(self.addresses) }
        case .keys(let keys):
            // They may have been sent before their issuer left the conf.
            let known = Set(snapshot.remoteIssuers.values.map(\.keySet))
            fetchedKeys.merge(keys.filter { known.contains($0.key) }) { $1 }
            authenticator.use(fetchedKeys)
        case .revoked(let revocations):
            self.revocations.add(revocations)
            storedTokens.remove(revocations)
            judgeWatched()
        case .resume(let ticket, let resumption):
            waiting.take(ticket)?.resume(ticket, with: resumption)
        case .ping:
            shared.pulse(index)
        case .drain:
            drain()
        case .tellCounts:
            tellCounts()
        case .stop:
            tellCounts()
            loop.forEachHandler { ($0 as? any ClientConnection)?.shutDown() }
            loop.stop()
        }
    }

    // MARK: Configuration

    private func configure(_ snapshot: GatewaySnapshot) {
        let known = Set(snapshot.remoteIssuers.values.map(\.keySet))
        fetchedKeys = fetchedKeys.filter { known.contains($0.key) }
        do {
            let newer = try Authenticator(snapshot: snapshot, shared: shared)
            newer.use(fetchedKeys)
            if let cache = authenticator.cache { retiredCaches.add(cache) }
            authenticator = newer
        } catch {
            // The old one trusts issuers that may be gone: without a new one no request may pass. The process ends, and
            // its service manager starts it anew.
            shared.errors.error("a reload could not be taken over", ["cause": "\(error)"])
            shared.workerFailed()
            return receive(.stop)
        }
        self.snapshot = snapshot
        // They hold the conf that they served last.
        spareExchanges.removeAll()
        replies = ReplyWriter(
            realm: snapshot.configuration.oauth1.realm,
            resourceMetadata: snapshot.authority?.resourceMetadata)
        accessLog.format = .init(snapshot.configuration.log.accessFormat)
        configureUpstreams()
        configureListeners()
        judgeWatched()
    }

    /// Groups that did not change keep their connections.
    private func configureUpstreams() {
        let before = upstreams
        upstreams = snapshot.configuration.upstreams.map { configuration in
            before.first { $0.configuration == configuration }
                ?? UpstreamGroup(configuration: configuration, worker: self)
        }
        for group in upstreams { group.tls = snapshot.tls.upstreams[group.configuration.name] }
        for group in before where !upstreams.contains(where: { $0 === group }) { group.retire() }
    }

    private func configureListeners() {
        let known = listeners.mapValues(\.configuration)
        var judgedAnew: [ListenerContext] = []
        for bound in snapshot.listeners {
            if let context = listeners[bound.id] {
                context.configuration = bound.configuration
            } else {
                listeners[bound.id] = ListenerContext(
                    role: bound.role, configuration: bound.configuration, load: bound.load)
            }
            guard let context = listeners[bound.id] else { continue }
            let rules = context.tls?.clientRules
            context.tls = snapshot.tls.servers[bound.name]
            if rules != context.tls?.clientRules || asksForHeader(bound, before: known[bound.id]) {
                judgedAnew.append(context)
            }
        }
        endConnections(of: judgedAnew)
        let live = Set(snapshot.listeners.map(\.id))
        for acceptor in acceptors where !live.contains(acceptor.id) { acceptor.stop() }
        acceptors.removeAll { !live.contains($0.id) }
        for bound in snapshot.listeners
        where bound.id % shared.workerCount == index && !isDraining {
            if let known = acceptors.first(where: { $0.id == bound.id }) {
                known.bound = bound
                continue
            }
            let acceptor = ListenerAcceptor(worker: self, bound: bound)
            do throws(SystemError) {
                try acceptor.start()
                acceptors.append(acceptor)
            } catch {
                shared.errors.error("a listener could not be watched", ["cause": "\(error)"])
            }
        }
    }

    // MARK: Connections

    private func asksForHeader(
        _ bound: BoundListener, before: ListenerConfiguration?
    ) -> Bool {
        before.map { bound.configuration.requiresProxyHeader && !$0.requiresProxyHeader } ?? false
    }

    /// Who came in under other rules may be asked for more now: a certificate, by another authority, or a PROXY header. They
    /// are to come again.
    private func endConnections(of listeners: [ListenerContext]) {
        guard !listeners.isEmpty else { return }
        loop.forEachHandler { handler in
            guard let connection = handler as? any ClientConnection,
                listeners.contains(where: { $0 === connection.listener })
            else { return }
            connection.drain()
        }
    }

    /// Opens a connection that was placed here.
    func open(_ descriptor: Int32, listener: Int, load: ListenerLoad, peer: IPAddress?) {
        guard let context = listeners[listener] else {
            // A reload has put the listener in, and its message comes behind this one: how to speak TLS there is not known.
            Socket(adopting: descriptor).resetOnClose()
            load.connectionClosed(onWorker: index)
            return
        }
        let socket = SocketBox(Socket(adopting: descriptor))
        if peer != nil { socket.setNoDelay() }
        do throws(SystemError) {
            let connection: any ClientConnection
            if Arrival.isNeeded(on: context) {
                let arrival = Arrival(worker: self, listener: context, socket: socket, peer: peer)
                try arrival.open()
                connection = arrival
            } else {
                let plain = DownstreamConnection(
                    worker: self, listener: context, socket: socket, peer: peer)
                try plain.open()
                connection = plain
            }
            if context.role == .traffic { connections += 1 }
            if isDraining { connection.drain() }
        } catch {
            context.load.connectionClosed(onWorker: index)
        }
    }

    /// A client that could not even be spoken to: said once a second, for a flood of them must not fill the log.
    func arrivalFailed(_ what: StaticString, _ peer: [UInt8], _ listener: String, cause: String) {
        let isDue = arrivalFailureLoggedAt.map { $0 + .seconds(1) <= loop.now } ?? true
        if isDue { arrivalFailureLoggedAt = loop.now }
        let facts: KeyValuePairs = [
            "client_address": String(decoding: peer, as: UTF8.self), "listener": listener,
            "cause": cause,
        ]
        if isDue {
            shared.errors.info("\(what)", facts)
        } else {
            shared.errors.debug("\(what)", facts)
        }
    }

    func connectionClosed(_ role: ListenerContext.Role) {
        if role == .traffic { connections -= 1 }
    }

    /// What a client gets that found the listener full, of which nothing was read; logs it.
    func turnAway(from listener: String, _ peer: IPAddress?) -> [UInt8] {
        var record = AccessRecord()
        record.time = loop.wallNow
        record.listener = Array(listener.utf8)
        record.clientAddress = ClientPeer.text(of: peer)
        // Without random bytes the answer has no id; that is no reason to keep the client waiting.
        try? identifiers.appendHex(count: 16, to: &record.requestID)
        var refusal = Refusal(.tooManyConnections)
        refusal.retryAfterSeconds = 1
        record.status = refusal.status
        record.reason = refusal.reason
        var answer: [UInt8] = []
        record.bytesOut = replies.append(
            refusal, accepted: [], .unread(requestID: record.requestID, date: date), to: &answer)
        if shared.accessWriter.writesAccessLog { accessLog.write(&record) }
        return answer
    }

    // MARK: Exchanges

    func takeExchange(for client: any ClientStream) -> Exchange {
        let exchange = spareExchanges.popLast() ?? Exchange(worker: self)
        exchange.prepare(for: client)
        return exchange
    }

    func giveBack(_ exchange: consuming Exchange) {
        exchange.release()
        // One that holds an older conf would keep it as long as it is spare.
        if spareExchanges.count < Worker.spareLimit, exchange.snapshot === snapshot {
            spareExchanges.append(exchange)
        }
    }

    /// Keeps a stream in sight that has no end of its own, until it is released.
    func watch(_ exchange: Exchange) {
        exchange.isWatched = true
        watched[ObjectIdentifier(exchange)] = exchange
    }

    func unwatch(_ exchange: Exchange) {
        exchange.isWatched = false
        watched[ObjectIdentifier(exchange)] = nil
    }

    /// Credentials may have been withdrawn: those that are shown once and used for long are judged anew.
    private func judgeWatched() {
        for exchange in Array(watched.values) { exchange.judgeCredentialAnew() }
    }

    /// Shows what stands in `scratch`, which is put to no other use meanwhile.
    func withScratch(_ body: (Span<UInt8>) -> Void) {
        var bytes: [UInt8] = []
        swap(&bytes, &scratch)
        body(bytes.span)
        swap(&bytes, &scratch)
    }

    // MARK: Room

    func takeReader() -> AnswerReader { spareReaders.popLast() ?? AnswerReader() }

    func giveBack(_ reader: AnswerReader) {
        reader.reset()
        if spareReaders.count < Worker.spareReaderLimit { spareReaders.append(reader) }
    }

    /// Empty room for what goes to an upstream at once.
    func takeOutgoing() -> [UInt8] {
        var bytes: [UInt8] = []
        swap(&bytes, &outgoing)
        return bytes
    }

    func giveBack(outgoing bytes: inout [UInt8]) {
        bytes.removeAll(keepingCapacity: bytes.capacity <= 128 << 10)
        swap(&bytes, &outgoing)
    }

    // MARK: Facts for the phases

    /// How long ago an instant of the loop's clock was, by a clock read anew.
    func elapsed(since start: MonotonicInstant) -> Duration {
        MonotonicInstant.now() - start
    }

    /// What the token cache did since the start; of all workers, whoever is the last of them to tell.
    private func tellCounts() {
        let counts = authenticator.cache.map { cache in
            TokenCounts(
                asked: retiredCaches.counters + cache.counters, tokens: cache.count,
                bytes: cache.byteCount)
        }
        counts?.tell("\(index)", shared.errors)
        shared.tokenCounts.add(counts, of: index)?.tell("all", shared.errors)
    }

    /// Writes a line of the access log.
    ///
    /// - Parameter fill: what the last line said is still there.
    func writeLine(_ fill: (inout AccessRecord) -> Void) {
        fill(&line)
        accessLog.write(&line)
    }

    func countAnswer() {
        answers &+= 1
    }

    /// The `Date` field's value for this second (RFC 9110 section 6.6.1).
    var date: [UInt8] { httpDate.bytes(at: loop.wallNow) }

    // MARK: Draining

    /// The admin listener goes on to the end, so that `/readyz` can say what is going on.
    private func drain() {
        isDraining = true
        shared.errors.debug(
            "a worker drains",
            ["worker": "\(index)", "connections": "\(connections)", "answers": "\(answers)"])
        for acceptor in acceptors where acceptor.bound.role == .traffic { acceptor.stop() }
        acceptors.removeAll { $0.bound.role == .traffic }
        loop.forEachHandler { ($0 as? any ClientConnection)?.drain() }
        for group in upstreams { group.retire() }
    }
}

/// A connection that writes at the end of a turn what it has collected.
protocol TurnFlushing: AnyObject {
    func flush()
}
