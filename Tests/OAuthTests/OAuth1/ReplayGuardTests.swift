import Primitives
import Testing

@testable import OAuth

/// A nonce passes once: across threads, restarts, crashes, clock steps and a full table.
struct ReplayGuardTests {
    private static let key: [UInt8] = Array(0..<32)
    private static let now: Int64 = 1_767_225_600

    private static func fresh(
        window: Int64 = 300, capacity: Int = 1 << 20, floor: Int64 = .min,
        identity: ReplayGuard.Identity = .withinTimestamp
    ) -> ReplayGuard {
        ReplayGuard(
            windowSeconds: window, capacity: capacity, key: key, floor: floor, identity: identity)
    }

    private static func claim(
        _ replay: ReplayGuard, _ nonce: String, at timestamp: Int64 = now, now: Int64 = now,
        consumer: String = "consumer", token: String = "token"
    ) -> ReplayGuard.Verdict {
        replay.claim(
            consumer: consumer, token: token, timestamp: timestamp, nonce: nonce,
            now: WallTime(seconds: now))
    }

    @Test func eachPartMakesAnotherNonce() {
        let replay = Self.fresh()
        #expect(Self.claim(replay, "n") == .accepted)
        #expect(Self.claim(replay, "n") == .reused)
        #expect(Self.claim(replay, "m") == .accepted)
        #expect(Self.claim(replay, "n", at: Self.now + 1) == .accepted)
        #expect(Self.claim(replay, "n", consumer: "other") == .accepted)
        #expect(Self.claim(replay, "n", token: "") == .accepted)
        // Lengths stand before the texts: what moves from one to the next is another.
        #expect(Self.claim(replay, "n", consumer: "consumert", token: "oken") == .accepted)
        #expect(Self.claim(replay, "kenn", token: "to") == .accepted)
        #expect(replay.count == 7)
    }

