import Configuration
import Primitives
import Transport

/// The listening sockets of the process, by configured address. A reload keeps those that stay, so that no
/// connection waiting in a queue is lost.
final class ListenerTable {
    private var bound: [BoundListener] = []
    private var lastID = -1
    private let activated: ActivatedSockets

    init(activated: ActivatedSockets) {
        self.activated = activated
    }

    /// Binds what the configuration asks for and is not bound yet.
    ///
    /// - Returns: all of it; nothing changes in the table until `keep`.
    /// - Throws: for the first address that cannot be bound.
    func bind(
        _ configuration: Configuration, workers: Int
    ) throws(StartError) -> [BoundListener] {
        var result: [BoundListener] = []
        var rest = Rest(listeners: bound, names: Set(configuration.listeners.map(\.name)))
        for listener in configuration.listeners {
            for address in listener.addresses {
                result += try bind(address, listener, .traffic, workers, &rest)
            }
        }
        for address in configuration.admin?.addresses ?? [] {
            result += try bind(
                address, ListenerConfiguration(name: "admin"), .admin, workers, &rest)
        }
        if bound.isEmpty { bound = result }
        return result
    }

    func keep(_ listeners: [BoundListener]) {
        bound = listeners
    }

    /// What is bound already and has not been taken yet.
    private struct Rest {
        var listeners: [BoundListener]
        /// Of the listeners that there will be.
        let names: Set<String>

        /// Takes the sockets that are bound for an address: several where systemd hands several over under one name.
        mutating func take(
            _ address: Endpoint, _ name: String, _ role: ListenerContext.Role
        ) -> [BoundListener] {
            var known = listeners.filter { $0.configured == address && $0.role == role }
            if address.port == 0 {
                // Every listener that leaves its port to the kernel has the same address: each keeps its own, and one
                // with a new name has that of one whose name is gone.
                let own =
                    known.first { $0.name == name } ?? known.first { !names.contains($0.name) }
                known = own.map { [$0] } ?? []
            }
            listeners.removeAll { one in known.contains { $0.id == one.id } }
            return known
        }
    }

    private func bind(
        _ address: Endpoint, _ listener: ListenerConfiguration, _ role: ListenerContext.Role,
        _ workers: Int, _ rest: inout Rest
    ) throws(StartError) -> [BoundListener] {
        let known = rest.take(address, listener.name, role)
        if !known.isEmpty { return known.map { $0.with(listener) } }
        do throws(SystemError) {
            return try sockets(for: address).map { socket in
                lastID += 1
                return BoundListener(
                    id: lastID, role: role, configuration: listener,
                    load: ListenerLoad(workers: workers), socket: socket, configured: address)
            }
        } catch {
            throw StartError(.unavailable, "listener \(listener.name): \(address): \(error)")
        }
    }

    private func sockets(for address: Endpoint) throws(SystemError) -> [SharedListeningSocket] {
        guard case .activated(let name) = address else {
            return [try SharedListeningSocket(binding: try NameQuery.resolved(address))]
        }
        var sockets: [SharedListeningSocket] = []
        for adopted in try activated.sockets(named: name) {
            sockets.append(try SharedListeningSocket(adopting: adopted, as: address))
        }
        return sockets
    }

    /// Where it listens, port 0 resolved: what the log says at the start.
    var description: String {
        bound.map { "\($0.name)=\($0.socket.endpoint)" }.joined(separator: " ")
    }
}
