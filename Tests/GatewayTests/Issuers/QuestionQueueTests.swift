import Primitives
import Testing

@testable import Gateway

/// Which tokens the introspection server is asked about, and which have to wait.
struct QuestionQueueTests {
    private static let began = MonotonicInstant(nanoseconds: 1_000_000_000_000)

    private func at(_ milliseconds: Int64) -> MonotonicInstant {
        Self.began + .milliseconds(milliseconds)
    }

    private func address(_ number: Int) -> IPAddress { .v4(UInt32(number)) }

    private func question(
        _ asker: Question.Asker, _ number: Int = 0, at now: MonotonicInstant = began
    ) -> Question {
        let token = Array("\(asker) \(number)".utf8)
        return Question(
            Secret(token), TokenDigest(token.span), by: asker, now: now, timeout: .seconds(4))
    }

    /// Fills all places of strangers with junk of so many clients.
    private func fill(_ queue: inout QuestionQueue, clients: Int, at now: MonotonicInstant) {
        for number in 0..<QuestionQueue.lengthLimit * 2 {
            _ = queue.add(
                question(.init(address(number % clients)), number, at: now), now: now)
        }
    }

    private func answerAll(
        _ queue: inout QuestionQueue, _ end: QuestionQueue.End, at now: MonotonicInstant
    ) -> Int {
        var count = 0
        while let question = queue.next(now: now) {
            queue.ended(question, end, now: now)
            count += 1
        }
        return count
    }

    // MARK: Two kinds

    @Test func knownTokensGoFirstAndHavePlacesOfTheirOwn() {
        var queue = QuestionQueue()
        fill(&queue, clients: 50, at: at(0))
        var strangers = 0
        while queue.next(now: at(0)) != nil { strangers += 1 }
        #expect(strangers == QuestionQueue.kindFlightLimit)
        for number in 0..<QuestionQueue.lengthLimit {
            #expect(queue.add(question(.known, number), now: at(0)) == nil)
        }
        #expect(queue.add(question(.known, -1), now: at(0))?.asker == .known)
        var known = 0
        while let question = queue.next(now: at(0)) {
            #expect(question.asker == .known)
            known += 1
        }
        #expect(known == QuestionQueue.flightLimit - QuestionQueue.kindFlightLimit)
    }

    @Test func strangersHavePlacesOfTheirOwnToo() {
        var queue = QuestionQueue()
        for number in 0..<200 { _ = queue.add(question(.known, number), now: at(0)) }
        for number in 0..<200 {
            _ = queue.add(question(.init(address(1)), number), now: at(0))
        }
        var counts: [Question.Asker: Int] = [:]
        while let question = queue.next(now: at(0)) { counts[question.asker, default: 0] += 1 }
        #expect(counts == [.known: 64, .stranger(address(1)): 16])
    }

    // MARK: Fair shares

    @Test func whoComesNewIsNextWhateverWaits() {
        var queue = QuestionQueue()
        fill(&queue, clients: 10, at: at(0))
        #expect(answerAll(&queue, .inactive, at: at(0)) == QuestionQueue.junkAtOnce)
        fill(&queue, clients: 10, at: at(0))
        let honest = question(.init(address(1000)))
        // Somebody's newest leaves for it.
        let leaving = queue.add(honest, now: at(0))
        #expect(leaving != nil && leaving !== honest)
        #expect(queue.next(now: at(0)) == nil)
        // It is the first that the budget lets through.
        #expect(queue.due(now: at(0)) == at(10))
        #expect(queue.next(now: at(10)) === honest)
        // A token that proves active costs none of it.
        queue.ended(honest, .active, now: at(10))
        #expect(queue.next(now: at(10)) != nil)
        #expect(queue.next(now: at(10)) == nil)
    }

    /// More clients than places, each with one token at a time: they are known by what they showed before.
    @Test func manyClientsWithLittleJunkEachWaitTheirTurnToo() {
        var queue = QuestionQueue()
        var now = at(0)
        for number in 0..<3000 {
            _ = queue.add(question(.init(address(number)), at: now), now: now)
            now = now + .milliseconds(10)
            _ = answerAll(&queue, .inactive, at: now)
        }
        for number in 0..<3000 {
            _ = queue.add(question(.init(address(number)), at: now), now: now)
        }
        let honest = question(.init(address(5000)), at: now)
        #expect(queue.add(honest, now: now) !== honest)
        var isAsked = false
        while let next = queue.next(now: now) { isAsked = isAsked || next === honest }
        #expect(isAsked)
    }

