import CLinux
import Primitives

/// Something that owns a descriptor and is told what it is ready for, and when its deadline has come.
///
/// Conformers are the listening sockets, the two sides' connections and the mailbox's receiver.
public protocol EventHandler: AnyObject {
    /// The descriptor is ready. The handler may close itself or others in here.
    func ready(_ readiness: Readiness)
    /// The deadline that was set last has passed.
    func deadlineReached()
}

/// Names a registration: the descriptor and a generation, so that an event of a closed descriptor never
/// reaches the next owner of its number.
public struct Registration: Sendable, Equatable {
    fileprivate let token: UInt64

    fileprivate init(descriptor: Int32, generation: UInt32) {
        token = UInt64(generation) << 32 | UInt64(UInt32(bitPattern: descriptor))
    }

    public var descriptor: Int32 { Int32(truncatingIfNeeded: token & 0xFFFF_FFFF) }
}

/// One epoll loop: descriptors, deadlines, a clock that is read once a turn. Belongs to one thread.
public final class EventLoop {
    private var poller: Poller
    private var timers: RegistrationTable
    /// By descriptor.
    private var handlers: [(any EventHandler)?] = []
    private var isStopped = false
    /// Handlers that have input waiting of which no descriptor tells.
    private var again: [UInt64] = []
    /// The monotonic time of this turn.
    public var now: MonotonicInstant { turnBegan }
    /// The module's own, so that reading it costs no exclusivity check.
    private var turnBegan: MonotonicInstant
    /// Wall time of this turn, read when first asked for.
    public var wallNow: WallTime {
        if let cachedWall { return cachedWall }
        let time = WallTime.now()
        cachedWall = time
        return time
    }
    private var cachedWall: WallTime?
    /// As many events as one turn takes.
    private static let batch = 1024
    /// More descriptors may be ready than this turn was told of.
    public private(set) var isBacklogged = false

    public init() throws(SystemError) {
        let now = MonotonicInstant.now()
        turnBegan = now
        timers = RegistrationTable(now: now)
        poller = try Poller(batch: EventLoop.batch)
    }

    /// Registers a descriptor; the loop keeps the handler alive until `unregister`.
    public func register(
        _ descriptor: Int32, _ interest: Readiness, _ handler: any EventHandler
    ) throws(SystemError) -> Registration {
        let generation = timers.begin(descriptor)
        let registration = Registration(descriptor: descriptor, generation: generation)
        try poller.add(descriptor, interest, data: registration.token)
        let index = Int(descriptor)
        while handlers.count <= index { handlers.append(nil) }
        handlers[index] = handler
        return registration
    }

    /// Puts another handler in the place of the one that registered: the client speaks another protocol. The new one
    /// begins without a deadline.
    ///
    /// - Returns: false where the registration has ended: then nothing will be told of the descriptor.
    public func replace(_ registration: Registration, with handler: any EventHandler) -> Bool {
        guard timers.schedule(registration.token, at: nil) else { return false }
        handlers[Int(registration.descriptor)] = handler
        return true
    }

    /// Does nothing once the registration has ended: its descriptor's number may be another's by then.
    public func modify(_ registration: Registration, _ interest: Readiness) {
        guard timers.index(of: registration.token) != nil else { return }
        poller.modify(registration.descriptor, interest, data: registration.token)
    }

    /// Ends the registration; the descriptor itself stays open and its owner's.
    public func unregister(_ registration: Registration) {
        guard timers.end(registration.token) else { return }
        handlers[Int(registration.descriptor)] = nil
        poller.remove(registration.descriptor)
    }

    /// Sets or clears the deadline of a registration; it ends with it.
    public func schedule(_ registration: Registration, at deadline: MonotonicInstant?) {
        _ = timers.schedule(registration.token, at: deadline)
    }

    /// Reports the descriptor as readable in the next turn: what was read from it has not been used up.
    public func readAgain(_ registration: Registration) {
        again.append(registration.token)
    }

    /// Ends `run` after the turn in progress.
    public func stop() {
        isStopped = true
    }

