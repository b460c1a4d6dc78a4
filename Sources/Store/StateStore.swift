import Primitives

/// Where the state lies.
public enum StateStoreLocation: Sendable, Equatable {
    /// A SQLite database in this file, made if absent.
    case sqlite(path: String)
    /// Gone when the store is closed; otherwise the same in all.
    case memory
}

/// The state: clients, signing keys and what replay protection must remember between two runs.
///
/// It owns a thread on which all of it happens. `submit` never blocks its caller: workers, and whoever else
/// must not wait, use it. `perform` waits: commands and start-up use it.
public final class StateStore: Sendable {
    public typealias Completion<Value> = @Sendable (Result<Value, StoreError>) -> Void

    private let thread: StoreThread

    /// Opens the state, and makes it where there is none.
    ///
    /// - Parameters:
    ///   - secretsKey: seals private keys and shared secrets at rest; not used in memory.
    ///   - pollInterval: how often to look for what other processes changed.
    ///   - busyTimeout: how long to wait for another process that writes.
    /// - Throws: what `StoreError` lists; a database that cannot be used is left as it was.
    public init(
        location: StateStoreLocation, secretsKey: SecretsKey,
        pollInterval: Duration = .milliseconds(500), busyTimeout: Duration = .seconds(2)
    ) throws(StoreError) {
        thread = StoreThread(pollInterval: pollInterval)
        switch location {
        case .memory:
            try thread.start { () throws(StoreError) in try MemoryState() }
        case .sqlite(let path):
            try thread.start { () throws(StoreError) in
                try SQLiteState(path: path, secretsKey: secretsKey, busyTimeout: busyTimeout)
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
        let job = StoreThread.Job.run { backend in
            do throws(StoreError) {
                completion(.success(try operation.run(backend)))
            } catch {
                completion(.failure(error))
            }
        }
        do throws(StoreError) {
            try thread.post(job)
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
        do throws(StoreError) {
            try thread.post(.recordNonce(nonce, completion))
        } catch {
            completion(.failure(error))
        }
    }

    /// Calls `observer` on the store's thread, where it must not block, whenever a client or key differs
    /// from what it has seen, whichever process changed it. A failure to read is told once, too; the last
    /// snapshot is then to be kept, and a new one follows when the store has healed.
    ///
    /// - Parameters:
    ///   - generation: of the snapshot that the caller holds; a change since then is told at once.
    ///   - observer: takes the place of the one before.
    public func observeChanges(
        since generation: Int64,
        _ observer: @escaping @Sendable (Result<StoreSnapshot, StoreError>) -> Void
    ) throws(StoreError) {
        try thread.post(.observe(since: generation, observer))
    }

    /// Does what was submitted, then lets go of all files. Waits; nothing can be asked afterwards.
    /// Without `endRun` before it, the run stays unclean.
    public func close() {
        thread.finish()
        thread.join()
    }
}
