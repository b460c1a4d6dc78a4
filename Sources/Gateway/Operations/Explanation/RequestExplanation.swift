import Configuration
import Cryptography
import HTTP
import OAuth
import Primitives
import Store
import Telemetry

/// The gateway's own decision on one request, step by step, without forwarding it: what `gatehouse explain` prints.
///
/// It asks the same functions as a running worker, in the same order. It claims no nonce, since those live in the
/// running gateway, and it never shows a secret or a signature but the client's own.
public struct RequestExplanation: Sendable {
    /// What one phase found.
    public struct Step: Sendable, Equatable {
        public let phase: Phase
        public var lines: [String]
    }

    public private(set) var steps: [Step] = []
    /// `nil`: the request would be forwarded, or answered by the gateway itself.
    public private(set) var reason: Reason?
    /// What the client would get from the gateway; `nil` where the upstream or an endpoint answers.
    public private(set) var status: Int?

    /// Decides on a raw HTTP/1.1 request.
    ///
    /// - Parameters:
    ///   - bytes: head and body, with CR LF line ends in the head.
    ///   - state: clients and keys of the store.
    ///   - now: the moment that timestamps and tokens are judged by.
    /// - Throws: when a file that the conf names cannot be read.
    public init(
        of bytes: [UInt8], configuration: Configuration, state: StoreSnapshot, at now: WallTime
    ) throws(StartError) {
        let snapshot = GatewaySnapshot(
            configuration: configuration, material: try Material(configuration, state),
            listeners: [])
        let oauth1: OAuth1Verifier
        do throws(CryptographyError) {
            oauth1 = try OAuth1Verifier(policy: snapshot.oauth1)
        } catch {
            throw StartError(.software, "OpenSSL: \(error)")
        }
        explain(bytes, snapshot, oauth1, now)
    }

    // MARK: Writing down

    private mutating func say(_ phase: Phase, _ lines: String...) {
        say(phase, lines)
    }

    private mutating func say(_ phase: Phase, _ lines: [String]) {
        if steps.last?.phase == phase {
            steps[steps.count - 1].lines += lines
        } else {
            steps.append(Step(phase: phase, lines: lines))
        }
    }

    private mutating func refuse(_ reason: Reason, status: Int? = nil) {
        self.reason = reason
        self.status = status ?? Refusal(reason).status
    }

    // MARK: The phases

    private mutating func explain(
        _ bytes: [UInt8], _ snapshot: GatewaySnapshot, _ oauth1: OAuth1Verifier, _ now: WallTime
    ) {
        let limits = snapshot.configuration.listeners.first?.limits ?? LimitsConfiguration()
        let head = RequestHead()
        guard let body = read(bytes, limits, into: head) else { return }
        if head.upgradesToWebSocket {
            say(.downstream, "asks for a WebSocket, which is not in this version")
            return refuse(.upgradeNotSupported)
        }
        if head.hasUnknownExpectation { return refuse(.expectationFailed) }
        var path: [UInt8] = []
        guard head.isAsterisk || CanonicalPath.canonicalize(head.span(of: head.path), into: &path)
        else {
            say(.routing, "the path could be read in two ways, or is malformed: refused")
            return refuse(.badPath)
        }
        if head.isAsterisk { path = [0x2F] }
        say(.routing, "canonical path: \(String(decoding: path, as: UTF8.self))")
        if let authority = snapshot.authority,
            let endpoint = AuthorityEndpoints.name(of: path, authority)
        {
            say(.routing, "the gateway itself answers here: \(endpoint)")
            return
        }
        guard let route = route(head, path, snapshot) else { return }
        guard route.takes(head.method, name: head.span(of: head.methodRange)) else {
            let allowed = String(decoding: route.methods.allow, as: UTF8.self)
            say(.routing, "the route takes \(allowed.isEmpty ? "no such method" : allowed) only")
            return refuse(.methodNotAllowed)
        }
        var principal: Principal?
        if !route.isOpen {
            principal = authenticate(head, body, route, snapshot, oauth1, now)
            guard principal != nil else { return }
        } else {
            say(
                .authentication, "the route is open (authenticate none): no credential is looked at"
            )
        }
        authorize(principal, route, head, snapshot)
    }

