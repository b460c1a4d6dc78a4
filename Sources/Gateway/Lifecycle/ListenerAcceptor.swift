import Primitives
import Transport

/// Accepts a listener's connections on one worker and deals them out: each goes to the worker that has the
/// fewest, so that connections which arrive at once are shared evenly. (The kernel's own ways, SO_REUSEPORT and
/// EPOLLEXCLUSIVE, share by hash or wake the same worker again and again.)
final class ListenerAcceptor: EventHandler {
    private static let batch = 64
    /// As many as the kernel's queue holds: who comes while it is emptied may be refused, or a flood would keep the
    /// listener open.
    private static let lastBatches = 4096 / batch
    private static let pause: Duration = .milliseconds(200)

    let id: Int
    private let worker: Worker
    /// A reload replaces it, with new limits for the same socket.
    var bound: BoundListener
    private var registration: Registration?
    /// The last connection found no place: said once, not for each of a flood.
    private var isFull = false

    init(worker: Worker, bound: BoundListener) {
        self.worker = worker
        self.bound = bound
        id = bound.id
    }

    func start() throws(SystemError) {
        registration = try worker.loop.register(bound.socket.descriptor, [.readable], self)
    }

    /// Ends listening at once, whoever still holds the socket: a client that comes now must be refused and go
    /// elsewhere, not wait in a queue that nobody empties.
    func stop() {
        guard let registration else { return }
        // Of a socket that systemd holds the next process serves them, and better than one that ends.
        if !(worker.isDraining && bound.socket.isShared) {
            for _ in 0..<ListenerAcceptor.lastBatches where !acceptBatch() { break }
        }
        worker.loop.unregister(registration)
        self.registration = nil
        bound.socket.stopListening()
    }

    func ready(_ readiness: Readiness) {
        _ = acceptBatch()
    }

    /// - Returns: whether more may be waiting.
    private func acceptBatch() -> Bool {
        for _ in 0..<ListenerAcceptor.batch {
            switch bound.socket.accept() {
            case .accepted(let descriptor, let peer):
                place(descriptor, peer)
            case .nothing:
                return false
            case .exhausted(let code):
                pauseAccepting(code)
                return false
            }
        }
        return true
    }

    private func place(_ descriptor: Int32, _ peer: IPAddress?) {
        guard let target = bound.load.place(limit: bound.limits.connections) else {
            turnAway(descriptor, peer)
            return
        }
        isFull = false
        if target == worker.index {
            worker.open(descriptor, listener: id, load: bound.load, peer: peer)
        } else {
            worker.shared.post(
                .connection(
                    descriptor: descriptor, listener: id, load: bound.load, peer: peer),
                to: target)
        }
    }

    /// The listener is full: the reason without the request having been read, then the end.
    private func turnAway(_ descriptor: Int32, _ peer: IPAddress?) {
        let socket = SocketBox(Socket(adopting: descriptor))
        let answer = worker.turnAway(from: bound.name, peer)
        // An answer in clear would only confuse who begins with something else.
        if bound.configuration.tls == nil, !bound.configuration.requiresProxyHeader {
            _ = socket.write(answer.span)
            socket.shutdownWriting()
        }
        if !isFull { worker.shared.errors.warn("a listener is full", ["listener": bound.name]) }
        isFull = true
    }

    /// No descriptor is left: the connections wait in the kernel's queue while others end; no spinning meanwhile.
    private func pauseAccepting(_ code: Int32) {
        guard let registration else { return }
        worker.shared.errors.warn("no descriptor left to accept with", ["errno": "\(code)"])
        worker.loop.modify(registration, [])
        worker.loop.schedule(registration, at: worker.loop.now + ListenerAcceptor.pause)
    }

    func deadlineReached() {
        if let registration { worker.loop.modify(registration, [.readable]) }
    }
}
