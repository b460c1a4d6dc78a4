import HTTP
import Primitives
import Telemetry

/// The upstream's half of an exchange: the request goes out, the answer comes back.
extension Exchange {
    /// Forwards the request under its permit: once or, where that is safe, twice.
    func forward(_ permit: Permit) {
        self.permit = permit
        stage = .forwarding
        upstreamStartedAt = worker.loop.now
        let isHeld = !heldBody.isEmpty || (purposeHeldWhole && body.isFinished)
        outgoingFraming = isHeld ? .length(heldBody.count) : head.framing
        // A call's server may leave its head out until the client's last message.
        if !body.isFinished, head.isGRPC { endWithCredential() }
        connect(permit.route, isFresh: false)
        if stage == .forwarding, !body.isFinished { askForBody() }
    }

    /// Appends the request as it is sent: its head, and its body where that was held back. It is not kept: a second attempt
    /// writes it anew, from what it was judged by.
    func appendRequest(to output: inout [UInt8]) {
        guard let permit else { return }
        worker.requestWriter.append(
            permit, head, path: canonicalPathBytes, connection: connectionFacts, trace: trace,
            framing: outgoingFraming, upgrade: upgrade, to: &output)
        let body = heldBody
        output.append(body.span)
    }

    /// About how many bytes that is, before it is written: the gateway's own fields come on top.
    var requestBytes: Int {
        let head = self.head
        return head.content.count + heldBody.count
    }

    /// The address is empty for a unix socket, which the log alone calls `unix:`.
    private var connectionFacts: ConnectionFacts {
        guard forwarded != nil else {
            guard let client else { return ConnectionFacts(clientAddress: [], isTLS: false) }
            return ConnectionFacts(
                clientAddress: client.address == nil ? [] : client.text,
                isTLS: client.tls != nil)
        }
        let origin = self.origin
        return ConnectionFacts(
            clientAddress: clientAddress == nil ? [] : clientText, isTLS: origin.isTLS,
            authority: origin.authority, proxies: forwarded?.proxies ?? [])
    }

    /// Whether a body was taken whole before the verdict (an empty one leaves no bytes behind).
    private var purposeHeldWhole: Bool {
        switch head.framing {
        case .chunked: true
        case .none, .length, .untilClose: false
        }
    }

    /// Sends the request to the next server.
    ///
    /// - Parameter isFresh: only a new connection will do, since a kept one has just turned out to be stale.
    private func connect(_ route: CompiledRoute, isFresh: Bool) {
        let group = upstreams[route.upstreamIndex]
        do throws(UpstreamError) {
            let server = try group.nextServer(besides: extras?.unreached ?? [])
            record.upstream = server.label
            // A body that is yet to be streamed can be sent only once, whatever the method.
            let mayRepeat = isRepeatable && body.isFinished
            let request = outgoingRequest
            upstream = try group.begin(
                self, on: server, request, isFresh: isFresh, mayRepeat: mayRepeat)
            if !request.isWhole { requestBegun() }
        } catch {
            upstreamFailed(error)
        }
    }

    private var outgoingRequest: OutgoingRequest {
        let isChunked = outgoingFraming == .chunked
        return OutgoingRequest(
            framing: outgoingFraming, isWhole: body.isFinished && !isChunked)
    }

    /// The head is on its way. A body without content may have ended before: then its end is still to be said.
    private func requestBegun() {
        guard body.isFinished else { return }
        if outgoingFraming == .chunked { upstream?.endContent(trailerLines: requestTrailerLines) }
        upstream?.requestEnded()
    }

    /// The new connection has turned out to speak HTTP/2; nothing of the request has gone out.
    func upstreamSpeaksHTTP2(_ connection: HTTP2UpstreamConnection) {
        guard stage == .forwarding else { return }
        do throws(UpstreamError) {
            // Repeating it is out of the question for a connection that has just begun.
            let request = outgoingRequest
            upstream = try connection.begin(self, request, mayRepeat: true)
            if !request.isWhole { requestBegun() }
            upstreamIsWritable()
        } catch {
            upstreamFailed(error)
        }
    }

