import Configuration
import OAuth
import Primitives
import Store

/// What `gatehouse token revoke` puts into the store.
public struct CommandLineRevocation {
    public let revocation: Revocation
    /// In words, without the token.
    public let what: String
    /// What the operator must know of it besides.
    public let note: String?

    private init(_ revocation: Revocation, _ what: String, note: String? = nil) {
        self.revocation = revocation
        self.what = what
        self.note = note
    }

    // MARK: By client

    /// All of a client's tokens, of whatever kind, that were issued until a moment.
    ///
    /// - Parameter issuedBefore: `nil`: until now, by whichever gateway's clock.
    public init(
        client: String, issuedBefore: WallTime?, _ configuration: Configuration, _ now: WallTime
    ) {
        let seconds = CommandLineRevocation.clockDifference
        self.init(
            of: client, issuedBefore ?? now.adding(seconds: seconds), configuration, now,
            note: issuedBefore == nil
                ? "what \(client) is issued in the next \(seconds) s is refused too: clocks may differ by as much"
                : nil)
    }

    /// All tokens of a client that is taken away. No gateway that has not heard of it yet, or whose clock is ahead, gets a
    /// token past it.
    public init(removing client: String, _ configuration: Configuration, _ now: WallTime) {
        let later = now.adding(seconds: CommandLineRevocation.clockDifference)
        self.init(of: client, later, configuration, now)
    }

    private init(
        of client: String, _ issuedBefore: WallTime, _ configuration: Configuration,
        _ now: WallTime, note: String? = nil
    ) {
        self.init(
            Revocation(
                .client(id: client), issuedBefore: issuedBefore,
                until: CommandLineRevocation.end(configuration, now)),
            "the tokens of \(client)", note: note)
    }

    /// So much apart may the clocks of gateways be, in seconds.
    public static let clockDifference: Int64 = 60

    /// How long tokens of a client would be taken for those of one of its name that was removed, in seconds; 0: not at all.
    public static func secondsUntilReusable(
        _ id: String, _ revocations: [Revocation], _ now: WallTime
    ) -> Int64 {
        let ends = revocations.compactMap { revocation -> Int64? in
            guard revocation.target == .client(id: id) else { return nil }
            return revocation.issuedBefore.seconds + 1 - now.seconds
        }
        return max(0, ends.max() ?? 0)
    }

    // MARK: By name

    /// One token by its `jti`, which is taken as it is.
    ///
    /// - Parameters:
    ///   - issuer: the name of its block in the conf; `nil`: our own authority.
    ///   - until: when it ends; `nil`: nobody knows, so that it is remembered as long as any token of its issuer may live.
    public init(
        jti: String, issuer: String?, until: WallTime?, _ configuration: Configuration,
        _ now: WallTime
    ) throws(StartError) {
        let claim: String
        var end = WallTime(seconds: .max)
        if let issuer {
            claim = try CommandLineRevocation.claim(of: issuer, configuration)
        } else if let authority = configuration.authority {
            claim = authority.issuer
            end = CommandLineRevocation.end(configuration, now)
        } else {
            throw StartError(
                .usage, "the conf has no authority block: name the token's issuer with --issuer")
        }
        if let until, until <= now {
            throw StartError(.usage, "--until: that moment is over, and nothing would be revoked")
        }
        if let until { end = until.adding(seconds: CommandLineRevocation.clockDifference) }
        self.init(
            Revocation(.token(issuer: claim, id: jti), issuedBefore: now, until: end),
            "token \(jti)" + (issuer.map { " of issuer \($0)" } ?? ""))
    }

    /// The `iss` of the tokens of a block of the conf.
    private static func claim(
        of name: String, _ configuration: Configuration
    ) throws(StartError) -> String {
        if let issuer = configuration.issuers.first(where: { $0.name == name }) {
            return issuer.issuer
        }
        guard let server = configuration.introspection, server.name == name else {
            throw StartError(.usage, "there is no 'issuer' or 'introspection' block \(name)")
        }
        guard let issuer = server.issuer else {
            throw StartError(
                .usage, "introspection \(name) names no issuer: revoke by the token itself")
        }
        return issuer
    }

    // MARK: By itself

