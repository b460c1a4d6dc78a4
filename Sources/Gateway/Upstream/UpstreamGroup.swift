import Configuration
import HTTP
import Primitives
import Transport

/// One server of an upstream on one worker: its address and its connections.
final class UpstreamServer {
    let endpoint: Endpoint
    /// The name that the conf has for it; `nil` for an address.
    let name: String?
    /// The address as text, for the access log.
    let label: [UInt8]
    /// What the last handshake with `protocol auto` settled on; `nil` before the first.
    var speaksHTTP2: Bool?
    /// Its upstream has it no more.
    fileprivate var isGone = false
    fileprivate(set) var resumption = TLSResumption()
    fileprivate var idle: [UpstreamConnection] = []
    fileprivate var shared: [HTTP2UpstreamConnection] = []

    init(endpoint: Endpoint, name: String?) {
        self.endpoint = endpoint
        self.name = name
        label = Array(endpoint.description.utf8)
    }

    /// A connection that exchanges share has ended.
    func forget(_ connection: HTTP2UpstreamConnection) {
        shared.removeAll { $0 === connection }
    }
}

/// A worker's view of an `upstream`: its servers, taken in turn, and the connections that are kept.
final class UpstreamGroup {
    let configuration: UpstreamConfiguration
    private let worker: Worker
    private(set) var servers: [UpstreamServer] = []
    /// How its servers are spoken to; `nil` is in clear. A reload or a changed file replaces it, and with it whom we trust:
    /// a session that is taken up again would be verified by the rules that it began under, and a kept connection was.
    var tls: UpstreamTLSContexts? {
        didSet {
            guard oldValue?.preferred !== tls?.preferred else { return }
            trust += 1
            for server in servers {
                server.resumption = TLSResumption()
                closeIdle(server)
            }
        }
    }
    /// Counts whom we trust: a connection that was verified under other rules is not kept.
    private(set) var trust = 0
    private var turn = 0
    private var faultLoggedAt: MonotonicInstant?
    /// A reload replaced this group: what comes back is closed.
    private var isRetired = false

    init(configuration: UpstreamConfiguration, worker: Worker) {
        self.configuration = configuration
        self.worker = worker
        tls = worker.snapshot.tls.upstreams[configuration.name]
        // Workers start at different servers, so that few requests spread too.
        turn = worker.index
        resolve(worker.addresses)
    }

    /// Puts in the addresses that names were found to have; a name that was not found keeps what it had.
    func resolve(_ addresses: [String: [IPAddress]]) {
        var found: [(endpoint: Endpoint, name: String?)] = []
        for server in configuration.servers {
            switch server {
            case .ip, .unix, .activated:
                found.append((server, nil))
            case .name(let name, let port):
                found += (addresses[name] ?? []).map { (.ip($0, port: port), name) }
            }
        }
        let isSame = found.elementsEqual(servers) {
            $0.endpoint == $1.endpoint && $0.name == $1.name
        }
        guard !isSame else { return }
        let before = servers
        servers = found.map { endpoint, name in
            before.first { $0.endpoint == endpoint && $0.name == name }
                ?? UpstreamServer(endpoint: endpoint, name: name)
        }
        for server in before where !servers.contains(where: { $0 === server }) {
            server.isGone = true
            closeIdle(server)
        }
    }

    /// The next server in turn.
    ///
    /// - Parameter tried: labels of those that could not be reached, to be left out while there is another. The turn is one for
    ///   all requests: by it alone a second attempt could come to the same server.
    func nextServer(besides tried: [[UInt8]] = []) throws(UpstreamError) -> UpstreamServer {
        guard !servers.isEmpty else { throw .destinationNotFound }
        turn = (turn + 1) % servers.count
        guard !tried.isEmpty else { return servers[turn] }
        let inTurn = servers[turn...] + servers[..<turn]
        return inTurn.first { !tried.contains($0.label) } ?? servers[turn]
    }

