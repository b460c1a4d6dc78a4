import Foundation
import Synchronization

/// How a process ended.
public enum ExitStatus: Sendable, Equatable {
    case code(Int32)
    case signal(Int32)
}

/// The processes that have not been waited for. Whatever still holds a reference when the runner ends, none of them
/// outlives it.
private enum LivingProcesses {
    private static let pids = Mutex<Set<pid_t>>([])
    private static let isArmed: Bool = {
        atexit { LivingProcesses.killAll() }
        return true
    }()

    static func add(_ pid: pid_t) {
        _ = isArmed
        pids.withLock { _ = $0.insert(pid) }
    }

    static func remove(_ pid: pid_t) {
        pids.withLock { _ = $0.remove(pid) }
    }

    static func killAll() {
        pids.withLock { for pid in $0 { _ = kill(-pid, SIGKILL) } }
    }
}

/// A program that a test started: its output goes to files, and it is ended by its pid at the latest when the
/// last reference goes.
public final class RunningProcess: Sendable {
    public let pid: pid_t
    private let output: TemporaryDirectory
    private let ended = Mutex<ExitStatus?>(nil)

    /// Starts `executable` (a path, not a name).
    ///
    /// - Parameters:
    ///   - arguments: without the program's own name.
    ///   - environment: added to our own; a value of `nil` takes a variable away.
    ///   - input: a file for standard input; `/dev/null` by default.
    public init(
        _ executable: String, _ arguments: [String] = [], environment: [String: String?] = [:],
        input: String = "/dev/null"
    ) throws {
        output = try TemporaryDirectory()
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let create = O_WRONLY | O_CREAT | O_APPEND
        posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output.file("stdout"), create, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, output.file("stderr"), create, 0o600)
        // Whatever a thread of the test runner blocks or ignores, the program starts with a clean slate.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETSIGDEF)
                | Int16(POSIX_SPAWN_SETPGROUP))
        // A group of its own: what it starts (as `faketime` starts its program) ends with it.
        posix_spawnattr_setpgroup(&attributes, 0)

        var variables = ProcessInfo.processInfo.environment
        for (name, value) in environment { variables[name] = value }
        var argv = ([executable] + arguments).map { strdup($0) } + [nil]
        var envp = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in argv + envp { free(text) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, executable, &actions, &attributes, &argv, &envp)
        guard code == 0 else { throw Failure("could not start \(executable): errno \(code)") }
        self.pid = pid
        LivingProcesses.add(pid)
    }

    deinit {
        _ = end(within: .seconds(1))
        _ = kill(-pid, SIGKILL)
    }

    public var standardOutput: String { output.read("stdout") }
    public var standardError: String { output.read("stderr") }

    /// Sends a signal unless the process has been waited for already (its pid may be another's by then).
    public func signal(_ number: Int32) {
        ended.withLock { if $0 == nil { _ = kill(pid, number) } }
    }

    /// How it ended, `nil` while it runs.
    public var exitStatus: ExitStatus? {
        ended.withLock { ended in
            if let ended { return ended }
            var status: Int32 = 0
            guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
            let signal = status & 0x7F
            LivingProcesses.remove(pid)
            ended = signal == 0 ? .code(status >> 8 & 0xFF) : .signal(signal)
            return ended
        }
    }

    /// Waits for its end; `nil` when it still runs after `limit`.
    public func waitForExit(within limit: Duration = .seconds(10)) -> ExitStatus? {
        _ = eventually(within: limit) { exitStatus != nil }
        return exitStatus
    }

    /// Asks it to end (SIGTERM) and kills it when it has not by then.
    @discardableResult
    public func end(within limit: Duration = .seconds(10)) -> ExitStatus? {
        signal(SIGTERM)
        if let status = waitForExit(within: limit) { return status }
        signal(SIGKILL)
        return waitForExit(within: .seconds(10))
    }

    /// Waits until `condition` holds.
    ///
    /// - Throws: when the process ends first or `limit` passes, with what it wrote.
    public func waitUntil(
        _ what: String, within limit: Duration = .seconds(20), _ condition: () throws -> Bool
    ) throws {
        var hasEnded = false
        let isMet = try eventually(within: limit) {
            if try condition() { return true }
            hasEnded = exitStatus != nil
            return hasEnded
        }
        if isMet, !hasEnded { return }
        let end = exitStatus.map { "ended with \($0)" } ?? "still runs"
        throw Failure(
            "\(what) did not happen; the process \(end)\nstdout: \(standardOutput)\n"
                + "stderr: \(standardError)")
    }

    /// Waits until it accepts TCP connections on 127.0.0.1.
    public func waitForPort(_ port: UInt16, within limit: Duration = .seconds(20)) throws {
        try waitUntil("listening on port \(port)", within: limit) {
            (try? TCPClient(port: port, timeout: .seconds(1))) != nil
        }
    }
}

/// What a program that ran to its end has left.
public struct CommandResult: Sendable {
    public let status: ExitStatus
    public let output: String
    public let error: String
}

/// Runs a program to its end.
///
/// - Parameter input: what it reads on standard input.
/// - Throws: when it cannot be started or still runs after `limit` (it is killed then).
public func run(
    _ executable: String, _ arguments: [String] = [], environment: [String: String?] = [:],
    input: String = "", within limit: Duration = .seconds(60)
) throws -> CommandResult {
    let folder = try TemporaryDirectory()
    let process = try RunningProcess(
        executable, arguments, environment: environment,
        input: try folder.write("stdin", input))
    guard let status = process.waitForExit(within: limit) else {
        process.end(within: .zero)
        throw Failure("\(executable) ran longer than \(limit): \(process.standardError)")
    }
    return CommandResult(
        status: status, output: process.standardOutput, error: process.standardError)
}
