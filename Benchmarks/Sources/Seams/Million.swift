import Gateway
import OAuth
import Primitives
import References

/// What a million remembered tokens and a million live nonces hold, and the longest that any one step with them takes: a
/// worker's loop does nothing else meanwhile.
enum Million {
    private static let count = 1_000_000

    static func run() throws {
        print("\(count) of each; CPU time of the longest single step in milliseconds")
        reference_join_freed_blocks()
        // Before the tokens: what those give back would be there for these.
        nonces()
        try tokens()
    }

    /// The longest of the steps that were timed, and all of them together.
    private struct Steps {
        var longest: UInt64 = 0
        var sum: UInt64 = 0
        var count = 0

        mutating func time<Value>(_ work: () throws -> Value) rethrows -> Value {
            let start = reference_cpu_nanoseconds()
            defer {
                let duration = reference_cpu_nanoseconds() - start
                longest = max(longest, duration)
                sum += duration
                count += 1
            }
            return try work()
        }

        func tell(_ name: String) {
            let mean = Measuring.number(Double(sum) / Double(max(1, count)), 0)
            print(
                "  \(Measuring.pad(name, 44)) longest \(Measuring.number(Double(longest) / 1e6, 3)) ms,"
                    + " mean \(mean) ns, \(count) times")
        }
    }

    private static func tokens() throws {
        let mint = try Mint(.hs256)
        let verifier = mint.verifier()
        let end = WallTime(seconds: now.seconds + 3600 + 60)
        let before = (reference_allocated_bytes(), reference_resident_bytes())
        let cache = TokenCache(byteLimit: 8 << 30)
        var insertion = Steps()
        var length = 0
        for number in 0..<count {
            let token = try mint.token(number)
            length = token.count
            let principal = Principal.bearer(try verifier.verify(token.span, now: now))
            insertion.time { cache.insert(token.span, principal) }
        }
        print(
            "tokens of \(length) bytes, remembered: \(each(before)), counted as \(cache.byteCount / count)"
        )
        insertion.tell("one comes in")
        var finding = Steps()
        for number in stride(from: 0, to: count, by: 7) {
            let token = try mint.token(number)
            guard finding.time({ cache.lookup(token.span, now: now) }) != nil else {
                fatalError("forgotten")
            }
        }
        finding.tell("one is found")
        var ending = Steps()
        for _ in 0..<(count / 2 / 256) { ending.time { cache.removeEnded(at: end, steps: 256) } }
        ending.tell("256 places are looked at, all have ended")
        var leaving = Steps()
        while leaving.time({ cache.discardSome() }) {}
        leaving.tell("256 places are given back, of the other half")
    }

    private static func nonces() {
        let key = [UInt8](repeating: 7, count: 32)
        let window: Int64 = 300
        var first = Steps()
        // OpenSSL is set up by it.
        claim(ReplayGuard(windowSeconds: window, key: key), 0, at: now.seconds, &first)
        let before = (reference_allocated_bytes(), reference_resident_bytes())
        let guardian = ReplayGuard(windowSeconds: window, key: key)
        var claiming = Steps()
        for number in 0..<count {
            claim(
                guardian, number, at: now.seconds + Int64(number) * window / Int64(count), &claiming
            )
        }
        print("nonces, spread over \(window) s: \(each(before))")
        claiming.tell("one is claimed")
        // All have left the window; the first in each shard finds that.
        var ending = Steps()
        for number in 0..<10_000 { claim(guardian, number, at: now.seconds + 3 * window, &ending) }
        guard guardian.count == 10_000 else { fatalError("\(guardian.count) are left") }
        ending.tell("one is claimed when all others have ended")
        burst(key)
    }

    /// The same million in one second, so that each shard has one bucket.
    private static func burst(_ key: [UInt8]) {
        let before = (reference_allocated_bytes(), reference_resident_bytes())
        let guardian = ReplayGuard(windowSeconds: 300, key: key)
        var claiming = Steps()
        for number in 0..<count { claim(guardian, number, at: now.seconds, &claiming) }
        print("nonces of one second: \(each(before))")
        claiming.tell("one is claimed")
        var ending = Steps()
        for number in 0..<10_000 { claim(guardian, number, at: now.seconds + 900, &ending) }
        ending.tell("one is claimed when all others have ended")
    }

    private static func claim(
        _ guardian: ReplayGuard, _ number: Int, at second: Int64, _ steps: inout Steps
    ) {
        let nonce = "7d8f3e4a9b2c1d0e\(number)"
        let verdict = steps.time {
            guardian.claim(
                consumer: "robot", token: "", timestamp: second, nonce: nonce,
                now: WallTime(seconds: second))
        }
        guard verdict == .accepted else { fatalError("\(verdict)") }
    }

    private static func each(_ before: (allocated: Int, resident: Int)) -> String {
        let allocated = (reference_allocated_bytes() - before.allocated) / count
        let resident = (reference_resident_bytes() - before.resident) / count
        return "\(allocated) bytes each allocated, \(resident) resident"
    }
}
