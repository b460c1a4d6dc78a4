import Cryptography
import Primitives
import Synchronization

/// What has been used and passes once, shared by all workers: the nonces of OAuth 1.0 (RFC 5849
/// section 3.3) or the proofs of DPoP (RFC 9449 section 11.1), also across a restart and a crash,
/// without a write per request.
///
/// How a crash is survived: the store keeps a ceiling, raised ahead of use. A request whose
/// timestamp lies at or below the ceiling needs no write. One above it (a client whose clock is
/// ahead) is made durable by its caller before it is accepted. After a crash everything at or below
/// the stored ceiling is refused (`floor`), since it may have been accepted before; honest clients
/// are past it after the few seconds by which the ceiling ran ahead. A clean stop saves the live
/// nonces and the floor instead, and nothing that is new is refused after it.
///
/// Entries are 16-byte fingerprints in shards, each under its own lock and sorted into buckets by
/// timestamp. A bucket is dropped whole when it leaves the window, so that no pass over all entries
/// is ever made; what was dropped is below the floor from then on, so that neither a clock that
/// steps back nor a wider window lets it pass again. A timestamp is what the client states, never one
/// that is made from the window: the floor stays behind the window's end, whatever the next one is. Measured with a million and more: 29 to 38
/// bytes of resident memory an entry, whatever the lengths of its texts, and 0.65 microseconds a
/// claim.
///
/// Nobody fills the table alone: a client may hold three times as much as is free (`ReplayShares`).
public final class ReplayGuard: Sendable {
    public enum Verdict: Sendable, Equatable {
        case accepted
        case reused
        /// It may have been used before: before a crash, or so long ago that its record is gone.
        case belowFloor
        /// Make the fingerprint durable, then `claimDurable`.
        case aboveCeiling(fingerprint: [UInt8])
        /// No room: nothing can be accepted safely.
        case full
        /// This client holds all that it may; others have room. It cannot have more before the oldest of what is
        /// remembered is let go of, in so many seconds.
        case overShare(retryAfterSeconds: Int64)
    }

    /// Which two are the same.
    public enum Identity: Sendable {
        /// Those of one timestamp: a consumer may use a nonce again at another time.
        case withinTimestamp
        /// All of one name, whatever their timestamps, as long as the first is remembered: the `jti` of a
        /// proof. Every bucket of the window is looked into, of which there are few.
        case byName
    }

    private struct Shard {
        /// By bucket number: timestamp / bucketSeconds.
        var buckets: [Int64: Set<NonceFingerprint>] = [:]
        var count = 0
        var shares = ReplayShares()
    }

    /// A lock with its shard; a class, because locks cannot live in an array.
    private final class LockedShard: Sendable {
        let state = Mutex(Shard())
    }

    private static let shardCount = 64

    private let shards: [LockedShard]
    private let key: [UInt8]
    private let identity: Identity
    private let bucketSeconds: Int64
    /// What clients hold is counted for so many buckets together: what they let go of shows later by as much.
    private let shareBuckets: Int64
    private let shardCapacity: Int
    private let windowSeconds: Atomic<Int64>
    private let floor: Atomic<Int64>
    private let ceiling: Atomic<Int64>

    /// - Parameters:
    ///   - windowSeconds: timestamps within this distance of now are accepted at all.
    ///   - capacity: live nonces in all; past it requests are refused.
    ///   - key: random bytes, kept in the store, so that saved fingerprints stay comparable.
    ///   - floor: nothing at or below is accepted.
    public init(
        windowSeconds: Int64, capacity: Int = 8 << 20, key: [UInt8], floor: Int64 = .min,
        identity: Identity = .withinTimestamp
    ) {
        let window = max(1, windowSeconds)
        self.windowSeconds = Atomic(window)
        self.identity = identity
        bucketSeconds =
            switch identity {
            // Some 64 buckets in a window; a minute at most, so that growing one never takes long.
            case .withinTimestamp: min(60, max(1, window / 64))
            // Whatever window a reload brings, up to an hour: 120 buckets at most are looked into.
            case .byName: 30
            }
        shareBuckets = identity == .byName ? 1 : 16
        shardCapacity = max(1, capacity / ReplayGuard.shardCount)
        self.key = key
        self.floor = Atomic(floor)
        ceiling = Atomic(.max)
        shards = (0..<ReplayGuard.shardCount).map { _ in LockedShard() }
    }

    /// Timestamps above it must be made durable one by one. Without a store that lasts there is
    /// none.
    public func raiseCeiling(to seconds: Int64) {
        ceiling.store(seconds, ordering: .releasing)
    }

