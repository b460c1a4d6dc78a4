import Foundation
import Primitives
import TestSupport
import Testing

@testable import Telemetry

@Suite struct LogWriterTests {
    private let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
    }

    @Test func batchesOfConcurrentWorkersStayWhole() throws {
        let path = folder.file("access.log")
        let writer = try LogWriter(access: .file(path), error: .off)
        let workers = (0..<4).map { worker in
            Worker {
                let log = AccessLog(writer: writer, format: .json)
                var record = AccessRecord()
                for number in 0..<5000 {
                    record.requestID.replace(with: Array("\(worker)-\(number)".utf8).span)
                    log.write(&record)
                    record.reset()
                }
                log.flush()
            }
        }
        for worker in workers { worker.wait() }
        writer.close()
        #expect(writer.linesDropped == 0)
        let lines = folder.read("access.log").split(separator: "\n")
        #expect(lines.count == 20_000)
        var next = [0, 0, 0, 0]
        for line in lines {
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8))
            let id = try #require((object as? [String: Any])?["request_id"] as? String)
            let parts = id.split(separator: "-").compactMap { Int($0) }
            #expect(parts[1] == next[parts[0]], "a worker's lines stay in their order")
            next[parts[0]] += 1
        }
    }

    /// A reload may change the format: then each line has the time of its own.
    @Test func aNewFormatHasItsOwnTime() throws {
        let writer = try LogWriter(access: .file(folder.file("access.log")), error: .off)
        let log = AccessLog(writer: writer, format: .json)
        var record = AccessRecord()
        for format in [AccessLog.Format.json, .combined, .json] {
            log.format = format
            log.write(&record)
        }
        log.flush()
        writer.close()
        let lines = folder.read("access.log").split(separator: "\n")
        let wanted = ["1970-01-01T00:00:00.000Z", "[01/Jan/1970:00:00:00 +0000]"]
        #expect(lines.count == 3)
        for (line, time) in zip(lines, [wanted[0], wanted[1], wanted[0]]) {
            #expect(line.contains(time), "\(line)")
        }
    }

    @Test func anAccessLogHandsOverWhatPassesTheBatchByItself() throws {
        let writer = try LogWriter(access: .file(folder.file("a")), error: .off)
        let log = AccessLog(writer: writer, format: .combined)
        var record = AccessRecord()
        record.userAgent = [UInt8](repeating: 0x61, count: 40_000)
        #expect(!log.hasPending)
        log.write(&record)
        #expect(!log.hasPending)
        record.userAgent = []
        log.write(&record)
        #expect(log.hasPending)
        log.flush()
        #expect(!log.hasPending)
        writer.close()
        #expect(folder.read("a").split(separator: "\n").count == 2)
    }

    @Test func anAccessLogThatIsOffTakesNothing() throws {
        let writer = try LogWriter(access: .off, error: .off)
        let log = AccessLog(writer: writer, format: .json)
        var record = AccessRecord()
        log.write(&record)
        #expect(!log.hasPending)
        #expect(writer.linesDropped == 0)
    }

    /// A FIFO with a reader that never reads: the pipe and then the queue fill up.
    @Test func aFullQueueDropsAndCounts() throws {
        let fifo = try FIFO(folder.file("fifo"))
        let writer = try LogWriter(
            access: .file(fifo.path), error: .off, queueBytes: 100_000)
        let line = [UInt8](repeating: 0x61, count: 99) + [0x0A]
        let sent = 20_000
        for _ in 0..<sent {
            var batch = line
            writer.submit(&batch, lines: 1, to: .access)
            #expect(batch.isEmpty)
        }
        #expect(writer.linesDropped > 0)
        writer.close(patience: .zero)
        let arrived = fifo.readAvailable()
        // Pieces of 4096 bytes: the last line may be cut, and it counts as dropped.
        #expect(writer.linesDropped + UInt64(arrived.count / 100) == UInt64(sent))
    }

    @Test func aReaderThatComesLateGetsEverythingThatWasQueued() throws {
        let fifo = try FIFO(folder.file("fifo"))
        let writer = try LogWriter(access: .file(fifo.path), error: .off)
        let line = [UInt8](repeating: 0x61, count: 99) + [0x0A]
        for _ in 0..<10_000 {
            var batch = line
            writer.submit(&batch, lines: 1, to: .access)
        }
        var arrived = 0
        #expect(
            eventually {
                arrived += fifo.readAvailable().count
                return arrived == 1_000_000
            })
        writer.close()
        #expect(writer.linesDropped == 0)
    }

    @Test func aFullDiskDropsAndCountsAndIsReportedInTheErrorLog() throws {
        let writer = try LogWriter(
            access: .file("/dev/full"), error: .file(folder.file("error.log")))
        var batch = Array("one\ntwo\nthree\n".utf8)
        writer.submit(&batch, lines: 3, to: .access)
        #expect(eventually { writer.linesDropped == 3 })
        writer.close()
        let log = folder.read("error.log")
        #expect(log.hasSuffix(" warn log lines dropped since_start=3\n"))
        #expect(log.split(separator: "\n").count == 1)
    }

    /// The file-size limit of a child process would be needed to cut a line in a file; a sink over a pipe
    /// whose reader stops within a line shows the same.
    @Test func aCutLineIsEndedBeforeTheNext() throws {
        let fifo = try FIFO(folder.file("fifo"))
        let file = try #require(try LogFile(.file(fifo.path)))
        var sink = LogSink(destination: .file(fifo.path), file: file)
        let long = [UInt8](repeating: 0x61, count: 1 << 20) + [0x0A]
        #expect(sink.write(long, mayWait: { false }) == 1)
        let head = fifo.readAvailable()
        #expect(head.count > 0 && head.count < long.count)
        #expect(sink.write(Array("next\n".utf8), mayWait: { false }) == 0)
        #expect(fifo.readAvailable() == Array("\nnext\n".utf8))
    }

    @Test func reopenFollowsARename() throws {
        let path = folder.file("error.log")
        let writer = try LogWriter(access: .off, error: .file(path))
        let log = ErrorLog(writer: writer, level: .info)
        log.info("before")
        #expect(eventually { folder.read("error.log").contains("before") })
        #expect(rename(path, path + ".1") == 0)
        log.info("between")
        writer.reopen()
        log.info("after")
        writer.close()
        let old = folder.read("error.log.1")
        #expect(old.contains("before") && old.contains("between") && !old.contains("after"))
        #expect(folder.read("error.log").hasSuffix(" info after\n"))
        var status = stat()
        #expect(stat(path, &status) == 0)
        #expect(status.st_mode & 0o777 & ~0o640 == 0)
    }

    @Test func aFailedReopenKeepsTheOldFileAndSaysSo() throws {
        let writer = try LogWriter(
            access: .file(try subfolder() + "/access.log"), error: .file(folder.file("error.log")))
        #expect(rename(folder.file("logs"), folder.file("moved")) == 0)
        writer.reopen()
        var batch = Array("line\n".utf8)
        writer.submit(&batch, lines: 1, to: .access)
        writer.close()
        #expect(folder.read("moved/access.log") == "line\n")
        #expect(folder.read("error.log").contains(" error could not reopen a log"))
        #expect(writer.linesDropped == 0)
    }

    @Test func aFileThatCannotBeOpenedIsAnErrorAtOnce() throws {
        let path = folder.file("missing/access.log")
        #expect(throws: LogError.cannotOpen(path: path, code: ENOENT)) {
            _ = try LogWriter(access: .file(path), error: .off)
        }
        let writer = try LogWriter(access: .file(folder.file("a")), error: .off)
        #expect(throws: LogError.cannotOpen(path: path, code: ENOENT)) {
            try writer.replace(access: .file(path), error: .off)
        }
        var batch = Array("still here\n".utf8)
        writer.submit(&batch, lines: 1, to: .access)
        writer.close()
        #expect(folder.read("a") == "still here\n")
    }

    @Test func replaceSendsLaterLinesToTheNewFile() throws {
        let writer = try LogWriter(access: .file(folder.file("a")), error: .off)
        var batch = Array("one\n".utf8)
        writer.submit(&batch, lines: 1, to: .access)
        try writer.replace(access: .file(folder.file("b")), error: .off)
        batch = Array("two\n".utf8)
        writer.submit(&batch, lines: 1, to: .access)
        writer.close()
        #expect(folder.read("a") == "one\n")
        #expect(folder.read("b") == "two\n")
        #expect(writer.writesAccessLog)
    }

    @Test func whatComesAfterCloseIsCounted() throws {
        let writer = try LogWriter(access: .file(folder.file("a")), error: .off)
        writer.close()
        writer.close()
        var batch = Array("late\n".utf8)
        writer.submit(&batch, lines: 1, to: .access)
        #expect(writer.linesDropped == 1)
        #expect(folder.read("a").isEmpty)
    }

    @Test func everyLevelIsOrdered() {
        #expect(Severity.allCases == Severity.allCases.sorted())
    }

    private func subfolder() throws -> String {
        let path = folder.file("logs")
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false)
        return path
    }
}

/// A thread that can be waited for.
private final class Worker: Sendable {
    private let ended = DispatchSemaphore(value: 0)

    init(_ body: @escaping @Sendable () -> Void) {
        Thread.detachNewThread { [ended] in
            body()
            ended.signal()
        }
    }

    func wait() {
        ended.wait()
    }
}

/// A named pipe whose reading end is open.
private final class FIFO {
    let path: String
    private let reader: Int32

    init(_ path: String) throws {
        self.path = path
        guard mkfifo(path, 0o600) == 0 else { throw Failure("mkfifo: errno \(errno)") }
        reader = open(path, O_RDONLY | O_NONBLOCK)
    }

    deinit {
        close(reader)
    }

    func readAvailable() -> [UInt8] {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(reader, &piece, piece.count)
            guard count > 0 else { return bytes }
            bytes += piece.prefix(count)
        }
    }
}
