import Configuration
import OAuth
import Primitives
import Store

/// What `gatehouse token revoke` puts into the store.
public struct CommandLineRevocation {
    public let revocation: Revocation
    /// In words, without the token.
    public let what: String

    /// All of a client's tokens, of whatever kind, that were issued until a moment.
    public init(
        client: String, issuedBefore: WallTime, _ configuration: Configuration, _ now: WallTime
    ) throws(StartError) {
        try CommandLineRevocation.demandAuthority(configuration)
        self.init(of: client, issuedBefore, configuration, now)
    }

    /// All tokens of a client that is taken away. No gateway that has not heard of it yet, or whose clock is ahead, gets a
    /// token past it.
    public init(removing client: String, _ configuration: Configuration, _ now: WallTime) {
        let later = now.adding(seconds: CommandLineRevocation.clockDifference)
        self.init(of: client, later, configuration, now)
    }

    /// One of the authority's tokens, by its name.
    public init(jti: String, _ configuration: Configuration, _ now: WallTime) throws(StartError) {
        let authority = try CommandLineRevocation.demandAuthority(configuration)
        revocation = Revocation(
            .token(issuer: authority.issuer, id: jti), issuedBefore: now,
            until: CommandLineRevocation.end(configuration, now))
        what = "token \(jti)"
    }

    private init(
        of client: String, _ issuedBefore: WallTime, _ configuration: Configuration, _ now: WallTime
    ) {
        revocation = Revocation(
            .client(id: client), issuedBefore: issuedBefore,
            until: CommandLineRevocation.end(configuration, now))
        what = "the tokens of \(client)"
    }

    @discardableResult
    private static func demandAuthority(
        _ configuration: Configuration
    ) throws(StartError) -> AuthorityConfiguration {
        guard let authority = configuration.authority else {
            throw StartError(.configuration, "the conf has no authority block")
        }
        return authority
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

    /// A token: one of ours, or of an issuer that we trust.
    ///
    /// - Throws: for a text that is no token that this gateway would let in.
    public init(
        token: [UInt8], _ configuration: Configuration, state: StoreSnapshot, _ now: WallTime
    ) throws(StartError) {
        let tokens = try OpaqueTokens.of(configuration)
        if tokens.kind(of: token.span) != nil, let authority = configuration.authority {
            let name = Base64.encode(OpaqueTokens.identifier(of: token.span), .url)
            revocation = Revocation(
                .token(issuer: authority.issuer, id: name), issuedBefore: now,
                until: CommandLineRevocation.end(configuration, now))
            what = "token \(name)"
            return
        }
        let snapshot = GatewaySnapshot(
            configuration: configuration, material: try Material(configuration), state: state,
            tls: .none, listeners: [])
        let verified: VerifiedToken
        do throws(TokenError) {
            verified = try TokenVerifier(issuers: snapshot.issuers).verify(token.span, now: now)
        } catch {
            throw StartError(.usage, "the token is none that holds here: \(error.reason.rawValue)")
        }
        guard let name = verified.tokenID else {
            throw StartError(.usage, "the token has no jti: revoke its client's, with --client")
        }
        revocation = Revocation(
            .token(issuer: verified.issuer, id: name), issuedBefore: now,
            until: verified.revocationEnd)
        what = "token \(name)"
    }

    /// When every token that lives now has ended, and a day: also one that was issued while the lifetime in the conf was
    /// longer, of at most a year.
    private static func end(_ configuration: Configuration, _ now: WallTime) -> WallTime {
        let longest = max(
            configuration.authority?.oauth1TokenLifetime ?? .zero, .seconds(365 * 86_400))
        return now.adding(seconds: longest.wholeSeconds + 86_400)
    }
}

extension VerifiedToken {
    /// When it need not be remembered any more that the token was revoked.
    var revocationEnd: WallTime {
        WallTime(seconds: endsAt).adding(seconds: 1)
    }
}
