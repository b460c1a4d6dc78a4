import HTTP
import Primitives
import Transport

/// One HTTP/1.1 connection to a server: carries one exchange at a time, then rests in its group's pool.
///
/// It reads into the worker's buffer, by the worker's reader, and tells its exchange what came; it owns no buffer but what the
/// server would not take yet.
final class UpstreamConnection: EventHandler, UpstreamStream, TurnWriter {
    private enum State: Equatable {
        case connecting
        case awaitingHead
        case readingBody
        case idle
        case closed
    }

    /// Interim answers before the final one; more is a flood (threats.md, Framing).
    private static let interimLimit = 16

    let server: UpstreamServer
    /// Whether it has served an exchange before: then the server may have closed it just now.
    private(set) var isReused = false
    /// Whom the group trusted when this one was dialled.
    let trust: Int
    /// Whether a byte of the answer to the exchange in progress has come.
    private(set) var hasAnswered = false

    private let worker: Worker
    private let group: UpstreamGroup
    private var dial: UpstreamDial?
    private let socket: SocketBox
    private var registration: Registration?
    private var interest: Readiness = [.writable]
    private var state = State.connecting
    private var exchange: Exchange?
    /// While an answer comes.
    private var reader: AnswerReader?
    private var output = ByteQueue()
    /// Where the worker has a request of this turn, not written yet.
    private var putOff: TurnWrites.Place?
    private var interims = 0
    private var requestFraming = BodyFraming.none
    /// Both sides have gone over to another protocol; its silence is limited by the client's connection.
    private var isTunnel = false
    /// Shut the writing side once the output is flushed.
    private var endsWhenFlushed = false
    private var isReadingPaused = false
    /// Bytes of a request were lost: whatever the server answers, nothing more can be sent.
    private var isWriteBroken = false

    init(
        worker: Worker, group: UpstreamGroup, server: UpstreamServer, tls: UpstreamDial.TLS?
    ) throws(UpstreamError) {
        self.worker = worker
        self.group = group
        self.server = server
        trust = group.trust
        let dial = try UpstreamDial(to: server.endpoint, tls: tls)
        self.dial = dial
        socket = dial.socket
        do throws(SystemError) {
            registration = try worker.loop.register(socket.descriptor, interest, self)
        } catch {
            throw .connectionRefused(code: error.code)
        }
        setDeadline(after: group.configuration.connectTimeout)
    }

    // MARK: The exchange's side

    /// Begins an exchange with what it has to send: its head, and its body if it was held back.
    ///
    /// - Parameter leavesNow: otherwise it is written at the end of the turn.
    func begin(
        _ exchange: Exchange, _ outgoing: OutgoingRequest, leavesNow: Bool
    ) {
        self.exchange = exchange
        requestFraming = outgoing.framing
        hasAnswered = false
        interims = 0
        isReadingPaused = false
        if state == .connecting {
            changeOutput { $0.append(exchange.appendRequest(to:)) }
            return
        }
        state = .awaitingHead
        // One that is whole has ended: the server's time runs.
        setDeadline(after: outgoing.isWhole ? group.configuration.responseTimeout : nil)
        if leavesNow {
            var request = worker.takeOutgoing()
            exchange.appendRequest(to: &request)
            send(request.span)
            worker.giveBack(outgoing: &request)
        } else {
            putOff = worker.putOff(self, exchange.appendRequest(to:))
        }
    }

    func writePutOff(_ bytes: Span<UInt8>) {
        // What has come on a kept connection since its last answer is none to this request. Mostly the turn has read it; of more
        // connections than a turn is told of it has not, and then each is looked at.
        if isReused, worker.loop.isBacklogged, socket.isReadable { return fail(.requestUnsent) }
        putOff = nil
        send(bytes)
    }

    /// Something must come behind it.
    private func writePutOff() {
        guard let putOff else { return }
        let bytes = worker.takeBack(putOff)
        writePutOff(bytes.span)
    }

    /// Sends more of the request's content.
    func sendContent(_ input: Span<UInt8>, _ range: Range<Int>) {
        guard case .chunked = requestFraming else { return send(input.extracting(range)) }
        var chunk = worker.takeOutgoing()
        HTTP1Writer.appendChunkHeader(size: range.count, to: &chunk)
        chunk.append(input, range)
        chunk.append("\r\n")
        send(chunk.span)
        worker.giveBack(outgoing: &chunk)
    }

    /// The request's content is complete. Of a tunnel it is the client's end: the server sees it behind all that came
    /// before.
    func endContent(trailerLines: [UInt8]) {
        switch requestFraming {
        case .chunked:
            let last = Array("0\r\n".utf8) + trailerLines + Array("\r\n".utf8)
            send(last.span)
        case .untilClose:
            endsWhenFlushed = true
            writePutOff()
            if output.isEmpty { socket.shutdownWriting() }
        case .none, .length:
            break
        }
    }

