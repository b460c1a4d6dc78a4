import Configuration
import Cryptography
import OAuth
import Primitives
import Store

/// Temporary and token credentials (RFC 5849 section 2) for two-legged clients: no resource owner is asked, so the request
/// token comes back already authorised. An exchange comes here once the signature and the nonce hold.
enum OAuth1Endpoints {
    /// How long temporary credentials may wait for their exchange.
    private static let requestTokenLifetime: Int64 = 600

    /// `/oauth1/request_token`
    static func issueRequestToken(_ exchange: Exchange) {
        guard let client = client(of: exchange) else { return exchange.refuse(.internalError) }
        let now = exchange.worker.loop.wallNow
        guard let claim = exchange.oauth1Claim, let made = Made(.oauth1Request, exchange) else {
            return exchange.refuse(.internalError)
        }
        let token = StoredToken(
            id: made.id, kind: .oauth1Request, clientID: client.id, issuedAt: now,
            expiresAt: WallTime(seconds: now.seconds + requestTokenLifetime), secret: made.secret)
        let reply = OAuth1TokenReply(temporary: made.text, secret: made.secret, for: claim)
        exchange.require(.addToken(token)) { exchange, _ in answer(exchange, reply) }
    }

    /// `/oauth1/access_token`: one exchange for each request token, on whichever gateway.
    static func exchangeToken(_ exchange: Exchange) {
        guard let client = client(of: exchange), let authority = exchange.snapshot.authority,
            let old = exchange.oauth1Token
        else { return exchange.refuse(.internalError) }
        let now = exchange.worker.loop.wallNow
        let lifetime = authority.configuration.oauth1TokenLifetime.wholeSeconds
        guard let made = Made(.oauth1Access, exchange) else {
            return exchange.refuse(.internalError)
        }
        let token = StoredToken(
            id: made.id, kind: .oauth1Access, clientID: client.id,
            scopes: authority.policy.scopes(of: client),
            audiences: authority.policy.audiences(of: client), issuedAt: now,
            expiresAt: WallTime(seconds: now.seconds + lifetime), secret: made.secret)
        let reply = OAuth1TokenReply(token: made.text, secret: made.secret)
        exchange.require(.exchangeToken(id: old.id, for: token, now: now)) {
            exchange, isExchanged in
            // Of two that come at once the other was first.
            guard isExchanged else { return refuse(exchange, .unknownToken) }
            answer(exchange, reply)
        }
    }

    private static func client(of exchange: Exchange) -> RegisteredClient? {
        guard let id = exchange.principal?.clientID else { return nil }
        exchange.record.client = Array(id.utf8)
        return exchange.snapshot.clients[id]?.registered
    }

    /// A new token with its secret.
    private struct Made {
        let text: String
        let id: [UInt8]
        let secret: Secret

        init?(_ kind: OpaqueTokens.Kind, _ exchange: Exchange) {
            guard let text = try? exchange.worker.shared.tokens.make(kind),
                let secret = try? ClientSecret.generate()
            else { return nil }
            let bytes = Array(text.utf8)
            self.text = text
            id = OpaqueTokens.identifier(of: bytes.span)
            self.secret = secret
        }
    }

    private static func answer(_ exchange: Exchange, _ reply: OAuth1TokenReply) {
        exchange.answer(
            status: 200, contentType: "application/x-www-form-urlencoded", body: reply.body,
            fields: AuthorityEndpoints.noStore)
    }

    /// The log has the exact reason.
    static func refuse(_ exchange: Exchange, _ error: OAuth1Error) {
        exchange.record.reason = error.reason
        var fields = AuthorityEndpoints.noStore
        if error.status == 401 {
            fields.append("WWW-Authenticate: OAuth realm=\"")
            fields.append(contentsOf: exchange.snapshot.configuration.oauth1.realm.utf8)
            fields.append("\"\r\n")
        }
        exchange.answer(
            status: error.status, contentType: "application/x-www-form-urlencoded",
            body: OAuth1Problem(error, acceptableTimestamps: timestamps(exchange)).body,
            fields: fields)
    }

    private static func timestamps(_ exchange: Exchange) -> ClosedRange<Int64> {
        let now = exchange.worker.loop.wallNow.seconds
        let window = exchange.snapshot.oauth1.timestampWindowSeconds
        return now - window...now + window
    }
}