    /// A token: one of ours, or of an issuer that we trust.
    ///
    /// - Throws: for a text that is no token that this gateway would let in.
    public init(
        token: [UInt8], _ configuration: Configuration, state: StoreSnapshot, _ now: WallTime
    ) throws(StartError) {
        let tokens = try OpaqueTokens.of(configuration)
        if tokens.kind(of: token.span) != nil {
            let digest = OpaqueTokens.identifier(of: token.span)
            let issuer = configuration.authority?.issuer ?? ""
            self.init(
                Revocation(
                    .token(digest: digest, issuer: issuer), issuedBefore: now,
                    until: CommandLineRevocation.end(configuration, now)),
                "token \(Base64.encode(digest, .url))")
            return
        }
        let snapshot = GatewaySnapshot(
            configuration: configuration, material: try Material(configuration), state: state,
            tls: .none, listeners: [])
        let verifier = TokenVerifier(issuers: snapshot.issuers)
        let verified: VerifiedToken
        do throws(TokenError) {
            verified = try verifier.verify(token.span, now: now)
        } catch {
            try self.init(unproven: token, after: error, by: verifier, snapshot, now)
            return
        }
        try self.init(
            issuer: verified.issuer, tokenID: verified.tokenID, until: verified.revocationEnd, now)
    }

    private init(
        issuer: String, tokenID: String?, until: WallTime, _ now: WallTime, note: String? = nil
    ) throws(StartError) {
        guard let tokenID else {
            throw StartError(.usage, "the token has no jti: it cannot be told from others")
        }
        self.init(
            Revocation(.token(issuer: issuer, id: tokenID), issuedBefore: now, until: until),
            "token \(tokenID)", note: note)
    }

    /// One that the running gateway alone can prove: what it says of itself is good enough to refuse it by.
    private init(
        unproven token: [UInt8], after error: TokenError, by verifier: TokenVerifier,
        _ snapshot: GatewaySnapshot, _ now: WallTime
    ) throws(StartError) {
        let refused = StartError(
            .usage, "the token is none that holds here: \(error.reason.rawValue)")
        // The store alone would know it, and it was never in there.
        let isOurs = snapshot.authority != nil && OpaqueTokens.isLike(.access, token.span)
        guard !isOurs else { throw refused }
        switch snapshot.recourse(after: error, by: verifier) {
        case .none: throw refused
        case .keys(let remote):
            guard let claimed = try? verifier.unproven(token.span) else { throw refused }
            guard !verifier.isOver(token.span, now: now) else {
                throw StartError(.usage, "the token is over: it needs no revoking")
            }
            let end = claimed.expiresAt.map(WallTime.init(seconds:)) ?? WallTime(seconds: .max)
            let spare = claimed.issuer.clockSkewSeconds + 1 + CommandLineRevocation.clockDifference
            try self.init(
                issuer: claimed.issuer.issuer, tokenID: claimed.tokenID,
                until: end.adding(seconds: spare), now,
                note:
                    "the keys of issuer \(remote.name) are not known here: what the token says of itself was not proven"
            )
        case .introspection(let server):
            let digest = OpaqueTokens.identifier(of: token.span)
            self.init(
                Revocation(
                    .token(digest: digest), issuedBefore: now, until: WallTime(seconds: .max)),
                "token \(Base64.encode(digest, .url))",
                note:
                    "introspection \(server.terms.name) was not asked: whatever it says of the token, it is refused here. "
                    + "Elsewhere it is good until its server revokes it")
        }
    }

    /// When every token that lives now has ended, and a day: also one that was issued while the lifetime in the conf was
    /// longer, of at most a year.
    static func end(_ configuration: Configuration, _ now: WallTime) -> WallTime {
        let longest = max(
            configuration.authority?.oauth1TokenLifetime ?? .zero, .seconds(365 * 86_400))
        return now.adding(seconds: longest.wholeSeconds + 86_400)
    }
}

extension VerifiedToken {
    /// When it need not be remembered any more that the token was revoked, by whichever gateway's clock.
    var revocationEnd: WallTime {
        WallTime(seconds: endsAt).adding(seconds: 1 + CommandLineRevocation.clockDifference)
    }
}
