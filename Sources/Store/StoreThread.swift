import Dispatch
import Foundation
import Glibc
import Primitives
import Synchronization

typealias SnapshotObserver = @Sendable (Result<StoreSnapshot, StoreError>) -> Void

/// The one thread that touches a backend, and the queue of what it is asked.
///
/// The backend is made on the thread and never leaves it. The queue is bounded: past its limit a job is
/// refused, so a disk that hangs costs answers, not memory.
final class StoreThread: Sendable {
    enum Job: Sendable {
        case run(@Sendable (any StateBackend) -> Void)
        /// Apart from the others, because those that wait together share one transaction and one sync.
        case recordNonce(FutureNonce, @Sendable (Result<Void, StoreError>) -> Void)
        case observe(since: Int64, SnapshotObserver)
    }

    static let jobLimit = 16_384

    private struct Queue {
        var jobs: [Job] = []
        var isClosed = false
    }

    private let queue = Mutex(Queue())
    /// Signalled when the queue stops being empty, and when it is closed.
    private let wake = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)
    private let pollInterval: Duration

    init(pollInterval: Duration) {
        self.pollInterval = pollInterval
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
    func post(_ job: Job) throws(StoreError) {
        let refusal: StoreError? = queue.withLock { queue in
            if queue.isClosed { return .closed }
            if queue.jobs.count >= Self.jobLimit { return .busy }
            queue.jobs.append(job)
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
        var watch = Watch()
        while true {
            let (jobs, isClosed) = queue.withLock { queue in
                let jobs = queue.jobs
                queue.jobs = []
                return (jobs, queue.isClosed)
            }
            if jobs.isEmpty {
                if isClosed { return }
                _ = wake.wait(timeout: .now() + .nanoseconds(Int(pollInterval.wholeNanoseconds)))
            } else {
                run(jobs, backend, &watch)
            }
            watch.look(backend)
        }
    }

    private func run(_ jobs: [Job], _ backend: any StateBackend, _ watch: inout Watch) {
        var nonces: [FutureNonce] = []
        var completions: [@Sendable (Result<Void, StoreError>) -> Void] = []
        func writeNonces() {
            guard !nonces.isEmpty else { return }
            var result: Result<Void, StoreError> = .success(())
            do throws(StoreError) {
                try backend.recordFutureNonces(nonces)
            } catch {
                result = .failure(error)
            }
            for completion in completions { completion(result) }
            nonces = []
            completions = []
        }
        for job in jobs {
            switch job {
            case .recordNonce(let nonce, let completion):
                nonces.append(nonce)
                completions.append(completion)
            case .run(let body):
                writeNonces()
                body(backend)
            case .observe(let generation, let observer):
                watch = Watch(seen: generation, observer: observer)
            }
        }
        writeNonces()
    }
}

/// What the observer has seen. One read of one row finds out what any process changed.
private struct Watch {
    var seen: Int64 = 0
    var observer: SnapshotObserver?
    /// Told once; told again only when it differs or after things went well in between.
    var lastFailure: StoreError?

    mutating func look(_ backend: any StateBackend) {
        guard let observer else { return }
        do throws(StoreError) {
            guard try backend.generation() != seen || lastFailure != nil else { return }
            let snapshot = try backend.snapshot()
            let isNew = snapshot.generation != seen || lastFailure != nil
            seen = snapshot.generation
            lastFailure = nil
            if isNew { observer(.success(snapshot)) }
        } catch {
            guard error != lastFailure else { return }
            lastFailure = error
            observer(.failure(error))
        }
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
