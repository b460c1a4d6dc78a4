import HTTP
import OAuth
import Primitives
import Telemetry

/// One request and its answer, on its way through the phases. Pooled by the worker; it does not know which protocol
/// version is on either side.
///
/// The stage says who has the next word; every event that does not fit the stage is dropped, since the other side may
/// have ended in the same turn.
final class Exchange {
    enum Stage: Equatable {
        case idle
        /// Held: the whole body is needed before the verdict.
        case holding
        /// Something off the loop will resume it.
        case suspended(UInt64)
        /// The request goes out or is out; no byte of the answer has been passed on.
        case forwarding
        /// The answer's head has been passed on.
        case answering
        case ended
    }

    /// What a held body is for.
    enum Purpose {
        case authentication
        case tokenEndpoint
    }

    unowned let worker: Worker
    let head = RequestHead()
    var downstream: (any ClientStream)?
    /// The configuration it began with; a reload does not touch it.
    var snapshot: GatewaySnapshot
    var stage = Stage.idle {
        didSet {
            // Whichever way the wait ends, its ticket dies with it: an exchange is used again, and an answer that comes
            // late must not reach the next request.
            if case .suspended(let ticket) = oldValue { worker.forget(ticket) }
        }
    }
    var purpose = Purpose.authentication

    // What the phases found
    var canonicalPath: [UInt8] = []
    var trace = RequestTrace()
    var route: CompiledRoute?
    var principal: Principal?
    var permit: Permit?
    var oauth1Claim: OAuth1Claim?
    var tokenRequest: TokenRequest?
    var tokenGrant: TokenGrant?

    // The body
    var body = BodyReader()
    var heldBody: [UInt8] = []
    var holdLimitBytes = 0
    var bodyLimitBytes = 0
    var isContinueSent = false
    /// Not even the head could be read: what it seems to say is not to be trusted.
    var isHeadUnread = false

    // The upstream's side
    var upstream: UpstreamConnection?
    /// The request's head as sent (with a held body behind it): what a second attempt sends again.
    var outgoing: [UInt8] = []
    /// How the request's body is framed on its way out.
    var outgoingFraming = BodyFraming.none
    var attempts = 0
    /// Whether any of a streamed body has gone out: then the request cannot be sent twice.
    var hasStreamedBody = false

    // The answer
    /// The upgrade that the request asks for, where its route lets it.
    var upgrade: WebSocketUpgrade?
    /// Both sides have gone over to another protocol: bytes pass as they are.
    var isTunnel = false
    /// When a stream must end because its credential does.
    var credentialEnd: MonotonicInstant?
    var closesAfterAnswer = false
    /// Whether a byte of the upstream's answer has been written to the client.
    var hasAnswerBegun = false

    var record = AccessRecord()
    var startedAt = MonotonicInstant(nanoseconds: 0)
    var upstreamStartedAt = MonotonicInstant(nanoseconds: 0)

    init(worker: Worker, snapshot: GatewaySnapshot) {
        self.worker = worker
        self.snapshot = snapshot
    }

    /// Makes the exchange ready for a connection's next request.
    func prepare(for downstream: any ClientStream, snapshot: GatewaySnapshot) {
        self.downstream = downstream
        self.snapshot = snapshot
        stage = .idle
        head.reset()
        canonicalPath.removeAll(keepingCapacity: true)
        outgoing.removeAll(keepingCapacity: true)
        heldBody = []
        route = nil
        principal = nil
        permit = nil
        oauth1Claim = nil
        tokenRequest = nil
        tokenGrant = nil
        body.begin(.none)
        isContinueSent = false
        isHeadUnread = false
        purpose = .authentication
        attempts = 0
        hasStreamedBody = false
        closesAfterAnswer = false
        hasAnswerBegun = false
        upgrade = nil
        isTunnel = false
        credentialEnd = nil
        record.reset()
        startedAt = worker.loop.now
    }

    /// Lets go of everything when the connection ends or goes on to its next request.
    func release() {
        stage = .idle
        upstream?.abandon()
        upstream = nil
        downstream = nil
        snapshot = worker.snapshot
        heldBody = []
        if outgoing.capacity > 64 << 10 { outgoing = [] }
    }

    // MARK: Phases

    /// A request head is complete: takes it through the phases as far as it goes without waiting.
    func begin() {
        startedAt = worker.loop.now
        if head.version == .http2 {
            body.beginFramed(head.framing)
        } else {
            body.begin(head.framing)
        }
        bodyLimitBytes = listener.limits.bodyBytes
        if !head.keepsAlive { closesAfterAnswer = true }
        guard identify() else { return refuse(.internalError) }
        if head.hasUnknownExpectation { return refuse(.expectationFailed) }
        guard canonicalise() else { return refuse(.badPath) }
        switch listener.role {
        case .admin:
            AdminEndpoints.answer(self)
        case .traffic:
            if let authority = snapshot.authority(on: listener.name),
                AuthorityEndpoints.takes(self, authority)
            {
                return
            }
            findRoute()
        }
    }

