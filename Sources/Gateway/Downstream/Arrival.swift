import Configuration
import HTTP
import Primitives
import Transport

/// A client's connection until it is known who is there and what is spoken: the PROXY header, the TLS handshake, and in
/// clear the first bytes. Then an HTTP/1.1 or HTTP/2 connection takes its place in the loop.
///
/// All of it together must be over by `header_timeout`, however the client spreads its bytes.
final class Arrival: ClientConnection {
    private enum Stage {
        case proxyHeader(ProxyHeaderReader)
        /// Nothing has come yet; a session is made when it does.
        case silent(TLSServerContext)
        case handshake
        /// The handshake failed: our side is shut, and what still comes is dropped, so that no reset destroys the alert.
        case leaving
        /// Which version it is, by its first bytes.
        case detecting(VersionDetector)
        case over
    }

    private static let leavingTime: Duration = .seconds(1)

    private let worker: Worker
    let listener: ListenerContext
    private let socket: SocketBox
    private var peer: IPAddress?
    private let tls: TLSServerContext?
    /// Whether a PROXY header was asked for when the connection came.
    private let isBehindProxy: Bool
    private var registration: Registration?
    private var interest: Readiness = [.readable, .peerClosed]
    private var stage = Stage.over

    init(worker: Worker, listener: ListenerContext, socket: SocketBox, peer: IPAddress?) {
        self.worker = worker
        self.listener = listener
        self.socket = socket
        self.peer = peer
        tls = listener.tls
        isBehindProxy = listener.configuration.requiresProxyHeader
    }

    /// Whether anything is to be found out of a connection to this listener.
    static func isNeeded(on listener: ListenerContext) -> Bool {
        listener.tls != nil || listener.configuration.requiresProxyHeader
            || listener.protocols.contains(.h2c)
    }

    /// Registers with the loop.
    func open() throws(SystemError) {
        let registration = try worker.loop.register(socket.descriptor, interest, self)
        self.registration = registration
        worker.loop.schedule(registration, at: worker.loop.now + listener.limits.headerTimeout)
        if isBehindProxy {
            stage = .proxyHeader(ProxyHeaderReader())
        } else {
            goOn()
        }
    }

    /// The address is known: TLS comes next, or the first bytes of HTTP.
    private func goOn() {
        if worker.isDraining, !hasInput, let registration {
            worker.loop.schedule(registration, at: worker.loop.now + DownstreamConnection.drainTime)
        }
        if let tls {
            stage = .silent(tls)
        } else if let detector = VersionDetector(listener.protocols) {
            stage = .detecting(detector)
        } else {
            serveHTTP1([])
        }
    }

    // MARK: Readiness

    func ready(_ readiness: Readiness) {
        switch stage {
        case .proxyHeader(let reader): readProxyHeader(reader)
        case .silent(let tls): secure(tls)
        case .handshake: shakeHands()
        case .leaving: dropInput()
        case .detecting(let detector): detect(detector)
        case .over: break
        }
    }

    private func readProxyHeader(_ reader: ProxyHeaderReader) {
        let buffer = worker.readBuffer
        buffer.removeAll()
        switch socket.peek(into: buffer) {
        case .bytes: break
        case .wouldBlock: return
        case .end, .failed: return close()
        }
        var reader = reader
        do throws(ProxyHeaderError) {
            let (used, header) = try reader.take(buffer.readable)
            socket.skip(used, through: buffer)
            guard let header else {
                stage = .proxyHeader(reader)
                return
            }
            if case .from(let address, _) = header { peer = address }
            goOn()
        } catch {
            // Who speaks without a header is not the proxy that this listener is for.
            fail("a connection without a PROXY header was refused", "\(error)")
        }
    }

    private func secure(_ tls: TLSServerContext) {
        do throws(TLSError) {
            try socket.secure(as: tls)
            stage = .handshake
            shakeHands()
        } catch {
            fail("a TLS session could not begin", "\(error)")
        }
    }

    private var hasInput: Bool {
        let buffer = worker.readBuffer
        buffer.removeAll()
        if case .bytes = socket.peek(into: buffer) { return true }
        return false
    }

    private func dropInput() {
        let buffer = worker.readBuffer
        buffer.removeAll()
        switch socket.peek(into: buffer) {
        case .bytes(let count): socket.skip(count, through: buffer)
        case .wouldBlock: break
        case .end, .failed: close()
        }
    }

