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
    /// - Parameter issuer: whose keys it was held to; `nil`: no issuer that we know claims it.
    func recourse(after error: TokenError, claimedBy issuer: String?) -> TokenRecourse {
        if let issuer {
            // One that a known issuer claims is proven by its signature, or not at all.
            guard error == .unknownKey, let remote = remoteIssuers[issuer] else { return .none }
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
    func undecided(after error: TokenError, claimedBy issuer: String?) -> String? {
        switch recourse(after: error, claimedBy: issuer) {
        case .none: nil
        case .keys(let remote):
            "the keys of issuer \(remote.name) are fetched by the running gateway, and none is looked at here"
        case .introspection(let server):
            "introspection \(server.terms.name) would be asked about it (\(server.configuration.endpoint)); nobody was asked here"
        }
    }
}