    private mutating func read(
        _ bytes: [UInt8], _ limits: LimitsConfiguration, into head: RequestHead
    ) -> [UInt8]? {
        var parser = RequestHeadParser(
            limits: HTTP1Limits(
                requestLineBytes: limits.requestLineBytes, headBytes: limits.requestHeadBytes,
                fieldCount: limits.headers))
        do throws(HTTP1Error) {
            guard
                case .complete(let next) = try parser.parse(bytes.span, from: 0, into: head)
            else {
                say(.downstream, "the head has no end: an empty line is missing")
                refuse(.badRequest)
                return nil
            }
            let method = text(head.span(of: head.methodRange))
            say(
                .downstream,
                "\(method) \(text(head.span(of: head.target))), Host \(text(head.span(of: head.authority)))",
                "\(head.fields.count) header fields, body: \(framing(head.framing))")
            return try content(bytes, from: next, head.framing)
        } catch {
            say(.downstream, error.detail)
            refuse(error.reason, status: error.status)
            return nil
        }
    }

    private func framing(_ framing: BodyFraming) -> String {
        switch framing {
        case .none, .untilClose: "none"
        case .length(let count): "\(count) bytes"
        case .chunked: "chunked"
        }
    }

    private mutating func content(
        _ bytes: [UInt8], from start: Int, _ framing: BodyFraming
    ) throws(HTTP1Error) -> [UInt8] {
        var reader = BodyReader()
        reader.begin(framing)
        var offset = start
        var content: [UInt8] = []
        while true {
            switch try reader.next(bytes.span, from: &offset) {
            case .data(let range):
                content += bytes[range]
            case .needsMore:
                say(.downstream, "the body is cut: \(content.count) bytes are here")
                return content
            case .end:
                return content
            }
        }
    }

    private mutating func route(
        _ head: RequestHead, _ path: [UInt8], _ snapshot: GatewaySnapshot
    ) -> CompiledRoute? {
        switch snapshot.routes.match(authority: head.span(of: head.authority), path: path.span) {
        case .none:
            say(.routing, "no route takes this host and path")
            refuse(.noRoute)
            return nil
        case .ambiguous:
            say(.routing, "with and without its ;parameters the path leads to two routes: refused")
            refuse(.badPath)
            return nil
        case .route(let route):
            let upstream = snapshot.configuration.upstreams[route.upstreamIndex].name
            let name = String(decoding: route.path, as: UTF8.self)
            say(
                .routing,
                "route \(route.isExact ? "= " : "")\(name) (\(route.source)), upstream \(upstream)")
            return route
        }
    }

    private mutating func authenticate(
        _ head: RequestHead, _ body: [UInt8], _ route: CompiledRoute, _ snapshot: GatewaySnapshot,
        _ oauth1: OAuth1Verifier, _ now: WallTime
    ) -> Principal? {
        let wanted: [CredentialKind]
        var wantsAll = false
        switch route.authentication {
        case .open: wanted = []
        case .any(let kinds): wanted = kinds
        case .all(let kinds):
            wanted = kinds
            wantsAll = kinds.count > 1
        }
        let names = wanted.map(\.rawValue).joined(separator: wantsAll ? " and " : " or ")
        say(.authentication, "the route takes \(names)")
        switch PresentedCredentials.find(in: head, oauth1) {
        case .none:
            if wanted.contains(.oauth1), oauth1.mayCarryInBody(head), oauth1.detects(form: body) {
                return prove(oauth1: head, body, snapshot, oauth1, now)
            }
            say(.authentication, "the request carries no credential")
            refuse(.noCredentials)
            return nil
        case .malformed:
            say(.authentication, "the Authorization field is not `Bearer TOKEN`")
            refuse(.malformedCredentials)
            return nil
        case .duplicate:
            say(.authentication, "two credentials of one kind")
            refuse(.duplicateCredentials)
            return nil
        case .bearer(let token):
            guard wanted.contains(.bearer), !wantsAll else { return unwanted("a bearer token") }
            return prove(bearer: head, token, snapshot, now)
        case .oauth1:
            guard wanted.contains(.oauth1), !wantsAll else {
                return unwanted("an OAuth 1.0 signature")
            }
            return prove(oauth1: head, body, snapshot, oauth1, now)
        case .both(let token):
            guard wantsAll else {
                say(.authentication, "a bearer token and an OAuth 1.0 signature: one is asked for")
                refuse(.duplicateCredentials)
                return nil
            }
            guard let first = prove(bearer: head, token, snapshot, now)?.token,
                let second = prove(oauth1: head, body, snapshot, oauth1, now)
            else { return nil }
            let both = Principal.bearerAndOAuth1(first, clientID: second.clientID)
            if both == nil {
                say(.authentication, "the two credentials name different clients")
                refuse(.clientNotAllowed, status: 403)
            }
            return both
        }
    }

