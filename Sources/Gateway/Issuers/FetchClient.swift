import HTTP
import Primitives
import Transport

/// What is asked: a whole HTTP/1.1 request, and how much may come back.
struct FetchRequest {
    let method: HTTP.Method
    let bytes: [UInt8]
    let limitBytes: Int

    /// A GET of a JSON document, on a connection of its own.
    static func document(at address: WebAddress) -> FetchRequest {
        let head = """
            GET \(address.target) HTTP/1.1\r
            Host: \(address.authority)\r
            User-Agent: gatehouse\r
            Accept: application/json, application/jwk-set+json\r
            Connection: close\r
            \r

            """
        return FetchRequest(method: .get, bytes: Array(head.utf8), limitBytes: 1 << 20)
    }
}

/// A server that we ask. Belongs to the issuers' thread.
final class FetchServer {
    /// How long a connection rests; servers that close sooner are met with another connection.
    static let idleTime: Duration = .seconds(15)

    let address: WebAddress
    /// `nil`: in clear.
    let tls: TLSClientContext?
    let resumption = TLSResumption()
    /// Every fetch fails at once: the drill.
    let isAway: Bool
    private let idleLimit: Int
    fileprivate var idle: [FetchConnection] = []
    /// Which of its addresses is tried first: the one after the last that failed.
    fileprivate var turn = 0

    /// - Parameters:
    ///   - tls: for https.
    ///   - idleLimit: how many connections may rest.
    init(_ address: WebAddress, tls: TLSClientContext?, isAway: Bool, idleLimit: Int = 0) {
        self.address = address
        self.tls = address.isTLS ? tls : nil
        self.isAway = isAway || (address.isTLS && tls == nil)
        self.idleLimit = idleLimit
    }

    /// Takes a connection into the pool, if there is room.
    func keep(_ connection: FetchConnection) -> Bool {
        guard idle.count < idleLimit else { return false }
        idle.append(connection)
        return true
    }

    func forget(_ connection: FetchConnection) {
        idle.removeAll { $0 === connection }
    }

    func close() {
        for connection in idle { connection.close() }
        idle = []
    }
}

/// One question to a server: a kept connection or a new one, to one of its addresses after the other, until the deadline.
/// Ends with exactly one call of its completion.
final class Fetch {
    let request: FetchRequest
    let deadline: MonotonicInstant
    private unowned let client: FetchClient
    private let server: FetchServer
    private var completion: ((Result<FetchedAnswer, FetchError>) -> Void)?
    private var untried: [Endpoint] = []

    init(
        _ request: FetchRequest, from server: FetchServer, client: FetchClient,
        deadline: MonotonicInstant,
        completion: @escaping (Result<FetchedAnswer, FetchError>) -> Void
    ) {
        self.request = request
        self.server = server
        self.client = client
        self.deadline = deadline
        self.completion = completion
    }

    func start() {
        if server.isAway { return end(.failure(.away)) }
        while let connection = server.idle.popLast() {
            if connection.reuse() { return connection.begin(self, until: deadline) }
        }
        connectAnew()
    }

    /// Goes on by a new connection.
    func connectAnew() {
        switch server.address.endpoint {
        case .name(let name, let port):
            guard let addresses = client.addresses[name], !addresses.isEmpty else {
                return client.awaitName(self, name)
            }
            let first = server.turn % addresses.count
            untried = (addresses[first...] + addresses[..<first]).map { .ip($0, port: port) }
        case .ip, .unix, .activated:
            untried = [server.address.endpoint]
        }
        connectNext(after: .timeout)
    }

    private func connectNext(after error: FetchError) {
        guard !untried.isEmpty, client.loop.now < deadline else { return end(.failure(error)) }
        // Each address has its share of the time that is left: a black hole must not take it all.
        let share = (deadline - client.loop.now) / untried.count
        let endpoint = untried.removeFirst()
        do throws(FetchError) {
            let connection = try FetchConnection(
                client: client, server: server, endpoint: endpoint)
            connection.begin(self, until: client.loop.now + share)
        } catch {
            failed(error)
        }
    }

    /// A connection came to nothing.
    func failed(_ error: FetchError) {
        if case .connect(let cause) = error {
            server.turn += 1
            // Who answers and is not who it should be is not looked for elsewhere.
            if case .tlsFailed = cause { return end(.failure(error)) }
            return connectNext(after: error)
        }
        end(.failure(error))
    }

    func end(_ result: Result<FetchedAnswer, FetchError>) {
        let completion = self.completion
        self.completion = nil
        completion?(result)
    }
}

/// The means of fetching on the issuers' thread: the loop, the buffer that is read into, and the addresses of names.
final class FetchClient {
    let loop: EventLoop
    let buffer = ByteBuffer(capacity: 64 << 10)
    private(set) var addresses: [String: [IPAddress]] = [:]
    private var waiting: [(fetch: Fetch, name: String)] = []
    private var watched: Set<String> = []
    private let watch: (Set<String>) -> Void

    /// - Parameter watch: from now on these names are to be looked up.
    init(loop: EventLoop, watch: @escaping (Set<String>) -> Void) {
        self.loop = loop
        self.watch = watch
    }

    func found(_ found: [String: [IPAddress]]) {
        addresses.merge(found) { $1 }
        let ready = waiting.filter { found[$0.name] != nil }
        waiting.removeAll { found[$0.name] != nil }
        for entry in ready { entry.fetch.connectAnew() }
    }

    fileprivate func awaitName(_ fetch: Fetch, _ name: String) {
        waiting.append((fetch, name))
        guard watched.insert(name).inserted else { return }
        watch(watched)
    }

    /// Only these names are looked up from now on; others are when they are asked for.
    func keepNames(_ names: Set<String>) {
        let wanted = names.union(waiting.map(\.name))
        guard wanted != watched else { return }
        watched = wanted
        addresses = addresses.filter { wanted.contains($0.key) }
        watch(watched)
    }

    /// Ends what has waited too long for its name.
    ///
    /// - Returns: when to ask again.
    func expire() -> MonotonicInstant? {
        let over = waiting.filter { $0.fetch.deadline <= loop.now }
        waiting.removeAll { $0.fetch.deadline <= loop.now }
        for entry in over { entry.fetch.end(.failure(.nameNotFound(entry.name))) }
        return waiting.map(\.fetch.deadline).min()
    }
}