    /// Gives the request its id and its place in a trace; false when the system gives no random bytes.
    @discardableResult
    private func identify() -> Bool {
        do {
            if isHeadUnread {
                try trace.begin(ids: &worker.identifiers)
            } else {
                try trace.begin(head, ids: &worker.identifiers)
            }
            return true
        } catch {
            worker.shared.errors.error("no random bytes", ["cause": "\(error)"])
            return false
        }
    }

    var listener: ListenerContext {
        downstream?.listener ?? worker.nowhere
    }

    private func canonicalise() -> Bool {
        if head.isAsterisk {
            canonicalPath.append(0x2A)
            return true
        }
        let head = self.head
        return CanonicalPath.canonicalize(head.span(of: head.path), into: &canonicalPath)
    }

    private func findRoute() {
        let head = self.head
        // `OPTIONS *` concerns the server as a whole: it goes where `/` goes.
        let path = head.isAsterisk ? [0x2F] : canonicalPath
        switch snapshot.routes.match(authority: head.span(of: head.authority), path: path.span) {
        case .none:
            return refuse(.noRoute)
        case .ambiguous:
            return refuse(.badPath)
        case .route(let route):
            self.route = route
            if let limit = route.bodyLimitBytes { bodyLimitBytes = limit }
            guard route.takes(head.method, name: head.span(of: head.methodRange)) else {
                return refuse(.methodNotAllowed)
            }
            if let timeout = route.timeout { downstream?.limitExchange(to: timeout) }
            if head.upgradesToWebSocket {
                guard route.allowsWebSocket else { return refuse(.upgradeNotSupported) }
                guard mayUpgrade() else { return }
            }
        }
        if case .length(let count) = head.framing, count > bodyLimitBytes {
            return refuse(.bodyTooLarge)
        }
        authenticate()
    }

    /// An upgrade is a GET without a body (RFC 6455 section 4.1): one with a body would have two meanings once the
    /// upstream switches.
    private func mayUpgrade() -> Bool {
        guard head.method == .get, head.version == .http2 || head.framing == .none else {
            refuse(.badRequest)
            return false
        }
        do {
            upgrade = try WebSocketUpgrade.requested(by: head)
            if head.version == .http2 {
                // What follows on the stream is the tunnel's, not a body's; it waits until there is one.
                body.begin(.none)
            }
            return true
        } catch {
            refuse(.internalError)
            return false
        }
    }

    // MARK: Holding the body

    /// Waits for the whole body, at most `limitBytes` of it, then goes on with `purpose`.
    func hold(for purpose: Purpose, limitBytes: Int) {
        if let remaining = body.remaining, remaining > limitBytes { return refuse(.bodyTooLarge) }
        self.purpose = purpose
        holdLimitBytes = min(limitBytes, bodyLimitBytes)
        heldBody.removeAll(keepingCapacity: true)
        stage = .holding
        if body.isFinished { return holdEnded() }
        askForBody()
    }

    /// The client may wait for `100 (Continue)` before it sends the body (RFC 9110 section 10.1.1).
    func askForBody() {
        if head.expectsContinue, !isContinueSent {
            isContinueSent = true
            downstream?.sendContinue()
        }
        downstream?.awaitBody()
    }

    func holdEnded() {
        downstream?.bodyTaken()
        switch purpose {
        case .authentication: authenticateWithBody()
        case .tokenEndpoint: AuthorityEndpoints.answerTokenRequest(self)
        }
    }

    // MARK: What the connection asks

    /// Whether bytes of the body are wanted now.
    var wantsBody: Bool {
        switch stage {
        case .holding: !body.isFinished
        case .forwarding, .answering: !body.isFinished && !isBodyPaused
        case .idle, .suspended, .ended: false
        }
    }

    /// Whether the client must stop sending for now.
    var isBodyPaused: Bool {
        switch stage {
        case .forwarding, .answering:
            !body.isFinished && (upstream?.isCongested ?? true)
        case .suspended:
            !body.isFinished
        case .idle, .holding, .ended:
            false
        }
    }

    /// Whether all of the request has been read from the client.
    var isBodyTaken: Bool { body.isFinished }

    /// Whether all of the request has been handed to the upstream.
    var isRequestSent: Bool { body.isFinished }