    /// Begins an exchange on a connection to the server: a kept or shared one, or a new one.
    ///
    /// - Parameters:
    ///   - outgoing: how what the exchange writes is to be sent.
    ///   - isFresh: only a new connection will do.
    ///   - mayRepeat: whether the request could be sent again, should a kept connection turn out to be closed.
    func begin(
        _ exchange: Exchange, on server: UpstreamServer, _ outgoing: OutgoingRequest, isFresh: Bool,
        mayRepeat: Bool
    ) throws(UpstreamError) -> any UpstreamStream {
        // An upgrade is HTTP/1.1's.
        let isShared = speaksHTTP2(server) && exchange.upgrade == nil
        if isShared {
            // All who were on a connection that was lost share the one that takes its place.
            let open = server.shared.first {
                $0.takesRequests && (!isFresh || $0.isConnecting) && (mayRepeat || !$0.mayBeStale())
            }
            let connection: HTTP2UpstreamConnection
            if let open { connection = open } else { connection = try share(server) }
            let stream = try connection.begin(exchange, outgoing, mayRepeat: mayRepeat)
            if isRetired { connection.retire() }
            return stream
        }
        // A small one that may be repeated is written at the turn's end, and what this turn reads before is no answer to it.
        // All others leave at once, on a connection that is looked at first: its server may have closed it, or have said
        // something that nobody asked for.
        let leavesNow =
            !mayRepeat || !outgoing.isWhole || !worker.mayPutOff(exchange.requestBytes)
        let kept = isFresh ? nil : takeIdle(server, checked: leavesNow)
        let connection: UpstreamConnection
        if let kept {
            connection = kept
        } else {
            connection = try connect(server, isForUpgrade: exchange.upgrade != nil)
        }
        connection.begin(exchange, outgoing, leavesNow: leavesNow)
        return connection
    }

    var isTLS: Bool { tls != nil }

    private func speaksHTTP2(_ server: UpstreamServer) -> Bool {
        switch configuration.version {
        case .http11: false
        case .h2: true
        case .auto: isTLS && server.speaksHTTP2 == true
        }
    }

    private func share(_ server: UpstreamServer) throws(UpstreamError) -> HTTP2UpstreamConnection {
        let connection = try HTTP2UpstreamConnection(
            worker: worker, group: self, server: server, tls: dialTLS(server, isForUpgrade: false))
        server.shared.append(connection)
        return connection
    }

    /// A connection turned out to speak HTTP/2: it is shared from now on.
    func adopt(
        _ socket: SocketBox, _ registration: Registration, _ server: UpstreamServer, trust: Int
    ) throws(UpstreamError) -> HTTP2UpstreamConnection {
        let connection = try HTTP2UpstreamConnection(
            worker: worker, group: self, server: server, socket: socket,
            registration: registration)
        server.shared.append(connection)
        if isRetired || trust != self.trust { connection.retire() }
        return connection
    }

    private func dialTLS(_ server: UpstreamServer, isForUpgrade: Bool) -> UpstreamDial.TLS? {
        guard let tls else { return nil }
        let name: TLSServerName =
            if let name = configuration.tls?.serverName ?? server.name {
                IPAddress(name).map { .address($0) } ?? .host(name)
            } else if case .ip(let address, _) = server.endpoint {
                .address(address)
            } else {
                .unknown
            }
        return UpstreamDial.TLS(
            context: isForUpgrade ? tls.http1 : tls.preferred, name: name,
            resumption: server.resumption)
    }

    /// An idle connection to the server, the one used last first: it is the least likely to be stale.
    ///
    /// - Parameter checked: looks whether the server closed it meanwhile or said something unasked, for a request that leaves
    ///   at once.
    private func takeIdle(_ server: UpstreamServer, checked: Bool) -> UpstreamConnection? {
        while let connection = server.idle.popLast() {
            if connection.reuse(checked: checked) { return connection }
        }
        return nil
    }

    /// Begins a new connection to the server.
    private func connect(
        _ server: UpstreamServer, isForUpgrade: Bool
    ) throws(UpstreamError) -> UpstreamConnection {
        try UpstreamConnection(
            worker: worker, group: self, server: server,
            tls: dialTLS(server, isForUpgrade: isForUpgrade))
    }

    /// Says what the access log has no word for; once a second, however many requests meet it.
    func tell(of error: UpstreamError, _ server: UpstreamServer) {
        guard case .tlsFailed(let cause) = error,
            faultLoggedAt.map({ $0 + .seconds(1) <= worker.loop.now }) ?? true
        else { return }
        faultLoggedAt = worker.loop.now
        worker.shared.errors.warn(
            "TLS to an upstream failed",
            [
                "upstream": configuration.name,
                "server": String(decoding: server.label, as: UTF8.self), "cause": cause,
            ])
    }

    /// Keeps a connection whose exchange ended well, or closes it.
    func keep(_ connection: UpstreamConnection) {
        let server = connection.server
        guard !isRetired, !worker.isDraining, !server.isGone, connection.trust == trust,
            server.idle.count < configuration.keepalive
        else {
            connection.close()
            return
        }
        connection.rest(for: configuration.idleTimeout)
        server.idle.append(connection)
    }

    /// An idle connection ended by itself.
    func forget(_ connection: UpstreamConnection) {
        connection.server.idle.removeAll { $0 === connection }
    }

    /// Closes what is idle, and what becomes idle later.
    func retire() {
        isRetired = true
        for server in servers { closeIdle(server) }
    }

    private func closeIdle(_ server: UpstreamServer) {
        let idle = server.idle
        server.idle = []
        for connection in idle { connection.close() }
        for connection in server.shared { connection.retire() }
    }
}
