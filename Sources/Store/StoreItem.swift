import Primitives

/// Something that comes often, so that those which wait together are done together: in one transaction, or in
/// one round trip.
enum StoreItem: Sendable {
    case addToken(StoredToken)
    case findToken(id: [UInt8], now: WallTime)
    case exchangeToken(id: [UInt8], for: StoredToken, now: WallTime)
    case removeToken(id: [UInt8])
    case revoke(Revocation)
    case recordOnce(OneTimeID, now: WallTime)
    case recordFutureNonce(FutureNonce)
    /// For a store that is shared: a gateway on its own counts in its own memory.
    case takeRates([RateClaim])

    var isWrite: Bool { if case .findToken = self { false } else { true } }

    /// Whether those who watch the store should hear of it at once.
    var isNews: Bool {
        switch self {
        case .revoke: true
        case .addToken, .findToken, .exchangeToken, .removeToken, .recordOnce, .recordFutureNonce,
            .takeRates:
            false
        }
    }
}

/// What came of an item.
enum StoreItemResult: Sendable {
    case done
    case flag(Bool)
    case token(StoredToken?)
    case verdict(OneTimeVerdict)
    case rates(RateVerdict)
    /// This item alone; its neighbours are as well as they would be without it.
    case failed(StoreError)

    var isDone: Void? { if case .done = self { () } else { nil } }
    var flag: Bool? { if case .flag(let flag) = self { flag } else { nil } }
    var token: StoredToken?? { if case .token(let token) = self { token } else { nil } }
    var verdict: OneTimeVerdict? { if case .verdict(let verdict) = self { verdict } else { nil } }
    var rates: RateVerdict? { if case .rates(let verdict) = self { verdict } else { nil } }
}
