import HTTP
import OAuth
import Primitives
import Store
import Telemetry
import Transport

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
        case introspection
        case revocation
        case oauth1RequestToken
        case oauth1AccessToken
    }

    /// Of each of its buffers, from request to request.
    private static let keptBytes = 16 << 10

    let worker: Worker
    let head = RequestHead()
    /// Reads a head of HTTP/1.1, which may come in pieces: here, so that an idle connection need not hold it.
    var headParser = RequestHeadParser(limits: HTTP1Limits())
    var downstream: (any ClientStream)?
    /// Whose request it is; `nil` when it is nobody's.
    private(set) var client: ClientPeer?
    /// The configuration it began with; a reload does not touch it. Kept from request to request, as it is mostly the same.
    private(set) var snapshot: GatewaySnapshot
    /// Those of that configuration, in its order; a reload may have retired them.
    private(set) var upstreams: [UpstreamGroup] = []
    var stage = Stage.idle {
        didSet {
            // Whichever way the wait ends, its ticket dies with it: an exchange is used again, and an answer that comes
            // late must not reach the next request.
            if case .suspended(let ticket) = oldValue { _ = worker.waiting.take(ticket) }
        }
    }
    var purpose = Purpose.authentication
    /// Where the request comes from by what a trusted proxy says; `nil`: from the connection's peer.
    private(set) var forwarded: ForwardedClient?

    // What the phases found
    private(set) var canonicalPath: [UInt8] = []
    var trace = RequestTrace()
    var route: CompiledRoute?
    var principal: Principal?
    var permit: Permit?
    /// Of the head's bytes.
    var bearerToken = 0..<0
    /// How it was shown.
    var tokenScheme = TokenScheme.bearer
    /// What the client's next proof must have as its nonce, where that is news to it; otherwise empty.
    var freshNonce: [UInt8] = []
    var keySearch = KeySearch.begun
    /// What few requests have, so that the others need not carry it.
    var extras: ExchangeExtras?
    /// What goes on when the store has answered.
    var whenAnswered: ((Exchange, any Sendable) -> Void)?

    // The body
    let body = BodyReader()
    var heldBody: [UInt8] = []
    var holdLimitBytes = 0
    var bodyLimitBytes = 0
    var isContinueSent = false
    /// Not even the head could be read: what it seems to say is not to be trusted.
    var isHeadUnread = false

    // The upstream's side
    var upstream: (any UpstreamStream)?
    /// How the request's body is framed on its way out.
    var outgoingFraming = BodyFraming.none
    var attempts = Attempts()
    /// Whether any of a streamed body has gone out: then the request cannot be sent twice.
    var hasStreamedBody = false

    // The answer
    /// The upgrade that the request asks for, where its route lets it.
    var upgrade: WebSocketUpgrade?
    /// Both sides have gone over to another protocol: bytes pass as they are.
    var isTunnel = false
    /// The worker tells it when credentials are withdrawn.
    var isWatched = false
    var closesAfterAnswer = false
    /// The head of the upstream's answer, where the client's stream keeps it back.
    var answerHead: [UInt8] = []
    /// Whether a byte of the upstream's answer has been written to the client.
    var hasAnswerBegun = false

    var record = Record()
    var startedAt = MonotonicInstant(nanoseconds: 0)
    var upstreamStartedAt = MonotonicInstant(nanoseconds: 0)

    init(worker: Worker) {
        self.worker = worker
        snapshot = worker.snapshot
        upstreams = worker.upstreams
    }

    /// Makes the exchange ready for a connection's next request.
    func prepare(for downstream: any ClientStream) {
        self.downstream = downstream
        client = downstream.client
        useNewestSnapshot()
        stage = .idle
        head.reset()
        changePath { $0.removeAll(keepingCapacity: true) }
        if !heldBody.isEmpty { heldBody = [] }
        route = nil
        principal = nil
        permit = nil
        bearerToken = 0..<0
        tokenScheme = .bearer
        if !freshNonce.isEmpty { freshNonce = [] }
        keySearch = .begun
        if extras != nil { extras = nil }
        whenAnswered = nil
        body.begin(.none)
        isContinueSent = false
        isHeadUnread = false
        purpose = .authentication
        forwarded = nil
        attempts = Attempts()
        hasStreamedBody = false
        closesAfterAnswer = false
        hasAnswerBegun = false
        upgrade = nil
        isTunnel = false
        record = Record()
        startedAt = worker.loop.now
    }

    func useNewestSnapshot() {
        guard snapshot !== worker.snapshot else { return }
        snapshot = worker.snapshot
        upstreams = worker.upstreams
    }

    /// The clients as they are now, where a body came between the head and the verdict: of those that the request began under
    /// one may have lost its secret meanwhile.
    var known: GatewaySnapshot { worker.snapshot }

    /// Lets go of everything when the connection ends or goes on to its next request.
    func release() {
        stage = .idle
        if isWatched { worker.unwatch(self) }
        whenAnswered = nil
        if let upstream = upstream.take() { upstream.abandon() }
        downstream = nil
        client = nil
        if !heldBody.isEmpty { heldBody = [] }
        // Spare, it holds nobody's credentials, and no room that few requests need.
        principal = nil
        permit = nil
        if extras != nil { extras = nil }
        head.trim(to: Exchange.keptBytes)
        if answerHead.capacity > Exchange.keptBytes { answerHead = [] }
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
        let listener = self.listener
        bodyLimitBytes = listener.limits.bodyBytes
        if !head.keepsAlive { closesAfterAnswer = true }
        if isCertificateOver {
            // On a new connection the client can show one that counts.
            closesAfterAnswer = true
            downstream?.endConnection()
        }
        guard identify() else { return refuse(.internalError) }
        guard findClient(trusted: listener.configuration.trustedProxies) else {
            // It counts for nobody: who sent it through the proxy is not known, and the proxy is not to blame.
            return refuse(.badRequest)
        }
        let hasPath = canonicalise()
        // What is refused for its head counts too.
        if listener.role == .traffic, let rates = snapshot.rates,
            !meetEarlyRates(rates, hasPath: hasPath)
        {
            return
        }
        if head.hasUnknownExpectation { return refuse(.expectationFailed) }
        guard hasPath else { return refuse(.badPath) }
        switch listener.role {
        case .admin: AdminEndpoints.answer(self)
        case .traffic: serve(listener)
        }
    }

    /// Answers what is the gateway's own, and takes all else on to its route.
    func serve(_ listener: ListenerContext) {
        if snapshot.authority != nil, let authority = snapshot.authority(on: listener.name),
            AuthorityEndpoints.takes(self, authority)
        {
            return
        }
        findRoute()
    }

    /// Gives the request its id and its place in a trace; false when the system gives no random bytes.
    @discardableResult
    func identify() -> Bool {
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
        client?.listener ?? worker.nowhere
    }

    // MARK: The client

    private func findClient(trusted: [IPPrefix]) -> Bool {
        guard !trusted.isEmpty else { return true }
        do {
            forwarded = try ForwardedClient(head, peer: client?.address, trusted: trusted)
            return true
        } catch {
            return false
        }
    }

    /// The client's address; `nil` on a unix socket, and where a proxy keeps it to itself.
    var clientAddress: IPAddress? {
        if let forwarded { return forwarded.address }
        return client?.address
    }

    /// The same as text; `unix:` or `unknown` where there is none.
    var clientText: [UInt8] { forwarded?.text ?? client?.text ?? [] }

    /// How the client reached us: what an OAuth 1.0 signature covers of it.
    var origin: RequestOrigin {
        RequestOrigin(
            isTLS: forwarded?.isTLS ?? (client?.tls != nil), authority: forwarded?.authority)
    }

    /// Whether the certificate that the connection was opened with counts no more, so that it cannot go on as it is.
    var isCertificateOver: Bool {
        client?.tls?.certificate != nil && connectionsCertificate == nil
    }

    /// The certificate on the client's connection, as long as it counts: like a token it is judged at each use.
    private var connectionsCertificate: PeerCertificate? {
        guard let facts = client?.tls, facts.certificate != nil else { return nil }
        return facts.certificate(at: worker.loop.wallNow, under: listener.tls?.clientRules)
    }

    /// The client's own. That of a trusted proxy says nothing of those whose requests it passes on.
    var shownCertificate: PeerCertificate? {
        forwarded == nil ? connectionsCertificate : nil
    }

    var certificate: ClientCertificate? {
        shownCertificate.map(ClientCertificate.init)
    }

    private func canonicalise() -> Bool {
        let head = self.head
        return changePath { path in
            guard head.isAsterisk else {
                return CanonicalPath.canonicalize(head.span(of: head.path), into: &path)
            }
            path.append(0x2A)
            return true
        }
    }

    /// Changes the canonical path apart and puts it back: no access to it lasts, so that none needs to be checked as it runs.
    @inline(__always)
    private func changePath<Result>(_ body: (inout [UInt8]) -> Result) -> Result {
        var path: [UInt8] = []
        swap(&path, &canonicalPath)
        defer { swap(&path, &canonicalPath) }
        return body(&path)
    }

    /// The canonical path, which changes only between two requests; shown so, it counts no reference.
    var canonicalPathBytes: Span<UInt8> {
        @_lifetime(borrow self)
        get { unsafe _overrideLifetime(canonicalPath.span, borrowing: self) }
    }

    var matchedRoute: RouteMatch {
        let head = self.head
        // `OPTIONS *` concerns the server as a whole: it goes where `/` goes.
        if head.isAsterisk {
            let root: [UInt8] = [0x2F]
            return snapshot.routes.match(
                authority: head.span(of: head.authority), path: root.span)
        }
        return snapshot.routes.match(
            authority: head.span(of: head.authority), path: canonicalPathBytes)
    }

    private func findRoute() {
        let head = self.head
        switch matchedRoute {
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
}
