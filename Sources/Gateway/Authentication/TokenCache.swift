import Cryptography
import OAuth
import Primitives

/// The tokens that one worker has proven, with whom they speak for, so that the next request with one costs no signature
/// check.
///
/// Found by a keyed 64-bit hash of the token's last bytes, which are its signature's, or random, and
/// differ from token to token, and by full comparison of its bytes. Only tokens that were proven are
/// kept, so that nobody makes chains long. What is kept is what the token says; verdicts are made anew.
/// Bounded by bytes, evicted by CLOCK: one more is looked at for each that comes in, so that no
/// insertion waits for a sweep. When keys or issuers change, they are removed. Slots come and go by segments,
/// so that neither growing nor giving back a cache of any size takes long.
///
/// Belongs to one worker; not Sendable.
public final class TokenCache {
    struct Counters: Equatable {
        var hits: UInt64 = 0
        var misses: UInt64 = 0
        var evictions: UInt64 = 0

        static func + (left: Counters, right: Counters) -> Counters {
            Counters(
                hits: left.hits + right.hits, misses: left.misses + right.misses,
                evictions: left.evictions + right.evictions)
        }
    }

    /// A value, so that each call is one access to it.
    private var table: Table

    /// - Parameter byteLimit: of everything that the entries hold, and of the table itself.
    public init(byteLimit: Int) {
        table = Table(byteLimit: byteLimit)
    }

    /// All that the entries hold, and the table itself, near enough for a limit.
    public var byteCount: Int { table.byteCount }
    var count: Int { table.count }
    var counters: Counters { table.counters }

    /// Whom the token speaks for, if it is known and its time is not over. What has ended is removed.
    ///
    /// The caller asks `holds` all the same: a wall clock may step back.
    public func lookup(_ token: Span<UInt8>, now: WallTime) -> Principal? {
        table.lookup(token, now: now)
    }

    /// Remembers a token that was just proven, and is not remembered yet.
    ///
    /// - Parameter principal: made of the token.
    public func insert(_ token: Span<UInt8>, _ principal: Principal) {
        guard let verified = principal.token else { return }
        table.insert(token, principal, verified)
    }

    /// Forgets the tokens that fit, as what proved them holds no longer.
    func remove(where fits: (VerifiedToken) -> Bool) { table.remove(where: fits) }

    /// Removes what has ended among the next `steps` slots: called by a timer, a little at a time,
    /// so that ended tokens give their memory back though nobody asks for them.
    public func removeEnded(at now: WallTime, steps: Int) {
        table.removeEnded(at: now, steps: steps)
    }

    /// Gives back up to 256 of its tokens, since to let go of all at once would hold its worker up. From then on
    /// nothing is found in it, and nothing more is remembered.
    ///
    /// - Returns: whether something is left.
    public func discardSome() -> Bool { table.discardSegment() }
}

private struct Table {
    private struct Slot {
        var token: [UInt8] = []
        /// `nil`: free.
        var principal: Principal?
        var endsAt: Int64 = 0
        var hash: UInt64 = 0
        var footprint = 0
        /// The slot after this one in its chain, or in the list of free ones; -1 ends both.
        var next: Int32 = -1
        /// Used since the hand was last here.
        var isReferenced = false
    }

    /// How many slots the hand may pass for one insertion before it takes what lies under it.
    private static let sweepLimit = 32
    private static let segmentBits = 8
    private static let segmentSlots = 1 << segmentBits
    private static let slotBytes = MemoryLayout<Slot>.stride + 32

    private(set) var byteLimit: Int
    private(set) var byteCount = 0
    private(set) var count = 0
    private(set) var counters = TokenCache.Counters()

    /// So much of a token's end is hashed: 384 bits of a signature.
    private static let hashedBytes = 64

    private let hashing = KeyedHash()
    /// All but the last have `segmentSlots`.
    private var segments: [[Slot]] = []
    private var slotCount = 0
    /// First slots of the chains, by the low bits of the hash; -1: empty.
    private var chains: [Int32]
    private var firstFree: Int32 = -1
    private var hand = 0

    init(byteLimit: Int) {
        self.byteLimit = max(0, byteLimit)
        // An entry of a usual token holds some 2 KiB; chains of two do no harm where tokens are
        // smaller.
        var chainCount = 16
        while chainCount < self.byteLimit / 2048, chainCount < 1 << 20 { chainCount *= 2 }
        chains = Array(repeating: -1, count: chainCount)
        byteCount = tableBytes
    }

