import Primitives

/// A token that the introspection server is asked about, and who waits for the answer.
final class Question {
    /// How many wait for one answer.
    static let waiterLimit = 1024

    enum Asker: Hashable {
        /// Whoever has it: it was active lately.
        case known
        /// The network of the client that showed it first; `nil` where there is no address.
        case stranger(IPAddress?)
    }

    let token: Secret
    let digest: TokenDigest
    let asker: Asker
    /// By then it has its turn, or leaves: what is asked must have time enough to be answered.
    let turnDeadline: MonotonicInstant
    /// By then it is answered.
    let deadline: MonotonicInstant
    /// Nobody, where what is remembered is asked about anew.
    var waiters: [Waiter] = []

    init(
        _ token: Secret, _ digest: TokenDigest, by asker: Asker, now: MonotonicInstant,
        timeout: Duration
    ) {
        self.token = token
        self.digest = digest
        self.asker = asker
        turnDeadline = now + timeout / 2
        deadline = now + timeout
    }
}

extension Question.Asker {
    /// A client by its address; over IPv6 by its /48, which is what one site is given: it has 65536 networks.
    init(_ address: IPAddress?) {
        switch address?.unmapped {
        case .v6(0x0064_FF9B_0000_0000, let low) where low >> 32 == 0:
            // All of IPv4 is behind one prefix where it is translated (RFC 6052 section 2.1).
            self = .stranger(.v4(UInt32(truncatingIfNeeded: low)))
        case .v6(let high, _): self = .stranger(.v6(high & ~0xFFFF, 0))
        case let other: self = .stranger(other)
        }
    }
}