    private mutating func unwanted(_ what: String) -> Principal? {
        say(.authentication, "the request carries \(what), which does not suffice here")
        refuse(.noCredentials)
        return nil
    }

    // MARK: Bearer

    private mutating func prove(
        bearer head: RequestHead, _ range: Range<Int>, _ snapshot: GatewaySnapshot, _ now: WallTime
    ) -> Principal? {
        let verifier = TokenVerifier(issuers: snapshot.issuers)
        let explanation = verifier.explain(head.span(range), now: now)
        say(.authentication, TokenReport.lines(explanation))
        switch explanation.verdict {
        case .success(let token):
            return .bearer(token)
        case .failure(let error):
            refuse(error.reason, status: 401)
            return nil
        }
    }

    // MARK: OAuth 1.0

    private mutating func prove(
        oauth1 head: RequestHead, _ body: [UInt8], _ snapshot: GatewaySnapshot,
        _ verifier: OAuth1Verifier, _ now: WallTime
    ) -> Principal? {
        do throws(OAuth1Error) {
            let claim = try verifier.prepare(head, body: body.span)
            let client = snapshot.clients[claim.consumerKey]
            let credentials = claim.token == nil ? client?.oauth1 : nil
            let diagnosis = try OAuth1Diagnosis(
                head, body: body.span, isTLS: false, verifier: verifier,
                credentials: credentials,
                origins: origins(snapshot))
            say(.authentication, SignatureReport.lines(diagnosis, claim, now: now))
            // The diagnosis has read the request anew: the claim is prepared again for the verdict.
            let again = try verifier.prepare(head, body: body.span)
            guard claim.token == nil else { throw .unknownToken }
            try verifier.verify(
                again, head, isTLS: false, body: body.span, credentials: credentials, now: now)
            say(
                .authentication,
                "whether the nonce is new only the running gateway knows; nothing was claimed here")
            return .oauth1(
                clientID: claim.consumerKey, scopes: client?.registered.scopes ?? [],
                audiences: client?.registered.audiences ?? [])
        } catch {
            say(.authentication, "refused: \(SignatureReport.sentence(error))")
            refuse(error.reason, status: error.status)
            return nil
        }
    }

    /// The addresses that clients may know this gateway by: its issuer's and its hosts'.
    private func origins(_ snapshot: GatewaySnapshot) -> [PublicOrigin] {
        var urls = snapshot.configuration.authority.map { [$0.issuer] } ?? []
        for name in snapshot.configuration.hosts.flatMap(\.names) where !name.hasPrefix("*") {
            urls += ["http://\(name)", "https://\(name)"]
        }
        return urls.compactMap(PublicOrigin.init)
    }

    // MARK: Authorization

    private mutating func authorize(
        _ principal: Principal?, _ route: CompiledRoute, _ head: RequestHead,
        _ snapshot: GatewaySnapshot
    ) {
        if let principal {
            say(
                .authorization,
                "client \(principal.clientID), scopes \(list(principal.scopes)), audiences \(list(principal.audiences))"
            )
        }
        if !route.addressRules.permits(nil), route.addressRules.permits(IPAddress("127.0.0.1")) {
            say(
                .authorization,
                "the route has allow or deny lines; the client is taken to be 127.0.0.1")
        }
        switch Permit.decide(
            principal, on: route, method: head.method,
            methodName: head.span(of: head.methodRange), from: IPAddress("127.0.0.1"))
        {
        case .permit:
            let upstream = snapshot.configuration.upstreams[route.upstreamIndex].name
            say(.authorization, "every demand of the route holds")
            say(.forwarding, "goes to upstream \(upstream)")
        case .refuse(let refusal):
            let needed = String(decoding: refusal.neededScopes, as: UTF8.self)
            say(
                .authorization,
                "refused: \(refusal.reason.rawValue)"
                    + (needed.isEmpty ? "" : ", the route wants scope \(needed)"))
            refuse(refusal.reason, status: refusal.status)
        }
    }

    private func list(_ items: [String]) -> String {
        items.isEmpty ? "none" : items.joined(separator: " ")
    }

    private func text(_ span: Span<UInt8>) -> String {
        var bytes: [UInt8] = []
        bytes.append(span)
        return String(decoding: bytes, as: UTF8.self)
    }
}
