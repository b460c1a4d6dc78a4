import OAuth
import Primitives
import Telemetry

/// Streams without an end of their own (WebSockets, server-sent events, calls of gRPC) end with what let them in
/// (`end_streams_with_credential`): when its time is over, and when it is withdrawn.
extension Exchange {
    /// The stream has begun, or may have. From now on the worker tells it of what is withdrawn.
    func endWithCredential() {
        guard !isWatched, let route = permit?.route, route.streamGrace != nil,
            let principal = permit?.principal
        else { return }
        let (end, reason) = credentialEnd(of: principal)
        // Beyond a year no connection lives; the clamp keeps a far `exp` from overflowing.
        let year: Int64 = 366 * 86_400
        let (left, overflows) = end.subtractingReportingOverflow(worker.loop.wallNow.seconds)
        if !overflows, left < year { endStream(in: .seconds(max(0, left)), because: reason) }
        worker.watch(self)
        // What came between the verdict and the answer was told to nobody.
        judgeCredentialAnew()
    }

    /// The answer of a call has begun that may have to end before it is over.
    func followMessages() {
        guard permit?.route.streamGrace != nil, permit?.principal != nil else { return }
        callMessages = GRPCMessages()
    }

    /// Tokens were revoked, or the conf, the clients or the certificates' rules have changed.
    func judgeCredentialAnew() {
        guard stage == .forwarding || stage == .answering, let reason = withdrawal else { return }
        endStream(in: .zero, because: reason)
    }

    private func endStream(in rest: Duration, because reason: Reason) {
        guard let grace = permit?.route.streamGrace else { return }
        let end = worker.loop.now + rest + grace
        if let credentialEnd, credentialEnd.at <= end { return }
        credentialEnd = (end, reason)
        downstream?.limitExchange(to: rest + grace)
    }

    /// The second at which the first of the credentials ends, and how the log calls that.
    private func credentialEnd(of principal: Principal) -> (Int64, Reason) {
        // As it is judged at the door: what is let in within the skew may also stay for it.
        var end = principal.token?.endsAt ?? .max
        if let oauth1Token { end = min(end, oauth1Token.expiresAt.seconds) }
        guard principal.needsCertificate else { return (end, .tokenExpired) }
        // One that counts no more by now has ended now: on doubt the stream does not go on.
        let certificateEnd = shownCertificate?.expiresAt.seconds ?? worker.loop.wallNow.seconds
        return certificateEnd < end ? (certificateEnd, .certificateExpired) : (end, .tokenExpired)
    }

    /// Why what let the exchange in would let nobody in any more; `nil` while it would. That its time is over is not asked.
    private var withdrawal: Reason? {
        guard let principal = permit?.principal else { return nil }
        let revocations = worker.revocations
        let snapshot = worker.snapshot
        if let token = principal.token {
            if revocations.covers(token) { return .tokenRevoked }
            if !snapshot.trustsIssuer(of: token) { return .unknownIssuer }
            if snapshot.hasLostClient(of: token) { return .unknownClient }
        }
        if let oauth1Token, revocations.covers(oauth1Token) { return .tokenRevoked }
        if principal.needsCertificate, shownCertificate == nil { return .certificateExpired }
        // Until the store has been read nobody knows who its clients are.
        guard snapshot.isStateKnown else { return nil }
        if principal.schemes.contains(.oauth1),
            snapshot.clients[principal.clientID]?.oauth1 == nil
        {
            return .unknownClient
        }
        if principal.schemes.contains(.certificate) {
            // Its own client alone is asked: there may be thousands of them, and as many streams.
            let rule = snapshot.clients[principal.clientID]?.registered.certificate
            let isNamed = certificate.flatMap { rule?.holds(for: $0) } ?? false
            return isNamed ? nil : .unknownClient
        }
        return nil
    }
}

extension Principal {
    /// Whether it is good together with the certificate on its connection alone.
    fileprivate var needsCertificate: Bool {
        schemes.contains(.certificate) || token?.certificateThumbprint != nil
    }
}
