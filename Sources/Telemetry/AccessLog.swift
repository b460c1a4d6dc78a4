import Primitives

/// The access log of one worker: formats records into a buffer of its own and hands full buffers to the
/// writer. Belongs to the worker's thread, never blocks, and allocates nothing when warm.
public final class AccessLog {
    public enum Format: Sendable {
        /// One JSON object a line; a field without a value is left out.
        case json
        /// The line of nginx's and Apache's `combined`.
        case combined
    }

    /// A batch is handed over once it has grown past this.
    private static let batchBytes = 32 << 10
    /// Room for most lines.
    private static let lineBytes = 4 << 10

    private let writer: LogWriter
    /// How lines that are still to come are written; a reload may change it.
    public var format: Format {
        didSet { if format != oldValue { time = AccessLog.time(for: format) } }
    }
    private var time: LogTime
    private var batch: [UInt8] = []
    private var lines = 0

    public init(writer: LogWriter, format: Format) {
        self.writer = writer
        self.format = format
        time = AccessLog.time(for: format)
        batch.reserveCapacity(AccessLog.batchBytes + AccessLog.lineBytes)
    }

    private static func time(for format: Format) -> LogTime {
        LogTime(format == .json ? .rfc3339 : .commonLog)
    }

    deinit {
        flush()
    }

    /// Appends the record's line; hands the batch over when it is full.
    ///
    /// - Parameter record: stays as it is; not copied on the way, as a property of an object that is passed by value would be,
    ///   with a reference counted for each of its texts.
    public func write(_ record: inout AccessRecord) {
        guard writer.writesAccessLog else { return }
        switch format {
        case .json:
            AccessLog.appendJSON(record, time: &time, to: &batch)
        case .combined:
            AccessLine.appendCombined(record, time: &time, to: &batch)
            batch.append(0x0A)
        }
        lines += 1
        if batch.count >= AccessLog.batchBytes { flush() }
    }

    /// Appends the record's line and its end, in room that is made once for most and anew for the few that need more.
    static func appendJSON(
        _ record: borrowing AccessRecord, time: inout LogTime, to batch: inout [UInt8]
    ) {
        var roomBytes = lineBytes
        var isCut = true
        while isCut {
            batch.append(addingCapacity: roomBytes) { (line: inout OutputSpan<UInt8>) in
                AccessLine.putJSON(record, time: &time, to: &line)
                line.put(0x0A)
                isCut = line.isFull
                if isCut { line.removeAll() }
            }
            roomBytes *= 4
        }
    }

    /// Whether lines wait; the worker then calls `flush` within 100 ms.
    public var hasPending: Bool { lines > 0 }

    /// Hands over what there is; called by the worker at the end of a turn, at most every 100 ms.
    public func flush() {
        guard lines > 0 else { return }
        writer.submit(&batch, lines: lines, to: .access)
        lines = 0
    }
}
