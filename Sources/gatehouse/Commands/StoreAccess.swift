import ArgumentParser
import Configuration
import Foundation
import Gateway
import Glibc
import Primitives
import Store

/// The running gateway's store, opened by a command: it reads and writes beside the gateway, which sees a change within a
/// second. It never begins a run, so that it takes no replay protection from anybody.
struct StoreAccess {
    let configuration: Configuration
    let store: StateStore
    private let path: String

    init(_ options: ConfigOption) throws {
        do throws(StartError) {
            configuration = try ConfigurationFile.load(options.config)
            switch configuration.store {
            case .sqlite(let path): self.path = path
            // Commands on one machine wait for each other; Redis itself keeps each change whole.
            case .redis: path = configuration.secretsKeyFile ?? options.config
            case .memory:
                throw StartError(
                    .configuration,
                    "the conf keeps its state in memory: only the running gateway has it")
            }
            store = try StateStore.open(configuration)
        } catch {
            throw error.exit
        }
    }

    func perform<Value>(_ operation: StoreOperation<Value>) throws -> Value {
        do throws(StoreError) {
            return try store.perform(operation)
        } catch {
            throw exit(error)
        }
    }

    /// Clients and keys; what of them cannot be read is said.
    func snapshot() throws -> StoreSnapshot {
        let snapshot = try perform(.snapshot)
        StoreAccess.tell(snapshot.faults)
        return snapshot
    }

    /// Others' damage is no reason to refuse a command, nor to be silent of it. Whoever wrote a damaged record may have
    /// chosen its name.
    static func tell(_ faults: [StoreFault]) {
        for fault in faults { Diagnostics.write("gatehouse: \(PrintableText.escaped("\(fault)"))") }
    }

    /// Says what went wrong, and with which code to end.
    func exit(_ error: StoreError) -> ExitCode {
        Diagnostics.write("gatehouse: \(PrintableText.escaped("\(error)"))")
        switch error {
        case .clientExists, .unknownClient, .invalidClient, .notEmpty: return ExitCode(64)
        // EX_DATAERR
        case .badExport: return ExitCode(65)
        default: return StartError(error).exitCode
        }
    }

    /// Runs `body` while no other command does: what is read in it is still so when it writes. Of two commands that
    /// rotate one client's secret at once, neither must undo the other's, which somebody was just shown.
    func alone<Value>(_ body: () throws -> Value) throws -> Value {
        // The folder, not the database: to close another descriptor of that would drop SQLite's own locks.
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        let descriptor = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0, flock(descriptor, LOCK_EX) == 0 else {
            Diagnostics.write("gatehouse: \(folder) cannot be locked")
            throw ExitCode(69)
        }
        defer { _ = Glibc.close(descriptor) }
        return try body()
    }
}

/// What a command decides with that changes nothing: the conf, and clients and keys as they stand.
struct CurrentFacts {
    let configuration: Configuration
    let facts: StoreFacts
    var state: StoreSnapshot { facts.state }

    /// Opens no store that is not there yet: to look must not make one.
    init(_ options: ConfigOption) throws {
        do throws(StartError) {
            configuration = try ConfigurationFile.load(options.config)
        } catch {
            throw error.exit
        }
        switch configuration.store {
        case .memory:
            Diagnostics.write(
                "gatehouse: the store is the running gateway's memory; its clients and keys are not known here"
            )
            facts = .unknown
        case .sqlite(let path) where unsafe access(path, F_OK) != 0 && errno == ENOENT:
            Diagnostics.write("gatehouse: there is no database \(path) yet: no clients, no keys")
            facts = .empty
        case .sqlite, .redis:
            let access = try StoreAccess(options)
            do throws(StoreError) {
                facts = try StoreFacts(of: access.store)
            } catch {
                throw access.exit(error)
            }
            StoreAccess.tell(facts.faults)
        }
    }
}

/// Results on stdout, as text or as JSON.
enum Output {
    static func json(_ object: Any) throws {
        let options: JSONSerialization.WritingOptions = [
            .prettyPrinted, .sortedKeys, .withoutEscapingSlashes,
        ]
        let data = try JSONSerialization.data(withJSONObject: object, options: options)
        try json(text: String(decoding: data, as: UTF8.self))
    }

    /// What stands in a text of JSON is a store's or a request's, and acts on no terminal either.
    static func json(text: String) throws {
        try raw(PrintableText.escapedJSON(text))
    }

    /// Writes a line, in which nothing acts on the terminal, whoever wrote it into a store.
    static func write(_ line: String) throws {
        try raw(PrintableText.escaped(line))
    }

    /// Writes a text and a line end, and fails when it could not be written: a secret that nobody has seen must not look
    /// like one that was shown.
    static func raw(_ text: String) throws {
        let bytes = Array((text + "\n").utf8)
        var written = 0
        while written < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { raw in
                unsafe Glibc.write(
                    1, raw.baseAddress?.advanced(by: written), bytes.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                Diagnostics.write("gatehouse: the result could not be written to standard output")
                throw ExitCode(70)
            }
            written += count
        }
    }

    static func time(_ time: WallTime) -> String {
        let date = Date(timeIntervalSince1970: Double(time.seconds))
        return ISO8601DateFormatter().string(from: date)
    }
}

/// A moment that an operator names.
enum Moment {
    /// - Parameter text: seconds since 1970 or RFC 3339; `nil` is now.
    static func read(_ text: String?) throws -> WallTime {
        guard let text else { return WallTime.now() }
        if let seconds = Int64(text), seconds.magnitude < 1 << 33 {
            return WallTime(seconds: seconds)
        }
        guard let date = ISO8601DateFormatter().date(from: text) else {
            throw ValidationError("--at \(text): seconds since 1970, or as 2026-01-31T12:00:00Z")
        }
        return WallTime(seconds: Int64(date.timeIntervalSince1970))
    }
}

/// A duration as the conf writes it: `250ms 5s 10m 1h 7d`.
struct ConfDuration {
    let duration: Duration

    init?(_ text: String) {
        let units: [(String, Duration)] = [
            ("ms", .milliseconds(1)), ("s", .seconds(1)), ("m", .seconds(60)),
            ("h", .seconds(3600)), ("d", .seconds(86_400)),
        ]
        guard let (name, unit) = units.first(where: { text.hasSuffix($0.0) }),
            let count = Int(text.dropLast(name.count)), 0...100_000_000 ~= count
        else { return nil }
        duration = unit * count
    }
}