    private var tableBytes: Int { chains.count * MemoryLayout<Int32>.stride }

    mutating func lookup(_ token: Span<UInt8>, now: WallTime) -> Principal? {
        let hash = hash(token)
        var index = chains[chain(of: hash)]
        while index >= 0 {
            let position = Int(index)
            if self[position].hash == hash, isToken(of: position, token) {
                guard now.seconds < self[position].endsAt else {
                    remove(position)
                    break
                }
                self[position].isReferenced = true
                counters.hits += 1
                return self[position].principal
            }
            index = self[position].next
        }
        counters.misses += 1
        return nil
    }

    mutating func insert(_ token: Span<UInt8>, _ principal: Principal, _ value: VerifiedToken) {
        let footprint =
            token.count + value.footprint + principal.footprint + Table.slotBytes
        // One that would push out all others is proven each time instead.
        guard footprint <= (byteLimit - tableBytes) / 8 else { return }
        while byteCount + footprint > byteLimit { evictOne() }
        let hash = hash(token)
        let position = takeSlot()
        let chain = chain(of: hash)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(token.count)
        bytes.append(token)
        // Not yet referenced: what comes once must not outlive what comes often.
        self[position] = Slot(
            token: bytes, principal: principal, endsAt: value.endsAt, hash: hash,
            footprint: footprint, next: chains[chain])
        chains[chain] = Int32(position)
        byteCount += footprint
        count += 1
    }

    mutating func remove(where fits: (VerifiedToken) -> Bool) {
        for position in 0..<slotCount {
            if let token = self[position].principal?.token, fits(token) { remove(position) }
        }
    }

    mutating func discardSegment() -> Bool {
        // From now on no chain leads anywhere, and nothing comes in.
        byteLimit = 0
        chains = [-1]
        firstFree = -1
        slotCount = 0
        hand = 0
        count = 0
        byteCount = tableBytes
        _ = segments.popLast()
        return !segments.isEmpty
    }

    private subscript(position: Int) -> Slot {
        get { segments[position >> Table.segmentBits][position & (Table.segmentSlots - 1)] }
        _modify {
            yield &segments[position >> Table.segmentBits][position & (Table.segmentSlots - 1)]
        }
    }

    mutating func removeEnded(at now: WallTime, steps: Int) {
        for _ in 0..<min(steps, slotCount) {
            let position = advanceHand()
            if self[position].principal != nil, now.seconds >= self[position].endsAt {
                remove(position)
            }
        }
    }

    /// Compared plainly: to learn something by the time it takes, a stranger would need a text of the same hash, and so
    /// either the hash's key or the token's last bytes, which are as secret as the token.
    private func isToken(of position: Int, _ token: Span<UInt8>) -> Bool {
        let known = self[position].token
        return known.span.equals(token)
    }

    private func hash(_ token: Span<UInt8>) -> UInt64 {
        hashing.hash(token.extracting(last: Table.hashedBytes))
    }

    private func chain(of hash: UInt64) -> Int {
        Int(truncatingIfNeeded: hash & UInt64(chains.count - 1))
    }

    private mutating func takeSlot() -> Int {
        guard firstFree >= 0 else {
            if slotCount == segments.count * Table.segmentSlots {
                var segment: [Slot] = []
                segment.reserveCapacity(Table.segmentSlots)
                segments.append(segment)
            }
            segments[segments.count - 1].append(Slot())
            slotCount += 1
            return slotCount - 1
        }
        let position = Int(firstFree)
        firstFree = self[position].next
        return position
    }

    private mutating func advanceHand() -> Int {
        if hand >= slotCount { hand = 0 }
        defer { hand += 1 }
        return hand
    }

    private mutating func evictOne() {
        precondition(count > 0, "over its limit, but empty")
        var passed = 0
        while true {
            let position = advanceHand()
            guard self[position].principal != nil else { continue }
            passed += 1
            if self[position].isReferenced, passed <= Table.sweepLimit {
                self[position].isReferenced = false
                continue
            }
            counters.evictions += 1
            return remove(position)
        }
    }

    private mutating func remove(_ position: Int) {
        let chain = chain(of: self[position].hash)
        var index = chains[chain]
        if index == Int32(position) {
            chains[chain] = self[position].next
        } else {
            while self[Int(index)].next != Int32(position) { index = self[Int(index)].next }
            self[Int(index)].next = self[position].next
        }
        byteCount -= self[position].footprint
        count -= 1
        self[position] = Slot(next: firstFree)
        firstFree = Int32(position)
    }
}