    @Test func aClientAloneHasAllPlaces() {
        var queue = QuestionQueue()
        let client = Question.Asker(address(1))
        for number in 0..<QuestionQueue.lengthLimit {
            #expect(queue.add(question(client, number), now: at(0)) == nil)
        }
        let more = question(client, -1)
        #expect(queue.add(more, now: at(0)) === more)
        // Its questions keep their order.
        for number in 0..<3 {
            #expect(
                queue.next(now: at(0))?.digest == question(client, number).digest)
        }
    }

    @Test func twoClientsShareByHalves() {
        var queue = QuestionQueue()
        for number in 0..<2000 { _ = queue.add(question(.init(address(1)), number), now: at(0)) }
        for number in 0..<2000 { _ = queue.add(question(.init(address(2)), number), now: at(0)) }
        var counts: [Question.Asker: Int] = [:]
        while let question = queue.next(now: at(0)) { counts[question.asker, default: 0] += 1 }
        #expect(counts == [.stranger(address(1)): 32, .stranger(address(2)): 32])
        let expired = queue.removeExpired(now: at(2000))
        #expect(expired.count == QuestionQueue.lengthLimit - QuestionQueue.kindFlightLimit)
        #expect(expired.count { $0.asker == .stranger(address(1)) } == 480)
    }

    @Test(arguments: [
        ("2001:db8:1::2", "2001:db8:1::3", true),
        ("2001:db8:1::2", "2001:db8:1:ffff:1::", true),
        ("2001:db8:1::2", "2001:db8:2::2", false),
        ("::ffff:192.0.2.1", "192.0.2.1", true),
        ("64:ff9b::192.0.2.1", "192.0.2.1", true),
        ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", false),
        ("64:ff9b:0:1::192.0.2.1", "192.0.2.1", false),
        ("64:ff9b::1:192.0.2.1", "192.0.2.1", false),
    ])
    func aSiteIsOneClient(one: String, other: String, isSame: Bool) throws {
        let one = Question.Asker(IPAddress(one))
        let other = Question.Asker(IPAddress(other))
        #expect((one == other) == isSame)
    }

    @Test func whoHasNoAddressIsOneClient() {
        #expect(Question.Asker(nil) == .stranger(nil))
    }

    // MARK: The budget, and time

    @Test func junkCostsNoMoreThanItsBudget() {
        var queue = QuestionQueue()
        var asked = 0
        for milliseconds in stride(from: 0, to: 10_000, by: 100) as StrideTo<Int64> {
            let now = at(milliseconds)
            for question in queue.removeExpired(now: now) { #expect(question.turnDeadline <= now) }
            fill(&queue, clients: 300, at: now)
            asked += answerAll(&queue, .inactive, at: now)
        }
        #expect(asked <= QuestionQueue.junkAtOnce + QuestionQueue.junkPerSecond * 10)
        #expect(asked >= QuestionQueue.junkPerSecond * 10)
    }

    @Test func activeTokensHaveNoBudget() {
        var queue = QuestionQueue()
        for round in 0..<10 {
            for number in 0..<1000 {
                _ = queue.add(question(.init(address(1)), round * 1000 + number), now: at(0))
            }
            #expect(answerAll(&queue, .active, at: at(0)) == 1000)
        }
    }

    /// A server that fails is no fault of those who ask: they spend nothing, and are thought no worse of.
    @Test func aFailingServerIsChargedToNobody() {
        var queue = QuestionQueue()
        let failing = question(.init(address(1)))
        for number in 0..<1000 { _ = queue.add(question(failing.asker, number), now: at(0)) }
        #expect(answerAll(&queue, .unanswered, at: at(0)) == 1000)
        // Of two the one that has waited longer is next, as between clients without junk.
        _ = queue.add(failing, now: at(0))
        _ = queue.add(question(.init(address(2)), at: at(1)), now: at(1))
        #expect(queue.next(now: at(1)) === failing)
        _ = answerAll(&queue, .inactive, at: at(1))
        // Nor does it speak for a client whose junk is known.
        let sender = question(.init(address(2)), at: at(2))
        _ = queue.add(sender, now: at(2))
        #expect(queue.next(now: at(2)) === sender)
        queue.ended(sender, .unanswered, now: at(2))
        queue.ended(failing, .unanswered, now: at(2))
        _ = queue.add(question(sender.asker, at: at(2)), now: at(2))
        let honest = question(.init(address(3)), at: at(3))
        _ = queue.add(honest, now: at(3))
        #expect(queue.next(now: at(3)) === honest)
    }

    @Test func whatWaitsTooLongLeaves() {
        var queue = QuestionQueue()
        for number in 0..<100 {
            _ = queue.add(question(.known, number, at: at(0)), now: at(0))
            _ = queue.add(question(.init(address(1)), number, at: at(100)), now: at(100))
        }
        while queue.next(now: at(100)) != nil {}
        #expect(queue.removeExpired(now: at(1999)).isEmpty)
        #expect(queue.due(now: at(1999)) == at(2000))
        #expect(queue.removeExpired(now: at(2000)).count == 36)
        #expect(queue.due(now: at(2000)) == at(2100))
        #expect(queue.removeExpired(now: at(2100)).count == 84)
        #expect(queue.due(now: at(2100)) == nil)
    }

    @Test func whatIsRememberedOfClientsIsBounded() {
        var counts = RecentCounts<Int>(period: .seconds(30), limit: 1000)
        for number in 0..<10_000 { counts.count(number, now: at(0)) }
        #expect(counts.keyCount <= 2000)
        #expect(counts.total(of: 9999, now: at(0)) == 1)
        counts = RecentCounts(period: .seconds(30), limit: 1000)
        counts.count(8, now: at(0))
        counts.count(8, now: at(29_000))
        #expect(counts.total(of: 8, now: at(29_000)) == 2)
        counts.count(7, now: at(31_000))
        #expect(counts.total(of: 8, now: at(60_000)) == 2)
        #expect(counts.total(of: 8, now: at(61_000)) == 0)
        #expect(counts.total(of: 7, now: at(61_000)) == 1)
        counts.forget(7)
        #expect(counts.total(of: 7, now: at(61_000)) == 0)
    }
}
