import Configuration
import HTTP
import Synchronization
import Transport

/// What a listener's connections share on one worker. Its configuration is replaced by a reload; a connection reads
/// them anew for each request.
final class ListenerContext {
    enum Role {
        case traffic
        case admin
    }

    /// The configuration's name, as the log has it.
    private(set) var nameBytes: [UInt8]
    let role: Role
    let load: ListenerLoad
    var configuration: ListenerConfiguration {
        didSet {
            limits = configuration.limits
            nameBytes = Array(configuration.name.utf8)
        }
    }
    /// How it speaks TLS; `nil` is in clear. Connections keep the one they began with.
    var tls: TLSServerContext?
    /// The configuration's, where each request looks.
    private(set) var limits: LimitsConfiguration

    init(role: Role, configuration: ListenerConfiguration, load: ListenerLoad) {
        nameBytes = Array(configuration.name.utf8)
        self.role = role
        self.configuration = configuration
        limits = configuration.limits
        self.load = load
    }

    var http2Settings: HTTP2Settings {
        HTTP2Settings(streams: limits.streams, head: headLimits)
    }

    var name: String { configuration.name }
    var protocols: [ListenerProtocol] { configuration.protocols }

    var headLimits: HTTP1Limits {
        HTTP1Limits(
            requestLineBytes: limits.requestLineBytes, headBytes: limits.requestHeadBytes,
            fieldCount: limits.headers)
    }
}

/// How many connections a listener has, in all and on each worker: the one number that the workers share, touched
/// when a connection opens or closes, never by a request.
final class ListenerLoad: Sendable {
    private let counts: Mutex<[Int]>

    init(workers: Int) {
        counts = Mutex(Array(repeating: 0, count: workers))
    }

    /// Gives a new connection to the worker that has the fewest, or to none when the listener is full.
    func place(limit: Int) -> Int? {
        counts.withLock { counts in
            guard counts.reduce(0, +) < limit,
                let fewest = counts.indices.min(by: { counts[$0] < counts[$1] })
            else { return nil }
            counts[fewest] += 1
            return fewest
        }
    }

    func connectionClosed(onWorker index: Int) {
        counts.withLock { $0[index] -= 1 }
    }

    var isEmpty: Bool { counts.withLock { $0.allSatisfy { $0 == 0 } } }

    /// Open connections of each worker.
    var perWorker: [Int] { counts.withLock { $0 } }
}