    /// A reload has changed the window; call it before requests are judged by the new one.
    public func setWindow(seconds: Int64) {
        windowSeconds.store(max(1, seconds), ordering: .releasing)
    }

    // MARK: Judging

    /// Judges a nonce and, if it is new, remembers it.
    ///
    /// - Parameters:
    ///   - client: whose room it takes; nil is `consumer`.
    ///   - timestamp: seconds since 1970, which the caller has found within the window.
    public func claim(
        consumer: String, token: String, client: String? = nil, timestamp: Int64, nonce: String,
        now: WallTime
    ) -> Verdict {
        let print = fingerprint(consumer, token, timestamp, nonce)
        guard timestamp > ceiling.load(ordering: .acquiring) else {
            return insert(print, of: client ?? consumer, timestamp, now: now)
        }
        guard timestamp > floor.load(ordering: .acquiring) else { return .belowFloor }
        return isKnown(print, timestamp) ? .reused : .aboveCeiling(fingerprint: print.bytes)
    }

    /// Judges a nonce whose fingerprint has been made durable.
    public func claimDurable(
        consumer: String, token: String, client: String? = nil, timestamp: Int64, nonce: String,
        now: WallTime
    ) -> Verdict {
        insert(
            fingerprint(consumer, token, timestamp, nonce), of: client ?? consumer, timestamp,
            now: now)
    }

    private func insert(
        _ print: NonceFingerprint, of client: String, _ timestamp: Int64, now: WallTime
    ) -> Verdict {
        let bucket = timestamp / bucketSeconds
        let index = shardIndex(of: print)
        let places = ReplayShares.places(of: client, in: index)
        return shards[index].state.withLock { shard in
            if shard.buckets[bucket] == nil || shard.count >= shardCapacity {
                expire(&shard, now: now)
            }
            // Under the lock, and after what expired: a bucket that is gone has raised the floor.
            guard timestamp > floor.load(ordering: .acquiring) else { return .belowFloor }
            if holds(print, bucket, shard) { return .reused }
            let free = shardCapacity - shard.count
            guard free > 0 else { return .full }
            guard shard.shares.hasRoom(places, free: free) else {
                return .overShare(retryAfterSeconds: seconds(untilLetGoOf: shard, now))
            }
            shard.buckets[bucket, default: []].insert(print)
            shard.count += 1
            shard.shares.add(places, at: bucket / shareBuckets)
            return .accepted
        }
    }

    private func isKnown(_ print: NonceFingerprint, _ timestamp: Int64) -> Bool {
        shard(of: print).state.withLock { holds(print, timestamp / bucketSeconds, $0) }
    }

    private func holds(_ print: NonceFingerprint, _ bucket: Int64, _ shard: Shard) -> Bool {
        switch identity {
        case .withinTimestamp: shard.buckets[bucket]?.contains(print) == true
        case .byName: shard.buckets.values.contains { $0.contains(print) }
        }
    }

    private func shard(of print: NonceFingerprint) -> LockedShard { shards[shardIndex(of: print)] }

    private func shardIndex(of print: NonceFingerprint) -> Int {
        Int(print.high % UInt64(ReplayGuard.shardCount))
    }

    /// Drops the buckets that have left the window.
    private func expire(_ shard: inout Shard, now: WallTime) {
        let oldest = (now.seconds - windowSeconds.load(ordering: .acquiring)) / bucketSeconds
        var newest: Int64?
        for bucket in shard.buckets.keys where bucket < oldest {
            shard.count -= shard.buckets.removeValue(forKey: bucket)?.count ?? 0
            newest = max(newest ?? bucket, bucket)
        }
        guard let newest else { return }
        shard.shares.remove(before: oldest / shareBuckets)
        raiseFloor(to: newest * bucketSeconds + bucketSeconds - 1)
    }

    /// When the oldest bucket leaves the window.
    private func seconds(untilLetGoOf shard: Shard, _ now: WallTime) -> Int64 {
        guard let oldest = shard.buckets.keys.min() else { return 1 }
        let window = windowSeconds.load(ordering: .acquiring)
        return max(1, (oldest + 1) * bucketSeconds + window - now.seconds)
    }

    private func fingerprint(
        _ consumer: String, _ token: String, _ timestamp: Int64, _ nonce: String
    ) -> NonceFingerprint {
        NonceFingerprint(
            digest: NonceIdentifier.make(
                key: key, consumer: consumer, token: token,
                timestamp: identity == .byName ? 0 : timestamp, nonce: nonce),
            timestamp: timestamp)
    }

