import HTTP
import Primitives
import Transport

/// One HTTP/2 stream of a client: a request and its answer, as the exchange sees its client.
///
/// What the exchange cannot take yet of the body waits here, at most the stream's window, and is not acknowledged: the
/// client stops by flow control when the upstream is slow (RFC 9113 section 5.2).
final class HTTP2Stream: HTTP2ServerStream, ClientStream {
    /// When what is awaited of the client must have come; `nil` when nothing is.
    private(set) var deadline: MonotonicInstant?
    /// The exchange in progress; `nil` once it is over, though its last bytes may still be waiting to go.
    private(set) var exchange: Exchange?

    private let connection: HTTP2Connection
    private var exchangeDeadline: MonotonicInstant?
    /// Of the request's body: bytes that came before they could be used, and whether its end has come.
    private var pendingInput: [UInt8] = []
    private var pendingEnd: Trailers?
    /// The client has ended its side: END_STREAM has come.
    private var hasEnded = false
    private var isHandingOver = false
    /// The answer is complete, the request is not: the rest of it is dropped.
    private var isDiscarding = false
    private var discarded = 0
    /// The status of an answer whose head stands in the exchange until it leaves: a fault in the turn that it came in can
    /// still be told. 0: there is none.
    private var pendingStatus = 0
    private var hasBody = false
    /// A whole head has come, good or bad.
    private var isHeadKnown = false
    /// The exchange waits until less is queued.
    private var isHeldBack = false
    /// What the client has given or taken since the deadline was set.
    private var progressBytes = 0
    private var queuedBefore = 0
    /// At the end of the turn it shows what is still awaited: most often nothing is.
    private var isRearmDue = false
    /// Its place among the connection's streams.
    var index = 0

    init(id: Int32, connection: HTTP2Connection) {
        self.connection = connection
        super.init(id: id)
    }

    var client: ClientPeer { connection.client }
    private var listener: ListenerContext { connection.client.listener }

    /// Takes an exchange for the head that is about to come.
    func beginHead() -> RequestHead {
        let exchange = connection.worker.takeExchange(for: self)
        self.exchange = exchange
        return exchange.head
    }

    // MARK: From the session

    override func headComplete(endsStream: Bool) {
        isHeadKnown = true
        hasEnded = endsStream
        exchange?.begin()
    }

    override func headRefused(_ error: HTTP1Error) {
        isHeadKnown = true
        exchange?.refuseHead(error)
    }

    override func dataReceived(_ input: Span<UInt8>) {
        progressBytes += input.count
        guard let exchange else {
            // The answer is out; what still comes is dropped, up to a bound.
            connection.consumed(input.count, by: self)
            discarded += input.count
            if discarded > DownstreamConnection.discardLimitBytes { stopReceiving() }
            return
        }
        if pendingInput.isEmpty, exchange.wantsBody, !isHandingOver {
            exchange.takeFramedContent(input)
            connection.consumed(input.count, by: self)
        } else {
            pendingInput.append(input, 0..<input.count)
        }
    }

    override func requestEnded(_ trailers: Trailers) {
        hasEnded = true
        isDiscarding = false
        pendingEnd = trailers
        handOver()
    }

    override func closed(code: UInt32) {
        connection.forget(self)
        if let exchange {
            if isHeadKnown {
                exchange.clientLeft(reset: true)
            } else if code == HTTP2Code.protocolError.rawValue {
                exchange.headWasMalformed()
            }
            letGo()
        }
        // The windows of the stream are gone, that of the connection is not.
        let waiting = pendingInput.count
        pendingInput = []
        connection.consumed(waiting, by: self)
        deadline = nil
    }

    // MARK: The request's body

    func sendContinue() {
        let none: [UInt8] = []
        connection.session.interim(self, status: 100, fieldLines: none.span)
        connection.needsFlush()
    }

    func awaitBody() {
        rearm()
    }

    func bodyTaken() {
        rearm()
    }

    func resume() {
        handOver()
    }

    private func handOver() {
        guard !isHandingOver else { return }
        isHandingOver = true
        defer { isHandingOver = false }
        if !pendingInput.isEmpty, let exchange, exchange.wantsBody {
            let waiting = pendingInput
            pendingInput = []
            exchange.takeFramedContent(waiting.span)
            connection.consumed(waiting.count, by: self)
        }
        if pendingInput.isEmpty, let trailers = pendingEnd, let exchange, exchange.isBodyExpected {
            pendingEnd = nil
            exchange.endFramedBody(trailers)
        }
    }

    // MARK: The answer

    var isCongested: Bool {
        queuedBytes > HTTP2Connection.streamQueueBytes
    }

    func sendInterim(status: Int, _ head: Span<UInt8>) {
        connection.session.interim(self, status: status, fieldLines: head)
        connection.needsFlush()
    }

    func beginAnswer(status: Int, _ head: Span<UInt8>, framing: BodyFraming) {
        exchange?.answerHead.removeAll(keepingCapacity: true)
        exchange?.answerHead.append(head)
        pendingStatus = status
        hasBody = framing != .none && framing != .length(0)
    }

    func sendContent(_ input: Span<UInt8>, _ range: Range<Int>) {
        connection.session.sendData(self, input.extracting(range))
        // It leaves with the head.
        guard pendingStatus == 0 else { return }
        connection.needsFlush()
        watchOutput()
    }

    func flushAnswer() {
        guard pendingStatus != 0, let exchange else { return }
        let head = exchange.answerHead
        connection.session.respond(
            self, status: pendingStatus, fieldLines: head.span, endsStream: !hasBody)
        pendingStatus = 0
        connection.needsFlush()
        if queuedBytes > 0 { watchOutput() }
    }

