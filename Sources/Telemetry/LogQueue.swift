import Glibc
import Primitives
import Synchronization

struct LogSinks: Sendable {
    var access: LogSink
    var error: LogSink
}

/// What the writer's thread is told, in order.
enum LogOrder: Sendable {
    case write(LogStream)
    case reopen
    case replace(LogSinks)
}

/// What lies between those who log and the thread that writes: a queue with a limit in bytes, and a pipe that
/// wakes the thread when the queue goes from empty to non-empty.
final class LogQueue: Sendable {
    struct Entry: Sendable {
        let order: LogOrder
        var batch: [UInt8] = []
        var lines = 0
    }

    private struct State {
        var entries: [Entry] = []
        /// Bytes of batches that are not written yet, those that the thread has taken out included.
        var bytes = 0
        /// Emptied batches, handed back to those who submit.
        var spare: [[UInt8]] = []
        var isClosed = false
    }

    /// Emptied batches that are kept, and how much room one may have to be kept.
    private static let spareLimit = 8
    private static let spareBytes = 128 << 10

    private let limitBytes: Int
    private let state = Mutex(State())
    private let wakeReader: Int32
    private let wakeWriter: Int32
    let linesDropped = Atomic<UInt64>(0)
    let writesAccessLog = Atomic<Bool>(true)
    /// Monotonic nanoseconds after which the thread no longer waits for a reader; `max` until `close`.
    private let deadline = Atomic<UInt64>(.max)

    init(limitBytes: Int) throws(LogError) {
        precondition(limitBytes > 0)
        self.limitBytes = limitBytes
        var ends: [Int32] = [-1, -1]
        guard unsafe pipe(&ends) == 0 else { throw .cannotStart(call: "pipe", code: errno) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
        wakeReader = ends[0]
        wakeWriter = ends[1]
    }

    deinit {
        _ = Glibc.close(wakeReader)
        _ = Glibc.close(wakeWriter)
    }

    func submit(_ batch: inout [UInt8], lines: Int, to stream: LogStream) {
        var isAccepted = false
        var wasEmpty = false
        let count = batch.count
        state.withLock { state in
            guard !state.isClosed, state.bytes + count <= limitBytes else { return }
            isAccepted = true
            wasEmpty = state.entries.isEmpty
            state.bytes += count
            var entry = Entry(order: .write(stream), lines: lines)
            entry.batch = state.spare.popLast() ?? []
            swap(&entry.batch, &batch)
            state.entries.append(entry)
        }
        if isAccepted {
            if wasEmpty { wake() }
        } else {
            countDropped(lines)
            batch.removeAll(keepingCapacity: true)
        }
    }

    func post(_ order: LogOrder) {
        let wasEmpty = state.withLock { state in
            guard !state.isClosed else { return false }
            state.entries.append(Entry(order: order))
            return state.entries.count == 1
        }
        if wasEmpty { wake() }
    }

    func close(deadline: MonotonicInstant) {
        self.deadline.store(deadline.nanoseconds, ordering: .relaxed)
        state.withLock { $0.isClosed = true }
        wake()
    }

    func countDropped(_ lines: Int) {
        guard lines > 0 else { return }
        linesDropped.wrappingAdd(UInt64(lines), ordering: .relaxed)
    }

    // MARK: the writer's thread

    /// Waits for entries and takes them all; false when the queue is closed and empty.
    func take(into entries: inout [Entry]) -> Bool {
        entries.removeAll(keepingCapacity: true)
        while true {
            let isClosed = state.withLock { state in
                swap(&entries, &state.entries)
                return state.isClosed
            }
            if !entries.isEmpty { return true }
            if isClosed { return false }
            var bytes: UInt64 = 0
            _ = unsafe read(wakeReader, &bytes, 8)
        }
    }

    /// Takes back the array of a batch that is done with.
    func finish(_ batch: [UInt8]) {
        var batch = batch
        let count = batch.count
        batch.removeAll(keepingCapacity: true)
        state.withLock { state in
            state.bytes -= count
            if state.spare.count < LogQueue.spareLimit, batch.capacity <= LogQueue.spareBytes {
                state.spare.append(batch)
            }
        }
    }

    /// Whether the thread may go on waiting for a reader that takes nothing.
    func mayWait() -> Bool {
        MonotonicInstant.now().nanoseconds < deadline.load(ordering: .relaxed)
    }

    private func wake() {
        var one: UInt8 = 1
        _ = unsafe write(wakeWriter, &one, 1)
    }
}
