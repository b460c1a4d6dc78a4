import Dispatch
import Foundation
import Glibc
import Primitives
import Synchronization

/// The one thread that touches a backend, and the queue of what it is asked.
///
/// The backend is made on the thread and never leaves it. The queue is bounded: past its limit a job is
/// refused, so a disk that hangs costs answers, not memory.
final class StoreThread: Sendable {
    enum Job: Sendable {
        case alone(@Sendable (Result<any StateBackend, StoreError>) -> Void)
        /// Those that wait together are done together.
        case item(StoreItem, @Sendable (Result<StoreItemResult, StoreError>) -> Void)
        case observe(StoreWatch)
    }

    static let jobLimit = 16_384
    /// At most so many items are one batch: whoever comes behind them waits for no more.
    static let batchLimit = 1024

    struct Waiting: Sendable {
        let job: Job
        /// Nil: it waits for as long as it takes.
        let deadline: MonotonicInstant?
    }

    private struct Queue {
        var jobs: [Waiting] = []
        var isClosed = false
    }

    private let queue = Mutex(Queue())
    /// Signalled when the queue stops being empty, and when it is closed.
    private let wake = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)
    private let pollInterval: Duration
    private let jobTimeout: Duration?

    /// - Parameter jobTimeout: how long a job may take from its submission, waiting included.
    init(pollInterval: Duration, jobTimeout: Duration?) {
        self.pollInterval = pollInterval
        self.jobTimeout = jobTimeout
    }

    /// Starts the thread and waits until the backend is open.
    func start(
        _ open: @escaping @Sendable () throws(StoreError) -> any StateBackend
    ) throws(StoreError) {
        let opened = Answer<Void>()
        let thread = Thread {
            let backend: any StateBackend
            do throws(StoreError) {
                backend = try open()
            } catch {
                self.ended.signal()
                opened.give(.failure(error))
                return
            }
            opened.give(.success(()))
            self.serve(backend)
            backend.close()
            self.ended.signal()
        }
        thread.name = "store"
        // The thread inherits a mask that blocks all: signals belong to the one thread that waits for them.
        var all = sigset_t()
        var before = sigset_t()
        unsafe sigfillset(&all)
        unsafe pthread_sigmask(SIG_SETMASK, &all, &before)
        thread.start()
        unsafe pthread_sigmask(SIG_SETMASK, &before, nil)
        try opened.wait().get()
    }

    /// Queues a job. Never blocks.
    ///
    /// - Throws: `.closed`, or `.busy` when the queue is full; the job is then dropped.
    /// - Parameter timeout: where it is to have less time than others.
    func post(_ job: Job, within timeout: Duration? = nil) throws(StoreError) {
        let deadline = jobTimeout.map { MonotonicInstant.now() + min($0, timeout ?? $0) }
        let waiting = Waiting(job: job, deadline: deadline)
        let refusal: StoreError? = queue.withLock { queue in
            if queue.isClosed { return .closed }
            if queue.jobs.count >= Self.jobLimit { return .busy }
            queue.jobs.append(waiting)
            if queue.jobs.count == 1 { wake.signal() }
            return nil
        }
        if let refusal { throw refusal }
    }

    /// Lets no further job in; those that wait are still done. Does not wait for them.
    func finish() {
        queue.withLock { queue in
            if !queue.isClosed { wake.signal() }
            queue.isClosed = true
        }
    }

    /// Waits until the thread has ended, which `finish` asks it to.
    func join() {
        ended.wait()
        ended.signal()
    }

    private func serve(_ backend: any StateBackend) {
        var watch: StoreWatch?
        var pollAt = MonotonicInstant.now()
        var purgeAt = pollAt
        while true {
            let (jobs, isClosed) = queue.withLock { queue in
                let jobs = queue.jobs
                queue.jobs = []
                return (jobs, queue.isClosed)
            }
            if jobs.isEmpty {
                if isClosed { return }
                let rest = min(pollAt, purgeAt) - MonotonicInstant.now()
                _ = wake.wait(timeout: .now() + .nanoseconds(Int(rest.wholeNanoseconds)))
            }
            var isNews = false
            if !jobs.isEmpty { isNews = run(jobs, backend, &watch) }
            let now = MonotonicInstant.now()
            let isDue = now >= pollAt
            if isDue { pollAt = now + pollInterval }
            if isNews || isDue {
                giveTime(to: backend)
                watch?.look(backend)
            }
            if now >= purgeAt {
                giveTime(to: backend)
                // One small step: what is asked next waits for no more. A failure shows itself to those who ask.
                let removed = try? backend.purge(expiredAt: .now(), limit: Self.purgeLimit)
                // Where there is more the next step comes soon, and leaves others most of the time.
                let hasMore = removed.map { $0 >= Self.purgeLimit } ?? false
                purgeAt = now + (hasMore ? Self.purgePause : pollInterval)
            }
        }
    }

    /// So many expired records go at a time.
    static let purgeLimit = 500
    private static let purgePause: Duration = .milliseconds(20)

    private func giveTime(to backend: any StateBackend) {
        guard let jobTimeout else { return }
        backend.hasTime(until: MonotonicInstant.now() + jobTimeout)
    }

    /// - Returns: whether something was done that those who watch should hear of at once.
    private func run(
        _ jobs: [Waiting], _ backend: any StateBackend, _ watch: inout StoreWatch?
    ) -> Bool {
        var isNews = false
        var batch = StoreBatch()
        for waiting in jobs {
            switch waiting.job {
            case .item(let item, let completion):
                if batch.count == Self.batchLimit { batch.run(backend) }
                batch.add(item, by: waiting.deadline, completion)
                isNews = isNews || item.isNews
            case .alone(let body):
                batch.run(backend)
                if let deadline = waiting.deadline {
                    guard MonotonicInstant.now() < deadline else {
                        body(.failure(.tooLate))
                        continue
                    }
                    backend.hasTime(until: deadline)
                }
                body(.success(backend))
                isNews = true
            case .observe(let newer):
                batch.run(backend)
                watch = newer
                isNews = true
            }
        }
        batch.run(backend)
        return isNews
    }
}

