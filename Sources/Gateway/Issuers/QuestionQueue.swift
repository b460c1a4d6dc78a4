import Primitives

/// Which token the introspection server is asked about next. Tokens that were active lately have places of their own and go
/// first. All others share what is left by clients: who has the fewest questions under way, and showed the fewest tokens
/// lately that were not active, is next. So a flood waits behind itself.
///
/// Reads no clock: `now` comes in. All questions have the same time to wait.
struct QuestionQueue {
    /// Requests under way at once, each on a connection.
    static let flightLimit = 80
    /// Of these, about tokens of each of the two kinds: what is left is the other's alone.
    static let kindFlightLimit = 64
    /// Tokens of each kind that wait for one of them.
    static let lengthLimit = 1024
    /// How many questions a second there may be whose answer is not that the token is active, and how many at once.
    static let junkPerSecond = 100
    static let junkAtOnce = 200
    /// For one to two times this long a client is known for its tokens that were not active.
    static let junkPeriod: Duration = .seconds(30)

    /// How a question that was under way has ended.
    enum End {
        /// The token is active: that costs no budget, and speaks for its client.
        case active
        /// It is not: junk of its client's.
        case inactive
        /// The server gave no verdict: that costs no budget either, and says nothing about the client.
        case unanswered
    }

    private struct Client {
        var waiting = Line<Question>()
        var inFlight = 0
        /// Tokens that were not active lately.
        var junk: Int

        /// How much it has had: the least is served first.
        var load: Int { inFlight + junk }
    }

    private var known = Line<Question>()
    private var knownInFlight = 0
    /// Those with a question that waits or is under way.
    private var clients: [Question.Asker: Client] = [:]
    private var strangersWaiting = 0
    private var strangersInFlight = 0
    private var junk = RecentCounts<Question.Asker>(period: junkPeriod, limit: 16_384)
    /// Until then the budget is spent, but for what may come at once.
    private var spentUntil = MonotonicInstant(nanoseconds: 0)
    /// Whoever has as much as this finds no place, until something leaves: a flood must not have us look for one each time.
    private var noPlaceFrom: (waiting: Int, load: Int)?
    /// No question ends before.
    private var quietUntil = MonotonicInstant(nanoseconds: .max)

    private static let cost: Duration = .seconds(1) / junkPerSecond

    /// Takes a question in.
    ///
    /// - Returns: the one for which there is no place: this, or another's that has to leave for it.
    mutating func add(_ question: Question, now: MonotonicInstant) -> Question? {
        guard case .stranger = question.asker else {
            guard known.count < QuestionQueue.lengthLimit else { return question }
            known.append(question)
            quietUntil = min(quietUntil, question.turnDeadline)
            return nil
        }
        var leaving: Question?
        if strangersWaiting >= QuestionQueue.lengthLimit {
            leaving = makePlace(for: question, now: now)
            if leaving === question { return question }
        }
        strangersWaiting += 1
        quietUntil = min(quietUntil, question.turnDeadline)
        let new = client(question.asker, now)
        clients[question.asker, default: new].waiting.append(question)
        return leaving
    }

    /// The next that is to be asked, which is under way from now on.
    mutating func next(now: MonotonicInstant) -> Question? {
        guard knownInFlight + strangersInFlight < QuestionQueue.flightLimit else { return nil }
        if knownInFlight < QuestionQueue.kindFlightLimit, let question = known.popFirst() {
            knownInFlight += 1
            return question
        }
        guard mayAskOfStrangers, budgetOpensAt <= now,
            let asker = clients.lazy.filter({ !$0.value.waiting.isEmpty })
                .min(by: { QuestionQueue.goesFirst($0.value, $1.value) })?.key,
            let question = clients[asker]?.waiting.popFirst()
        else { return nil }
        clients[asker]?.inFlight += 1
        noPlaceFrom = nil
        strangersWaiting -= 1
        strangersInFlight += 1
        spentUntil = max(spentUntil, now) + QuestionQueue.cost
        return question
    }

    /// A question that was under way has ended.
    mutating func ended(_ question: Question, _ end: End, now: MonotonicInstant) {
        let asker = question.asker
        guard case .stranger = asker else {
            knownInFlight -= 1
            return
        }
        strangersInFlight -= 1
        noPlaceFrom = nil
        if case .inactive = end {
            junk.count(asker, now: now)
        } else {
            spentUntil = QuestionQueue.instant(QuestionQueue.cost, before: spentUntil)
        }
        if case .active = end { junk.forget(asker) }
        clients[asker]?.inFlight -= 1
        clients[asker]?.junk = junk.total(of: asker, now: now)
        forgetIfDone(asker)
    }