    private func send(_ bytes: Span<UInt8>) {
        writePutOff()
        guard state != .closed else { return }
        var written = 0
        if output.isEmpty, state != .connecting {
            switch socket.write(bytes) {
            case .bytes(let count): written = count
            case .wouldBlock: break
            case .end, .failed:
                // The answer to what was sent before may still be readable; the read side tells.
                isWriteBroken = true
                return
            }
        }
        if written < bytes.count {
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

    /// Whether the server has not taken all that was sent: the client's reading must wait.
    var isCongested: Bool { !output.isEmpty }

    /// Nothing is asked of a server between request and answer.
    var mayBeSilent: Bool { false }

    /// The request is complete: from now on the server's time runs. Called again when the server has taken the last of
    /// it; before that a server that stops reading must not hold the exchange for ever.
    func requestEnded() {
        if state == .awaitingHead { setDeadline(after: group.configuration.responseTimeout) }
    }

    /// Stops or goes on reading the answer, as the client takes it.
    func pauseReading(_ isPaused: Bool) {
        guard isReadingPaused != isPaused, state != .closed else { return }
        isReadingPaused = isPaused
        setDeadline(after: isPaused || isTunnel ? nil : group.configuration.responseTimeout)
        updateInterest()
    }

    /// The exchange ended before its answer did: the connection is of no further use.
    func abandon() {
        exchange = nil
        close()
    }

    // MARK: The pool's side

    /// Takes the connection out of its rest; false when it turned out to be closed.
    func reuse(checked: Bool) -> Bool {
        guard state == .idle else { return false }
        if checked, socket.isReadable {
            close()
            return false
        }
        isReused = true
        state = .awaitingHead
        return true
    }

    func rest(for duration: Duration) {
        state = .idle
        setDeadline(after: duration)
    }

    func close() {
        guard state != .closed else { return }
        state = .closed
        output = ByteQueue()
        giveReaderBack()
        if let putOff { _ = worker.takeBack(putOff) }
        putOff = nil
        if let registration { worker.loop.unregister(registration) }
        registration = nil
        socket.close()
    }

    // MARK: Readiness

    func ready(_ readiness: Readiness) {
        if state == .connecting {
            finishConnecting()
            return
        }
        if readiness.contains(.writable) {
            flush()
            if socket.wantsWritable { readInput() }
        }
        let isReadable = readiness.contains(.readable) && interest.contains(.readable)
        if isReadable || !readiness.isDisjoint(with: [.peerClosed, .failed]) { readInput() }
    }

    private func finishConnecting() {
        guard var dial else { return }
        let progress = dial.advance()
        self.dial = dial
        switch progress {
        case .wants(let readiness):
            watch(readiness)
        case .failed(let error):
            group.tell(of: error, server)
            fail(error)
        case .done(let version):
            self.dial = nil
            if group.isTLS, exchange?.upgrade == nil { server.speaksHTTP2 = version == .http2 }
            if version == .http2 { return becomeHTTP2() }
            state = .awaitingHead
            setDeadline(after: nil)
            if exchange?.isRequestSent == true { requestEnded() }
            updateInterest()
            flush()
            readOn()
        }
    }

    /// The handshake has settled on HTTP/2: another kind of connection takes the socket, and the exchange, of which
    /// nothing has been sent.
    private func becomeHTTP2() {
        guard let registration, let exchange else { return close() }
        self.registration = nil
        self.exchange = nil
        state = .closed
        do throws(UpstreamError) {
            let connection = try group.adopt(
                socket, registration, server, trust: trust)
            exchange.upstreamSpeaksHTTP2(connection)
        } catch {
            worker.loop.unregister(registration)
            socket.close()
            exchange.upstreamFailed(error)
        }
    }

    private func flush() {
        guard !output.isEmpty || state == .awaitingHead else { return }
        while !output.isEmpty {
            let pending = output.pending
            switch socket.write(pending.span) {
            case .bytes(let count): changeOutput { $0.removeFirst(count) }
            case .wouldBlock: return
            case .end, .failed:
                isWriteBroken = true
                output = ByteQueue()
                updateInterest()
                return
            }
        }
        if endsWhenFlushed { socket.shutdownWriting() }
        updateInterest()
        exchange?.upstreamIsWritable()
    }

    private func readInput() {
        let buffer = worker.readBuffer
        buffer.removeAll()
        switch socket.read(into: buffer) {
        case .bytes:
            take(buffer.readable)
        case .wouldBlock:
            if socket.wantsWritable { updateInterest() }
        case .end:
            ended()
        case .failed:
            if let cause = socket.faultCause { group.tell(of: .tlsFailed(cause), server) }
            fail(hasAnswered ? .responseIncomplete : lost)
        }
        readOn()
    }

    /// Goes on with what TLS has taken from the socket already, when there is use for it.
    private func readOn() {
        guard socket.hasMoreInput, interest.contains(.readable), let registration else { return }
        worker.loop.readAgain(registration)
    }

    private func take(_ input: Span<UInt8>) {
        guard let exchange, state == .awaitingHead || state == .readingBody else {
            // Bytes that nobody asked for: the next client must never see them (response queue poisoning).
            leave()
            return
        }
        // Nor is it an answer while nothing has been asked.
        guard putOff == nil else { return fail(.requestUnsent) }
        hasAnswered = true
        let reader = self.reader ?? worker.takeReader()
        self.reader = reader
        var offset = 0
        do throws(HTTP1Error) {
            while state == .awaitingHead {
                guard
                    let next = try reader.readHead(
                        input, from: offset, requestMethod: exchange.head.method)
                else {
                    setDeadline(after: group.configuration.responseTimeout)
                    return
                }
                offset = next
                guard takeHead(exchange, reader) else { return }
            }
            while state == .readingBody {
                let event = try reader.body.next(input, from: &offset)
                switch event {
                case .data(let range):
                    exchange.upstreamData(input, range)
                case .needsMore:
                    // While the client takes nothing, nothing is asked of the server.
                    if !isTunnel, !isReadingPaused {
                        setDeadline(after: group.configuration.responseTimeout)
                    }
                    exchange.flushAnswer()
                    return
                case .end:
                    finish(
                        exchange, reader,
                        hasMore: offset < input.count || isMoreWaiting(behind: input))
                }
            }
        } catch {
            fail(hasDelivered ? .responseIncomplete : .responseInvalid)
        }
    }

    private var hasDelivered: Bool { state == .readingBody }

    /// - Returns: false when the connection has failed.
    private func takeHead(_ exchange: Exchange, _ reader: AnswerReader) -> Bool {
        let head = reader.head
        if head.isInterim {
            interims += 1
            if head.status == 101 { return takeSwitch(exchange, reader) }
            guard interims <= UpstreamConnection.interimLimit else {
                fail(.responseInvalid)
                return false
            }
            exchange.upstreamInterim(head)
            return state == .awaitingHead
        }
        state = .readingBody
        reader.body.begin(head.framing)
        exchange.upstreamHead(head)
        return state == .readingBody
    }

    /// A 101 that was not asked for would make of what follows another protocol.
    private func takeSwitch(_ exchange: Exchange, _ reader: AnswerReader) -> Bool {
        let head = reader.head
        guard let upgrade = exchange.upgrade, upgrade.isAccepted(by: head) else {
            fail(.responseInvalid)
            return false
        }
        state = .readingBody
        isTunnel = true
        requestFraming = .untilClose
        reader.body.begin(.untilClose)
        setDeadline(after: nil)
        exchange.upstreamSwitched(head, upgrade)
        return state == .readingBody
    }

    /// A read that found as much as there was room for may have left something.
    private func isMoreWaiting(behind input: Span<UInt8>) -> Bool {
        (input.count == worker.readBuffer.capacity || socket.hasMoreInput) && socket.isReadable
    }

    private func finish(_ exchange: Exchange, _ reader: AnswerReader, hasMore: Bool) {
        self.exchange = nil
        let isClean =
            reader.head.keepsAlive && !hasMore && !isWriteBroken && output.isEmpty
            && exchange.isRequestSent
        let trailers = reader.body.trailers
        giveReaderBack()
        if isClean {
            // A slow client may have stopped the reading with the last bytes; the next exchange must be heard.
            isReadingPaused = false
            updateInterest()
            group.keep(self)
        } else {
            close()
        }
        exchange.upstreamEnded(trailers: trailers)
    }

    private func giveReaderBack() {
        if let reader = reader.take() { worker.giveBack(reader) }
    }

    /// The server ended the stream.
    private func ended() {
        switch state {
        case .readingBody:
            if let exchange, let reader, reader.body.connectionEnded() {
                finish(exchange, reader, hasMore: true)
            } else {
                fail(.responseIncomplete)
            }
        case .awaitingHead:
            fail(hasAnswered ? .responseIncomplete : lost)
        case .idle, .connecting, .closed:
            leave()
        }
    }

    /// Nobody has acted upon a request that was still put off.
    private var lost: UpstreamError { putOff != nil ? .requestUnsent : .connectionTerminated }

    /// Ends an idle connection.
    private func leave() {
        if state == .idle { group.forget(self) }
        close()
    }

    private func fail(_ error: UpstreamError) {
        let exchange = self.exchange
        self.exchange = nil
        leave()
        exchange?.upstreamFailed(error)
    }

    // MARK: Deadline and interest

    private func setDeadline(after duration: Duration?) {
        guard let registration else { return }
        worker.loop.schedule(registration, at: duration.map { worker.loop.now + $0 })
    }

    func deadlineReached() {
        switch state {
        case .connecting: fail(.connectionTimeout)
        case .awaitingHead: fail(.responseTimeout)
        case .readingBody: fail(.responseTimeout)
        case .idle: leave()
        case .closed: break
        }
    }

    private func updateInterest() {
        // Until it is connected the dial says what is waited for.
        guard state != .closed, state != .connecting else { return }
        var wanted: Readiness = isReadingPaused ? [] : [.readable]
        if !output.isEmpty || socket.wantsWritable { wanted.insert(.writable) }
        let wasReading = interest.contains(.readable)
        watch(wanted)
        if !wasReading { readOn() }
    }

    private func watch(_ wanted: Readiness) {
        guard wanted != interest, let registration else { return }
        interest = wanted
        worker.loop.modify(registration, wanted)
    }
}