    /// Takes bytes of the body; returns where it stopped.
    func takeBody(_ input: Span<UInt8>, from offset: Int) -> Int {
        var next = offset
        do throws(HTTP1Error) {
            while wantsBody {
                switch try body.next(input, from: &next) {
                case .data(let range):
                    guard body.received <= bodyLimitBytes else {
                        refuse(.bodyTooLarge)
                        return input.count
                    }
                    takeContent(input, range)
                case .needsMore:
                    return next
                case .end:
                    break
                }
                if body.isFinished { bodyEnded() }
            }
        } catch {
            bodyFault(error)
            return input.count
        }
        return next
    }

    /// Takes content that its connection has framed (HTTP/2), all of it.
    func takeFramedContent(_ input: Span<UInt8>) {
        body.take(input.count)
        guard body.received <= bodyLimitBytes else { return refuse(.bodyTooLarge) }
        takeContent(input, 0..<input.count)
    }

    /// Whether the end of a framed body is of use now.
    var takesBodyEnd: Bool {
        switch stage {
        case .holding, .forwarding, .answering: !body.isFinished
        case .idle, .suspended, .ended: false
        }
    }

    /// A framed body has ended.
    func endFramedBody(_ trailers: Trailers) {
        body.end(trailers: trailers)
        bodyEnded()
    }

    private func takeContent(_ input: Span<UInt8>, _ range: Range<Int>) {
        switch stage {
        case .holding:
            guard heldBody.count + range.count <= holdLimitBytes else {
                return refuse(.bodyTooLarge)
            }
            heldBody.append(input, range)
        case .forwarding, .answering:
            streamContent(input, range)
        case .idle, .suspended, .ended:
            break
        }
    }

    private func bodyEnded() {
        switch stage {
        case .holding:
            holdEnded()
        case .forwarding, .answering:
            downstream?.bodyTaken()
            streamEnded()
        case .idle, .suspended, .ended:
            break
        }
    }

    /// Drops body bytes of a request that has been answered: true when the body has ended, nil when it is broken.
    func discardBody(_ input: Span<UInt8>, from offset: inout Int) -> Bool? {
        do throws(HTTP1Error) {
            while !body.isFinished {
                if case .needsMore = try body.next(input, from: &offset) { return false }
            }
            return true
        } catch {
            return nil
        }
    }

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

    private func bodyFault(_ error: HTTP1Error) {
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
        let isCredentialOver =
            credentialEnd.map { $0 <= worker.loop.now } ?? false
        refuse(isCredentialOver ? .tokenExpired : .upstreamTimeout)
    }

    /// Neither side of a tunnel has sent anything for the idle time.
    func tunnelWentIdle() {
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

    /// Answers with an error of ours, or cuts an answer that has begun.
    func refuse(_ reason: Reason) {
        var refusal = Refusal(reason)
        if reason == .methodNotAllowed, let route { refusal.allow = route.methods.allow }
        refuse(refusal)
    }

    func refuse(_ refusal: Refusal) {
        dropUpstream()
        record.reason = refusal.reason
        if let attempted = refusal.attempted {
            record.scheme = attempted == .bearer ? .bearer : .oauth1
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
        if !body.isFinished, head.expectsContinue && !isContinueSent || !isBodySmall {
            // Whether the client sends the body now cannot be known: the connection cannot go on.
            closesAfterAnswer = true
        }
        record.status = refusal.status
        worker.scratch.removeAll(keepingCapacity: true)
        let count = worker.replies.append(
            refusal, accepted: route?.accepted ?? [], replyContext, to: &worker.scratch)
        endWithReply(contentCount: count, isRefusalGRPC: isGRPC && !isHeadUnread)
    }

    /// Whether the client speaks gRPC and knows a refusal by its status alone.
    private var isGRPC: Bool { head.version == .http2 && head.isGRPC }

    /// Sends the reply that stands in the worker's scratch.
    private func endWithReply(contentCount: Int, isRefusalGRPC: Bool = false) {
        record.bytesOut += contentCount
        let reply = worker.scratch
        // The log has the status that the reason has; on the wire gRPC says it in its own field.
        let status = isRefusalGRPC ? 200 : record.status
        downstream?.reply(status: status, reply, contentCount: contentCount)
        log()
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

    private var isBodySmall: Bool {
        guard let remaining = body.remaining else { return true }
        return remaining <= DownstreamConnection.discardLimitBytes
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
        if !body.isFinished, head.expectsContinue && !isContinueSent || !isBodySmall {
            closesAfterAnswer = true
        }
        record.status = status
        worker.scratch.removeAll(keepingCapacity: true)
        let count = worker.replies.append(
            status: status, contentType: contentType, body: content, fields: fields, replyContext,
            to: &worker.scratch)
        endWithReply(contentCount: count)
    }
}