    /// Whether the request may be sent a second time: safe by its method (RFC 9110 section 9.2.2), and all of it
    /// is still here.
    private var isRepeatable: Bool {
        head.method.isIdempotent && !hasStreamedBody
    }

    // MARK: The request's body

    func streamContent(_ input: Span<UInt8>, _ range: Range<Int>) {
        guard let upstream, !range.isEmpty else { return }
        hasStreamedBody = true
        upstream.sendContent(input, range)
    }

    /// The request's body is complete.
    func streamEnded() {
        upstream?.endContent(trailerLines: requestTrailerLines)
        upstream?.requestEnded()
    }

    /// What follows the content: a gRPC call's trailers, or those of a route that asks for them. Others are dropped: a
    /// field that was not there when the request was judged must not turn up behind it unasked.
    private var requestTrailerLines: [UInt8] {
        let trailers = body.trailers
        guard !trailers.isEmpty, let route = permit?.route,
            route.passesRequestTrailers || head.isGRPC
        else { return [] }
        return worker.requestWriter.trailerLines(trailers, of: head, route)
    }

    /// The server has taken what was sent: the client may send more.
    func upstreamIsWritable() {
        guard stage == .forwarding || stage == .answering else { return }
        if body.isFinished {
            upstream?.requestEnded()
        } else {
            downstream?.awaitBody()
            downstream?.resume()
        }
    }

    // MARK: The answer

    /// An upstream that gets no proof asks for no nonce, and where we ask for one there is but ours.
    private var hidesNonce: Bool {
        permit?.route.forwardsAuthorization != true || snapshot.configuration.dpop.requiresNonce
    }

    /// An interim answer: passed on to a client that can take it. We have answered `100` ourselves.
    func upstreamInterim(_ interim: ResponseHead) {
        guard stage == .forwarding, interim.status != 100,
            ResponseHeadWriter.relaysInterim(interim, to: head)
        else { return }
        worker.scratch.removeAll(keepingCapacity: true)
        ResponseHeadWriter.append(
            interim, version: head.version, isHead: false, closes: false, date: worker.date,
            hidesNonce: hidesNonce, to: &worker.scratch)
        worker.withScratch { downstream?.sendInterim(status: interim.status, $0) }
    }

    func upstreamHead(_ answer: ResponseHead) {
        guard stage == .forwarding else { return }
        if upgrade != nil, head.version == .http2, 200..<300 ~= answer.status {
            // It would say that the tunnel is open (RFC 8441 section 5), and the server has opened none.
            return refuse(.upstreamBadResponse)
        }
        stage = .answering
        record.status = answer.status
        record.upstreamStatus = answer.status
        record.upstreamDuration = worker.elapsed(since: upstreamStartedAt)
        let framing = ResponseHeadWriter.framing(of: answer, for: head.version)
        if framing == .untilClose || worker.isDraining { closesAfterAnswer = true }
        worker.scratch.removeAll(keepingCapacity: true)
        ResponseHeadWriter.append(
            answer, version: head.version, isHead: head.method == .head, closes: closesAfterAnswer,
            date: worker.date, nonce: freshNonce, hidesNonce: hidesNonce, to: &worker.scratch)
        worker.withScratch {
            downstream?.beginAnswer(status: answer.status, $0, framing: framing)
        }
        guard answer.isLasting else { return }
        // A length that was told must be kept: then only a reset ends the answer before its end.
        if isGRPC, framing == .chunked { followMessages() }
        endWithCredential()
    }

