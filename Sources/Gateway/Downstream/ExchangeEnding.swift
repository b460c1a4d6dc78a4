import HTTP
import Primitives
import Telemetry

/// How an exchange ends: by an answer of the gateway's own, by a fault of the client, or because nobody is there any more.
extension Exchange {
    // MARK: Faults of the client

    func refuseHead(_ error: HTTP1Error) {
        startedAt = worker.loop.now
        isHeadUnread = true
        identify()
        closesAfterAnswer = true
        refuse(Refusal(error.reason, status: error.status))
    }

    /// The stream was reset for a malformed head: there is nothing to answer to, and a line to log.
    func headWasMalformed() {
        isHeadUnread = true
        identify()
        record.status = 400
        record.reason = .badRequest
        stage = .ended
        log()
    }

    func refuseSlowHead() {
        isHeadUnread = true
        identify()
        closesAfterAnswer = true
        refuse(Refusal(.timeout, status: 408))
    }

    func bodyTooSlow() {
        closesAfterAnswer = true
        refuse(Refusal(.timeout, status: 408))
    }

    func bodyFault(_ error: HTTP1Error) {
        closesAfterAnswer = true
        refuse(Refusal(error.reason, status: error.status))
    }

    /// The upstream takes no more of the body.
    func upstreamTooSlow() {
        closesAfterAnswer = true
        refuse(.upstreamTimeout)
    }

    /// The route's limit on the whole exchange has come, or the end of the credential.
    func tookTooLong() {
        closesAfterAnswer = true
        guard let credentialEnd, credentialEnd.at <= worker.loop.now else {
            return refuse(.upstreamTimeout)
        }
        if callMessages?.areWhole == true, stage == .answering {
            endCall(Refusal(credentialEnd.reason))
        } else {
            refuse(credentialEnd.reason)
        }
    }

    /// Neither side of a tunnel has sent anything for the idle time.
    func tunnelWentIdle() {
        record.reason = .timeout
        clientLeft(reset: false)
    }

    /// The client is gone: the upstream must not work on.
    func clientLeft(reset: Bool) {
        guard stage != .ended else { return }
        dropUpstream()
        // A tunnel ends when either side goes.
        if !isTunnel {
            record.status = 499
            record.reason = .clientClosed
        }
        stage = .ended
        log()
    }

    func dropUpstream() {
        let connection = upstream
        upstream = nil
        connection?.abandon()
    }

    // MARK: Ending

    /// Ends a call whose answer has begun and in which no message is half said: its client is told why.
    private func endCall(_ refusal: Refusal) {
        dropUpstream()
        record.reason = refusal.reason
        hasAnswerBegun = true
        stage = .ended
        downstream?.endAnswer(GRPCStatus.trailers(of: refusal))
        log()
        downstream?.exchangeEnded(closes: true)
    }

    /// Answers with an error of ours, or cuts an answer that has begun.
    func refuse(_ reason: Reason) {
        var refusal = Refusal(reason)
        if reason == .methodNotAllowed, let route { refusal.allow = route.methods.allow }
        refuse(refusal)
    }

    func refuse(_ refusal: Refusal) {
        var refusal = refusal
        refusal.tokenScheme = tokenScheme
        refusal.nonce = freshNonce
        dropUpstream()
        record.reason = refusal.reason
        if let attempted = refusal.attempted {
            record.scheme = attempted == .bearer ? AccessRecord.Scheme(tokenScheme) : .oauth1
            record.authenticationDuration =
                record.authenticationDuration ?? worker.elapsed(since: startedAt)
        }
        if stage == .answering {
            // The head is out: the only honest sign that is left is a cut connection.
            stage = .ended
            log()
            downstream?.abort()
            return
        }
        guard stage != .ended else { return }
        stage = .ended
        if worker.isDraining { closesAfterAnswer = true }
        if isBodyInDoubt { closesAfterAnswer = true }
        record.status = refusal.status
        worker.scratch.removeAll(keepingCapacity: true)
        let count = worker.replies.append(
            refusal, accepted: route?.accepted ?? [], replyContext, to: &worker.scratch)
        endWithReply(contentCount: count, isRefusalGRPC: isGRPC && !isHeadUnread)
    }

    /// Whether the client speaks gRPC and knows a refusal by its status alone.
    var isGRPC: Bool { head.version == .http2 && head.isGRPC }

    /// Sends the reply that stands in the worker's scratch.
    private func endWithReply(contentCount: Int, isRefusalGRPC: Bool = false) {
        record.bytesOut += contentCount
        // The log has the status that the reason has; on the wire gRPC says it in its own field.
        let status = isRefusalGRPC ? 200 : record.status
        // First: a client that is gone takes the exchange with it, and the line says whose it was.
        log()
        worker.withScratch { downstream?.reply(status: status, $0, contentCount: contentCount) }
        downstream?.exchangeEnded(closes: closesAfterAnswer)
    }

    /// What a reply of ours says of the request that it answers.
    var replyContext: ReplyContext {
        if isHeadUnread {
            return .unread(head.version, requestID: trace.requestID, date: worker.date)
        }
        var context = ReplyContext(
            version: head.version, isHead: head.method == .head, closes: closesAfterAnswer,
            requestID: trace.requestID, date: worker.date)
        context.isGRPC = isGRPC
        return context
    }

    /// Whether the client sends what is left of the body now cannot be known, or it is too much: the connection cannot go on.
    private var isBodyInDoubt: Bool {
        guard !body.isFinished else { return false }
        // `100-continue` may stand beside one that we do not know.
        if head.expectsContinue && !isContinueSent || head.hasUnknownExpectation { return true }
        guard let remaining = body.remaining else { return false }
        return remaining > DownstreamConnection.discardLimitBytes
    }

    /// Ends with an answer of the gateway's own.
    ///
    /// - Parameter fields: further field lines, each with its line end.
    func answer(
        status: Int, contentType: StaticString, body content: [UInt8], fields: [UInt8] = []
    ) {
        guard stage != .ended, stage != .answering else { return }
        stage = .ended
        if worker.isDraining { closesAfterAnswer = true }
        if isBodyInDoubt { closesAfterAnswer = true }
        record.status = status
        worker.scratch.removeAll(keepingCapacity: true)
        let count = worker.replies.append(
            status: status, contentType: contentType, body: content, fields: fields, replyContext,
            to: &worker.scratch)
        endWithReply(contentCount: count)
    }
}
