/// How a fetch of an issuer's keys has ended, for an exchange that waited for it.
enum KeyFetchEnd: Sendable {
    /// The issuer's keys are here as they are now, or as they were a moment ago, and none may be fetched so soon.
    case current
    /// It began before it was asked for: a key that was published meanwhile may be missing.
    case early
    /// Nobody can say what keys the issuer has.
    case failed
}

/// Whether the key of a token may yet be found.
enum KeyProspect: Equatable {
    case mayFind
    /// The issuer's keys are here, and it is not among them.
    case none
    case unavailable
}

/// What an exchange has done to find the key of its token. Only that the issuer does not have it speaks against the token:
/// that it could not be asked does not.
enum KeySearch: Equatable {
    /// For a fetch that was under way when it came, and for one that begins afterwards.
    private static let waits = 2

    /// - Parameter waitsLeft: how often it may still wait for newer keys.
    case going(waitsLeft: Int)
    case ended(KeyProspect)

    static let begun = KeySearch.going(waitsLeft: waits)

    mutating func fetchEnded(_ end: KeyFetchEnd) {
        switch end {
        case .current: self = .ended(.none)
        case .early: break
        case .failed: self = .ended(.unavailable)
        }
    }

    /// Whether to wait now; that takes one of the waits.
    ///
    /// - Parameter prospect: what is known of the issuer.
    mutating func next(_ prospect: KeyProspect) -> KeyProspect {
        switch self {
        case .ended(let end): return end
        case .going(let left):
            guard prospect == .mayFind else { return prospect }
            guard left > 0 else { return .unavailable }
            self = .going(waitsLeft: left - 1)
            return .mayFind
        }
    }
}
