import Foundation
import Synchronization

/// A redis-server (or a Sentinel) of a test's own on a free port of 127.0.0.1, which keeps nothing on the disk unless it is
/// told to.
public final class TestRedis: Sendable {
    public let port: UInt16
    public let folder: TemporaryDirectory
    private let program: String
    private let client: String
    private let arguments: [String]
    private let clientArguments: [String]
    private let process = Mutex<RunningProcess?>(nil)

    /// Starts it and waits until it answers.
    ///
    /// - Parameters:
    ///   - arguments: more of them, as `["--requirepass", "secret"]`.
    ///   - clientArguments: what redis-cli needs to ask it, as `["-a", "secret"]`.
    ///   - conf: a conf file's text, for a Sentinel, which has to have one.
    public init(
        _ arguments: [String] = [], clientArguments: [String] = [], sentinelConf: String? = nil
    ) throws {
        port = try freePort()
        folder = try TemporaryDirectory()
        program =
            sentinelConf == nil
            ? try requireTool("redis-server", package: "redis-server")
            : try requireTool("redis-sentinel", package: "redis-sentinel")
        client = try requireTool("redis-cli", package: "redis-tools")
        self.clientArguments = clientArguments
        if let sentinelConf {
            let text = "port \(port)\nbind 127.0.0.1\ndir \(folder.path)\n\(sentinelConf)\n"
            self.arguments = [try folder.write("sentinel.conf", text)] + arguments
        } else {
            self.arguments =
                [
                    "--port", "\(port)", "--bind", "127.0.0.1", "--dir", folder.path, "--save", "",
                    "--appendonly", "no", "--repl-diskless-sync-delay", "0",
                ] + arguments
        }
        try start()
    }

    deinit {
        process.withLock { process in
            // It may have been stopped: then it does not hear of anything else.
            process?.signal(SIGCONT)
            process?.signal(SIGKILL)
        }
    }

    /// Starts it again after `kill`, on the same port; what it had in memory is gone.
    public func start() throws {
        let started = try RunningProcess(program, arguments)
        process.withLock { $0 = started }
        do {
            try started.waitUntil("redis-server answers") {
                (try? command("PING"))?.contains("PONG") == true
            }
        } catch {
            throw Failure("\(error): \(started.standardOutput)")
        }
    }

    /// Ends it at once, as a loss of power would.
    public func kill() {
        process.withLock { process in
            process?.signal(SIGKILL)
            _ = process?.waitForExit()
            process = nil
        }
    }

    /// SIGSTOP: it holds its connections and answers nothing.
    public func freeze() { process.withLock { $0?.signal(SIGSTOP) } }

    public func thaw() { process.withLock { $0?.signal(SIGCONT) } }

    /// A Redis that is new looks like one that has lost everything: what is three seconds ahead of it is refused. Not so after
    /// this, once somebody has used it.
    public func forgetTheLoss(prefix: String = "gatehouse:") throws {
        try command("HSET", prefix + "epoch", "floor", "0")
    }

    /// What redis-cli says to a command, without the line end.
    @discardableResult
    public func command(_ words: String...) throws -> String {
        let result = try run(
            client,
            ["-h", "127.0.0.1", "-p", "\(port)", "--no-auth-warning"] + clientArguments + words)
        return result.output.trimmingCharacters(in: .newlines)
    }
}