    /// Runs until `stop`. `turnEnded` is called after each turn and tells by when it wants the next one.
    public func run(turnEnded: () -> MonotonicInstant?) {
        var wake: MonotonicInstant?
        while !isStopped {
            let count = poller.wait(milliseconds: timeout(wake))
            turnBegan = MonotonicInstant.now()
            isBacklogged = count >= EventLoop.batch
            cachedWall = nil
            for index in 0..<count {
                let (token, readiness) = poller.event(index)
                handler(of: token)?.ready(readiness)
            }
            readAgain()
            fireTimers()
            wake = turnEnded()
        }
    }

    /// Visits every registered handler; for the rare occasions that concern all, such as a drain.
    public func forEachHandler(_ body: (any EventHandler) -> Void) {
        for handler in handlers.compactMap(\.self) { body(handler) }
    }

    /// Each is asked once, after those whose descriptors were ready: nobody waits for a peer that sends without end.
    private func readAgain() {
        guard !again.isEmpty else { return }
        let tokens = again
        again = []
        for token in tokens { handler(of: token)?.ready(.readable) }
    }

    private func timeout(_ wake: MonotonicInstant?) -> Int32 {
        guard again.isEmpty else { return 0 }
        let next = timers.millisecondsToNext(now: now) ?? -1
        guard let wake else { return next }
        let wait = Int32(clamping: (wake - now).wholeNanoseconds / 1_000_000 + 1)
        return next < 0 ? wait : min(next, wait)
    }

    private func handler(of token: UInt64) -> (any EventHandler)? {
        timers.index(of: token).flatMap { handlers[$0] }
    }

    private func fireTimers() {
        // Entries are collected first: a handler that fires may schedule again.
        for entry in timers.advance(to: now) where timers.isDue(entry, now: now) {
            handler(of: entry.token)?.deadlineReached()
        }
    }
}

/// Which descriptors are registered, and their deadlines: in one place, apart from the handlers, so that an access cannot
/// run code that is not the loop's and costs one exclusivity check.
private struct RegistrationTable {
    private struct Slot {
        /// Odd while it is registered.
        var generation: UInt32 = 0
        var timer = TimerState()
    }

    private var wheel: TimerWheel
    /// By descriptor.
    private var slots: [Slot] = []

    init(now: MonotonicInstant) {
        wheel = TimerWheel(now: now)
    }

    /// - Returns: the generation that is this registration's alone.
    mutating func begin(_ descriptor: Int32) -> UInt32 {
        let index = Int(descriptor)
        while slots.count <= index { slots.append(Slot()) }
        // Odd again, also where the one before closed the descriptor without a word.
        slots[index].generation = (slots[index].generation &+ 1) | 1
        slots[index].timer = TimerState()
        return slots[index].generation
    }

    /// - Returns: false where it has ended before.
    mutating func end(_ token: UInt64) -> Bool {
        guard let index = index(of: token) else { return false }
        slots[index].generation &+= 1
        return true
    }

    func index(of token: UInt64) -> Int? {
        let index = Int(token & 0xFFFF_FFFF)
        guard index < slots.count, slots[index].generation == UInt32(token >> 32) else {
            return nil
        }
        return index
    }

    /// - Returns: false where the registration has ended.
    mutating func schedule(_ token: UInt64, at deadline: MonotonicInstant?) -> Bool {
        guard let index = index(of: token) else { return false }
        wheel.schedule(&slots[index].timer, token: token, at: deadline)
        return true
    }

    mutating func advance(to now: MonotonicInstant) -> [TimerWheel.Entry] {
        var due: [TimerWheel.Entry] = []
        wheel.advance(to: now) { due.append($0) }
        return due
    }

    mutating func isDue(_ entry: TimerWheel.Entry, now: MonotonicInstant) -> Bool {
        guard let index = index(of: entry.token) else { return false }
        return wheel.isDue(&slots[index].timer, entry, now: now)
    }

    func millisecondsToNext(now: MonotonicInstant) -> Int32? { wheel.millisecondsToNext(now: now) }
}
