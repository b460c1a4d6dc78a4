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
        revocation = Revocation(
            .client(id: client), issuedBefore: issuedBefore,
            until: try CommandLineRevocation.end(configuration, now))
        what = "the tokens of \(client)"
    }

    /// One of the authority's tokens, by its name.
    public init(jti: String, _ configuration: Configuration, _ now: WallTime) throws(StartError) {
        guard let authority = configuration.authority else {
            throw StartError(.configuration, "the conf has no authority block")
        }
        revocation = Revocation(
            .token(issuer: authority.issuer, id: jti), issuedBefore: now,
            until: try CommandLineRevocation.end(configuration, now))
        what = "token \(jti)"
    }

    /// A token: one of ours, or of an issuer that we trust.
    ///
    /// - Throws: for a text that is no token that this gateway would let in.
    public init(
        token: [UInt8], _ configuration: Configuration, state: StoreSnapshot, _ now: WallTime
    ) throws(StartError) {
        let end = try CommandLineRevocation.end(configuration, now)
        let tokens = try OpaqueTokens.of(configuration)
        if tokens.kind(of: token.span) != nil, let authority = configuration.authority {
            let name = Base64.encode(OpaqueTokens.identifier(of: token.span), .url)
            revocation = Revocation(
                .token(issuer: authority.issuer, id: name), issuedBefore: now, until: end)
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
            until: WallTime(seconds: verified.expiresAt + verified.clockSkewSeconds + 1))
        what = "token \(name)"
    }

    /// When every token that lives now has ended, and a day.
    private static func end(
        _ configuration: Configuration, _ now: WallTime
    ) throws(StartError) -> WallTime {
        guard let authority = configuration.authority else {
            throw StartError(.configuration, "the conf has no authority block")
        }
        let longest = max(authority.tokenLifetime, authority.oauth1TokenLifetime)
        return WallTime(seconds: now.seconds + longest.wholeSeconds + 86_400)
    }
}
