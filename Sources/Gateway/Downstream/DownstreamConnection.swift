import HTTP
import Primitives
import Transport

/// One client's HTTP/1.1 connection: reads heads, runs one exchange at a time, answers in order.
///
/// Idle, it holds its state and no buffer: bytes are read into the worker's buffer, a head in pieces lives in its
/// exchange, and what a slow peer leaves over lives in the two queues only as long as it must.
final class DownstreamConnection: ClientConnection, ClientStream, TurnWriter {
    enum State: Equatable {
        /// Between two requests; no byte of a head has come.
        case idle
        case readingHead
        case exchanging
        /// The answer is out; the rest of the request's body is read and dropped so that the next head can come.
        case discarding
        /// Our side is shut; the peer's last bytes are dropped so that no reset destroys the answer.
        case lingering
        case closed
    }

    /// Bytes of an unwanted body that are read and dropped; beyond it closing is cheaper.
    static let discardLimitBytes = 256 << 10
    private static let lingerTime: Duration = .seconds(2)
    /// How long a drain waits for the first request of a client that has sent something else before: a handshake, a PROXY
    /// header.
    static let drainTime: Duration = .seconds(1)
    /// What a peer must give or take in each period to be slow rather than gone.
    static let progressFloor = 1024

    let worker: Worker
    let client: ClientPeer
    let socket: SocketBox
    var registration: Registration?
    var interest: Readiness = [.readable, .peerClosed]
    var state = State.idle
    var exchange: Exchange?
    /// Bytes that came before they could be used: the next request's, or a body's whose upstream is slow.
    var pendingInput = ByteQueue()
    var output = ByteQueue()
    /// Where the worker has an answer of this turn, not written yet.
    private var putOff: TurnWrites.Place?
    private var isProcessing = false
    private var discarded = 0
    /// It has had an answer.
    private var isKept = false
    /// The client has ended its side of a tunnel, which goes on the other way.
    var hasPeerEnded = false
    /// How the content of the answer in progress is framed.
    var answerFraming = BodyFraming.none
    /// Bytes of the answer in progress have been written, or put off: it cannot be taken back.
    var hasAnswerLeft = false
    /// Close once the output is flushed.
    var closesWhenFlushed = false
    /// When the route's whole-exchange limit ends.
    var exchangeDeadline: MonotonicInstant?
    /// Progress of a body or of our output since the deadline was set; a peer that trickles is as slow as one that stops.
    var progressBytes = 0

    /// - Parameter tls: what the handshake established, on a socket that has one behind it.
    init(
        worker: Worker, listener: ListenerContext, socket: SocketBox, peer: IPAddress?,
        tls: TLSFacts? = nil
    ) {
        self.worker = worker
        client = ClientPeer(listener, peer, tls)
        self.socket = socket
    }

    var listener: ListenerContext { client.listener }

    /// Registers with the loop.
    func open() throws(SystemError) {
        let registration = try worker.loop.register(socket.descriptor, interest, self)
        self.registration = registration
        setDeadline(after: listener.limits.headerTimeout)
    }

    /// Takes the place of who found out what the client speaks.
    ///
    /// - Parameter input: bytes that were read already.
    func open(_ registration: Registration, _ input: [UInt8]) {
        self.registration = registration
        guard worker.loop.replace(registration, with: self) else { return close() }
        setDeadline(after: listener.limits.headerTimeout)
        if !input.isEmpty { take(input.span) }
        readOn()
    }

    var isClosed: Bool { state == .closed }

    // MARK: Readiness

    func ready(_ readiness: Readiness) {
        if readiness.contains(.writable) {
            flush()
            if socket.wantsWritable { readInput() }
        }
        if state == .closed { return }
        if watchesForEnd, !interest.contains(.readable), readiness.contains(.peerClosed) {
            // Its end stands behind bytes that cannot be used yet; they will not be.
            peerEnded()
            return
        }
        let isReadable = readiness.contains(.readable) && interest.contains(.readable)
        if isReadable || !readiness.isDisjoint(with: [.peerClosed, .failed]) { readInput() }
    }

    func readInput() {
        let buffer = worker.readBuffer
        buffer.removeAll()
        switch socket.read(into: buffer) {
        case .bytes:
            take(buffer.readable)
        case .wouldBlock:
            break
        case .end:
            peerEnded()
        case .failed:
            peerLost()
        }
        readOn()
    }

    /// Goes on with what TLS has taken from the socket already, when there is use for it.
    func readOn() {
        guard socket.hasMoreInput, interest.contains(.readable), let registration else { return }
        worker.loop.readAgain(registration)
    }

    private func take(_ input: Span<UInt8>) {
        var used = 0
        if pendingInput.isEmpty, state != .exchanging || exchange?.wantsBody == true {
            used = process(input)
        }
        if used < input.count {
            var waiting = ByteQueue()
            swap(&waiting, &pendingInput)
            waiting.append(input, from: used)
            swap(&waiting, &pendingInput)
        }
        updateInterest()
    }

