import Configuration
import OAuth
import Primitives
import Store
import Synchronization
import Telemetry
import Transport

/// What all workers share: the ways to tell each other and the outside something, the replay registry and the store.
/// Everything in it is immutable or guards itself.
final class SharedState: Sendable {
    let workerCount: Int
    let mailboxes: [Mailbox<WorkerMessage>]
    let accessWriter: LogWriter
    let errors: ErrorLog
    let store: StateStore
    let replay: ReplayGuards
    let rates: RateLimiter
    let tokens: OpaqueTokens
    let nonceKey: [UInt8]
    let proofNonceKey: Secret
    /// What was revoked before the start, where that could be read; what came since is the workers' news.
    let firstRevocations: StoreNews?
    let signing: SigningQueue
    let issuers: IssuerService
    let tokenCounts: TokenCountRound
    private let pulses: Mutex<[Int]>
    private let idleWorkers: Mutex<Set<Int>>
    private let foundNames = Mutex<Set<String>>([])
    private let storeReadingFails = Atomic(false)
    private let storeWritingFails = Atomic(false)
    private let workerHasFailed = Atomic(false)

    init(
        workerCount: Int, accessWriter: LogWriter, errors: ErrorLog, opened: OpenedState
    ) throws(SystemError) {
        self.workerCount = workerCount
        var boxes: [Mailbox<WorkerMessage>] = []
        for _ in 0..<workerCount { boxes.append(try Mailbox()) }
        mailboxes = boxes
        self.accessWriter = accessWriter
        self.errors = errors
        store = opened.store
        replay = opened.replay
        rates = RateLimiter(
            storeKey: opened.store.isShared ? opened.rateKey : nil, errors: errors)
        tokens = opened.tokens
        nonceKey = opened.nonceKey
        proofNonceKey = opened.proofNonceKey
        firstRevocations = opened.revocations
        signing = try SigningQueue()
        issuers = try IssuerService(workers: boxes, errors: errors)
        tokenCounts = TokenCountRound(workers: workerCount)
        pulses = Mutex(Array(repeating: 0, count: workerCount))
        idleWorkers = Mutex([])
    }

    func post(_ message: WorkerMessage, to worker: Int) {
        mailboxes[worker].post(message)
    }

    func postToAll(_ message: WorkerMessage) {
        for mailbox in mailboxes { mailbox.post(message) }
    }

    /// What is asked of the store all the time. Each may fail while the other does not, and the store is well when both do
    /// well.
    enum StoreUse {
        /// The watch for what any process changes.
        case reading
        /// The ceiling of a gateway that has its store for itself.
        case writing
    }

    /// Whether the last reading or the last writing failed.
    var isStoreAway: Bool { fails(.reading) || fails(.writing) }

    func fails(_ use: StoreUse) -> Bool {
        switch use {
        case .reading: storeReadingFails.load(ordering: .relaxed)
        case .writing: storeWritingFails.load(ordering: .relaxed)
        }
    }

    func storeAnswered(_ use: StoreUse, isWell: Bool) {
        switch use {
        case .reading: storeReadingFails.store(!isWell, ordering: .relaxed)
        case .writing: storeWritingFails.store(!isWell, ordering: .relaxed)
        }
    }

    /// Names have been looked up.
    func namesFound(_ names: some Sequence<String>) {
        foundNames.withLock { $0.formUnion(names) }
    }

    func areFound(_ names: Set<String>) -> Bool {
        foundNames.withLock { $0.isSuperset(of: names) }
    }

    /// A worker could not go on: the process ends, and the service manager starts it anew.
    var hasWorkerFailed: Bool { workerHasFailed.load(ordering: .relaxed) }

    func workerFailed() {
        workerHasFailed.store(true, ordering: .relaxed)
    }

    /// A worker answers a ping: its loop turns.
    func pulse(_ worker: Int) {
        pulses.withLock { $0[worker] += 1 }
    }

    /// How often each worker has answered.
    var pulseCounts: [Int] { pulses.withLock { $0 } }

    /// A draining worker has no connection left, and accepts none any more.
    func workerIsIdle(_ worker: Int) {
        idleWorkers.withLock { _ = $0.insert(worker) }
    }

    var areAllIdle: Bool { idleWorkers.withLock { $0.count == workerCount } }
}
