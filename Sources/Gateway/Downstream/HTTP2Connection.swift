import HTTP
import Primitives
import Transport

/// One client's HTTP/2 connection: its streams share a socket, a session and a timer.
///
/// Output is collected through a turn of the loop and written at its end, for all streams at once. While the socket takes
/// nothing, nothing is read: a client that sends and does not read holds one read's worth of memory.
final class HTTP2Connection: EventHandler, HTTP2ServerDelegate {
    /// Content of one stream that may wait for the client before the upstream's reading stops.
    static let streamQueueBytes = 32 << 10
    /// What a peer must give or take in each period to be slow rather than gone.
    static let progressFloor = 1024
    /// A read's worth of content and the heads of its frames leave in one write.
    private static let writeBytes = 66 << 10
    private static let earnedPerSecond = 50
    /// How long a client may take to answer the announcement of the end.
    private static let goAwayTime: Duration = .seconds(1)
    private static let lingerTime: Duration = .seconds(2)

    let worker: Worker
    let client: ClientPeer
    let session: HTTP2ServerSession

    private let socket: SocketBox
    private let registration: Registration
    private var interest: Readiness = [.readable, .peerClosed]
    /// In no order: each knows its place.
    private var streams: [HTTP2Stream] = []
    /// Some stream waits for its client, and is to be told when something was written.
    private var hasWatched = false
    private var output = ByteQueue()
    private var isClosed = false
    private var isFlushNeeded = false
    private var isDraining = false
    /// The next stream that closes is to be the last: an answer first, then GOAWAY, as some clients lose what follows that.
    var endsAfterAnswer = false
    private var isBroken = false
    /// Our side is shut; the client's last bytes are dropped so that no reset destroys the GOAWAY.
    private var isLingering = false
    /// The deadline that is scheduled; those of the streams lie behind it.
    private var scheduled: MonotonicInstant?
    /// When the connection itself must have moved: a preface, a whole head, a write, a next request.
    private var ownDeadline: MonotonicInstant?
    /// When no further stream is taken, though the client has not answered the announcement of that.
    private var announcementEnd: MonotonicInstant?
    private var isIdle = false
    /// The deadline is that of a preface or head in progress.
    private var isHeadTimed = true
    /// When the client was heard last, and when it was asked for a sign of life since.
    private var heardAt: MonotonicInstant
    private var askedAt: MonotonicInstant?
    /// Bytes that the client has taken since the deadline was set.
    private var takenBytes = 0
    private var earnedAt: MonotonicInstant
    private var trailers: [UInt8] = []

    /// Takes over an open socket and its registration from the connection that found out what the client speaks.
    init(
        worker: Worker, listener: ListenerContext, socket: SocketBox, registration: Registration,
        peer: IPAddress?, tls: TLSFacts?
    ) throws(HTTP2Error) {
        self.worker = worker
        client = ClientPeer(listener, peer, tls)
        self.socket = socket
        self.registration = registration
        earnedAt = worker.loop.now
        heardAt = worker.loop.now
        session = try HTTP2ServerSession(settings: listener.http2Settings)
        guard worker.loop.replace(registration, with: self) else { throw .library(0) }
        // The two keep each other until the end, of which one that was never told of has none.
        session.delegate = self
        setOwnDeadline(after: listener.limits.headerTimeout)
    }

    var listener: ListenerContext { client.listener }

    /// Begins with bytes that were read already.
    func open(_ input: [UInt8]) {
        // Ours comes first: the client waits for it under TLS 1.3 (RFC 9113 section 3.4).
        needsFlush()
        if !input.isEmpty { receive(input.span) }
        readOn()
    }

    // MARK: Reading

    func ready(_ readiness: Readiness) {
        if readiness.contains(.writable) {
            flush()
            if socket.wantsWritable { readInput() }
        }
        let isReadable = readiness.contains(.readable) && interest.contains(.readable)
        guard !isClosed,
            isReadable || !readiness.isDisjoint(with: [.peerClosed, .failed])
        else { return }
        readInput()
    }

    /// Goes on with what TLS has taken from the socket already, when there is use for it.
    private func readOn() {
        guard socket.hasMoreInput, interest.contains(.readable), !isClosed else { return }
        worker.loop.readAgain(registration)
    }

    private func readInput() {
        let buffer = worker.readBuffer
        buffer.removeAll()
        switch socket.read(into: buffer) {
        case .bytes: if !isLingering { receive(buffer.readable) }
        case .wouldBlock: if socket.wantsWritable { updateInterest() }
        case .end, .failed: close()
        }
        readOn()
    }

