import Foundation
import TestSupport
import Testing

/// The real program, serving a conf that a test wrote. It is ended at the latest when the last reference goes.
///
/// `address 127.0.0.1:0;` lets the kernel choose a port, which `port` then tells: no two tests can be in each other's
/// way. File names in the conf are relative to its folder.
final class Gateway: Sendable {
    let folder: TemporaryDirectory
    let process: RunningProcess
    /// Where it listens, in the conf's order: `api=127.0.0.1:40123`.
    private let listeners: [String]

    /// Starts it and waits until it is ready.
    ///
    /// - Parameters:
    ///   - conf: the whole conf. The error log must go to stderr, where the bound ports stand.
    ///   - folder: holds the conf and the state; give a former gateway's to start again on its state.
    ///   - arguments: more of `gatehouse serve`.
    ///   - prefix: a program that starts it, with its arguments (a path first), as `faketime` does.
    init(
        _ conf: String, in folder: TemporaryDirectory? = nil, through prefix: [String] = [],
        arguments: [String] = [], environment: [String: String?] = [:]
    ) throws {
        let folder = try folder ?? TemporaryDirectory()
        let path = try folder.write("gateway.conf", conf)
        if !prefix.isEmpty { removeStaleFaketime() }
        let command = prefix + [try gatehouseBinary(), "serve", "--config", path] + arguments
        let process = try RunningProcess(
            command[0], Array(command.dropFirst()), environment: environment)
        var ready = ""
        try process.waitUntil("gatehouse is ready") {
            let lines = process.standardError.split(separator: "\n")
            ready = String(lines.first { $0.contains("gatehouse is ready") } ?? "")
            return !ready.isEmpty
        }
        self.folder = folder
        self.process = process
        listeners =
            ready.components(separatedBy: "listeners=").last?
            .trimmingCharacters(in: ["\""]).components(separatedBy: " ") ?? []
    }

    /// The port of the first TCP address of the listener.
    func port(of listener: String) throws -> UInt16 {
        for entry in listeners where entry.hasPrefix(listener + "=") {
            if let text = entry.split(separator: ":").last, let port = UInt16(text) { return port }
        }
        throw Failure("no TCP address of \(listener) in \(listeners)")
    }

    /// The port of the listener that most tests name `api`.
    var port: UInt16 {
        get throws { try port(of: "api") }
    }

    func connect(timeout: Duration = .seconds(10)) throws -> TCPClient {
        try TCPClient(port: port, timeout: timeout)
    }

    /// Sends bytes on a connection of their own and reads one answer, which may be to HEAD.
    func request(_ text: String, isBodyless: Bool = false) throws -> HTTPReply {
        let client = try connect()
        try client.send(text)
        return try client.readReply(isBodyless: isBodyless)
    }

    /// The lines of the access log on stdout so far, each a JSON object.
    var accessLines: [[String: Any]] {
        process.standardOutput.split(separator: "\n").compactMap {
            try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
        }
    }

    /// Waits for an access line that fits: lines are written by a thread of their own, after the answer.
    func accessLine(where fits: ([String: Any]) -> Bool) throws -> [String: Any] {
        var found: [String: Any]?
        try process.waitUntil("a line of the access log") {
            found = accessLines.last(where: fits)
            return found != nil
        }
        return try #require(found)
    }

    /// What `/proc/PID/status` says of the process, in KiB: `VmRSS`, `VmHWM`.
    func memory(_ name: String) throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(process.pid)/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
        return try #require(line.flatMap { Int($0.filter(\.isNumber)) })
    }
}

/// The top of a conf for tests: one listener `api` on a port that the kernel chooses, logs to the standard streams.
func testConf(
    workers: Int = 1, listener: String = "", store: String = "store memory;", _ rest: String
) -> String {
    """
    workers \(workers);
    listener api { address 127.0.0.1:0; \(listener) }
    log { access stdout; error stderr debug; }
    \(store)
    \(rest)
    """
}
