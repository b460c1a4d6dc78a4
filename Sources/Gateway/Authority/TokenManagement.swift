import OAuth
import Primitives
import Store

/// Introspection and revocation of the authority's own tokens, for its clients (RFC 7662, RFC 7009).
enum TokenManagement {
    /// A key comes to every gateway within this time of its first token, clocks that differ included.
    private static let newsSeconds: Int64 = 60

    /// The form is whole: proves the client, then does what was asked.
    static func answer(_ exchange: Exchange) {
        do throws(TokenRequestError) {
            let head = exchange.head
            let request = try TokenManagementRequest(head, body: exchange.heldBody.span)
            try AuthorityEndpoints.prove(request.credentials, exchange) { exchange, client in
                exchange.record.client = Array(client.id.utf8)
                guard let authority = exchange.snapshot.authority else {
                    return exchange.refuse(.internalError)
                }
                // Without the store's keys nobody can tell a token of ours from junk.
                guard exchange.snapshot.isStateKnown, !authority.keys.isEmpty else {
                    return exchange.refuse(.storeUnavailable)
                }
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

    /// What is known of a token that a client names.
    private enum Found {
        /// One of ours that holds.
        case token(VerifiedToken)
        /// None of ours, or none any more.
        case nothing
        /// Another issuer's.
        case foreign
    }

    // MARK: Introspection

    private static func introspect(_ exchange: Exchange, _ token: Secret) {
        find(token, exchange) { exchange, found in
            let reply =
                if case .token(let token) = found {
                    IntrospectionReply(token).body
                } else {
                    IntrospectionReply.inactive
                }
            exchange.answer(
                status: 200, contentType: "application/json", body: reply,
                fields: AuthorityEndpoints.noStore)
        }
    }

    /// Looks for the token, and goes on with what is known of it.
    private static func find(
        _ token: Secret, _ exchange: Exchange, _ next: @escaping (Exchange, Found) -> Void
    ) {
        let now = exchange.worker.loop.wallNow
        guard let authority = exchange.snapshot.authority else {
            return exchange.refuse(.internalError)
        }
        func live(_ token: VerifiedToken, _ exchange: Exchange) -> Found {
            let isLost = exchange.snapshot.standing(ofClientOf: token, at: now) == .lost
            return exchange.worker.revocations.covers(token) || isLost ? .nothing : .token(token)
        }
        let text = token.exposed
        guard exchange.worker.shared.tokens.kind(of: text.span) == .access else {
            let tokens = exchange.worker.authenticator.tokens
            do throws(TokenError) {
                let found = try tokens.verify(text.span, now: now)
                next(exchange, found.isFromOwnAuthority ? live(found, exchange) : .foreign)
            } catch {
                guard tokens.claimedIssuer?.hasBytes(of: authority.policy.issuer) == true else {
                    let isForeign = error == .unknownIssuer || tokens.claimedIssuer != nil
                    return next(exchange, isForeign ? .foreign : .nothing)
                }
                if error == .unknownKey, mayBeNews(text.span, tokens, now) {
                    return exchange.refuse(.storeUnavailable)
                }
                next(exchange, .nothing)
            }
            return
        }
        let id = OpaqueTokens.identifier(of: text.span)
        exchange.require(.token(id: id, now: now)) { exchange, stored in
            let found = stored.flatMap { authority.vouched($0, at: now) }
            next(exchange, found.map { live($0, exchange) } ?? .nothing)
        }
    }

    /// Whether the key of a token that says it is new may not have come here yet. An older one is of a key that was taken
    /// away, or of nobody.
    private static func mayBeNews(
        _ token: Span<UInt8>, _ tokens: TokenVerifier, _ now: WallTime
    ) -> Bool {
        guard let issuedAt = (try? tokens.unproven(token))?.issuedAt else { return false }
        let (age, overflow) = now.seconds.subtractingReportingOverflow(issuedAt)
        return !overflow && abs(age) < newsSeconds
    }

    // MARK: Revocation

    /// What is no token of ours, or none any more, needs no revoking: 200 all the same (RFC 7009 section 2.2). One of
    /// another issuer stays good, and whoever asked must learn so (section 2.2.1).
    private static func revoke(_ exchange: Exchange, _ token: Secret, of client: RegisteredClient) {
        let text = token.exposed
        guard let kind = exchange.worker.shared.tokens.kind(of: text.span), kind != .access else {
            return find(token, exchange) { exchange, found in
                switch found {
                case .token(let found):
                    guard let name = found.tokenID else { return exchange.refuse(.internalError) }
                    let target = Revocation.Target.token(issuer: found.issuer, id: name)
                    revoke(exchange, target, until: found.revocationEnd, found.clientID, of: client)
                case .nothing: revoked(exchange)
                case .foreign: AuthorityEndpoints.refuse(exchange, .unsupportedTokenType)
                }
            }
        }
        guard let authority = exchange.snapshot.authority else {
            return exchange.refuse(.internalError)
        }
        let id = OpaqueTokens.identifier(of: text.span)
        exchange.require(.token(id: id, now: exchange.worker.loop.wallNow)) { exchange, stored in
            guard let stored, stored.kind != .access else { return revoked(exchange) }
            let target = Revocation.Target.token(digest: id, issuer: authority.policy.issuer)
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
