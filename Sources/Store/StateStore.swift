import Primitives

/// Where the state lies.
public enum StateStoreLocation: Sendable, Equatable {
    /// A SQLite database in this file, made if absent.
    case sqlite(path: String)
    /// Gone when the store is closed; otherwise the same in all.
    case memory
    /// A Redis, which several gateways share.
    case redis(RedisLocation)
    /// Nowhere: every operation fails with `.unavailable`. For drills of what works without a store.
    case absent
}

/// The state: clients, signing keys, tokens and their revocations, what may be used once, and what replay
/// protection must remember between two runs.
///
/// It owns a thread on which all of it happens. `submit` never blocks its caller: workers, and whoever else
/// must not wait, use it. `perform` waits: commands and start-up use it.
public final class StateStore: Sendable {
    public typealias Completion<Value> = @Sendable (Result<Value, StoreError>) -> Void

    private let thread: StoreThread
    /// Several gateways work on it at once. Runs, ceilings and future nonces are for one gateway alone, so
    /// that here they are refused with `.noRun`, and every nonce goes through `recordOnce`.
    public let isShared: Bool
    /// Seals what leaves the store in an export.
    let seal: Seal

    /// Opens the state, and makes it where there is none.
    ///
    /// - Parameters:
    ///   - secretsKey: seals private keys and shared secrets at rest; not used in memory.
    ///   - pollInterval: how often to look for what other processes changed.
    ///   - timeout: of a database: how long an operation may take from its submission, waiting for others included, and
    ///     the opening. What cannot begin by then is not done. A Redis has its own.
    ///   - mayBeAway: a state elsewhere that cannot be reached is no failure of the opening.
    /// - Throws: what `StoreError` lists; a database that cannot be used is left as it was.
    public init(
        location: StateStoreLocation, secretsKey: SecretsKey,
        pollInterval: Duration = .milliseconds(500), timeout: Duration = .seconds(2),
        mayBeAway: Bool = false
    ) throws(StoreError) {
        seal = Seal(key: secretsKey.secret)
        let jobTimeout: Duration?
        switch location {
        case .redis(let redis): (jobTimeout, isShared) = (redis.timeout, true)
        case .sqlite: (jobTimeout, isShared) = (timeout, false)
        case .memory, .absent: (jobTimeout, isShared) = (nil, false)
        }
        thread = StoreThread(pollInterval: pollInterval, jobTimeout: jobTimeout)
        switch location {
        case .memory:
            try thread.start { () throws(StoreError) in try MemoryState() }
        case .redis(let redis):
            try thread.start { () throws(StoreError) in
                try RedisState(redis, secretsKey: secretsKey, mayBeAway: mayBeAway)
            }
        case .absent:
            try thread.start { () throws(StoreError) in AbsentState() }
        case .sqlite(let path):
            try thread.start { () throws(StoreError) in
                try SQLiteState(path: path, secretsKey: secretsKey, timeout: timeout)
            }
        }
    }

    deinit { thread.finish() }

    /// Does `operation` on the store's thread and waits for it.
    ///
    /// Not from a completion or an observer: the thread would wait for itself.
    public func perform<Value>(_ operation: StoreOperation<Value>) throws(StoreError) -> Value {
        let answer = Answer<Value>()
        submit(operation) { answer.give($0) }
        return try answer.wait().get()
    }

    /// Does `operation` on the store's thread; operations are done in the order of their submission.
    ///
    /// - Parameter completion: called once: on the store's thread, where it must not block, or at once
    ///   on the caller's when the store is closed or too much is waiting.
    public func submit<Value>(
        _ operation: StoreOperation<Value>, completion: @escaping Completion<Value>
    ) {
        let job: StoreThread.Job =
            switch operation.work {
            case .alone(let run):
                .alone { backend in
                    do throws(StoreError) {
                        completion(.success(try run(try backend.get())))
                    } catch {
                        completion(.failure(error))
                    }
                }
            case .item(let item, let value):
                .item(item) { result in
                    completion(
                        result.flatMap { result in
                            guard let value = value(result) else {
                                preconditionFailure("a result of another kind of item")
                            }
                            return .success(value)
                        })
                }
            }
        do throws(StoreError) {
            try thread.post(job, within: operation.timeout)
        } catch {
            completion(.failure(error))
        }
    }

    /// Makes a nonce above the ceiling durable; only when `completion` says so may its request be accepted.
    /// Nonces that wait together are written together.
    ///
    /// - Parameter completion: as for `submit`. `.noRun` outside a run.
    public func recordFutureNonce(
        _ nonce: FutureNonce, completion: @escaping Completion<Void>
    ) {
        submit(.recordFutureNonce(nonce), completion: completion)
    }

    /// Calls `observer` on the store's thread, where it must not block, whenever a client or key differs
    /// from what it has seen or something was revoked, whichever process did it: at once after a change
    /// through this store, else within the poll interval. A failure to read is told once, too; the last
    /// snapshot is then to be kept, and a new one follows when the store has healed. Revocations come by
    /// themselves, before the rest.
    ///
    /// - Parameters:
    ///   - generation: of the snapshot that the caller holds; a change since then is told at once.
    ///   - sequence: `through` of the revocations that the caller holds; nil where it could not read them. No snapshot is
    ///     told before they have been read once.
    ///   - observer: takes the place of the one before.
    public func observeChanges(
        since generation: Int64, revocationsSince sequence: Int64?,
        _ observer: @escaping @Sendable (Result<StoreNews, StoreError>) -> Void
    ) throws(StoreError) {
        let watch = StoreWatch(since: generation, revocationsSince: sequence, observer)
        try thread.post(.observe(watch))
    }

    /// Does what was submitted, then lets go of all files. Waits; nothing can be asked afterwards.
    /// Without `endRun` before it, the run stays unclean.
    public func close() {
        thread.finish()
        thread.join()
    }
}