    private func shakeHands() {
        switch socket.handshake() {
        case .wantsReadable: watch([.readable, .peerClosed])
        case .wantsWritable: watch([.writable])
        case .failed(let cause):
            tell("a TLS handshake failed", cause)
            leaveBehindAlert()
        case .done(let version):
            watch([.readable, .peerClosed])
            let facts = socket.facts(under: tls)
            if version == .http2 || !listener.protocols.contains(.http11) {
                serveHTTP2([], facts)
            } else {
                serveHTTP1([], facts)
            }
        }
    }

    private func detect(_ detector: VersionDetector) {
        let buffer = worker.readBuffer
        buffer.removeAll()
        switch socket.read(into: buffer) {
        case .bytes: break
        case .wouldBlock: return
        case .end, .failed: return close()
        }
        var detector = detector
        switch detector.take(buffer.readable) {
        case .undecided: stage = .detecting(detector)
        case .http1(let bytes): serveHTTP1(bytes)
        case .http2(let bytes): serveHTTP2(bytes)
        }
    }

    private func watch(_ wanted: Readiness) {
        guard wanted != interest, let registration else { return }
        interest = wanted
        worker.loop.modify(registration, wanted)
    }

    // MARK: What it becomes

    private func serveHTTP1(_ input: [UInt8], _ facts: TLSFacts? = nil) {
        guard let registration = leave() else { return }
        let connection = DownstreamConnection(
            worker: worker, listener: listener, socket: socket, peer: peer, tls: facts)
        connection.open(registration, input)
        if worker.isDraining {
            connection.drainAfterFirst()
        } else if isOutdated {
            connection.drain()
        }
    }

    private func serveHTTP2(_ input: [UInt8], _ facts: TLSFacts? = nil) {
        guard let registration = leave() else { return }
        do throws(HTTP2Error) {
            let connection = try HTTP2Connection(
                worker: worker, listener: listener, socket: socket, registration: registration,
                peer: peer, tls: facts)
            connection.open(input)
            if worker.isDraining || isOutdated { connection.drain() }
        } catch {
            self.registration = registration
            fail("an HTTP/2 session could not begin", "\(error)")
        }
    }

    /// A reload has changed the rules that the handshake began under.
    private var isOutdated: Bool {
        tls?.clientRules != listener.tls?.clientRules
            || (listener.configuration.requiresProxyHeader && !isBehindProxy)
    }

    /// Lets the registration go to the one who comes after.
    private func leave() -> Registration? {
        stage = .over
        defer { registration = nil }
        return registration
    }

    // MARK: The end

    private func fail(_ what: StaticString, _ cause: String) {
        tell(what, cause)
        close()
    }

    private func tell(_ what: StaticString, _ cause: String) {
        worker.arrivalFailed(
            what, ClientPeer.text(of: peer), listener.name, cause: cause)
    }

    private func leaveBehindAlert() {
        guard let registration else { return }
        stage = .leaving
        socket.shutdownWriting()
        watch([.readable, .peerClosed])
        worker.loop.schedule(registration, at: worker.loop.now + Arrival.leavingTime)
    }

    private func close() {
        guard let registration else { return }
        stage = .over
        self.registration = nil
        worker.loop.unregister(registration)
        socket.close()
        listener.load.connectionClosed(onWorker: worker.index)
        worker.connectionClosed(listener.role)
    }

    func deadlineReached() {
        switch stage {
        case .proxyHeader(let reader) where reader.hasBegun:
            fail("a connection without a PROXY header was refused", "header_timeout")
        case .handshake: fail("a TLS handshake failed", "header_timeout")
        case .proxyHeader, .silent, .detecting, .leaving: close()
        case .over: break
        }
    }

    /// Nothing has been asked yet: whoever comes now goes elsewhere. What has begun ends as it would, and what waits
    /// in the socket has begun: the loop will tell of it.
    func drain() {
        if hasInput { return }
        switch stage {
        case .detecting(let detector) where detector.isEmpty: close()
        case .proxyHeader(let reader) where !reader.hasBegun: close()
        case .silent, .leaving: close()
        case .detecting, .proxyHeader, .handshake, .over: break
        }
    }

    func shutDown() {
        close()
    }
}
