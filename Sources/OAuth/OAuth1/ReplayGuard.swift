import Cryptography
import Primitives
import Synchronization

/// The nonces that have been used, shared by all workers: a (consumer, token, timestamp, nonce) passes once
/// (RFC 5849 section 3.3), also across a restart and a crash, without a write per request.
///
/// How a crash is survived: the store keeps a ceiling, raised ahead of use. A request whose timestamp lies at or below the
/// ceiling needs no write. One above it (a client whose clock is ahead) is made durable by its caller before it is accepted.
/// After a crash everything at or below the stored ceiling is refused (`floor`), since it may have been accepted before;
/// honest clients are past it after the few seconds by which the ceiling ran ahead. A clean stop saves the live nonces
/// instead, and nothing is refused after it.
///
/// Entries are 128-bit fingerprints (SHA-256 over a secret key and the values, cut) in shards, each under its own lock and sorted into buckets by
/// timestamp, which are dropped whole when they leave the window, so that no pass over all of them is ever made.
public final class ReplayGuard: Sendable {
    public enum Verdict: Sendable, Equatable {
        case accepted
        case reused
        /// It may have been used before a crash.
        case belowFloor
        /// Make the fingerprint durable, then `claimDurable`.
        case aboveCeiling(fingerprint: [UInt8])
        /// No room: nothing can be accepted safely.
        case full
    }

    public struct Fingerprint: Hashable, Sendable {
        let high: UInt64
        let low: UInt64

        init(high: UInt64, low: UInt64) {
            self.high = high
            self.low = low
        }

