import Primitives

/// The state of one timer, kept beside its owner. Moving a deadline later costs nothing: the wheel's entry fires at the
/// old time, sees the new one, and is put in again.
struct TimerState {
    /// When the owner wants to be told; `nil` is never.
    fileprivate(set) var deadline: MonotonicInstant?
    /// The tick at which the live wheel entry fires; 0 when there is none.
    fileprivate var armedTick: UInt64 = 0
}

/// A hashed timer wheel: 1024 slots of about 17 ms. An entry is 16 bytes; a deadline beyond the wheel's 17 s goes
/// round again. Nothing is allocated when a deadline moves, and a closed owner's entry dies at its tick.
struct TimerWheel {
    /// One tick is 2^24 ns, 16.8 ms.
    private static let tickShift: UInt64 = 24
    private static let slotCount: UInt64 = 1024

    struct Entry {
        let tick: UInt64
        let token: UInt64
    }

    private var slots: [[Entry]] = Array(repeating: [], count: Int(slotCount))
    private var occupied = [UInt64](repeating: 0, count: Int(slotCount / 64))
    private var currentTick: UInt64
    private var spare: [Entry] = []

    init(now: MonotonicInstant) {
        currentTick = now.nanoseconds >> TimerWheel.tickShift
    }

    /// Sets the deadline of the timer of `token`; `nil` clears it.
    mutating func schedule(
        _ timer: inout TimerState, token: UInt64, at deadline: MonotonicInstant?
    ) {
        timer.deadline = deadline
        guard let deadline else { return }
        let tick = slotTick(for: deadline)
        // An entry that fires no later than this deadline does the job.
        if timer.armedTick != 0, timer.armedTick <= tick, timer.armedTick > currentTick { return }
        insert(token, tick: tick)
        timer.armedTick = tick
    }

    /// The tick at which a deadline is surely past, at most one turn of the wheel ahead.
    private func slotTick(for deadline: MonotonicInstant) -> UInt64 {
        let wanted = (deadline.nanoseconds >> TimerWheel.tickShift) &+ 1
        return min(max(wanted, currentTick + 1), currentTick + TimerWheel.slotCount - 1)
    }

    private mutating func insert(_ token: UInt64, tick: UInt64) {
        let slot = Int(tick % TimerWheel.slotCount)
        slots[slot].append(Entry(tick: tick, token: token))
        occupied[slot >> 6] |= 1 << UInt64(slot & 63)
    }

    /// Hands over the entries whose tick has come. The caller looks up each owner and asks `isDue`.
    mutating func advance(
        to now: MonotonicInstant, _ body: (Entry) -> Void
    ) {
        let target = now.nanoseconds >> TimerWheel.tickShift
        guard target > currentTick else { return }
        // After a pause longer than the wheel every slot is due once.
        let steps = min(target - currentTick, TimerWheel.slotCount)
        for tick in (target - steps + 1)...target {
            currentTick = tick
            let slot = Int(tick % TimerWheel.slotCount)
            guard occupied[slot >> 6] & (1 << UInt64(slot & 63)) != 0 else { continue }
            occupied[slot >> 6] &= ~(1 << UInt64(slot & 63))
            swap(&spare, &slots[slot])
            for entry in spare { body(entry) }
            spare.removeAll(keepingCapacity: spare.count <= 4096)
        }
    }

    /// Whether the timer's deadline has passed, for the entry of `tick`; puts it in again when it lies ahead.
    mutating func isDue(
        _ timer: inout TimerState, _ entry: Entry, now: MonotonicInstant
    ) -> Bool {
        // An older entry of a timer that was since moved earlier: its successor did or will do the work.
        guard timer.armedTick == entry.tick else { return false }
        timer.armedTick = 0
        guard let deadline = timer.deadline else { return false }
        if deadline <= now {
            timer.deadline = nil
            return true
        }
        schedule(&timer, token: entry.token, at: deadline)
        return false
    }

    /// Milliseconds until the next occupied slot; `nil` when the wheel is empty.
    func millisecondsToNext(now: MonotonicInstant) -> Int32? {
        let start = currentTick + 1
        var offset: UInt64 = 0
        while offset < TimerWheel.slotCount {
            let slot = Int((start + offset) % TimerWheel.slotCount)
            let word = occupied[slot >> 6] >> UInt64(slot & 63)
            if word != 0 {
                offset += UInt64(word.trailingZeroBitCount)
                let due = (start + offset) << TimerWheel.tickShift
                let wait = due > now.nanoseconds ? due - now.nanoseconds : 0
                return Int32(clamping: wait / 1_000_000 + 1)
            }
            offset += UInt64(64 - slot & 63)
        }
        return nil
    }
}