    /// Takes out those that have waited too long.
    mutating func removeExpired(now: MonotonicInstant) -> [Question] {
        guard quietUntil <= now else { return [] }
        var expired: [Question] = []
        var first = MonotonicInstant(nanoseconds: .max)
        func take(from line: inout Line<Question>) {
            while let question = line.first, question.turnDeadline <= now {
                expired.append(question)
                line.removeFirst()
            }
            if let question = line.first { first = min(first, question.turnDeadline) }
        }
        take(from: &known)
        for asker in Array(clients.keys) {
            let before = expired.count
            take(from: &clients[asker, default: Client(junk: 0)].waiting)
            strangersWaiting -= expired.count - before
            forgetIfDone(asker)
        }
        noPlaceFrom = nil
        // Under a flood one ends at every moment; all are looked through now and then.
        quietUntil = max(first, now + .milliseconds(50))
        return expired
    }

    /// When something may go on without an answer: a question ends, or the budget opens.
    func due(now: MonotonicInstant) -> MonotonicInstant? {
        guard known.count + strangersWaiting > 0 else { return nil }
        guard strangersWaiting > 0, mayAskOfStrangers, budgetOpensAt > now else {
            return quietUntil
        }
        return min(quietUntil, budgetOpensAt)
    }

    // MARK: Strangers

    private var mayAskOfStrangers: Bool {
        strangersInFlight < QuestionQueue.kindFlightLimit
            && knownInFlight + strangersInFlight < QuestionQueue.flightLimit
    }

    private var budgetOpensAt: MonotonicInstant {
        QuestionQueue.instant(
            QuestionQueue.cost * (QuestionQueue.junkAtOnce - 1), before: spentUntil)
    }

    private static func instant(
        _ duration: Duration, before end: MonotonicInstant
    ) -> MonotonicInstant {
        let nanoseconds = min(end.nanoseconds, duration.wholeNanoseconds)
        return MonotonicInstant(nanoseconds: end.nanoseconds - nanoseconds)
    }

    /// Of two clients with the same load the one that has waited longer.
    private static func goesFirst(_ left: Client, _ right: Client) -> Bool {
        guard left.load == right.load, let first = left.waiting.first,
            let second = right.waiting.first
        else { return left.load < right.load }
        return first.turnDeadline < second.turnDeadline
    }

    private func client(_ asker: Question.Asker, _ now: MonotonicInstant) -> Client {
        Client(junk: junk.total(of: asker, now: now))
    }

    /// All places are taken: the newest question of whoever has the most goes, and that may be the new one.
    private mutating func makePlace(
        for question: Question, now: MonotonicInstant
    ) -> Question {
        let new = clients[question.asker] ?? client(question.asker, now)
        let key = (waiting: new.waiting.count + 1, load: new.load)
        if let noPlaceFrom, key >= noPlaceFrom { return question }
        guard let (asker, client) = clients.max(by: { QuestionQueue.hasLess($0.value, $1.value) }),
            key < (client.waiting.count, client.load), let last = clients[asker]?.waiting.popLast()
        else {
            noPlaceFrom = key
            return question
        }
        strangersWaiting -= 1
        forgetIfDone(asker)
        return last
    }

    private static func hasLess(_ left: Client, _ right: Client) -> Bool {
        (left.waiting.count, left.load) < (right.waiting.count, right.load)
    }

    private mutating func forgetIfDone(_ asker: Question.Asker) {
        guard let client = clients[asker], client.waiting.isEmpty, client.inFlight == 0 else {
            return
        }
        clients[asker] = nil
    }
}

/// First in, first out; the last may leave again.
struct Line<Element> {
    private var elements: [Element] = []
    private var start = 0

    var count: Int { elements.count - start }
    var isEmpty: Bool { count == 0 }
    var first: Element? { isEmpty ? nil : elements[start] }

    mutating func append(_ element: Element) {
        elements.append(element)
    }

    mutating func popFirst() -> Element? {
        guard let first else { return nil }
        removeFirst()
        return first
    }

    mutating func removeFirst() {
        start += 1
        // What has left is let go once it is half of all: each element is moved once at most.
        guard start * 2 >= elements.count else { return }
        elements.removeFirst(start)
        start = 0
    }

    mutating func popLast() -> Element? {
        isEmpty ? nil : elements.popLast()
    }
}

/// How often something happened lately: in this period and in the one before.
struct RecentCounts<Key: Hashable> {
    private let period: Duration
    /// A period with more keys ends early.
    private let limit: Int
    private var recent: [Key: Int] = [:]
    private var earlier: [Key: Int] = [:]
    private var began = MonotonicInstant(nanoseconds: 0)

    init(period: Duration, limit: Int) {
        self.period = period
        self.limit = limit
    }

    var keyCount: Int { recent.count + earlier.count }

    mutating func count(_ key: Key, now: MonotonicInstant) {
        turn(now)
        recent[key, default: 0] += 1
    }

    func total(of key: Key, now: MonotonicInstant) -> Int {
        let age = now - began
        if age >= period * 2 { return 0 }
        return recent[key, default: 0] + (age < period ? earlier[key, default: 0] : 0)
    }

    mutating func forget(_ key: Key) {
        recent[key] = nil
        earlier[key] = nil
    }

    private mutating func turn(_ now: MonotonicInstant) {
        guard now - began >= period || recent.count >= limit else { return }
        earlier = now - began < period * 2 ? recent : [:]
        recent = [:]
        began = now
    }
}