    // MARK: Stop and start

    /// How many nonces are remembered.
    public var count: Int { shards.reduce(0) { $0 + $1.state.withLock { $0.count } } }

    /// Appends what a clean stop hands on: the floor and how many there are, 8 bytes each, then all live
    /// nonces, 16 bytes each. Nothing may be claimed meanwhile or after.
    public func save(to output: inout [UInt8]) {
        output.appendBigEndian(UInt64(bitPattern: floor.load(ordering: .acquiring)))
        let count = count
        output.appendBigEndian(UInt64(count))
        output.reserveCapacity(output.count + count * NonceFingerprint.byteCount)
        for shard in shards {
            shard.state.withLock { shard in
                for prints in shard.buckets.values {
                    for print in prints { print.append(to: &output) }
                }
            }
        }
    }

    /// Puts back what `save` gave; the window may have changed meanwhile, and the floor sees to it that
    /// nothing passes which the one before had dropped.
    ///
    /// - Parameter offset: where it begins; then where it ends.
    /// - Returns: false for what is not whole; then nothing is put back.
    public func restore(_ saved: [UInt8], from offset: inout Int) -> Bool {
        guard saved.count - offset >= 16 else { return false }
        let floor = Int64(bitPattern: saved.bigEndian(at: offset))
        let begin = offset + 16
        let room = (saved.count - begin) / NonceFingerprint.byteCount
        guard let count = Int(exactly: saved.bigEndian(at: offset + 8)), count <= room else {
            return false
        }
        offset = begin
        for _ in 0..<count {
            guard let print = NonceFingerprint(saved, at: offset) else { return false }
            restore(print, timestamp: print.timestamp)
            offset += NonceFingerprint.byteCount
        }
        raiseFloor(to: floor)
        return true
    }

    /// Nothing at or below it passes from now on.
    public func raiseFloor(to seconds: Int64) {
        floor.max(seconds, ordering: .acquiringAndReleasing)
    }

    /// Puts back a nonce that was made durable by itself.
    public func restore(timestamp: Int64, fingerprint: [UInt8]) {
        guard let print = NonceFingerprint(fingerprint, at: 0) else { return }
        restore(print, timestamp: timestamp)
    }

    /// Capacity does not count here: a nonce that was used stays used.
    private func restore(_ print: NonceFingerprint, timestamp: Int64) {
        shard(of: print).state.withLock { shard in
            let bucket = timestamp / bucketSeconds
            if shard.buckets[bucket, default: []].insert(print).inserted { shard.count += 1 }
        }
    }
}

/// 96 bits of a keyed hash, and 32 of the timestamp, so that a saved one tells its bucket by itself. The
/// hash alone tells two apart: it covers the timestamp where that matters.
struct NonceFingerprint: Hashable {
    static let byteCount = 16

    let high: UInt64
    let low: UInt64

    /// - Parameter digest: 12 bytes at least.
    init(digest: [UInt8], timestamp: Int64) {
        high = digest[..<8].reduce(0) { $0 << 8 | UInt64($1) }
        let rest: UInt64 = digest[8..<12].reduce(0) { $0 << 8 | UInt64($1) }
        low = rest << 32 | UInt64(UInt32(truncatingIfNeeded: timestamp))
    }

    /// - Returns: nil when fewer than 16 bytes are left.
    init?(_ bytes: [UInt8], at offset: Int) {
        guard offset + NonceFingerprint.byteCount <= bytes.count else { return nil }
        high = bytes.bigEndian(at: offset)
        low = bytes.bigEndian(at: offset + 8)
    }

    static func == (left: NonceFingerprint, right: NonceFingerprint) -> Bool {
        left.high == right.high && left.low >> 32 == right.low >> 32
    }

    /// Seconds since 1970, right until 2106.
    var timestamp: Int64 { Int64(UInt32(truncatingIfNeeded: low)) }

    var bytes: [UInt8] {
        var output: [UInt8] = []
        append(to: &output)
        return output
    }

    func append(to output: inout [UInt8]) {
        output.appendBigEndian(high)
        output.appendBigEndian(low)
    }

    /// The hash is keyed already: half of it spreads the entries.
    func hash(into hasher: inout Hasher) {
        hasher.combine(high)
    }
}

extension [UInt8] {
    /// The number in the 8 bytes at `offset`, which are there.
    fileprivate func bigEndian(at offset: Int) -> UInt64 {
        self[offset..<offset + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }
}