    /// Takes what the client sent.
    func receive(_ input: Span<UInt8>) {
        heardAt = worker.loop.now
        askedAt = nil
        earnForTime()
        do throws(HTTP2Error) {
            try session.receive(input)
        } catch {
            // The session has queued GOAWAY with its reason; it goes out if the socket takes it.
            isBroken = true
        }
        if session.isReadingHead {
            if !isHeadTimed { setOwnDeadline(after: listener.limits.headerTimeout) }
            isHeadTimed = true
        } else {
            if isHeadTimed { isIdle = false }
            isHeadTimed = false
            restOrWork()
        }
        needsFlush()
    }

    /// Without a stream the idle time runs, from when the last one ended.
    private func restOrWork() {
        // A preface or a head that has begun has its own time.
        guard !session.isReadingHead else { return }
        if streams.isEmpty {
            if !isIdle { setOwnDeadline(after: listener.limits.idleTimeout) }
            isIdle = true
        } else {
            isIdle = false
            if output.isEmpty { ownDeadline = nil }
            deadlineMoved(to: keepAliveDeadline)
        }
    }

    // MARK: Signs of life

    /// A client with open streams that says nothing for as long as an idle one may stay is asked for a sign of life, which
    /// any bytes are; it has the time of a head to give one. One that has vanished without a word would hold its streams
    /// for as long as their upstreams go on.
    private var keepAliveDeadline: MonotonicInstant {
        askedAt.map { $0 + listener.limits.headerTimeout } ?? heardAt + listener.limits.idleTimeout
    }

    /// - Returns: false when the client is gone.
    private func keepAlive(at now: MonotonicInstant) -> Bool {
        guard !streams.isEmpty, !isLingering, session.isOpen, keepAliveDeadline <= now else {
            return true
        }
        guard askedAt == nil else { return false }
        askedAt = now
        session.ping()
        needsFlush()
        return true
    }

    /// What a client may cost it earns anew as time goes by.
    private func earnForTime() {
        let seconds = (worker.loop.now - earnedAt).components.seconds
        guard seconds > 0 else { return }
        session.earn(Int(clamping: seconds) &* HTTP2Connection.earnedPerSecond)
        // Parts of a second count the next time.
        earnedAt = earnedAt + .seconds(seconds)
    }

    // MARK: HTTP2ServerDelegate

    func beginStream(id: Int32) -> (HTTP2ServerStream, RequestHead) {
        let stream = HTTP2Stream(id: id, connection: self)
        stream.index = streams.count
        streams.append(stream)
        return (stream, stream.beginHead())
    }

    func streamHasClosed() {
        restOrWork()
        if endsAfterAnswer { drain() }
    }

    // MARK: From the streams

    func consumed(_ count: Int, by stream: HTTP2Stream) {
        guard count > 0 else { return }
        session.consumed(count, of: stream.id)
        needsFlush()
    }

    /// The stream is over.
    func forget(_ stream: HTTP2Stream) {
        let index = stream.index
        guard index < streams.count, streams[index] === stream else { return }
        let last = streams.removeLast()
        guard last !== stream else { return }
        streams[index] = last
        last.index = index
    }

    /// A stream wants to know when something was written.
    func watch() {
        hasWatched = true
    }

    /// Trailers as field lines, those left out that must not stand there.
    func trailerLines(_ trailers: Trailers) -> [UInt8] {
        self.trailers.removeAll(keepingCapacity: true)
        TrailerWriter.append(trailers, to: &self.trailers)
        return self.trailers
    }

    /// Something waits to be written: at the end of the turn it will be.
    func needsFlush() {
        guard !isFlushNeeded, !isClosed, !isLingering else { return }
        isFlushNeeded = true
        worker.flushLater(self)
    }

    // MARK: Writing