    @Test func twoThreadsNeverBothPass() async {
        let replay = Self.fresh()
        let verdicts = await withTaskGroup(of: [ReplayGuard.Verdict].self) { group in
            for _ in 0..<2 {
                group.addTask {
                    (0..<10_000).map { Self.claim(replay, "nonce \($0)") }
                }
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
        #expect(verdicts.count { $0 == .accepted } == 10_000)
        #expect(verdicts.count { $0 == .reused } == 10_000)
        #expect(replay.count == 10_000)
    }

    private static func saved(_ replay: ReplayGuard) -> [UInt8] {
        var output: [UInt8] = []
        replay.save(to: &output)
        return output
    }

    @Test(arguments: [300, 1, 30 * 86400, 3600] as [Int64])
    func aCleanStopForgetsNothing(newWindow: Int64) {
        let replay = Self.fresh()
        for number in 0..<1000 {
            #expect(
                Self.claim(replay, "\(number)", at: Self.now - Int64(number % 300)) == .accepted)
        }
        let saved = Self.saved(replay)
        #expect(saved.count == 16 + 16 * 1000)
        let next = Self.fresh(window: newWindow)
        var offset = 2
        #expect(next.restore([1, 2] + saved + [3], from: &offset))
        #expect(offset == 2 + saved.count)
        // However long the buckets are now, each nonce is one entry.
        #expect(next.count == 1000)
        for number in 0..<1000 {
            let timestamp = Self.now - Int64(number % 300)
            #expect(Self.claim(next, "\(number)", at: timestamp, now: timestamp) == .reused)
        }
    }

    /// What was dropped before a clean stop stays below the floor after it, whatever the window is then.
    @Test(arguments: [ReplayGuard.Identity.withinTimestamp, .byName])
    func aWiderWindowAfterACleanStopOpensNothing(identity: ReplayGuard.Identity) {
        let replay = Self.fresh(window: 5, identity: identity)
        for number in 0..<1000 { _ = Self.claim(replay, "\(number)") }
        let later = Self.now + 60
        for number in 0..<1000 {
            #expect(Self.claim(replay, "x\(number)", at: later, now: later) == .accepted)
        }
        #expect(replay.count == 1000)
        let next = Self.fresh(window: 300, identity: identity)
        var offset = 0
        #expect(next.restore(Self.saved(replay), from: &offset))
        for number in 0..<1000 {
            #expect(Self.claim(next, "\(number)", now: later) == .belowFloor)
            #expect(Self.claim(next, "x\(number)", at: later, now: later) == .reused)
            #expect(Self.claim(next, "y\(number)", at: later, now: later) == .accepted)
        }
    }

    @Test func whatIsNotWholeIsNotRestored() {
        let replay = Self.fresh()
        #expect(Self.claim(replay, "n") == .accepted)
        let saved = Self.saved(replay)
        for length in 0..<saved.count {
            let next = Self.fresh()
            var offset = 0
            #expect(!next.restore(Array(saved.prefix(length)), from: &offset))
            #expect(next.count == 0 && offset == 0)
        }
        var tooMany = saved
        tooMany[8] = 0xFF
        var offset = 0
        #expect(!Self.fresh().restore(tooMany, from: &offset))
    }

    // MARK: By name

    /// The `jti` of a proof: once, whatever the times, until the first has left the window.
    @Test func aNamePassesOnceWithinTheWindow() {
        let replay = Self.fresh(window: 61, identity: .byName)
        #expect(Self.claim(replay, "one", at: Self.now - 50) == .accepted)
        for offset in [-50, -51, -60, -20, 0, 5] as [Int64] {
            #expect(Self.claim(replay, "one", at: Self.now + offset) == .reused)
        }
        #expect(Self.claim(replay, "one", token: "of another key") == .accepted)
        #expect(replay.count == 2)
        let later = Self.now + 11
        #expect(Self.claim(replay, "one", at: later, now: later) == .reused)
        let over = Self.now + 60
        #expect(Self.claim(replay, "one", at: over, now: over) == .accepted)
        #expect(Self.claim(replay, "one", at: over + 1, now: over) == .reused)
    }

    @Test func aNameIsKnownAfterACleanStopAndAboveTheCeiling() {
        let replay = Self.fresh(window: 61, identity: .byName)
        replay.raiseCeiling(to: Self.now + 3)
        #expect(Self.claim(replay, "one") == .accepted)
        #expect(Self.claim(replay, "one", at: Self.now + 5) == .reused)
        let next = Self.fresh(window: 3601, identity: .byName)
        var offset = 0
        #expect(next.restore(Self.saved(replay), from: &offset))
        #expect(Self.claim(next, "one", at: Self.now + 1) == .reused)
    }

    /// A reload that lengthens the window refuses what may have been dropped, and no more: whatever is newer
    /// than the shorter window's end passes at once.
    @Test(
        arguments: [
            (2, 61), (61, 3601), (3601, 61), (61, 2), (2, 3601), (6, 301),
        ] as [(Int64, Int64)])
    func anotherWindowRefusesNothingNew(old: Int64, new: Int64) {
        let replay = Self.fresh(window: old, identity: .byName)
        // Traffic in every second of a short window and in every bucket of a long one, so that they come and go; and in the
        // last second.
        let seconds = 2 * old + 120
        for second in 0..<seconds
        where old < 600 || second % 10 == 0 || second == seconds - 1 {
            let now = Self.now + second
            for number in 0..<70 {
                #expect(Self.claim(replay, "\(second) \(number)", at: now, now: now) == .accepted)
            }
        }
        let reload = Self.now + 2 * old + 120
        replay.setWindow(seconds: new)
        for second in 0..<(2 * new + 120) where second < 200 || second % 20 == 0 {
            let now = reload + second
            for number in 0..<70 {
                let verdict = Self.claim(replay, "new \(second) \(number)", at: now, now: now)
                guard verdict == .accepted else {
                    Issue.record("\(verdict) \(second) seconds after the reload")
                    return
                }
            }
            // None of before passes again.
            let age = second + 1
            let verdict = Self.claim(
                replay, "\(reload - 1 - Self.now) 0", at: now - age, now: now)
            #expect(verdict == .reused || verdict == .belowFloor)
        }
    }

    @Test func afterACrashNothingUpToTheCeilingPasses() throws {
        let first = Self.fresh()
        first.raiseCeiling(to: Self.now + 5)
        #expect(Self.claim(first, "used") == .accepted)
        #expect(Self.claim(first, "also", at: Self.now + 5) == .accepted)
        // A client whose clock is ahead: durable first.
        let ahead = Self.now + 6
        guard case .aboveCeiling(let fingerprint) = Self.claim(first, "ahead", at: ahead) else {
            Issue.record("a timestamp above the ceiling passed without a write")
            return
        }
        func claimDurable(_ replay: ReplayGuard) -> ReplayGuard.Verdict {
            replay.claimDurable(
                consumer: "consumer", token: "token", timestamp: ahead, nonce: "ahead",
                now: WallTime(seconds: Self.now))
        }
        #expect(claimDurable(first) == .accepted)
        #expect(claimDurable(first) == .reused)
        #expect(Self.claim(first, "ahead", at: ahead) == .reused)

        let second = Self.fresh(floor: Self.now + 5)
        second.restore(timestamp: ahead, fingerprint: fingerprint)
        second.raiseCeiling(to: Self.now + 10)
        #expect(Self.claim(second, "used") == .belowFloor)
        #expect(Self.claim(second, "never used", at: Self.now + 5) == .belowFloor)
        #expect(Self.claim(second, "ahead", at: ahead) == .reused)
        #expect(Self.claim(second, "another", at: ahead) == .accepted)
    }

    @Test func aFullTableRefusesUntilTimeHasPassed() {
        let replay = Self.fresh(capacity: 64 * 4)
        func claim(_ number: Int) -> ReplayGuard.Verdict {
            Self.claim(replay, "\(number)", consumer: "consumer \(number)")
        }
        var full = 0
        for number in 0..<1000 where claim(number) == .full { full += 1 }
        #expect(replay.count == 64 * 4)
        #expect(full == 1000 - 64 * 4)
        // What was used stays used even so.
        var reused = 0
        for number in 0..<1000 where claim(number) == .reused { reused += 1 }
        #expect(reused == 64 * 4)
        let later = Self.now + 400
        #expect(Self.claim(replay, "0", at: later, now: later) == .accepted)
    }

    /// A client that does nothing else fills three quarters, and everybody else has room.
    @Test(arguments: [ReplayGuard.Identity.withinTimestamp, .byName])
    func nobodyFillsTheTableAlone(identity: ReplayGuard.Identity) {
        let capacity = 64 * 800
        let replay = Self.fresh(capacity: capacity, identity: identity)
        func claim(_ client: String, _ nonce: Int, at time: Int64 = Self.now) -> Bool {
            // As a client that has a key for each of its proofs.
            replay.claim(
                consumer: "proofs", token: "key \(client) \(nonce % 7)", client: client,
                timestamp: time, nonce: "\(nonce)", now: WallTime(seconds: time)) == .accepted
        }
        let held = (0..<2 * capacity).count { claim("greedy", $0) }
        #expect(held <= capacity * 3 / 4 + 64 && held > capacity * 5 / 8)
        // But for those few that are counted in the same place as the greedy one.
        #expect((0..<1000).count { claim("honest", $0) } > 900)
        #expect((0..<1000).count { claim("greedy", 2 * capacity + $0) } == 0)
        // It is told when the first of what it holds is let go of.
        let verdict = replay.claim(
            consumer: "proofs", token: "key", client: "greedy", timestamp: Self.now, nonce: "more",
            now: WallTime(seconds: Self.now + 100))
        guard case .overShare(let seconds) = verdict else {
            Issue.record("\(verdict)")
            return
        }
        #expect(seconds > 200 && seconds <= 230)
        // Others like it share what is left, and still something is.
        for number in 0..<3 {
            #expect((0..<capacity).count { claim("greedy \(number)", $0) } > 0)
        }
        #expect(replay.count < capacity)
        #expect((0..<100).count { claim("another", $0) } > 50)
        // What was let go of is nobody's any more.
        let later = Self.now + 10_000
        #expect((0..<2 * capacity).count { claim("greedy", $0, at: later) } > capacity * 5 / 8)
    }

    /// However many clients hold all that they may, few others are taken for one of them.
    @Test(arguments: [(1, 0.005), (10, 0.005), (100, 0.06)])
    func fewAreCountedWithThoseWhoHoldAll(greedy: Int, limit: Double) {
        let parts = 64
        let honest = 400
        var refused = 0
        for part in 0..<parts {
            var shares = ReplayShares()
            for client in 0..<greedy {
                let places = ReplayShares.places(of: "greedy \(client)", in: part)
                for _ in 0..<3 { shares.add(places, at: 0) }
                #expect(!shares.hasRoom(places, free: 1))
            }
            refused += (0..<honest).count { client in
                let places = ReplayShares.places(of: "honest \(client)", in: part)
                return !shares.hasRoom(places, free: 1)
            }
        }
        #expect(Double(refused) / Double(parts * honest) < limit)
    }

    /// The clock steps an hour ahead and back: records that were dropped meanwhile let nothing pass
    /// again.
    @Test func aClockThatStepsBackOpensNothing() {
        let replay = Self.fresh()
        for number in 0..<1000 { _ = Self.claim(replay, "\(number)") }
        let ahead = Self.now + 3600
        for number in 0..<1000 { _ = Self.claim(replay, "\(number)", at: ahead, now: ahead) }
        var verdicts: Set<String> = []
        for number in 0..<1000 { verdicts.insert("\(Self.claim(replay, "\(number)"))") }
        #expect(verdicts == ["belowFloor"])
        // Honest clients are past it as soon as their clock is past what was dropped.
        #expect(Self.claim(replay, "new", at: Self.now + 5, now: Self.now + 5) == .accepted)
    }

    /// A reload makes the window wider after records have been dropped by the old one.
    @Test func aWiderWindowOpensNothing() {
        let replay = Self.fresh()
        for number in 0..<1000 { _ = Self.claim(replay, "\(number)") }
        let later = Self.now + 600
        for number in 0..<1000 { _ = Self.claim(replay, "\(number)", at: later, now: later) }
        replay.setWindow(seconds: 3600)
        for number in 0..<1000 {
            #expect(Self.claim(replay, "\(number)", now: later) == .belowFloor)
        }
        // From now on the wider one counts.
        let much = later + 3000
        #expect(Self.claim(replay, "0", at: much, now: much) == .accepted)
        #expect(Self.claim(replay, "0", at: later, now: much) == .reused)
    }

    @Test func anotherKeyMakesOtherFingerprints() {
        let other = ReplayGuard(windowSeconds: 300, key: [9])
        let replay = Self.fresh()
        #expect(Self.claim(replay, "n") == .accepted)
        #expect(Self.claim(other, "n") == .accepted)
        #expect(Self.saved(replay) != Self.saved(other))
    }
}
