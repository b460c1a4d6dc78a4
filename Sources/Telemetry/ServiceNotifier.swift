import Glibc
import Primitives

/// Tells the service manager how we are, by the datagrams of sd_notify(3): a few lines of text each, to the unix
/// socket that `NOTIFY_SOCKET` names. Without one everything here does nothing.
///
/// A message that cannot be delivered is let go: the manager's own time-outs stand for it.
public struct ServiceNotifier: Sendable {
    /// `nil`: nobody listens.
    private let socketPath: [UInt8]?
    /// How long the manager waits for `watchdog()` before it thinks us hung; call it twice in that time. `nil`: no
    /// watchdog.
    public let watchdogInterval: Duration?

    /// - Parameters:
    ///   - socketPath: `NOTIFY_SOCKET`: an absolute path, or an abstract name behind `@`; anything else is nobody.
    ///   - watchdogMicroseconds: `WATCHDOG_USEC`, a positive decimal number.
    ///   - watchdogProcess: `WATCHDOG_PID`; the watchdog is meant for us only if it is absent or our own.
    public init(
        socketPath: String?, watchdogMicroseconds: String? = nil, watchdogProcess: String? = nil,
        process: Int32 = getpid()
    ) {
        self.socketPath = ServiceNotifier.address(socketPath)
        let isForUs = watchdogProcess == nil || watchdogProcess == "\(process)"
        if let text = watchdogMicroseconds, let microseconds = Int64(text), microseconds > 0,
            self.socketPath != nil, isForUs
        {
            watchdogInterval = .microseconds(microseconds)
        } else {
            watchdogInterval = nil
        }
    }

    /// Reads the three variables; to be called before threads are started, since `getenv` takes no lock.
    public static func fromEnvironment() -> ServiceNotifier {
        func variable(_ name: String) -> String? {
            guard let value = unsafe getenv(name) else { return nil }
            return unsafe String(cString: value)
        }
        return ServiceNotifier(
            socketPath: variable("NOTIFY_SOCKET"), watchdogMicroseconds: variable("WATCHDOG_USEC"),
            watchdogProcess: variable("WATCHDOG_PID"))
    }

    /// Start, or a reload, is done.
    public func ready(status: String = "") {
        send("READY=1", status: status)
    }

    /// A reload begins; `ready` ends it. `now` must be read after the signal came (Type=notify-reload).
    public func reloading(now: MonotonicInstant, status: String = "") {
        send("RELOADING=1\nMONOTONIC_USEC=\(now.nanoseconds / 1000)", status: status)
    }

    public func stopping(status: String = "") {
        send("STOPPING=1", status: status)
    }

    public func watchdog() {
        send("WATCHDOG=1", status: "")
    }

    /// The line that `systemctl status` shows.
    public func status(_ text: String) {
        send("", status: text)
    }

    private static func address(_ text: String?) -> [UInt8]? {
        guard let text, text.hasPrefix("/") || text.hasPrefix("@") else { return nil }
        var bytes = Array(text.utf8)
        // sun_path holds 108 bytes; a path ends with NUL, an abstract name begins with it.
        guard bytes.count > 1, bytes.count <= 107, !bytes.contains(0) else { return nil }
        if bytes[0] == 0x40 { bytes[0] = 0 }
        return bytes
    }

    private func send(_ assignments: String, status: String) {
        guard let socketPath else { return }
        var text = assignments
        if !status.isEmpty {
            // A line end would begin another assignment.
            let line = String(status.map { $0.isNewline ? " " : $0 })
            text += (text.isEmpty ? "" : "\n") + "STATUS=" + line
        }
        let kind = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(AF_UNIX, kind, 0)
        guard descriptor >= 0 else { return }
        defer { _ = close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) {
            unsafe $0.copyBytes(from: socketPath)
        }
        // An abstract name has the length that it is given; a path may count its NUL or not.
        let length = MemoryLayout<sa_family_t>.size + socketPath.count
        let message = Array(text.utf8)
        unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                _ = unsafe sendto(
                    descriptor, message, message.count,
                    Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT), generic,
                    socklen_t(length))
            }
        }
    }
}
