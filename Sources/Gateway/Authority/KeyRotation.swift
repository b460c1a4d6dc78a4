import Configuration
import Primitives
import Store

/// When the authority's signing keys change. The next key is published before it signs, so that whoever checks our tokens
/// knows it by then; the last one stays until the tokens that it signed have ended.
struct KeyRotation {
    /// How long the next key is published before it signs: as long as our JWKS may be kept by those who fetch it.
    private static let longestLead: Duration = .seconds(300)
    /// How much longer than a token's life a key stays, for clocks that differ and lifetimes that were longer before.
    private static let margin: Duration = .seconds(86_400)

    enum Step: Equatable {
        case none
        /// There is none that signs: make one that does so at once.
        case makeFirst
        /// Make one that signs from then on.
        case makeNext(activatesAt: WallTime)
        case remove(retiredBefore: WallTime)
    }

    let algorithm: String
    /// `nil`: only by command.
    let period: Duration?
    let tokenLifetime: Duration

    /// How long the next key is published before it signs.
    var lead: Duration {
        period.map { min(KeyRotation.longestLead, $0 / 3) } ?? KeyRotation.longestLead
    }

    init(_ authority: AuthorityConfiguration) {
        algorithm = authority.signingAlgorithm.rawValue
        period = authority.keyRotation
        tokenLifetime = authority.tokenLifetime
    }

    /// What is to be done now.
    ///
    /// - Parameter keys: as a snapshot has them, the newest first.
    func step(_ keys: [SigningKeyRecord], at now: WallTime) -> Step {
        guard let newest = keys.first else { return .makeFirst }
        let end = now.seconds - (tokenLifetime + KeyRotation.margin).wholeSeconds
        if keys.contains(where: { ($0.retiredAt?.seconds ?? .max) < end }) {
            return .remove(retiredBefore: WallTime(seconds: end))
        }
        // One that is published and does not sign yet is the next, whoever made it.
        guard newest.activatesAt <= now else { return .none }
        let next = Step.makeNext(
            activatesAt: WallTime(
                nanoseconds: now.nanoseconds + Int64(clamping: lead.wholeNanoseconds)))
        if newest.algorithm != algorithm { return next }
        guard let period else { return .none }
        let due = newest.activatesAt.nanoseconds + Int64(clamping: (period - lead).wholeNanoseconds)
        return due <= now.nanoseconds ? next : .none
    }
}

extension AuthorityConfiguration {
    /// When a key that is made now should begin to sign.
    public func nextKeyActivatesAt(_ now: WallTime) -> WallTime {
        let lead = KeyRotation(self).lead
        return WallTime(nanoseconds: now.nanoseconds + Int64(clamping: lead.wholeNanoseconds))
    }
}
