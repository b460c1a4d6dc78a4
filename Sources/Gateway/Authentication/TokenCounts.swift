import Synchronization
import Telemetry

/// What a worker's token cache did since the start, and holds now; or all of them together.
struct TokenCounts: Equatable {
    var asked: TokenCache.Counters
    var tokens: Int
    var bytes: Int

    static func + (left: TokenCounts, right: TokenCounts) -> TokenCounts {
        TokenCounts(
            asked: left.asked + right.asked, tokens: left.tokens + right.tokens,
            bytes: left.bytes + right.bytes)
    }

    func tell(_ worker: String, _ log: ErrorLog) {
        log.info(
            "remembered tokens",
            [
                "worker": worker, "hits": "\(asked.hits)", "misses": "\(asked.misses)",
                "evictions": "\(asked.evictions)", "tokens": "\(tokens)", "bytes": "\(bytes)",
            ])
    }
}

/// Adds up what the workers tell. All are asked as often: a round is over when the last of them has told for it.
final class TokenCountRound: Sendable {
    private struct Told {
        var latest: TokenCounts?
        var times = 0
    }

    private let told: Mutex<[Told]>

    init(workers: Int) {
        told = Mutex(Array(repeating: Told(), count: workers))
    }

    /// - Parameter counts: `nil` for a worker that remembers nothing.
    /// - Returns: the sum of what each told last, when this ends a round.
    func add(_ counts: TokenCounts?, of worker: Int) -> TokenCounts? {
        told.withLock { told in
            let times = told.map(\.times).min()
            told[worker].latest = counts
            told[worker].times += 1
            guard told.map(\.times).min() != times else { return nil }
            let all = told.compactMap(\.latest)
            return all.first.map { all.dropFirst().reduce($0, +) }
        }
    }
}
