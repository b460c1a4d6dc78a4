import Glibc

/// Where a log goes.
public enum LogDestination: Sendable, Equatable {
    case off
    case standardOutput
    case standardError
    case file(String)
}

/// The two logs that share the writer's thread.
public enum LogStream: Int, Sendable, CaseIterable {
    case access, error
}

public enum LogError: Error, Equatable {
    /// `open(2)` failed with this `errno`.
    case cannotOpen(path: String, code: Int32)
    /// The system has no descriptor or thread left; `errno` of the call.
    case cannotStart(call: String, code: Int32)
}

/// An open log file, or one of the standard streams, which it does not own.
final class LogFile: Sendable {
    let descriptor: Int32
    /// A pipe, terminal or socket may block in the middle of a write; it is written in small pieces.
    let isRegular: Bool
    private let isOwned: Bool

    /// Opens for appending, so that several writers and a rotation by copy do not overwrite each other; mode 0640,
    /// since the lines name clients. A FIFO without a reader is an error rather than a wait.
    init?(_ destination: LogDestination) throws(LogError) {
        switch destination {
        case .off:
            return nil
        case .standardOutput:
            descriptor = STDOUT_FILENO
            isOwned = false
        case .standardError:
            descriptor = STDERR_FILENO
            isOwned = false
        case .file(let path):
            let flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK
            descriptor = unsafe open(path, flags, 0o640)
            guard descriptor >= 0 else { throw .cannotOpen(path: path, code: errno) }
            isOwned = true
        }
        var status = stat()
        isRegular = unsafe fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    deinit {
        if isOwned { _ = close(descriptor) }
    }
}
