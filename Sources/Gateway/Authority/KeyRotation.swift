import Configuration
import Primitives
import Store

/// When the authority's signing keys change. The next key is published before it signs, so that whoever checks our tokens
/// knows it by then; the last one stays until the tokens that it signed have ended.
struct KeyRotation {
    /// How long the next key is published before it signs: as long as our JWKS may be kept by those who fetch it.
    private static let longestLead: Duration = .seconds(300)

    enum Step: Equatable {
        case none
        /// There is none that signs: make one that does so at once.
        case makeFirst
        /// Make one that signs from then on.
        case makeNext(activatesAt: WallTime)
        /// Those of which no token lives any more.
        case remove(endedBefore: WallTime)
    }

    let algorithm: String
    /// `nil`: only by command.
    let period: Duration?
    /// How long a key stays after its end.
    let remainder: Duration

    /// How long the next key is published before it signs.
    var lead: Duration {
        period.map { min(KeyRotation.longestLead, $0 / 3) } ?? KeyRotation.longestLead
    }

    init(_ authority: AuthorityConfiguration) {
        algorithm = authority.signingAlgorithm.rawValue
        period = authority.keyRotation
        remainder = authority.tokenLifetime + authority.signingKeyMargin
    }

    /// What is to be done now.
    ///
    /// - Parameters:
    ///   - keys: as a snapshot has them, the newest first.
    ///   - configuredAt: when the conf was loaded. Of gateways that share a store and name different algorithms the one
    ///     loaded last has its way, and they do not replace each other's keys in turn.
    func step(_ keys: [SigningKeyRecord], at now: WallTime, configuredAt: WallTime) -> Step {
        guard let newest = keys.first else { return .makeFirst }
        let end = now.adding(seconds: -remainder.wholeSeconds)
        if keys.contains(where: { $0.isSpent(endedBefore: end) }) {
            return .remove(endedBefore: end)
        }
        // Without a successor: as no gateway leaves it, but an import may.
        guard newest.retiredAt == nil else { return .makeNext(activatesAt: now) }
        // One that is published and does not sign yet is the next, whoever made it.
        guard newest.activatesAt <= now else { return .none }
        let next = Step.makeNext(
            activatesAt: WallTime(
                nanoseconds: now.nanoseconds + Int64(clamping: lead.wholeNanoseconds)))
        // The store keeps whole seconds.
        if newest.algorithm != algorithm, newest.createdAt.seconds <= configuredAt.seconds {
            return next
        }
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
