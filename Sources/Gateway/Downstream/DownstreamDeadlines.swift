import Primitives
import Transport

/// What an HTTP/1.1 connection waits for: by when it must have come, and which readiness tells of it.
extension DownstreamConnection {
    /// Sets the deadline of what is going on now; the route's limit on the whole exchange stays beside it.
    func setDeadline(after duration: Duration?) {
        guard let registration else { return }
        progressBytes = 0
        var deadline = duration.map { worker.loop.now + $0 }
        if let exchangeDeadline, deadline.map({ exchangeDeadline < $0 }) ?? true {
            deadline = exchangeDeadline
        }
        worker.loop.schedule(registration, at: deadline)
    }

    /// The deadline that fits what is going on: a body or an answer that must make progress, or none of ours.
    func rearm() {
        if exchange?.isTunnel == true { return setDeadline(after: listener.limits.idleTimeout) }
        let isWaiting = !output.isEmpty || exchange?.isBodyTimed == true
        setDeadline(after: isWaiting ? listener.limits.bodyTimeout : nil)
    }

    /// The exchange wants the body: its time runs.
    func awaitBody() {
        rearm()
        updateInterest()
    }

    /// The body is whole.
    func bodyTaken() {
        rearm()
    }

    func limitExchange(to duration: Duration) {
        let end = worker.loop.now + duration
        exchangeDeadline = exchangeDeadline.map { min($0, end) } ?? end
        rearm()
    }

    func deadlineReached() {
        let isExchangeOver = exchangeDeadline.map { $0 <= worker.loop.now } ?? false
        switch state {
        case .closed:
            break
        case .idle where !output.isEmpty, .readingHead where !output.isEmpty,
            .discarding where !output.isEmpty:
            // The answer is on its way still, to a client that is slow or has stopped.
            if progressBytes >= DownstreamConnection.progressFloor {
                setDeadline(after: listener.limits.bodyTimeout)
            } else {
                abort()
            }
        case .idle:
            // In a drain the time may be over before a long turn of the loop came to its request.
            if worker.isDraining { readInput() }
            // A client that never sent a byte gets none: it may be a health check or a spare connection.
            if state == .idle { linger() }
        case .lingering, .discarding:
            close()
        case .readingHead:
            state = .exchanging
            exchange?.refuseSlowHead()
        case .exchanging:
            // At least this much in each period: one byte now and then holds a connection for ever otherwise.
            let isProgress = progressBytes >= DownstreamConnection.progressFloor
            if isExchangeOver {
                exchangeDeadline = nil
                exchange?.tookTooLong()
                // The answer may still wait for the client to take it.
                if state == .exchanging { rearm() }
            } else if exchange?.isTunnel == true {
                if progressBytes > 0 { return rearm() }
                exchange?.tunnelWentIdle()
                close()
            } else if isProgress {
                setDeadline(after: listener.limits.bodyTimeout)
            } else if isCongested {
                exchange?.clientLeft(reset: true)
                abort()
            } else if exchange?.isBodyPaused == true {
                exchange?.upstreamTooSlow()
            } else {
                exchange?.bodyTooSlow()
            }
        }
    }

    /// Whether the peer's leaving would end an exchange. Once the answer is written, it is only to be flushed.
    /// A tunnel's end is read behind all that came before it.
    var watchesForEnd: Bool {
        state == .exchanging && !closesWhenFlushed && exchange?.isTunnel != true
    }

    /// Reads only when there is use for the bytes or to notice that the peer left; writes when something waits.
    func updateInterest() {
        guard state != .closed, let registration else { return }
        var wanted: Readiness = []
        let mayRead =
            switch state {
            case .idle, .readingHead, .discarding: pendingInput.isEmpty && output.isEmpty
            case .exchanging:
                pendingInput.isEmpty && !hasPeerEnded && exchange?.isBodyPaused != true
            case .lingering: true
            case .closed: false
            }
        if mayRead { wanted.insert(.readable) }
        if mayRead || watchesForEnd { wanted.insert(.peerClosed) }
        if !output.isEmpty || (mayRead && socket.wantsWritable) { wanted.insert(.writable) }
        guard wanted != interest else { return }
        let wasReading = interest.contains(.readable)
        interest = wanted
        worker.loop.modify(registration, wanted)
        if !wasReading { readOn() }
    }
}