    /// Uses what it can of `input`.
    ///
    /// - Returns: where it stopped; what is behind must wait, and reading stops until it is used.
    private func process(_ input: Span<UInt8>) -> Int {
        isProcessing = true
        defer { isProcessing = false }
        var offset = 0
        while offset < input.count {
            switch state {
            case .idle, .readingHead:
                // A client that sends requests and takes no answers would make the queue grow without end.
                guard output.isEmpty else { return offset }
                guard let next = parseHead(input, from: offset) else { return input.count }
                offset = next
            case .exchanging:
                guard let exchange, exchange.wantsBody else { return offset }
                let before = offset
                progressBytes += input.count - offset
                offset = exchange.takeBody(input, from: offset)
                if offset == before, state == .exchanging, self.exchange === exchange {
                    return offset
                }
            case .discarding:
                offset = discard(input, from: offset)
            case .lingering, .closed:
                return input.count
            }
        }
        return offset
    }

    private func parseHead(_ input: Span<UInt8>, from offset: Int) -> Int? {
        let exchange = self.exchange ?? beginHead()
        do throws(HTTP1Error) {
            switch try exchange.headParser.parse(input, from: offset, into: exchange.head) {
            case .incomplete:
                if state == .idle, exchange.headParser.hasBegun {
                    state = .readingHead
                    setDeadline(after: listener.limits.headerTimeout)
                }
                return nil
            case .complete(let next):
                state = .exchanging
                setDeadline(after: nil)
                exchange.begin()
                return next
            }
        } catch {
            state = .exchanging
            setDeadline(after: nil)
            exchange.refuseHead(error)
            return nil
        }
    }

    private func beginHead() -> Exchange {
        let exchange = worker.takeExchange(for: self)
        self.exchange = exchange
        // Anew for each head: a reload may have changed the limits, and a bad head leaves it anywhere.
        exchange.headParser = RequestHeadParser(limits: listener.headLimits)
        return exchange
    }

    private func discard(_ input: Span<UInt8>, from offset: Int) -> Int {
        var next = offset
        guard let exchange else { return input.count }
        discarded += input.count - offset
        guard discarded <= DownstreamConnection.discardLimitBytes,
            let isFinished = exchange.discardBody(input, from: &next)
        else {
            writePutOff()
            if output.isEmpty { linger() } else { closesWhenFlushed = true }
            return input.count
        }
        if isFinished { exchangeDone() }
        return next
    }

    // MARK: The peer goes

    /// The peer ended its side. Like nginx we take that as leaving: nobody is there to read an answer.
    private func peerEnded() {
        // The answer to what came before the end; behind our own end it could not follow any more.
        writePutOff()
        switch state {
        case .exchanging:
            if let exchange, exchange.isTunnel, !hasPeerEnded {
                // Of a tunnel it is one half: what came before it goes on to the server, and its answer comes back.
                hasPeerEnded = true
                exchange.clientEndedTunnel()
                updateInterest()
                return
            }
            exchange?.clientLeft(reset: false)
        case .idle, .readingHead, .discarding, .lingering, .closed:
            break
        }
        // Under TLS an end is answered by an end (RFC 8446 section 6.1).
        if client.tls != nil { socket.shutdownWriting() }
        close()
    }

    private func peerLost() {
        if state == .exchanging { exchange?.clientLeft(reset: true) }
        close()
    }

    // MARK: Output

    /// Whether the client has not taken all that was written: the other side's reading must wait.
    var isCongested: Bool { !output.isEmpty }

    /// Writes what ends an answer, at the end of the turn where it is small.
    func writeLast(_ bytes: Span<UInt8>) {
        guard state != .closed, bytes.count > 0 else { return }
        if putOff == nil, output.isEmpty, let place = worker.putOff(bytes, of: self) {
            putOff = place
        } else {
            write(bytes)
        }
    }

    /// Writes now what was put off: something else must come behind it.
    private func writePutOff() {
        guard let putOff else { return }
        let bytes = worker.takeBack(putOff)
        writePutOff(bytes.span)
    }

    func writePutOff(_ bytes: Span<UInt8>) {
        putOff = nil
        write(bytes)
    }

    /// Writes bytes of an answer, in order; what the socket does not take waits in the queue.
    func write(_ bytes: Span<UInt8>) {
        writePutOff()
        guard state != .closed, bytes.count > 0 else { return }
        var written = 0
        if output.isEmpty {
            switch socket.write(bytes) {
            case .bytes(let count): written = count
            case .wouldBlock: break
            case .end, .failed:
                peerLost()
                return
            }
        }
        progressBytes += written
        if written < bytes.count {
            if output.isEmpty { setDeadline(after: listener.limits.bodyTimeout) }
            changeOutput { $0.append(bytes, from: written) }
            updateInterest()
        }
    }

