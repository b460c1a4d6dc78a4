import Glibc
import Primitives
import Synchronization

/// Writes all logs on one thread of its own. Workers and everyone else hand over whole batches and never wait: when
/// the queue is full (a disk or a reader that does not keep up), the batch is dropped and its lines counted.
public final class LogWriter: Sendable {
    private let shared: LogQueue
    private let thread: Mutex<pthread_t?>

    /// Opens the files and starts the thread.
    ///
    /// - Parameter queueBytes: how much may wait to be written.
    /// - Throws: `.cannotOpen` for a file that cannot be opened, `.cannotStart` when the system is out of something.
    public init(
        access: LogDestination, error: LogDestination, queueBytes: Int = 8 << 20
    ) throws(LogError) {
        let sinks = LogSinks(
            access: LogSink(destination: access, file: try LogFile(access)),
            error: LogSink(destination: error, file: try LogFile(error)))
        shared = try LogQueue(limitBytes: queueBytes)
        shared.writesAccessLog.store(access != .off, ordering: .relaxed)
        thread = Mutex(try LogWriter.start(shared, sinks))
    }

    deinit {
        close()
    }

    /// Lines that no file took: the queue was full, the disk was full, the reader was gone.
    public var linesDropped: UInt64 { shared.linesDropped.load(ordering: .relaxed) }

    /// False while the access log is `off`, so that nobody formats lines for it.
    public var writesAccessLog: Bool { shared.writesAccessLog.load(ordering: .relaxed) }

    /// Hands over a batch of whole lines and leaves an empty array in its place, with room when one was at hand.
    ///
    /// - Parameter lines: how many lines it holds, counted as dropped when the queue is full.
    public func submit(_ batch: inout [UInt8], lines: Int, to stream: LogStream) {
        shared.submit(&batch, lines: lines, to: stream)
    }

    /// Opens the files of the same names anew, behind what was submitted before: after a rotation renamed them
    /// (SIGUSR1). A file that cannot be opened is kept as it was, and an error line says so.
    public func reopen() {
        shared.post(.reopen)
    }

    /// Changes the destinations, behind what was submitted before: what a reload does.
    ///
    /// - Throws: `.cannotOpen`; nothing has changed then.
    public func replace(access: LogDestination, error: LogDestination) throws(LogError) {
        let sinks = LogSinks(
            access: LogSink(destination: access, file: try LogFile(access)),
            error: LogSink(destination: error, file: try LogFile(error)))
        shared.writesAccessLog.store(access != .off, ordering: .relaxed)
        shared.post(.replace(sinks))
    }

    /// Writes what was submitted before and ends the thread. A reader that takes nothing is waited for at most
    /// `patience`; what is left then is dropped and counted. Everything that is submitted later is too.
    public func close(patience: Duration = .seconds(2)) {
        let taken = thread.withLock { thread in
            let taken = thread
            thread = nil
            return taken
        }
        guard let taken else { return }
        shared.close(deadline: MonotonicInstant.now() + patience)
        _ = pthread_join(taken, nil)
    }

    private final class Start: Sendable {
        let queue: LogQueue
        let sinks: LogSinks

        init(_ queue: LogQueue, _ sinks: LogSinks) {
            self.queue = queue
            self.sinks = sinks
        }
    }

    private static func start(
        _ queue: LogQueue, _ sinks: LogSinks
    ) throws(LogError) -> pthread_t {
        let start = unsafe Unmanaged.passRetained(Start(queue, sinks))
        var handle = pthread_t()
        // Signals belong to the thread of the program that waits for them; the new thread inherits this mask.
        var all = sigset_t()
        var before = sigset_t()
        unsafe sigfillset(&all)
        unsafe pthread_sigmask(SIG_SETMASK, &all, &before)
        let code = unsafe pthread_create(
            &handle, nil,
            { raw in
                guard let raw = unsafe raw else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(raw).takeRetainedValue()
                var loop = LogWriterLoop(queue: start.queue, sinks: start.sinks)
                loop.run()
                return nil
            }, start.toOpaque())
        unsafe pthread_sigmask(SIG_SETMASK, &before, nil)
        guard code == 0 else {
            unsafe start.release()
            throw .cannotStart(call: "pthread_create", code: code)
        }
        return handle
    }
}