    func retractAnswer() -> Bool {
        guard pendingStatus != 0 else { return false }
        pendingStatus = 0
        connection.session.takeBack(self)
        return true
    }

    func endAnswer(_ trailers: Trailers) {
        flushAnswer()
        guard hasBody else { return }
        let lines = connection.trailerLines(trailers)
        connection.session.finish(self, trailerLines: lines.span)
        connection.needsFlush()
    }

    func reply(status: Int, _ bytes: Span<UInt8>, contentCount: Int) {
        let headCount = bytes.count - contentCount
        connection.session.respond(
            self, status: status, fieldLines: bytes.extracting(0..<headCount),
            endsStream: contentCount == 0)
        if contentCount > 0 {
            let none: [UInt8] = []
            connection.session.sendData(self, bytes.extracting(headCount..<bytes.count))
            connection.session.finish(self, trailerLines: none.span)
        }
        connection.needsFlush()
    }

    func exchangeEnded(closes: Bool) {
        guard let exchange else { return }
        // What was opened for a tunnel has no end of its own.
        let isEndless = exchange.head.upgradesToWebSocket
        letGo()
        let waiting = pendingInput.count
        pendingInput = []
        connection.consumed(waiting, by: self)
        exchangeDeadline = nil
        if !hasEnded {
            // A reset behind the answer is right (RFC 9113 section 8.1), and clients lose the answer by it: one whose
            // rest is small may send it, as over HTTP/1.1.
            if closes || isEndless || connection.worker.isDraining {
                stopReceiving()
            } else {
                isDiscarding = true
            }
        }
        rearmAfterTurn()
        connection.needsFlush()
    }

    /// The client need not send what nobody will read, nor hold the stream open.
    private func stopReceiving() {
        isDiscarding = false
        connection.session.stopReceiving(self)
        connection.needsFlush()
    }

    func endConnection() {
        connection.endsAfterAnswer = true
    }

    func abort() {
        if exchange != nil { letGo() }
        connection.session.reset(id, code: .internalError)
        connection.needsFlush()
    }

    private func letGo() {
        if let exchange = exchange.take() { connection.worker.giveBack(exchange) }
    }

    // MARK: Time

    func limitExchange(to duration: Duration) {
        let end = connection.worker.loop.now + duration
        exchangeDeadline = exchangeDeadline.map { min($0, end) } ?? end
        rearm()
    }

    /// The time for what is awaited begins anew.
    private func rearm() {
        progressBytes = 0
        let now = connection.worker.loop.now
        // A call may be silent for hours, either way: that its client is there the connection finds out.
        let awaitsBody = exchange.map { $0.isBodyTimed && !$0.isOpenCall } ?? false
        let isWaiting = hasUnsent || awaitsBody || isDiscarding
        var next: MonotonicInstant?
        if exchange?.isTunnel == true {
            next = now + listener.limits.idleTimeout
        } else if isWaiting {
            next = now + listener.limits.bodyTimeout
        }
        if let exchangeDeadline, next.map({ exchangeDeadline < $0 }) ?? true {
            next = exchangeDeadline
        }
        deadline = next
        guard let next else { return }
        connection.deadlineMoved(to: next)
        connection.watch()
    }

    /// Content waits for the client's window: what has not gone out at the end of the turn must make progress from then on.
    private func watchOutput() {
        let queued = queuedBytes
        // Only what has been written ends it: in between the other side's reading stays stopped, and waits to be told.
        if queued > HTTP2Connection.streamQueueBytes { isHeldBack = true }
        if deadline == nil || queuedBefore == 0 { rearmAfterTurn() }
        queuedBefore = queued
    }

    private func rearmAfterTurn() {
        isRearmDue = true
        connection.watch()
    }

    /// The connection has written: goes on where the exchange was held back.
    ///
    /// - Returns: whether the next time counts too.
    func outputMoved() -> Bool {
        // Most have nothing that waits.
        guard queuedBefore > 0 || isHeldBack || isRearmDue || deadline != nil else { return false }
        let queued = queuedBytes
        progressBytes += max(0, queuedBefore - queued)
        queuedBefore = queued
        if isRearmDue {
            isRearmDue = false
            rearm()
        }
        if !hasUnsent, exchange?.isBodyTimed != true, exchange?.isTunnel != true, !isDiscarding,
            exchangeDeadline == nil
        {
            deadline = nil
        }
        guard isHeldBack, queued <= HTTP2Connection.streamQueueBytes / 2 else { return true }
        isHeldBack = false
        exchange?.clientIsWritable()
        return true
    }

    /// The deadline has come; what happens is what happens to a slow HTTP/1.1 client.
    func deadlineReached(now: MonotonicInstant) {
        if let exchangeDeadline, exchangeDeadline <= now {
            self.exchangeDeadline = nil
            exchange?.tookTooLong()
            rearm()
            return
        }
        // Something has moved in this turn, whose end sets the time anew; the limit on the exchange was judged all the same.
        guard !isRearmDue else { return }
        if let exchange, exchange.isTunnel {
            if progressBytes > 0 { return rearm() }
            exchange.tunnelWentIdle()
            return abort()
        }
        if progressBytes >= HTTP2Connection.progressFloor { return rearm() }
        if hasUnsent {
            exchange?.clientLeft(reset: true)
            return abort()
        }
        guard let exchange, exchange.wantsBody || exchange.isBodyPaused, !exchange.isOpenCall
        else {
            // Nothing is awaited of the client any more; the limit on the exchange stays.
            deadline = exchangeDeadline
            if let deadline { connection.deadlineMoved(to: deadline) }
            if isDiscarding { stopReceiving() }
            return
        }
        if exchange.isBodyPaused { exchange.upstreamTooSlow() } else { exchange.bodyTooSlow() }
    }
}