/// Items that wait to be done together.
private struct StoreBatch {
    typealias Completion = @Sendable (Result<StoreItemResult, StoreError>) -> Void

    private var items: [StoreItem] = []
    private var completions: [Completion] = []
    private var deadlines: [MonotonicInstant?] = []

    var count: Int { items.count }

    mutating func add(
        _ item: StoreItem, by deadline: MonotonicInstant?, _ completion: @escaping Completion
    ) {
        items.append(item)
        completions.append(completion)
        deadlines.append(deadline)
    }

    /// Does them and is empty again.
    mutating func run(_ backend: any StateBackend) {
        guard !items.isEmpty else { return }
        dropLate()
        defer { self = StoreBatch() }
        guard !items.isEmpty else { return }
        // The first was promised an answer first.
        if let deadline = deadlines[0] { backend.hasTime(until: deadline) }
        do throws(StoreError) {
            let results = try backend.perform(items)
            precondition(results.count == items.count, "as many results as items")
            for (completion, result) in zip(completions, results) {
                if case .failed(let error) = result {
                    completion(.failure(error))
                } else {
                    completion(.success(result))
                }
            }
        } catch {
            for completion in completions { completion(.failure(error)) }
        }
    }

    /// Those that have waited for too long behind others are told so; they are the oldest.
    private mutating func dropLate() {
        let now = MonotonicInstant.now()
        let late = deadlines.prefix { deadline in deadline.map { $0 <= now } ?? false }.count
        for completion in completions.prefix(late) { completion(.failure(.tooLate)) }
        items.removeFirst(late)
        completions.removeFirst(late)
        deadlines.removeFirst(late)
    }
}

/// What the observer has seen. One cheap read finds out what any process changed.
struct StoreWatch: Sendable {
    typealias Observer = @Sendable (Result<StoreNews, StoreError>) -> Void

    private var generation: Int64?
    /// Nil until the revocations have been read once.
    private var revocations: Int64?
    private let observer: Observer
    /// Told once; told again only when it differs or after things went well in between.
    private var lastFailure: StoreError?

    init(
        since generation: Int64, revocationsSince revocations: Int64?,
        _ observer: @escaping Observer
    ) {
        self.generation = generation
        self.revocations = revocations
        self.observer = observer
    }

    mutating func look(_ backend: any StateBackend) {
        do throws(StoreError) {
            let marks = try backend.marks()
            // Each by itself: whatever is wrong with the one, the other is told. Revocations first, as nothing of theirs
            // may wait.
            let failure = attempt { watch throws(StoreError) in
                try watch.lookAtRevocations(marks, backend)
            }
            // Who holds no revocations at all must not know by which keys and of which clients tokens are good.
            if let revocations {
                try lookAtRecords(marks, backend, since: revocations, isWell: failure == nil)
            }
            if let failure { throw failure }
        } catch {
            guard error != lastFailure else { return }
            lastFailure = error
            observer(.failure(error))
        }
    }

    private mutating func attempt(
        _ body: (inout StoreWatch) throws(StoreError) -> Void
    ) -> StoreError? {
        do throws(StoreError) {
            try body(&self)
            return nil
        } catch {
            return error
        }
    }

    private mutating func lookAtRevocations(
        _ marks: StoreMarks, _ backend: any StateBackend
    ) throws(StoreError) {
        guard marks.revocations != revocations else { return }
        let news = try backend.revocations(after: revocations ?? 0)
        revocations = news.through
        // After a loss of the store there may be none.
        guard !news.revocations.isEmpty || !news.faults.isEmpty else { return }
        observer(.success(news))
    }

    private mutating func lookAtRecords(
        _ marks: StoreMarks, _ backend: any StateBackend, since revocations: Int64, isWell: Bool
    ) throws(StoreError) {
        // Healed: the snapshot is told again, so that whoever was told of the failure knows.
        let isHealed = isWell && lastFailure != nil
        guard marks.generation == nil || marks.generation != generation || isHealed else {
            return
        }
        let snapshot = try backend.snapshot()
        generation = snapshot.generation
        // Whoever hears this takes all for well again: what is still wrong has to be told anew.
        lastFailure = nil
        observer(
            .success(
                StoreNews(snapshot: snapshot, revocations: [], through: revocations)))
    }
}

/// A result that one thread waits for and another gives.
final class Answer<Value: Sendable>: Sendable {
    private let result = Mutex<Result<Value, StoreError>?>(nil)
    private let given = DispatchSemaphore(value: 0)

    func give(_ value: Result<Value, StoreError>) {
        result.withLock { $0 = value }
        given.signal()
    }

    func wait() -> Result<Value, StoreError> {
        given.wait()
        return result.withLock { $0 } ?? .failure(.closed)
    }
}
