import Configuration
import OAuth
import Primitives
import Telemetry
import Transport

/// Asks an introspection server about tokens (RFC 7662 section 2.1): once for all who wait for the same token, a bounded
/// number at a time. Belongs to the issuers' thread.
final class Introspector {
    private static let answerLimitBytes = 64 << 10
    /// How often the log says that there are more questions than may be.
    private static let crowdInterval: Duration = .seconds(60)

    let server: IntrospectionServer
    /// The file of its `ca` when it was read.
    let authorities: TLSMaterial.FileStamp?
    private unowned let client: FetchClient
    private unowned let service: IssuerService
    private let fetches: FetchServer?
    /// All that is asked or waits.
    private var open: [TokenDigest: Question] = [:]
    private var queue = QuestionQueue()
    private var isFailing = false
    private var crowdToldAt: MonotonicInstant?
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
            FetchServer($0, tls: tls, isAway: isAway, idleLimit: QuestionQueue.flightLimit)
        }
    }

    var hostName: String? { fetches?.address.hostName }

    /// Asks, or joins who has asked.
    ///
    /// - Parameters:
    ///   - address: of the client that showed the token.
    ///   - waiter: `nil`: what is remembered of it still counts, and is asked about anew before it ends.
    func ask(
        _ token: Secret, _ digest: TokenDigest, from address: IPAddress?, _ waiter: Waiter?
    ) {
        if let waiter {
            // The answer may have come while the question was on its way here.
            if let known = service.introspections.lookup(digest, now: client.loop.now) {
                return service.resume([waiter], .introspected(known.outcome))
            }
            if let question = open[digest] { return join(question, waiter) }
        } else if open[digest] != nil {
            return
        }
        let isKnown = service.introspections.isKnown(digest, now: client.loop.now)
        let question = Question(
            token, digest, by: isKnown ? .known : .init(address),
            now: client.loop.now, timeout: server.configuration.timeout)
        question.waiters = [waiter].compactMap(\.self)
        open[digest] = question
        if let leaving = queue.add(question, now: client.loop.now) {
            crowd("more tokens wait than may")
            end(leaving, .unavailable, lifetime: .zero)
        }
        goOn()
    }

    private func join(_ question: Question, _ waiter: Waiter) {
        guard question.waiters.count < Question.waiterLimit else {
            crowd("more requests wait for one token than may")
            return service.resume([waiter], .introspected(.unavailable))
        }
        question.waiters.append(waiter)
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
        for question in queue.removeExpired(now: client.loop.now) {
            crowd("tokens waited longer than \(server.configuration.timeout / 2) for their turn")
            end(question, .unavailable, lifetime: .zero)
        }
        goOn()
        if isRetired, isIdle { fetches?.close() }
        return queue.due(now: client.loop.now)
    }

    private func goOn() {
        while let question = queue.next(now: client.loop.now) { send(question) }
    }

    // MARK: One question

    private func send(_ question: Question) {
        guard let fetches else {
            queue.ended(question, .unanswered, now: client.loop.now)
            return end(question, .unavailable, lifetime: .zero)
        }
        let request = FetchRequest(
            method: .post, bytes: message(question.token, to: fetches.address),
            limitBytes: Introspector.answerLimitBytes)
        Fetch(
            request, from: fetches, client: client, deadline: question.deadline
        ) { [self] result in
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
        let (outcome, lifetime) = outcome(of: result, about: question.token)
        let kind: QuestionQueue.End =
            switch outcome {
            case .active: .active
            case .refused: .inactive
            case .unavailable: .unanswered
            }
        queue.ended(question, kind, now: client.loop.now)
        end(question, outcome, lifetime: lifetime)
    }

    /// What an answer says, and for how long that counts.
    private func outcome(
        of result: Result<FetchedAnswer, FetchError>, about token: Secret
    ) -> (IntrospectionOutcome, Duration) {
        let answer: IntrospectionAnswer
        switch result {
        case .failure(let error):
            tell(error.description)
            return (.unavailable, .zero)
        case .success(let content):
            do throws(IntrospectionFault) {
                let text = token.exposed
                answer = try IntrospectionAnswer(
                    content.body, terms: server.terms,
                    digest: OpaqueTokens.identifier(of: text.span))
            } catch {
                tell(
                    error == .noVerdict
                        ? "'active' is neither true nor false in its answer"
                        : "an answer that is no JSON object")
                return (.unavailable, .zero)
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
            return (.refused(.unknownToken), refusalLifetime)
        case .refused(let error):
            return (.refused(error.reason), refusalLifetime)
        case .active(let token):
            do throws(TokenError) {
                try token.holds(at: client.loop.wallNow)
            } catch .expired {
                return (.refused(.tokenExpired), refusalLifetime)
            } catch {
                // It may become valid while it is remembered: that is judged when it is used.
            }
            let (left, overflows) = token.endsAt.subtractingReportingOverflow(
                client.loop.wallNow.seconds)
            let cache = server.configuration.cache
            return (.active(token), overflows ? cache : min(cache, .seconds(left)))
        }
    }

    private func end(_ question: Question, _ outcome: IntrospectionOutcome, lifetime: Duration) {
        if !isRetired {
            service.introspections.insert(
                question.digest, outcome, now: client.loop.now, for: lifetime,
                // What ends with its token no answer makes last longer.
                isRenewable: lifetime == server.configuration.cache)
        }
        open[question.digest] = nil
        service.resume(question.waiters, .introspected(outcome))
    }

    /// The server is not away: more is asked than it is to be troubled with.
    private func crowd(_ cause: String) {
        let now = client.loop.now
        if let crowdToldAt, now - crowdToldAt < Introspector.crowdInterval { return }
        crowdToldAt = now
        service.errors.warn(
            "tokens were not asked about", ["introspection": server.terms.name, "cause": cause])
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
