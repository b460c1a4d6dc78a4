import OAuth
import Primitives
import Store

/// Introspection and revocation of the authority's own tokens, for its clients (RFC 7662, RFC 7009).
enum TokenManagement {
    /// The form is whole: proves the client, then does what was asked.
    static func answer(_ exchange: Exchange) {
        do throws(TokenRequestError) {
            let head = exchange.head
            let request = try TokenManagementRequest(head, body: exchange.heldBody.span)
            try AuthorityEndpoints.prove(request.credentials, exchange) { exchange, client in
                exchange.record.client = Array(client.id.utf8)
                if exchange.purpose == .introspection {
                    introspect(exchange, request.token)
                } else {
                    revoke(exchange, request.token, of: client)
                }
            }
        } catch {
            AuthorityEndpoints.refuse(exchange, error)
        }
    }

    // MARK: Introspection

    private static func introspect(_ exchange: Exchange, _ token: Secret) {
        find(token, exchange) { exchange, found in
            let reply = found.map { IntrospectionReply($0).body } ?? IntrospectionReply.inactive
            exchange.answer(
                status: 200, contentType: "application/json", body: reply,
                fields: AuthorityEndpoints.noStore)
        }
    }

    /// The token, if it is one of ours that holds.
    private static func find(
        _ token: Secret, _ exchange: Exchange,
        _ next: @escaping (Exchange, VerifiedToken?) -> Void
    ) {
        let now = exchange.worker.loop.wallNow
        guard let authority = exchange.snapshot.authority else {
            return exchange.refuse(.internalError)
        }
        func judged(_ exchange: Exchange, _ found: VerifiedToken?) -> VerifiedToken? {
            guard let found, found.isFromOwnAuthority,
                !exchange.worker.revocations.covers(found)
            else { return nil }
            return found
        }
        let text = token.exposed
        guard exchange.worker.shared.tokens.kind(of: text.span) == .access else {
            let found = try? exchange.worker.authenticator.tokens.verify(text.span, now: now)
            return next(exchange, judged(exchange, found))
        }
        let id = OpaqueTokens.identifier(of: text.span)
        exchange.require(.token(id: id, now: now)) { exchange, stored in
            next(exchange, judged(exchange, stored.flatMap { authority.vouched($0, at: now) }))
        }
    }

    // MARK: Revocation

    /// What is no token of ours, or none any more, needs no revoking: 200 all the same (RFC 7009 section 2.2).
    private static func revoke(_ exchange: Exchange, _ token: Secret, of client: RegisteredClient) {
        let text = token.exposed
        guard exchange.worker.shared.tokens.kind(of: text.span) == .oauth1Access else {
            return find(token, exchange) { exchange, found in
                guard let found else { return revoked(exchange) }
                guard let name = found.tokenID else { return exchange.refuse(.internalError) }
                let target = Revocation.Target.token(issuer: found.issuer, id: name)
                revoke(exchange, target, until: found.revocationEnd, found.clientID, of: client)
            }
        }
        guard let authority = exchange.snapshot.authority else {
            return exchange.refuse(.internalError)
        }
        let id = OpaqueTokens.identifier(of: text.span)
        exchange.require(.token(id: id, now: exchange.worker.loop.wallNow)) { exchange, stored in
            guard let stored, stored.kind == .oauth1Access else { return revoked(exchange) }
            let target = Revocation.Target.token(
                issuer: authority.policy.issuer, id: Base64.encode(id, .url))
            let end = stored.expiresAt.adding(seconds: 1)
            revoke(exchange, target, until: end, stored.clientID, of: client)
        }
    }

    private static func revoke(
        _ exchange: Exchange, _ target: Revocation.Target, until end: WallTime, _ owner: String,
        of client: RegisteredClient
    ) {
        guard owner.hasBytes(of: client.id) else {
            return AuthorityEndpoints.refuse(
                exchange, .invalidRequest("The token was not issued to this client."))
        }
        let revocation = Revocation(target, issuedBefore: exchange.worker.loop.wallNow, until: end)
        // The record of an opaque token may stay until it ends: it is refused by its name.
        exchange.require(.revoke(revocation)) { exchange, _ in
            // Before the answer is out: whoever has it may come to another worker.
            exchange.worker.shared.postToAll(.revoked([revocation]))
            exchange.worker.receive(.revoked([revocation]))
            revoked(exchange)
        }
    }

    private static func revoked(_ exchange: Exchange) {
        exchange.answer(
            status: 200, contentType: "", body: [], fields: AuthorityEndpoints.noStore)
    }
}