    /// The upstream goes over to the protocol that was asked for: from now on bytes pass as they are, both ways.
    func upstreamSwitched(_ answer: ResponseHead, _ upgrade: WebSocketUpgrade) {
        guard stage == .forwarding else { return }
        stage = .answering
        isTunnel = true
        closesAfterAnswer = true
        bodyLimitBytes = .max
        if head.version == .http2 {
            body.beginFramed(.untilClose)
        } else {
            body.begin(.untilClose)
        }
        record.status = answer.status
        record.upstreamStatus = answer.status
        record.upstreamDuration = worker.elapsed(since: upstreamStartedAt)
        worker.scratch.removeAll(keepingCapacity: true)
        ResponseHeadWriter.appendSwitch(
            answer, upgrade, version: head.version, nonce: freshNonce, hidesNonce: hidesNonce,
            to: &worker.scratch)
        let status = head.version == .http2 ? 200 : 101
        worker.withScratch { downstream?.beginAnswer(status: status, $0, framing: .untilClose) }
        hasAnswerBegun = true
        downstream?.flushAnswer()
        // The client may be gone, and the exchange given back.
        guard stage == .answering else { return }
        endWithCredential()
        downstream?.awaitBody()
        downstream?.resume()
    }

    /// Content of the answer.
    func upstreamData(_ input: Span<UInt8>, _ range: Range<Int>) {
        guard stage == .answering, !range.isEmpty, head.method != .head else { return }
        record.bytesOut += range.count
        extras?.callMessages?.take(input, range)
        downstream?.sendContent(input, range)
        if hasAnswerBegun { yieldToClient() }
    }

    /// Writes what has come in this turn; reading on waits until the client has taken it.
    func flushAnswer() {
        guard stage == .answering else { return }
        hasAnswerBegun = true
        downstream?.flushAnswer()
        yieldToClient()
    }

    private func yieldToClient() {
        if downstream?.isCongested == true { upstream?.pauseReading(true) }
    }

    /// The client has taken everything: the answer may go on.
    func clientIsWritable() {
        guard stage == .answering else { return }
        upstream?.pauseReading(false)
    }

    func upstreamEnded(trailers: Trailers) {
        upstream = nil
        guard stage == .answering else { return }
        hasAnswerBegun = true
        let downstream = self.downstream
        downstream?.endAnswer(trailers)
        guard stage == .answering else { return }
        stage = .ended
        if !body.isFinished, !isRemainderSmall { closesAfterAnswer = true }
        log()
        downstream?.exchangeEnded(closes: closesAfterAnswer)
    }

    private var isRemainderSmall: Bool {
        guard let remaining = body.remaining else { return true }
        return remaining <= DownstreamConnection.discardLimitBytes
    }

    /// The upstream failed. Before any byte of an answer another attempt may be made; after, the fault is shown.
    func upstreamFailed(_ error: UpstreamError) {
        let failed = upstream
        upstream = nil
        guard stage == .forwarding || stage == .answering else { return }
        if stage == .forwarding, let route = permit?.route,
            mayTryAgain(route, after: error, on: failed)
        {
            if error.isOfConnecting { leaveOut(record.upstream) }
            connect(route, isFresh: error != .requestUnprocessed && error != .requestUnsent)
            // The body may wait for a server that could not take it: this one may.
            if stage == .forwarding { upstreamIsWritable() }
            return
        }
        record.upstreamDuration = worker.elapsed(since: upstreamStartedAt)
        if stage == .answering, !hasAnswerBegun, downstream?.retractAnswer() == true {
            // The fault came with the head, before any of it was passed on: an honest 502 is still possible.
            stage = .forwarding
            return refuse(.upstreamBadResponse)
        }
        if !body.isFinished { closesAfterAnswer = true }
        refuse(error.reason)
    }

    private func mayTryAgain(
        _ route: CompiledRoute, after error: UpstreamError, on failed: (any UpstreamStream)?
    ) -> Bool {
        guard !hasStreamedBody else { return false }
        return attempts.takesAnother(
            after: error, retries: upstreams[route.upstreamIndex].configuration.retries,
            isRepeatable: isRepeatable, isReused: failed?.isReused == true)
    }
}
