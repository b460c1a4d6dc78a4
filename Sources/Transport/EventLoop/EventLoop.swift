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
    /// The timer's state, kept by the handler.
    var timer: TimerState { get set }
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
    private struct Slot {
        var handler: (any EventHandler)?
        var generation: UInt32 = 0
    }

    private var poller: Poller
    private var wheel: TimerWheel
    private var slots: [Slot] = []
    private var isStopped = false
    /// Handlers that have input waiting of which no descriptor tells.
    private var again: [UInt64] = []
    /// The monotonic time of this turn.
    public private(set) var now: MonotonicInstant
    /// Wall time of this turn, read when first asked for.
    public var wallNow: WallTime {
        if let cachedWall { return cachedWall }
        let time = WallTime.now()
        cachedWall = time
        return time
    }
    private var cachedWall: WallTime?

    public init() throws(SystemError) {
        now = MonotonicInstant.now()
        wheel = TimerWheel(now: now)
        poller = try Poller(batch: 512)
    }

    /// Registers a descriptor; the loop keeps the handler alive until `unregister`.
    public func register(
        _ descriptor: Int32, _ interest: Readiness, _ handler: any EventHandler
    ) throws(SystemError) -> Registration {
        let index = Int(descriptor)
        while slots.count <= index { slots.append(Slot()) }
        slots[index].generation &+= 1
        let registration = Registration(
            descriptor: descriptor, generation: slots[index].generation)
        try poller.add(descriptor, interest, data: registration.token)
        slots[index].handler = handler
        return registration
    }

    /// Puts another handler in the place of the one that registered: the client speaks another protocol. The new one
    /// begins without a deadline.
    public func replace(_ registration: Registration, with handler: any EventHandler) {
        let index = Int(registration.descriptor)
        guard index < slots.count, slots[index].generation == UInt32(registration.token >> 32)
        else { return }
        slots[index].handler = handler
    }

    public func modify(_ registration: Registration, _ interest: Readiness) {
        poller.modify(registration.descriptor, interest, data: registration.token)
    }

    /// Ends the registration; the descriptor itself stays open and its owner's.
    public func unregister(_ registration: Registration) {
        let index = Int(registration.descriptor)
        guard index < slots.count, slots[index].generation == UInt32(registration.token >> 32)
        else { return }
        slots[index].handler = nil
        poller.remove(registration.descriptor)
    }

    /// Sets or clears the deadline of a registered handler.
    public func schedule(
        _ handler: some EventHandler, _ registration: Registration, at deadline: MonotonicInstant?
    ) {
        var timer = handler.timer
        wheel.schedule(&timer, token: registration.token, at: deadline)
        handler.timer = timer
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
            now = MonotonicInstant.now()
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
        for handler in slots.compactMap(\.handler) { body(handler) }
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
        let next = wheel.millisecondsToNext(now: now) ?? -1
        guard let wake else { return next }
        let wait = Int32(clamping: (wake - now).wholeNanoseconds / 1_000_000 + 1)
        return next < 0 ? wait : min(next, wait)
    }

    private func handler(of token: UInt64) -> (any EventHandler)? {
        let index = Int(token & 0xFFFF_FFFF)
        guard index < slots.count, slots[index].generation == UInt32(token >> 32) else {
            return nil
        }
        return slots[index].handler
    }

    private func fireTimers() {
        // Entries are collected first: a handler that fires may schedule again.
        var due: [(UInt64, UInt64)] = []
        wheel.advance(to: now) { due.append(($0, $1)) }
        for (token, tick) in due {
            guard let handler = handler(of: token) else { continue }
            var timer = handler.timer
            let isDue = wheel.isDue(&timer, token: token, tick: tick, now: now)
            handler.timer = timer
            if isDue { handler.deadlineReached() }
        }
    }
}
