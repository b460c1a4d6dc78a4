import Glibc
import Primitives
import Synchronization

/// What the writer's thread does, and the state that only it touches.
struct LogWriterLoop {
    private let queue: LogQueue
    private var sinks: LogSinks
    private var entries: [LogQueue.Entry] = []
    private var reportedDrops: UInt64 = 0
    private var nextReport = MonotonicInstant(nanoseconds: 0)

    init(queue: LogQueue, sinks: LogSinks) {
        self.queue = queue
        self.sinks = sinks
    }

    mutating func run() {
        while queue.take(into: &entries) {
            for index in entries.indices {
                switch entries[index].order {
                case .write(let stream):
                    var batch: [UInt8] = []
                    swap(&batch, &entries[index].batch)
                    write(batch, to: stream)
                    queue.finish(batch)
                case .reopen:
                    reopen()
                case .replace(let new):
                    sinks = new
                }
            }
            reportDrops()
        }
    }

    private mutating func write(_ batch: [UInt8], to stream: LogStream) {
        let queue = queue
        let mayWait = { queue.mayWait() }
        switch stream {
        case .access: queue.countDropped(sinks.access.write(batch, mayWait: mayWait))
        case .error: queue.countDropped(sinks.error.write(batch, mayWait: mayWait))
        }
    }

    private mutating func reopen() {
        do throws(LogError) {
            sinks.error.replace(with: try LogFile(sinks.error.destination))
        } catch {
            report(error)
        }
        do throws(LogError) {
            sinks.access.replace(with: try LogFile(sinks.access.destination))
        } catch {
            report(error)
        }
    }

    private mutating func report(_ error: LogError) {
        switch error {
        case .cannotOpen(let path, let code):
            writeLine(
                .error, "could not reopen a log; the old file is written on",
                ["path": path, "errno": "\(code)"])
        case .cannotStart:
            break
        }
    }

    /// Says in the error log that lines were lost, at most every ten seconds: the metrics tell it too, but not
    /// everyone reads them.
    private mutating func reportDrops() {
        let drops = queue.linesDropped.load(ordering: .relaxed)
        guard drops > reportedDrops else { return }
        let now = MonotonicInstant.now()
        guard now >= nextReport else { return }
        nextReport = now + .seconds(10)
        writeLine(.warn, "log lines dropped", ["since_start": "\(drops)"])
        // What this very line may have cost is not reported again.
        reportedDrops = queue.linesDropped.load(ordering: .relaxed)
    }

    private mutating func writeLine(
        _ severity: Severity, _ message: String, _ fields: KeyValuePairs<String, String>
    ) {
        var time = LogTime(.rfc3339)
        var line: [UInt8] = []
        ErrorLog.append(severity, message, fields, at: .now(), time: &time, to: &line)
        write(line, to: .error)
    }
}
