import Cryptography
import Primitives
import Store
import Synchronization
import Telemetry

/// Counts requests against their limits, for all workers.
///
/// A gateway on its own counts in its table. Gateways that share a store are counted there: but first here, so that what
/// this one alone refuses costs the store nothing, and so that it can go on by itself while the store is away. Budgets of
/// addresses stay here always: anybody has as many as there are addresses, and whoever asks from many, proven or not, would
/// fill the store with them.
///
/// What the store refuses is given back here, but for the budget that it was refused for: that one is known to be used up,
/// and until the store would let one pass it is refused here without asking. Else whoever has used up a budget elsewhere
/// would draw on all others of this table for as long as each answer takes, and others would find them empty. So the table
/// has what is under way, what has passed through this gateway, a little less where an answer came late
/// (`CellRate.takenBack`), and what the store has said is used up. It has more than the store only of what passed while
/// the store was away, or was lost there.
final class RateLimiter: Sendable {
    let table = RateTable()
    private let hash = KeyedHash()
    /// `nil` where no store is shared.
    private let storeKey: [UInt8]?
    private let errors: ErrorLog
    /// Nobody asks the store before; 0 while it answers. One request in so long waits for a store that is away.
    private let askAgainAt = Atomic<UInt64>(0)
    /// The last `askAgainAt` in which an answer came, and in how many of them since the last failure.
    private let answeredUntil = Atomic<UInt64>(0)
    private let answers = Atomic<Int>(0)
    private static let pause: Duration = .seconds(1)
    private static let answersToReturn = 3

    /// - Parameter storeKey: what ids there are made by, the same on every gateway.
    init(storeKey: [UInt8]?, errors: ErrorLog) {
        self.storeKey = storeKey
        self.errors = errors
    }

    /// - Parameters:
    ///   - bytes: what the budget is known by.
    ///   - isOfAddress: whether an address is in it, of which there may be any number.
    func claim(
        _ rate: CompiledRate, _ bytes: [UInt8], isOfAddress: Bool
    ) -> RateTable.Claim {
        let storeKey = isOfAddress ? nil : storeKey
        return RateTable.Claim(
            rate: rate, key: RateTable.key(hash.hash(bytes.span), isOfAddress: isOfAddress),
            id: storeKey.map { Array(Digest.hash(($0 + bytes).span, .sha256).prefix(16)) } ?? [])
    }

    // MARK: The store

    /// Whether the store is to be asked.
    func asksStore(at now: MonotonicInstant) -> Bool {
        guard storeKey != nil else { return false }
        let due = askAgainAt.load(ordering: .relaxed)
        guard due > 0 else { return true }
        guard now.nanoseconds >= due else { return false }
        return askAgainAt.compareExchange(
            expected: due, desired: (now + RateLimiter.pause).nanoseconds, ordering: .relaxed
        ).exchanged
    }

    /// What the store has said of a request that was counted here, whether or not anybody still waits for it.
    ///
    /// - Parameters:
    ///   - claims: all that it was counted in.
    ///   - shared: those of them that the store was asked about.
    func settle(
        _ claims: [RateTable.Claim], _ shared: [RateTable.Claim],
        _ result: Result<RateVerdict, StoreError>
    ) {
        switch result {
        case .success(.passes):
            storeAnswered()
        case .success(.refused(let index, let wait)):
            table.giveBack(claims)
            table.useUp(shared[index], wait: wait, at: .now())
            storeAnswered()
        case .failure(.busy):
            // Too much waits here, and it was told at once: the store is not away. It has been counted here.
            break
        case .failure(let error):
            storeFailed(error, at: .now())
        }
    }

    /// One answer does not bring back a store that cannot keep up: it would be asked by all, fail, and so on each second.
    /// Nor do several that were under way when it failed.
    func storeAnswered() {
        let due = askAgainAt.load(ordering: .relaxed)
        guard due > 0, answeredUntil.exchange(due, ordering: .relaxed) != due,
            answers.add(1, ordering: .relaxed).newValue >= RateLimiter.answersToReturn,
            askAgainAt.exchange(0, ordering: .relaxed) > 0
        else { return }
        errors.notice("rates are counted by all gateways together again", [:])
    }

    func storeFailed(_ error: StoreError, at now: MonotonicInstant) {
        let due = (now + RateLimiter.pause).nanoseconds
        answers.store(0, ordering: .relaxed)
        guard askAgainAt.exchange(due, ordering: .relaxed) == 0 else { return }
        errors.error("rates are counted by this gateway alone", ["cause": "\(error)"])
    }
}
