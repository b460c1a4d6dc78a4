import Glibc
import Primitives

/// One log as the writer's thread sees it: the file and what has become of the last write.
struct LogSink {
    let destination: LogDestination
    var file: LogFile?
    /// A failed write left a piece of a line; the next batch begins with a line end, so that the piece
    /// does not become the head of another line.
    private var endsWithinLine = false

    init(destination: LogDestination, file: LogFile?) {
        self.destination = destination
        self.file = file
    }

    /// Writes a batch of whole lines.
    ///
    /// - Parameter mayWait: asked while the other side does not take bytes; false ends the attempt.
    /// - Returns: how many lines were lost: a full disk, a closed pipe. The next batch is tried anew.
    mutating func write(_ batch: [UInt8], mayWait: () -> Bool) -> Int {
        guard let file else { return 0 }
        if endsWithinLine {
            guard LogSink.write([0x0A], to: file, mayWait: mayWait) == 1 else {
                return LogSink.lines(in: batch, from: 0)
            }
            endsWithinLine = false
        }
        let written = LogSink.write(batch, to: file, mayWait: mayWait)
        if written > 0 { endsWithinLine = batch[written - 1] != 0x0A }
        return LogSink.lines(in: batch, from: written)
    }

    mutating func replace(with file: LogFile?) {
        self.file = file
        endsWithinLine = false
    }

    private static func lines(in batch: [UInt8], from start: Int) -> Int {
        var count = 0
        for index in start..<batch.count where batch[index] == 0x0A { count += 1 }
        return count
    }

    /// - Returns: how many bytes were taken.
    private static func write(_ bytes: [UInt8], to file: LogFile, mayWait: () -> Bool) -> Int {
        var written = 0
        while written < bytes.count {
            guard file.isRegular || isReady(file, mayWait: mayWait) else { return written }
            // A pipe that polls writable takes PIPE_BUF (4096) bytes without blocking, not more.
            let piece = file.isRegular ? bytes.count - written : min(bytes.count - written, 4096)
            let count = unsafe bytes.withUnsafeBytes { raw in
                unsafe Glibc.write(
                    file.descriptor, UnsafeRawBufferPointer(rebasing: raw[written...]).baseAddress,
                    piece)
            }
            if count > 0 {
                written += count
            } else if count == 0 || errno != EINTR && errno != EAGAIN {
                return written
            }
        }
        return written
    }

    /// Waits until the descriptor takes bytes (or reports an error, which the write then shows).
    private static func isReady(_ file: LogFile, mayWait: () -> Bool) -> Bool {
        while true {
            let isPatient = mayWait()
            var waiting = pollfd(fd: file.descriptor, events: Int16(POLLOUT), revents: 0)
            // Without patience every batch gets one question and no wait, or closing would take one each.
            let count = unsafe poll(&waiting, 1, isPatient ? 100 : 0)
            if count > 0 { return true }
            if count < 0, errno != EINTR { return false }
            if !isPatient { return false }
        }
    }
}
