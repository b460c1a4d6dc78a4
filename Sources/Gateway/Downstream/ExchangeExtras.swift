import OAuth
import Primitives
import Store
import Telemetry

/// What an exchange knows of its request where that is signed by OAuth 1.0, asks for a token, lasts as long as its credential or
/// meets a server that is down: most do nothing of it. An object of its own, made when the first of it is found out: what every
/// request passes is the smaller by it, and of many that are under way at once more fits the processor's cache.
final class ExchangeExtras {
    var oauth1Claim: OAuth1Claim?
    /// The token that an OAuth 1.0 request was signed with, once it is known; and whether the store was asked for it.
    var oauth1Token: StoredToken?
    var hasAskedForToken = false
    var tokenRequest: TokenRequest?
    var tokenGrant: TokenGrant?
    /// What a token is to be bound to (RFC 9449 section 5); of a token request alone.
    var proof: DPoPProof?
    /// When a stream must end because its credential does, and what its log line says then.
    var credentialEnd: (at: MonotonicInstant, reason: Reason)?
    /// Where the answer of a call that may end so stands.
    var callMessages: GRPCMessages?
    /// Labels of the servers that could not be reached for this request.
    var unreached: [[UInt8]] = []
}

extension Exchange {
    /// Those of this request, made where there are none.
    private var needed: ExchangeExtras {
        if let extras { return extras }
        let made = ExchangeExtras()
        extras = made
        return made
    }

    var oauth1Claim: OAuth1Claim? {
        get { extras?.oauth1Claim }
        set { needed.oauth1Claim = newValue }
    }

    var oauth1Token: StoredToken? {
        get { extras?.oauth1Token }
        set { needed.oauth1Token = newValue }
    }

    var hasAskedForToken: Bool {
        get { extras?.hasAskedForToken == true }
        set { needed.hasAskedForToken = newValue }
    }

    var tokenRequest: TokenRequest? {
        get { extras?.tokenRequest }
        set { needed.tokenRequest = newValue }
    }

    var tokenGrant: TokenGrant? {
        get { extras?.tokenGrant }
        set { needed.tokenGrant = newValue }
    }

    var proof: DPoPProof? {
        get { extras?.proof }
        set { needed.proof = newValue }
    }

    var credentialEnd: (at: MonotonicInstant, reason: Reason)? {
        get { extras?.credentialEnd }
        set { needed.credentialEnd = newValue }
    }

    var callMessages: GRPCMessages? {
        get { extras?.callMessages }
        set { needed.callMessages = newValue }
    }

    /// A further attempt is made elsewhere, where there is another server.
    func leaveOut(_ server: [UInt8]) {
        needed.unreached.append(server)
    }
}
