import OAuth

/// What may prove a token that the keys at hand do not.
enum TokenRecourse {
    case none
    /// A newer set of its issuer's keys.
    case keys(RemoteIssuer)
    case introspection(IntrospectionServer)
}

extension GatewaySnapshot {
    /// Who may prove a token that was refused.
    ///
    /// - Parameter verifier: which has just refused it.
    func recourse(after error: TokenError, by verifier: TokenVerifier) -> TokenRecourse {
        if let issuer = verifier.claimedIssuer {
            // One that a known issuer claims is proven by its signature, or not at all. Without a `kid` no key at hand
            // that proves it is all that an unknown key can be seen by.
            let isKeyUnknown =
                error == .unknownKey || (error == .badSignature && !verifier.namesKey)
            guard isKeyUnknown, let remote = remoteIssuers[issuer] else { return .none }
            return .keys(remote)
        }
        switch error {
        case .malformed, .unknownIssuer, .missingClaim, .invalidClaim:
            return introspection.map(TokenRecourse.introspection) ?? .none
        default:
            return .none
        }
    }

    /// Why only the running gateway can say whether a token holds; `nil`: it does not. The commands ask nobody.
    func undecided(after error: TokenError, by verifier: TokenVerifier) -> String? {
        switch recourse(after: error, by: verifier) {
        case .none: nil
        case .keys(let remote):
            "the keys of issuer \(remote.name) are fetched by the running gateway, and none is looked at here"
        case .introspection(let server):
            "introspection \(server.terms.name) would be asked about it (\(server.configuration.endpoint)); nobody was asked here"
        }
    }
}
