import Primitives

/// A record that is not what was written: changed by hand, or damaged. It counts as absent, so that what it would allow is
/// refused; it keeps no other from being used.
public struct StoreFault: Error, Hashable {
    public enum Record: Sendable, Hashable {
        case client(id: String)
        case signingKey(kid: String)
        /// What of it could be read counts.
        case revocation(of: String)
        case token
        case oneTimeID
    }

    public let record: Record
    /// Without a secret, or anything else of the record's values.
    public let reason: String

    init(_ record: Record, _ reason: String) {
        self.record = record
        self.reason = reason
    }

    /// - Returns: nil when the record is not to blame.
    init?(_ record: Record, _ error: StoreError) {
        guard case .corrupt(let reason) = error else { return nil }
        self.init(record, reason)
    }
}

extension StoreFault: CustomStringConvertible {
    public var description: String {
        switch record {
        case .client(let id): "the client \(id) is damaged: \(reason)"
        case .signingKey(let kid): "the signing key \(kid) is damaged: \(reason)"
        case .revocation(let target): "the revocation of \(target) is damaged: \(reason)"
        case .token: "a token is damaged: \(reason)"
        case .oneTimeID: "the record of what was used once is damaged: \(reason)"
        }
    }
}

extension Revocation {
    /// What stands in a store of a revocation that may be damaged. Whatever can still be read revokes as much as it may
    /// have meant: to refuse what was not revoked can be told and put right, the opposite not.
    struct Remains {
        /// As `Target.columns` has them.
        var kind: String
        var issuer: String
        var subject: String
        /// Nil: nobody can say.
        var issuedBefore: WallTime?
        var until: WallTime?
        /// Not earlier than the moment that `issuedBefore` would name.
        var latest: WallTime

        /// - Returns: a fault where it is not what was written.
        func read() -> (revocations: [Revocation], fault: StoreFault?) {
            let known = Target(kind: kind, issuer: issuer, subject: subject)
            let targets =
                known.map { [$0] } ?? [.token(issuer: issuer, id: subject), .client(id: subject)]
            let revocations = targets.map { target in
                Revocation(
                    target, issuedBefore: issuedBefore ?? latest,
                    until: until ?? WallTime(nanoseconds: .max))
            }
            guard known == nil || issuedBefore == nil || until == nil else {
                return (revocations, nil)
            }
            let reason = known == nil ? "it is of an unknown kind" : "its moments are not known"
            return (revocations, StoreFault(.revocation(of: subject), reason))
        }
    }
}
