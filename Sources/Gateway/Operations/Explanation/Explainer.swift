import Configuration
import HTTP
import OAuth
import Primitives
import Telemetry
import Transport

/// Takes one request through the phases, as `Exchange` does, and writes down what each of them finds. What the phases
/// decide with is theirs; here is only their order, and the tests hold it against a running gateway's.
struct Explainer {
    let snapshot: GatewaySnapshot
    let facts: StoreFacts
    let listener: ListenerConfiguration
    let oauth1: OAuth1Verifier
    /// The client's; `nil` is not known.
    private(set) var address: IPAddress?
    /// How the client reached the gateway.
    private(set) var origin: RequestOrigin
    /// By way of a proxy that is trusted.
    private(set) var isForwarded = false
    /// What the client's connection shows.
    private(set) var certificate: ClientCertificate?
    /// It shows one that has ended, and that counts no more.
    private(set) var isCertificateOver: Bool
    let now: WallTime
    let head = RequestHead()

    private(set) var steps: [RequestExplanation.Step] = []
    private var bytes: [UInt8] = []
    private var bodyStart = 0
    private var bodyLimitBytes = 0

    init(
        snapshot: GatewaySnapshot, facts: StoreFacts, listener: ListenerConfiguration,
        oauth1: OAuth1Verifier, address: IPAddress?, certificate: PeerCertificate?, now: WallTime
    ) {
        self.snapshot = snapshot
        self.facts = facts
        self.listener = listener
        self.oauth1 = oauth1
        self.address = address
        origin = RequestOrigin(isTLS: listener.tls != nil)
        let isAsked = listener.tls.map { $0.clientCertificate != .off } ?? false
        let shown = isAsked ? certificate : nil
        isCertificateOver = shown.map { $0.expiresAt <= now } ?? false
        self.certificate = isCertificateOver ? nil : shown.map(ClientCertificate.init)
        self.now = now
        bodyLimitBytes = listener.limits.bodyBytes
    }

    mutating func say(_ phase: Phase, _ lines: String...) {
        say(phase, lines)
    }

    mutating func say(_ phase: Phase, _ lines: [String]) {
        let lines = lines.map(PrintableText.escaped)
        if steps.last?.phase == phase {
            steps[steps.count - 1].lines += lines
        } else {
            steps.append(RequestExplanation.Step(phase: phase, lines: lines))
        }
    }

    // MARK: The phases

    mutating func decide(_ bytes: [UInt8]) throws(ExplainedRefusal) {
        self.bytes = bytes
        try readHead()
        try findClient()
        if head.hasUnknownExpectation {
            say(.downstream, "expects something other than 100-continue")
            throw ExplainedRefusal(.expectationFailed)
        }
        let path = try canonicalPath()
        tellEarlyRates(path)
        if let authority = snapshot.authority(on: listener.name),
            let endpoint = AuthorityEndpoints.find(path, authority)
        {
            return try decide(on: endpoint, authority)
        }
        let route = try findRoute(head.isAsterisk ? [0x2F] : path)
        var principal: Principal?
        if route.isOpen {
            say(
                .authentication,
                "the route is open (authenticate none): no credential is looked at")
        } else {
            principal = try authenticate(route)
        }
        try authorize(principal, route)
        try checkStreamedBody()
        forward(route)
    }

    private mutating func findClient() throws(ExplainedRefusal) {
        guard !listener.trustedProxies.isEmpty else { return }
        do {
            guard
                let client = try ForwardedClient(
                    head, peer: address, trusted: listener.trustedProxies)
            else { return }
            isForwarded = true
            // That of the proxy says nothing of its clients.
            certificate = nil
            isCertificateOver = false
            address = client.address
            origin = RequestOrigin(
                isTLS: client.isTLS ?? origin.isTLS, authority: client.authority)
            say(.downstream, "a trusted proxy says the client is \(string(client.text))")
        } catch {
            say(.downstream, "the forwarding fields are malformed, or contradict each other")
            throw ExplainedRefusal(.badRequest)
        }
    }

    private mutating func canonicalPath() throws(ExplainedRefusal) -> [UInt8] {
        if head.isAsterisk { return [0x2A] }
        var path: [UInt8] = []
        guard CanonicalPath.canonicalize(head.span(of: head.path), into: &path) else {
            say(.routing, "the path could be read in two ways, or is malformed")
            throw ExplainedRefusal(.badPath)
        }
        say(.routing, "canonical path: \(string(path))")
        return path
    }

