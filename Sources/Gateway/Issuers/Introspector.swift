import Configuration
import OAuth
import Primitives
import Telemetry
import Transport

/// Asks an introspection server about tokens (RFC 7662 section 2.1): once for all who wait for the same token, a bounded
/// number at a time. Belongs to the issuers' thread.
final class Introspector {
    /// Requests under way at once, each on a connection.
    private static let flightLimit = 64
    /// Tokens that wait for one of them.
    private static let queueLimit = 1024
    private static let answerLimitBytes = 64 << 10

    private final class Question {
        let token: Secret
        let digest: TokenDigest
        let deadline: MonotonicInstant
        var waiters: [Waiter] = []

        init(_ token: Secret, _ digest: TokenDigest, deadline: MonotonicInstant) {
            self.token = token
            self.digest = digest
            self.deadline = deadline
        }
    }

    let server: IntrospectionServer
    /// The file of its `ca` when it was read.
    let authorities: TLSMaterial.FileStamp?
    private unowned let client: FetchClient
    private unowned let service: IssuerService
    private let fetches: FetchServer?
    /// All that is asked or waits.
    private var open: [TokenDigest: Question] = [:]
    private var queue: [Question] = []
    private var queueStart = 0
    private var inFlight = 0
    private var isFailing = false
    /// A reload put another in this one's place: what it still learns is not remembered.
    private var isRetired = false

    init(
        _ server: IntrospectionServer, tls: TLSClientContext?,
        authorities: TLSMaterial.FileStamp?, isAway: Bool, client: FetchClient,
        service: IssuerService
    ) {
        self.server = server
        self.authorities = authorities
        self.client = client
        self.service = service
        fetches = WebAddress(server.configuration.endpoint).map {
            FetchServer($0, tls: tls, isAway: isAway, idleLimit: Introspector.flightLimit)
        }
    }

    var hostName: String? { fetches?.address.hostName }

    /// Asks, or joins who has asked.
    func ask(_ token: Secret, _ digest: TokenDigest, _ waiter: Waiter) {
        // The answer may have come while the question was on its way here.
        if let known = service.introspections.lookup(digest, now: client.loop.now) {
            return service.resume([waiter], .introspected(known))
        }
        if let question = open[digest] { return question.waiters.append(waiter) }
        guard inFlight < Introspector.flightLimit || queued < Introspector.queueLimit else {
            tell("more tokens wait than may")
            return service.resume([waiter], .introspected(.unavailable))
        }
        let question = Question(
            token, digest, deadline: client.loop.now + server.configuration.timeout)
        question.waiters = [waiter]
        open[digest] = question
        queue.append(question)
        goOn()
    }

    /// Goes on for those who wait already; the end of the last comes with `isIdle`.
    func retire() {
        isRetired = true
    }

    var isIdle: Bool { open.isEmpty }

    /// Ends what has waited too long for its turn.
    ///
    /// - Returns: when to ask again.
    func tick() -> MonotonicInstant? {
        while queued > 0, queue[queueStart].deadline <= client.loop.now {
            let question = queue[queueStart]
            queueStart += 1
            end(question, .unavailable, lifetime: .zero)
            tell("tokens waited longer than \(server.configuration.timeout) for their turn")
        }
        goOn()
        if isRetired, isIdle { fetches?.close() }
        return queued > 0 ? queue[queueStart].deadline : nil
    }

    private var queued: Int { queue.count - queueStart }

    private func goOn() {
        while inFlight < Introspector.flightLimit, queued > 0 {
            let question = queue[queueStart]
            queueStart += 1
            send(question)
        }
        if queueStart == queue.count || queueStart > Introspector.queueLimit {
            queue.removeFirst(queueStart)
            queueStart = 0
        }
    }

    // MARK: One question

    private func send(_ question: Question) {
        guard let fetches else {
            return end(question, .unavailable, lifetime: .zero)
        }
        inFlight += 1
        let request = FetchRequest(
            method: .post, bytes: message(question.token, to: fetches.address),
            limitBytes: Introspector.answerLimitBytes)
        Fetch(
            request, from: fetches, client: client, deadline: question.deadline
        ) { [self] result in
            inFlight -= 1
            take(result, for: question)
        }.start()
    }

    private func message(_ token: Secret, to address: WebAddress) -> [UInt8] {
        var body = Array("token_type_hint=access_token&token=".utf8)
        let exposed = token.exposed
        PercentCoding.encode(exposed.span, into: &body)
        // Both parts are form-encoded before they are joined (RFC 6749 section 2.3.1).
        var credentials: [UInt8] = []
        let id = Array(server.configuration.clientID.utf8)
        PercentCoding.encode(id.span, into: &credentials)
        credentials.append(0x3A)
        let secret = server.secret.exposed
        PercentCoding.encode(secret.span, into: &credentials)
        let head = """
            POST \(address.target) HTTP/1.1\r
            Host: \(address.authority)\r
            User-Agent: gatehouse\r
            Accept: application/json\r
            Authorization: Basic \(Base64.encode(credentials, .standard))\r
            Content-Type: application/x-www-form-urlencoded\r
            Content-Length: \(body.count)\r
            \r

            """
        return Array(head.utf8) + body
    }

    private func take(_ result: Result<FetchedAnswer, FetchError>, for question: Question) {
        let answer: IntrospectionAnswer
        switch result {
        case .failure(let error):
            tell(error.description)
            return end(question, .unavailable, lifetime: .zero)
        case .success(let content):
            do throws(IntrospectionFault) {
                let text = question.token.exposed
                answer = try IntrospectionAnswer(
                    content.body, terms: server.terms,
                    digest: OpaqueTokens.identifier(of: text.span))
            } catch {
                tell(
                    error == .noVerdict
                        ? "'active' is neither true nor false in its answer"
                        : "an answer that is no JSON object")
                return end(question, .unavailable, lifetime: .zero)
            }
        }
        if isFailing {
            isFailing = false
            service.errors.notice(
                "the introspection server is back", ["introspection": server.terms.name])
        }
        let refusalLifetime = server.configuration.negativeCache
        switch answer {
        case .inactive:
            end(question, .refused(.unknownToken), lifetime: refusalLifetime)
        case .refused(let error):
            end(question, .refused(error.reason), lifetime: refusalLifetime)
        case .active(let token):
            do throws(TokenError) {
                try token.holds(at: client.loop.wallNow)
            } catch .expired {
                return end(question, .refused(.tokenExpired), lifetime: refusalLifetime)
            } catch {
                // It may become valid while it is remembered: that is judged when it is used.
            }
            let (left, overflows) = token.endsAt.subtractingReportingOverflow(
                client.loop.wallNow.seconds)
            let cache = server.configuration.cache
            end(
                question, .active(token),
                lifetime: overflows ? cache : min(cache, .seconds(left)))
        }
    }

    private func end(_ question: Question, _ outcome: IntrospectionOutcome, lifetime: Duration) {
        if !isRetired {
            service.introspections.insert(
                question.digest, outcome, now: client.loop.now, for: lifetime)
        }
        open[question.digest] = nil
        service.resume(question.waiters, .introspected(outcome))
    }

    /// Once, until it heals.
    private func tell(_ cause: String) {
        let facts: KeyValuePairs = ["introspection": server.terms.name, "cause": cause]
        if isFailing {
            service.errors.debug("tokens could not be introspected", facts)
        } else {
            service.errors.warn("tokens could not be introspected", facts)
        }
        isFailing = true
    }
}