        public init?(_ bytes: [UInt8]) {
            guard bytes.count == 16 else { return nil }
            high = bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) }
            low = bytes[8...].reduce(0) { $0 << 8 | UInt64($1) }
        }

        public var bytes: [UInt8] {
            (0..<8).map { UInt8(truncatingIfNeeded: high >> UInt64(56 - 8 * $0)) }
                + (0..<8).map { UInt8(truncatingIfNeeded: low >> UInt64(56 - 8 * $0)) }
        }
    }

    private struct Shard {
        /// By bucket number: timestamp / bucketSeconds.
        var buckets: [Int64: Set<Fingerprint>] = [:]
        var count = 0
    }

    private static let shardCount = 64

    private let shards: [Mutex64]
    private let key: [UInt8]
    private let windowSeconds: Int64
    private let bucketSeconds: Int64
    private let shardCapacity: Int
    private let floor: Atomic<Int64>
    private let ceiling: Atomic<Int64>

    /// A lock with its shard; a class, because locks cannot live in an array.
    private final class Mutex64: Sendable {
        let state = Mutex(Shard())
    }

    /// - Parameters:
    ///   - windowSeconds: timestamps within this distance of now are accepted at all.
    ///   - capacity: live nonces in all; past it requests are refused.
    ///   - key: random bytes, kept in the store, so that saved fingerprints stay comparable.
    ///   - floor: nothing at or below is accepted.
    public init(windowSeconds: Int64, capacity: Int = 8 << 20, key: [UInt8], floor: Int64 = .min) {
        self.windowSeconds = max(1, windowSeconds)
        bucketSeconds = max(1, windowSeconds / 64)
        shardCapacity = max(1, capacity / ReplayGuard.shardCount)
        self.key = key
        self.floor = Atomic(floor)
        ceiling = Atomic(.max)
        shards = (0..<ReplayGuard.shardCount).map { _ in Mutex64() }
    }

    /// Timestamps above it must be made durable one by one. Without a store that lasts there is none.
    public func raiseCeiling(to seconds: Int64) {
        ceiling.store(seconds, ordering: .releasing)
    }

    /// Judges a nonce and, if it is new, remembers it.
    public func claim(
        consumer: String, token: String, timestamp: Int64, nonce: String, now: WallTime
    ) -> Verdict {
        let print = fingerprint(consumer, token, timestamp, nonce)
        guard timestamp > floor.load(ordering: .acquiring) else { return .belowFloor }
        if timestamp > ceiling.load(ordering: .acquiring) {
            return contains(print, timestamp) ? .reused : .aboveCeiling(fingerprint: print.bytes)
        }
        return insert(print, timestamp, now: now)
    }

    /// Judges a nonce whose fingerprint has been made durable.
    public func claimDurable(
        consumer: String, token: String, timestamp: Int64, nonce: String, now: WallTime
    ) -> Verdict {
        insert(fingerprint(consumer, token, timestamp, nonce), timestamp, now: now)
    }

    private func insert(_ print: Fingerprint, _ timestamp: Int64, now: WallTime) -> Verdict {
        let bucket = timestamp / bucketSeconds
        return shards[Int(print.high % UInt64(ReplayGuard.shardCount))].state.withLock { shard in
            if shard.buckets[bucket]?.contains(print) == true { return .reused }
            if shard.count >= shardCapacity {
                expire(&shard, now: now)
                guard shard.count < shardCapacity else { return .full }
            }
            if shard.buckets[bucket] == nil { expire(&shard, now: now) }
            shard.buckets[bucket, default: []].insert(print)
            shard.count += 1
            return .accepted
        }
    }

    private func contains(_ print: Fingerprint, _ timestamp: Int64) -> Bool {
        shards[Int(print.high % UInt64(ReplayGuard.shardCount))].state.withLock { shard in
            shard.buckets[timestamp / bucketSeconds]?.contains(print) == true
        }
    }

    /// Drops the buckets that have left the window: at most 130 of them are looked at.
    private func expire(_ shard: inout Shard, now: WallTime) {
        let oldest = (now.seconds - windowSeconds) / bucketSeconds
        for bucket in shard.buckets.keys where bucket < oldest {
            shard.count -= shard.buckets.removeValue(forKey: bucket)?.count ?? 0
        }
    }

    /// SHA-256 over the key and the four values, each text with its length before it, so that no two requests share an
    /// input and nobody outside can look for two that collide.
    private func fingerprint(
        _ consumer: String, _ token: String, _ timestamp: Int64, _ nonce: String
    ) -> Fingerprint {
        var input = key
        for text in [consumer, token, nonce] {
            let bytes = Array(text.utf8)
            ReplayGuard.append(UInt64(bytes.count), to: &input)
            input += bytes
        }
        ReplayGuard.append(UInt64(bitPattern: timestamp), to: &input)
        let digest = Digest.hash(input.span, .sha256)
        return Fingerprint(Array(digest.prefix(16))) ?? Fingerprint(high: 0, low: 0)
    }

    private static func append(_ number: UInt64, to output: inout [UInt8]) {
        for shift in stride(from: 56, through: 0, by: -8) {
            output.append(UInt8(truncatingIfNeeded: number >> UInt64(shift)))
        }
    }

    // MARK: Stop and start

    /// How many nonces are remembered.
    public var count: Int { shards.reduce(0) { $0 + $1.state.withLock { $0.count } } }

    /// All live nonces for a clean stop: how long a bucket is, then 24 bytes each, the bucket's start and the
    /// fingerprint.
    public var saved: [UInt8] {
        var output: [UInt8] = []
        ReplayGuard.append(UInt64(bitPattern: bucketSeconds), to: &output)
        for shard in shards {
            shard.state.withLock { shard in
                for (bucket, prints) in shard.buckets {
                    for print in prints {
                        ReplayGuard.append(UInt64(bitPattern: bucket * bucketSeconds), to: &output)
                        output += print.bytes
                    }
                }
            }
        }
        return output
    }

    /// Puts back what `saved` gave. The window may have changed meanwhile: an entry goes into every bucket that its old
    /// one overlaps.
    public func restore(_ saved: [UInt8]) {
        guard saved.count >= 8 else { return }
        let length = max(1, ReplayGuard.number(saved, at: 0))
        var offset = 8
        while offset + 24 <= saved.count {
            let start = ReplayGuard.number(saved, at: offset)
            if let print = Fingerprint(Array(saved[offset + 8..<offset + 24])) {
                restore(print, from: start, through: start &+ length &- 1)
            }
            offset += 24
        }
    }

    private static func number(_ bytes: [UInt8], at offset: Int) -> Int64 {
        Int64(bitPattern: bytes[offset..<offset + 8].reduce(0) { $0 << 8 | UInt64($1) })
    }

    /// Puts back a nonce that was made durable by itself.
    public func restore(timestamp: Int64, fingerprint: [UInt8]) {
        guard let print = Fingerprint(fingerprint) else { return }
        restore(print, from: timestamp, through: timestamp)
    }

    private func restore(_ print: Fingerprint, from first: Int64, through last: Int64) {
        shards[Int(print.high % UInt64(ReplayGuard.shardCount))].state.withLock { shard in
            for bucket in (first / bucketSeconds)...(max(first, last) / bucketSeconds) {
                if shard.buckets[bucket, default: []].insert(print).inserted { shard.count += 1 }
            }
        }
    }
}
