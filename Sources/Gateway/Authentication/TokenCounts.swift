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

/// Adds up what the workers tell, each once in a round.
final class TokenCountRound: Sendable {
    private let told: Mutex<[TokenCounts?]>

    init(workers: Int) {
        told = Mutex(Array(repeating: nil, count: workers))
    }

    /// - Returns: the sum, when every worker has told; then the next round begins.
    func add(_ counts: TokenCounts, of worker: Int) -> TokenCounts? {
        told.withLock { told in
            told[worker] = counts
            let all = told.compactMap(\.self)
            guard let first = all.first, all.count == told.count else { return nil }
            told = Array(repeating: nil, count: told.count)
            return all.dropFirst().reduce(first, +)
        }
    }
}
