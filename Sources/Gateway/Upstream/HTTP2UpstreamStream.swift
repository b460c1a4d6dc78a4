import HTTP
import Primitives
import Transport

/// One exchange on an HTTP/2 connection to a server.
final class HTTP2UpstreamStream: UpstreamStream {
    let id: Int32
    let head = ResponseHead()
    let isReused: Bool
    /// When the server must have said something; `nil` while nothing is awaited of it.
    private(set) var deadline: MonotonicInstant?

    private let connection: HTTP2UpstreamConnection
    /// `nil` once it has been told of the end, or has left.
    private var exchange: Exchange?
    private var hasFinalHead = false
    /// Anything of an answer has come: then no second attempt may be made.
    private var hasAnswer = false
    private var isHeadOut = false
    /// The request is complete on our side.
    private var isRequestOut: Bool
    private var isReadingPaused = false
    /// Content that the client has not taken yet: the server's window stays shut for as much.
    private var unconsumed = 0
    /// The exchange waits until less is queued.
    private var isHeldBack = false
    private var hasContentThisTurn = false

    init(
        id: Int32, connection: HTTP2UpstreamConnection, exchange: Exchange, isReused: Bool,
        isRequestOut: Bool
    ) {
        self.id = id
        self.connection = connection
        self.exchange = exchange
        self.isReused = isReused
        self.isRequestOut = isRequestOut
    }

    // MARK: UpstreamStream

    /// Nothing is taken before the head has gone out: what has not been taken can go to another server.
    var isCongested: Bool {
        !isHeadOut
            || connection.session.queuedBytes(id) > HTTP2UpstreamConnection.streamQueueBytes
    }

    func sendContent(_ input: Span<UInt8>, _ range: Range<Int>) {
        connection.session.sendData(id, input.extracting(range))
        if isCongested { isHeldBack = true }
        connection.needsFlush()
    }

    func endContent(trailerLines: [UInt8]) {
        guard !isRequestOut else { return }
        isRequestOut = true
        connection.session.finish(id, trailerLines: trailerLines.span)
        connection.needsFlush()
    }

    func requestEnded() {
        if !hasFinalHead { awaitServer() }
    }

    func pauseReading(_ isPaused: Bool) {
        guard isReadingPaused != isPaused else { return }
        isReadingPaused = isPaused
        if isPaused {
            deadline = nil
        } else {
            let count = unconsumed
            unconsumed = 0
            connection.session.consumed(id, count)
            connection.needsFlush()
            awaitServer()
        }
    }

    func abandon() {
        exchange = nil
        deadline = nil
        connection.session.reset(id, code: .cancel)
        connection.needsFlush()
    }

    // MARK: From the connection

    func responseHead() {
        guard let exchange else { return }
        hasAnswer = true
        if head.isInterim {
            exchange.upstreamInterim(head)
            return
        }
        hasFinalHead = true
        hasContentThisTurn = true
        awaitServer()
        exchange.upstreamHead(head)
    }

    func data(_ input: Span<UInt8>) {
        guard let exchange else { return connection.session.consumed(id, input.count) }
        hasContentThisTurn = true
        exchange.upstreamData(input, 0..<input.count)
        if isReadingPaused {
            unconsumed += input.count
        } else {
            connection.session.consumed(id, input.count)
            awaitServer()
        }
    }

    func responseEnded(_ trailers: Trailers) {
        guard let exchange else { return }
        self.exchange = nil
        deadline = nil
        // An answer that came before the request was whole: nobody sends the rest (RFC 9113 section 8.1). Nor does anybody
        // send an end that waits for a window, without which the stream would stay open for ever.
        if !connection.session.isEnded(id) {
            connection.session.reset(id, code: .cancel)
        }
        exchange.upstreamEnded(trailers: trailers)
    }

    /// What has come in one turn is passed on together.
    func turnEnded() {
        guard hasContentThisTurn else { return }
        hasContentThisTurn = false
        exchange?.flushAnswer()
    }

    func closed(_ end: HTTP2StreamEnd) {
        guard let exchange else { return }
        self.exchange = nil
        deadline = nil
        switch end {
        case .unsent: exchange.upstreamFailed(.requestUnsent)
        case .unprocessed:
            exchange.upstreamFailed(hasAnswer ? .responseIncomplete : .requestUnprocessed)
        case .malformed:
            exchange.upstreamFailed(hasFinalHead ? .responseIncomplete : .responseInvalid)
        case .complete, .reset: exchange.upstreamFailed(.responseIncomplete)
        }
    }

    /// The connection has ended under it.
    func lost(_ error: UpstreamError) {
        guard let exchange else { return }
        self.exchange = nil
        deadline = nil
        guard !hasAnswer else { return exchange.upstreamFailed(.responseIncomplete) }
        // Not `isHeadOut`, which is told of a write that has ended well alone.
        let isUnsent = !connection.session.isSent(id)
        // The server never heard of it: another may, as when there had been no connection.
        switch error {
        case .responseTimeout where !isHeadOut: exchange.upstreamFailed(.connectionTimeout)
        case .connectionTerminated where isUnsent:
            // A server that ends new connections unheard is not tried without end.
            exchange.upstreamFailed(isReused ? .requestUnsent : .requestUnprocessed)
        default: exchange.upstreamFailed(error)
        }
    }

    /// The connection has written: goes on where the exchange was held back.
    func outputMoved() {
        if !isHeadOut, connection.session.isSent(id) {
            isHeadOut = true
            // Now it is the client's time that runs, until the request is whole.
            if isRequestOut { awaitServer() } else { deadline = nil }
            exchange?.upstreamIsWritable()
        }
        guard isHeldBack,
            connection.session.queuedBytes(id) <= HTTP2UpstreamConnection.streamQueueBytes / 2
        else { return }
        isHeldBack = false
        exchange?.upstreamIsWritable()
    }

    // MARK: Time

    /// The request waits for the server to hear it: that may not take longer than an answer.
    func begun() {
        awaitServer()
    }

    /// A call of gRPC that both sides have begun may be silent for as long as both are there, which their connections find
    /// out. A server that answers with anything else knows of no call.
    var mayBeSilent: Bool { isHeadOut && (!hasFinalHead || head.isGRPC) }

    private func awaitServer() {
        guard let exchange, !isReadingPaused else { return }
        if hasFinalHead, exchange.head.isGRPC, head.isGRPC {
            deadline = nil
            return
        }
        let end =
            connection.worker.loop.now + connection.group.configuration.responseTimeout
        deadline = end
        connection.deadlineMoved(to: end)
    }

    func deadlineReached() {
        guard let exchange else { return }
        self.exchange = nil
        deadline = nil
        connection.session.reset(id, code: .cancel)
        connection.needsFlush()
        exchange.upstreamFailed(.responseTimeout)
    }
}
