import Primitives
import Synchronization

/// How grave a line of the error log is, in rising order.
public enum Severity: String, Sendable, CaseIterable, Comparable {
    case debug, info, notice, warn, error

    private var rank: Int {
        switch self {
        case .debug: 0
        case .info: 1
        case .notice: 2
        case .warn: 3
        case .error: 4
        }
    }

    public static func < (left: Severity, right: Severity) -> Bool { left.rank < right.rank }
}

/// The error log: what the program has to say about itself, one line each, `time level message key=value…`. Any
/// thread; not for every request, since it allocates.
///
/// A value with anything but plain visible ASCII is quoted and escaped, so that no peer can forge a line or a field or
/// steer a terminal. Of a `Secret` only `<redacted>` can get here; credentials are never passed in any
/// other form.
public final class ErrorLog: Sendable {
    private let writer: LogWriter
    private let threshold: Mutex<Severity>
    private let time = Mutex(LogTime(.rfc3339))

    public init(writer: LogWriter, level: Severity) {
        self.writer = writer
        threshold = Mutex(level)
    }

    /// The least grave severity that is written; a reload may change it.
    public var level: Severity {
        get { threshold.withLock { $0 } }
        set { threshold.withLock { $0 = newValue } }
    }

    /// Writes a line if `severity` is grave enough; message and fields are only made then.
    ///
    /// - Parameter fields: keys of `a-z 0-9 _`, which are ours; values of any origin.
    public func log(
        _ severity: Severity, _ message: @autoclosure () -> String,
        _ fields: @autoclosure () -> KeyValuePairs<String, String> = [:]
    ) {
        guard severity >= level else { return }
        var line: [UInt8] = []
        let (message, fields) = (message(), fields())
        time.withLock { time in
            ErrorLog.append(severity, message, fields, at: .now(), time: &time, to: &line)
        }
        writer.submit(&line, lines: 1, to: .error)
    }

    public func debug(
        _ message: @autoclosure () -> String,
        _ fields: @autoclosure () -> KeyValuePairs<String, String> = [:]
    ) {
        log(.debug, message(), fields())
    }

    public func info(
        _ message: @autoclosure () -> String,
        _ fields: @autoclosure () -> KeyValuePairs<String, String> = [:]
    ) {
        log(.info, message(), fields())
    }

    public func notice(
        _ message: @autoclosure () -> String,
        _ fields: @autoclosure () -> KeyValuePairs<String, String> = [:]
    ) {
        log(.notice, message(), fields())
    }

    public func warn(
        _ message: @autoclosure () -> String,
        _ fields: @autoclosure () -> KeyValuePairs<String, String> = [:]
    ) {
        log(.warn, message(), fields())
    }

    public func error(
        _ message: @autoclosure () -> String,
        _ fields: @autoclosure () -> KeyValuePairs<String, String> = [:]
    ) {
        log(.error, message(), fields())
    }

    /// Appends one line with its end.
    static func append(
        _ severity: Severity, _ message: String, _ fields: KeyValuePairs<String, String>,
        at instant: WallTime, time: inout LogTime, to line: inout [UInt8]
    ) {
        time.append(instant, to: &line)
        line.append(0x20)
        line.append(contentsOf: severity.rawValue.utf8)
        line.append(0x20)
        appendEscaped(Array(message.utf8).span, to: &line)
        for (key, value) in fields {
            line.append(0x20)
            appendEscaped(Array(key.utf8).span, to: &line)
            line.append(0x3D)
            appendValue(Array(value.utf8).span, to: &line)
        }
        line.append(0x0A)
    }

    private static func appendValue(_ value: Span<UInt8>, to line: inout [UInt8]) {
        var isBare = !value.isEmpty
        for index in 0..<value.count {
            let byte = value[index]
            if byte <= 0x20 || byte >= 0x7F || byte == 0x22 || byte == 0x3D || byte == 0x5C {
                isBare = false
                break
            }
        }
        if !isBare { line.append(0x22) }
        appendEscaped(value, to: &line)
        if !isBare { line.append(0x22) }
    }
}
