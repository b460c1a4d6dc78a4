import Configuration
import Primitives

/// One server of an upstream on one worker: its address and its idle connections.
final class UpstreamServer {
    let endpoint: Endpoint
    /// The address as text, for the access log.
    let label: [UInt8]
    fileprivate var idle: [UpstreamConnection] = []

    init(endpoint: Endpoint) {
        self.endpoint = endpoint
        label = Array(endpoint.description.utf8)
    }
}

/// A worker's view of an `upstream`: its servers, taken in turn, and the connections that are kept.
final class UpstreamGroup {
    let configuration: UpstreamConfiguration
    private unowned let worker: Worker
    private(set) var servers: [UpstreamServer] = []
    private var turn = 0
    /// A reload replaced this group: what comes back is closed.
    private var isRetired = false

    init(configuration: UpstreamConfiguration, worker: Worker) {
        self.configuration = configuration
        self.worker = worker
        // Workers start at different servers, so that few requests spread too.
        turn = worker.index
        resolve(worker.addresses)
    }

    /// Puts in the addresses that names were found to have; a name that was not found keeps what it had.
    func resolve(_ addresses: [String: [IPAddress]]) {
        var endpoints: [Endpoint] = []
        for server in configuration.servers {
            switch server {
            case .ip, .unix, .activated:
                endpoints.append(server)
            case .name(let name, let port):
                endpoints += (addresses[name] ?? []).map { .ip($0, port: port) }
            }
        }
        guard endpoints != servers.map(\.endpoint) else { return }
        let before = servers
        servers = endpoints.map { endpoint in
            before.first { $0.endpoint == endpoint } ?? UpstreamServer(endpoint: endpoint)
        }
        for server in before where !servers.contains(where: { $0 === server }) {
            closeIdle(server)
        }
    }

    /// The next server in turn.
    func nextServer() throws(UpstreamError) -> UpstreamServer {
        guard !servers.isEmpty else { throw .destinationNotFound }
        turn = (turn + 1) % servers.count
        return servers[turn]
    }

    /// An idle connection to the server, the one used last first: it is the least likely to be stale.
    ///
    /// - Parameter checked: looks whether the server closed it meanwhile, for a request that cannot be sent twice.
    func takeIdle(_ server: UpstreamServer, checked: Bool) -> UpstreamConnection? {
        while let connection = server.idle.popLast() {
            if connection.reuse(checked: checked) { return connection }
        }
        return nil
    }

    /// Begins a new connection to the server.
    func connect(_ server: UpstreamServer) throws(UpstreamError) -> UpstreamConnection {
        try UpstreamConnection(worker: worker, group: self, server: server)
    }

    /// Keeps a connection whose exchange ended well, or closes it.
    func keep(_ connection: UpstreamConnection) {
        guard !isRetired, !worker.isDraining,
            connection.server.idle.count < configuration.keepalive,
            servers.contains(where: { $0 === connection.server })
        else {
            connection.close()
            return
        }
        connection.rest(for: configuration.idleTimeout)
        connection.server.idle.append(connection)
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
    }
}