    /// Writes what the session has to say, as far as the socket takes it.
    func flush() {
        isFlushNeeded = false
        guard !isClosed, !isLingering else { return }
        while true {
            if output.isEmpty {
                worker.frames.removeAll(keepingCapacity: true)
                session.appendOutput(to: &worker.frames, upTo: HTTP2Connection.writeBytes)
                if worker.frames.isEmpty { break }
                let bytes = worker.frames
                switch socket.write(bytes.span) {
                case .bytes(let count):
                    if count < bytes.count { output.append(bytes.span, from: count) }
                case .wouldBlock: output.append(bytes.span)
                case .end, .failed: return close()
                }
                if !output.isEmpty { setOwnDeadline(after: listener.limits.bodyTimeout) }
            } else {
                switch socket.write(output.pending.span) {
                case .bytes(let count):
                    output.removeFirst(count)
                    takenBytes += count
                    // Room in a socket that was full is a sign of life: what the client says may lie far behind.
                    heardAt = worker.loop.now
                    askedAt = nil
                    // A client that trickles is as slow as one that stops.
                    if takenBytes >= HTTP2Connection.progressFloor {
                        setOwnDeadline(after: listener.limits.bodyTimeout)
                    }
                case .wouldBlock: break
                case .end, .failed: return close()
                }
            }
            if !output.isEmpty { break }
        }
        if hasWatched {
            hasWatched = false
            for stream in streams where stream.outputMoved() { hasWatched = true }
        }
        if output.isEmpty {
            isIdle = isIdle && streams.isEmpty
            restOrWork()
            if session.isFinished || (isBroken && !session.wantsWrite) {
                return endCleanly()
            }
        }
        updateInterest()
    }

    private func endCleanly() {
        closeStreams()
        isLingering = true
        socket.shutdownWriting()
        setOwnDeadline(after: HTTP2Connection.lingerTime)
        updateInterest()
    }

    private func updateInterest() {
        guard !isClosed else { return }
        var wanted: Readiness = []
        if output.isEmpty { wanted = [.readable, .peerClosed] } else { wanted = [.writable] }
        if socket.wantsWritable { wanted.insert(.writable) }
        guard wanted != interest else { return }
        let wasReading = interest.contains(.readable)
        interest = wanted
        worker.loop.modify(registration, wanted)
        if !wasReading { readOn() }
    }

    // MARK: The end

    private func close() {
        guard !isClosed else { return }
        isClosed = true
        closeStreams()
        output.removeAll()
        worker.loop.unregister(registration)
        socket.close()
        listener.load.connectionClosed(onWorker: worker.index)
        worker.connectionClosed(listener.role)
    }

    private func closeStreams() {
        let open = streams
        streams = []
        for stream in open { stream.closed(code: 0) }
        session.detach()
    }

    // MARK: Deadlines

    private func setOwnDeadline(after duration: Duration) {
        let deadline = worker.loop.now + duration
        ownDeadline = deadline
        takenBytes = 0
        deadlineMoved(to: deadline)
    }

    /// A deadline of the connection or of a stream: the earliest is the one that is scheduled.
    func deadlineMoved(to deadline: MonotonicInstant) {
        if let scheduled, scheduled <= deadline { return }
        scheduled = deadline
        worker.loop.schedule(registration, at: deadline)
    }

    func deadlineReached() {
        scheduled = nil
        let now = worker.loop.now
        if let ownDeadline, ownDeadline <= now {
            self.ownDeadline = nil
            if !isLingering, output.isEmpty, streams.isEmpty, session.isOpen {
                // A quiet client, or one that never finished its preface or head: it is told and let go.
                session.goAway(code: .noError)
                isDraining = true
                needsFlush()
                return
            }
            return close()
        }
        if let announcementEnd, announcementEnd <= now {
            self.announcementEnd = nil
            session.endAnnouncement()
            needsFlush()
        }
        guard keepAlive(at: now) else { return close() }
        for stream in streams {
            if let deadline = stream.deadline, deadline <= now { stream.deadlineReached(now: now) }
        }
        guard !isClosed else { return }
        var next = ownDeadline
        if let announcementEnd, next.map({ announcementEnd < $0 }) ?? true {
            next = announcementEnd
        }
        if !streams.isEmpty, next.map({ keepAliveDeadline < $0 }) ?? true {
            next = keepAliveDeadline
        }
        for stream in streams {
            guard let deadline = stream.deadline else { continue }
            if next.map({ deadline < $0 }) ?? true { next = deadline }
        }
        if let next { deadlineMoved(to: next) }
    }
}

extension HTTP2Connection: TurnFlushing {}

extension HTTP2Connection: ClientConnection {
    /// No further stream is taken, those that are open are finished.
    func drain() {
        guard listener.role == .traffic, !isDraining else { return }
        isDraining = true
        session.announceGoAway()
        if streams.isEmpty { setOwnDeadline(after: HTTP2Connection.goAwayTime) }
        let due = worker.loop.now + HTTP2Connection.goAwayTime
        announcementEnd = due
        deadlineMoved(to: due)
        needsFlush()
    }

    func shutDown() {
        close()
    }
}