    /// Changes the queue apart and puts it back: no access to it lasts, so that none needs to be checked as it runs.
    @inline(__always)
    private func changeOutput(_ body: (inout ByteQueue) -> Void) {
        var queue = ByteQueue()
        swap(&queue, &output)
        body(&queue)
        swap(&queue, &output)
    }

    private func flush() {
        let hadWaited = !output.isEmpty
        while !output.isEmpty {
            let pending = output.pending
            switch socket.write(pending.span) {
            case .bytes(let count):
                progressBytes += count
                changeOutput { $0.removeFirst(count) }
            case .wouldBlock:
                return
            case .end, .failed:
                peerLost()
                return
            }
        }
        if closesWhenFlushed {
            linger()
            return
        }
        switch state {
        case .exchanging:
            rearm()
            exchange?.clientIsWritable()
        case .idle:
            setDeadline(after: listener.limits.idleTimeout)
            resume()
        case .readingHead where hadWaited:
            // It began behind an answer that was put off, and waited for that one to leave.
            setDeadline(after: listener.limits.headerTimeout)
            resume()
        case .readingHead, .discarding, .lingering, .closed:
            break
        }
        updateInterest()
    }

    // MARK: The end of an exchange

    /// The answer is written. Goes on with the connection or ends it.
    ///
    /// - Parameter closes: the answer said `Connection: close`, or the framing is lost.
    func exchangeEnded(closes: Bool) {
        guard state == .exchanging else { return }
        if closes || worker.isDraining {
            writePutOff()
            guard state == .exchanging else { return }
            closesWhenFlushed = true
            if output.isEmpty { linger() }
            return
        }
        guard exchange?.isBodyTaken == false else {
            exchangeDone()
            return
        }
        state = .discarding
        discarded = 0
        setDeadline(after: listener.limits.bodyTimeout)
        resume()
    }

    private func exchangeDone() {
        endExchange()
        exchangeDeadline = nil
        isKept = true
        state = .idle
        setDeadline(
            after: output.isEmpty ? listener.limits.idleTimeout : listener.limits.bodyTimeout)
        resume()
    }

    private func endExchange() {
        if let exchange = exchange.take() { worker.giveBack(exchange) }
    }

    /// Uses bytes that waited, unless the caller is in the middle of using them.
    func resume() {
        guard !isProcessing else { return }
        while !pendingInput.isEmpty {
            if state == .exchanging, exchange?.wantsBody != true { break }
            if state == .idle, !output.isEmpty { break }
            // Moved out and back, so that a burst of requests is never copied for each of them.
            var waiting = ByteQueue()
            swap(&waiting, &pendingInput)
            let used = process(waiting.pending.span)
            waiting.removeFirst(used)
            if state == .lingering || state == .closed { break }
            pendingInput = waiting
            if used == 0 { break }
        }
        updateInterest()
    }

    /// Ends at once and uncleanly: the answer was cut, and the client must see that it was.
    func abort() {
        guard state != .closed else { return }
        socket.resetOnClose()
        close()
    }

    func linger() {
        writePutOff()
        guard state != .closed, state != .lingering else { return }
        endExchange()
        state = .lingering
        pendingInput = ByteQueue()
        socket.shutdownWriting()
        setDeadline(after: DownstreamConnection.lingerTime)
        updateInterest()
    }

    func close() {
        writePutOff()
        guard state != .closed else { return }
        state = .closed
        endExchange()
        pendingInput = ByteQueue()
        output = ByteQueue()
        dropAnswer()
        if let registration { worker.loop.unregister(registration) }
        registration = nil
        socket.close()
        listener.load.connectionClosed(onWorker: worker.index)
        worker.connectionClosed(listener.role)
    }

    /// The first request is on its way: it is answered, and the connection ends with it.
    func drainAfterFirst() {
        if state == .idle { setDeadline(after: DownstreamConnection.drainTime) }
    }

    /// A connection ends with its next answer; now if it is idle and nothing waits in its socket. Who has finished a
    /// handshake and asked nothing yet may be about to.
    func drain() {
        guard listener.role == .traffic else { return }
        // What waits in the socket was sent in time: closing over it would reset a request that nobody refused.
        // Not where rules changed under the connection: there no request may come in by the old ones.
        if state == .idle, output.isEmpty, worker.isDraining { readInput() }
        switch state {
        case .idle where client.tls != nil && !isKept && worker.isDraining:
            drainAfterFirst()
        case .idle, .discarding:
            writePutOff()
            if output.isEmpty { linger() } else { closesWhenFlushed = true }
        case .readingHead, .exchanging, .lingering, .closed:
            break
        }
    }

    /// The answer says `Connection: close` by itself.
    func endConnection() {}

    /// Ends whatever is going on, for the end of the drain.
    func shutDown() {
        if state == .exchanging { exchange?.clientLeft(reset: true) }
        close()
    }
}