    private mutating func findRoute(_ path: [UInt8]) throws(ExplainedRefusal) -> CompiledRoute {
        let head = self.head
        switch snapshot.routes.match(authority: head.span(of: head.authority), path: path.span) {
        case .none:
            say(.routing, "no route takes this host and path")
            throw ExplainedRefusal(.noRoute)
        case .ambiguous:
            say(.routing, "with and without its ;parameters the path leads to two routes")
            throw ExplainedRefusal(.badPath)
        case .route(let route):
            say(
                .routing,
                "route \(route.isExact ? "= " : "")\(string(route.path)) (\(route.source))")
            if let limit = route.bodyLimitBytes { bodyLimitBytes = limit }
            guard route.takes(head.method, name: head.span(of: head.methodRange)) else {
                let allowed = string(route.methods.allow)
                say(
                    .routing, "the route takes \(allowed.isEmpty ? "no such method" : allowed) only"
                )
                throw ExplainedRefusal(.methodNotAllowed)
            }
            try checkUpgrade(route)
            if case .length(let count) = head.framing, count > bodyLimitBytes {
                say(.routing, "the body has \(count) bytes; \(bodyLimitBytes) are accepted here")
                throw ExplainedRefusal(.bodyTooLarge)
            }
            return route
        }
    }

    private mutating func checkUpgrade(_ route: CompiledRoute) throws(ExplainedRefusal) {
        guard head.upgradesToWebSocket else { return }
        guard route.allowsWebSocket else {
            say(.routing, "asks for a WebSocket, which the route does not allow (websocket on)")
            throw ExplainedRefusal(.upgradeNotSupported)
        }
        guard head.method == .get, head.framing == .none else {
            say(.routing, "asks for a WebSocket, but is not a GET without a body")
            throw ExplainedRefusal(.badRequest)
        }
    }

    private mutating func forward(_ route: CompiledRoute) {
        let upstream = snapshot.configuration.upstreams[route.upstreamIndex]
        let servers = upstream.servers.map(\.description).joined(separator: ", ")
        say(.forwarding, "goes to upstream \(upstream.name) (\(servers)); nothing was sent")
    }

    // MARK: Head and body

    private mutating func readHead() throws(ExplainedRefusal) {
        var parser = RequestHeadParser(
            limits: HTTP1Limits(
                requestLineBytes: listener.limits.requestLineBytes,
                headBytes: listener.limits.requestHeadBytes, fieldCount: listener.limits.headers))
        say(.downstream, "listener \(listener.name), \(origin.isTLS ? "with" : "without") TLS")
        let progress: HeadProgress
        do throws(HTTP1Error) {
            progress = try parser.parse(bytes.span, from: 0, into: head)
        } catch {
            say(.downstream, error.detail)
            throw ExplainedRefusal(error.reason, status: error.status)
        }
        guard case .complete(let next) = progress else {
            say(.downstream, "the head has no end: an empty line is missing")
            throw ExplainedRefusal(.timeout, status: 408)
        }
        bodyStart = next
        say(.downstream, HeadReport.lines(head))
    }

    /// The whole body, as the gateway holds it back until the verdict.
    mutating func heldBody(limitBytes: Int) throws(ExplainedRefusal) -> [UInt8] {
        let limit = min(limitBytes, bodyLimitBytes)
        if case .length(let count) = head.framing, count > limitBytes {
            say(.authentication, "the body has \(count) bytes; \(limitBytes) are held back at most")
            throw ExplainedRefusal(.bodyTooLarge)
        }
        let (body, isWhole) = try body(.authentication, limitBytes: limit)
        guard isWhole else {
            say(.authentication, "the verdict needs the whole body: the gateway waits for the rest")
            throw ExplainedRefusal(.timeout, status: 408)
        }
        return body
    }

    /// A body that is not held is judged while it streams, after the credentials.
    private mutating func checkStreamedBody() throws(ExplainedRefusal) {
        let (_, isWhole) = try body(.forwarding, limitBytes: bodyLimitBytes)
        if !isWhole { say(.forwarding, "the body is cut: the gateway would wait for the rest") }
    }

    private mutating func body(
        _ phase: Phase, limitBytes: Int
    ) throws(ExplainedRefusal) -> (bytes: [UInt8], isWhole: Bool) {
        let reader = BodyReader()
        reader.begin(head.framing)
        var offset = bodyStart
        var content: [UInt8] = []
        do throws(HTTP1Error) {
            while !reader.isFinished {
                switch try reader.next(bytes.span, from: &offset) {
                case .data(let range): content += bytes[range]
                case .needsMore: return (content, false)
                case .end: break
                }
                if content.count > limitBytes { break }
            }
        } catch {
            say(phase, error.detail)
            throw ExplainedRefusal(error.reason, status: error.status)
        }
        guard content.count <= limitBytes else {
            say(phase, "the body is larger than the \(limitBytes) bytes that are accepted here")
            throw ExplainedRefusal(.bodyTooLarge)
        }
        if offset < bytes.count {
            say(phase, "\(bytes.count - offset) bytes behind the request are no part of it")
        }
        return (content, true)
    }

    private func string(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
