import HTTP
import Primitives
import Transport

/// One HTTP/2 connection to a server, shared by the exchanges of a worker.
///
/// Requests are taken from the first moment on: until the server can hear them they wait in the session. Output is written
/// at the end of the turn, for all streams at once.
final class HTTP2UpstreamConnection: EventHandler, HTTP2ClientDelegate {
    private enum State {
        case connecting
        case open
        case closed
    }

    /// Content of one stream that may wait for the server before the client's reading stops.
    static let streamQueueBytes = 32 << 10
    /// Streams at once, whatever the server lets us: what one lost connection can take with it.
    private static let streamLimit = 100
    /// A read's worth of content and the heads of its frames leave in one write.
    private static let writeBytes = 66 << 10
    /// What a server may take to give a sign of life.
    private static let lifeTime: Duration = .seconds(2)
    /// What a server may cost it earns anew as time goes by.
    private static let earnedPerSecond = 50
    private static let settings = {
        var settings = HTTP2Settings(
            streams: streamLimit,
            head: HTTP1Limits(requestLineBytes: 8 << 10, headBytes: 64 << 10, fieldCount: 200))
        settings.streamWindow = 128 << 10
        settings.connectionWindow = 16 << 20
        return settings
    }()

    let server: UpstreamServer
    let worker: Worker
    let group: UpstreamGroup
    let session: HTTP2ClientSession

    private var dial: UpstreamDial?
    private let socket: SocketBox
    private var registration: Registration?
    private var interest: Readiness = [.writable]
    private var state = State.connecting
    private var streams: [Int32: HTTP2UpstreamStream] = [:]
    private var output = ByteQueue()
    private var isFlushNeeded = false
    /// A request that cannot be sent again is about to leave on a connection that had rested: what the server has said by
    /// then, an end perhaps, must be heard first.
    private var looksBeforeWriting = false
    /// No further stream is opened here.
    private var isDraining = false
    /// The server has answered here once: an end that comes later says that the connection was old, not that the server
    /// ends new ones unheard.
    private var hasServed = false
    private var ownDeadline: MonotonicInstant?
    private var scheduled: MonotonicInstant?
    private var heardAt: MonotonicInstant
    private var earnedAt: MonotonicInstant
    /// When the server was asked for a sign of life since it was heard last.
    private var askedAt: MonotonicInstant?
    /// Servers of gRPC take a client that asks more often than every 5 minutes for a nuisance and end the connection.
    private static let lifePause: Duration = .seconds(301)
    private var lastAskedAt: MonotonicInstant?
    /// Silent for too long, and asked too short a time ago: nobody else is sent here until it has been heard.
    private var isSuspect = false
    /// When the server must have taken some of what waits for it.
    private var writeDeadline: MonotonicInstant?

    /// Begins a new connection.
    init(
        worker: Worker, group: UpstreamGroup, server: UpstreamServer, tls: UpstreamDial.TLS?
    ) throws(UpstreamError) {
        self.worker = worker
        self.group = group
        self.server = server
        heardAt = worker.loop.now
        earnedAt = worker.loop.now
        session = try HTTP2UpstreamConnection.makeSession()
        let dial = try UpstreamDial(to: server.endpoint, tls: tls)
        self.dial = dial
        socket = dial.socket
        do throws(SystemError) {
            registration = try worker.loop.register(socket.descriptor, interest, self)
        } catch {
            throw .connectionRefused(code: error.code)
        }
        session.delegate = self
        setOwnDeadline(after: group.configuration.connectTimeout)
        needsFlush()
    }

    /// Takes over a connection of which the handshake has shown that the server speaks HTTP/2.
    init(
        worker: Worker, group: UpstreamGroup, server: UpstreamServer, socket: SocketBox,
        registration: Registration
    ) throws(UpstreamError) {
        self.worker = worker
        self.group = group
        self.server = server
        self.socket = socket
        self.registration = registration
        heardAt = worker.loop.now
        earnedAt = worker.loop.now
        session = try HTTP2UpstreamConnection.makeSession()
        guard worker.loop.replace(registration, with: self) else {
            throw .connectionTerminated
        }
        session.delegate = self
        state = .open
        interest = []
        restOrWork()
        updateInterest()
        needsFlush()
        readOn()
    }

    private static func makeSession() throws(UpstreamError) -> HTTP2ClientSession {
        do throws(HTTP2Error) {
            return try HTTP2ClientSession(settings: settings)
        } catch {
            throw .connectionRefused(code: 0)
        }
    }

    // MARK: Streams

    /// Whether another request may go out here.
    var takesRequests: Bool {
        state != .closed && !isDraining && askedAt == nil && !isSuspect && session.canOpen
    }

    /// Whether the server has said something while nobody asked: it may have closed.
    func mayBeStale() -> Bool {
        guard state == .open, streams.isEmpty, socket.isReadable else { return false }
        // The look may have taken it from the socket.
        readOn()
        return true
    }

    var isConnecting: Bool { state == .connecting }

    /// Begins an exchange.
    ///
    /// - Parameters:
    ///   - request: the head as HTTP/1.1 has it, with the content behind it where that is whole.
    ///   - mayRepeat: whether it could be sent again, should the connection turn out to be closed.
    func begin(
        _ exchange: Exchange, _ outgoing: OutgoingRequest, mayRepeat: Bool
    ) throws(UpstreamError) -> HTTP2UpstreamStream {
        var bytes = worker.takeOutgoing()
        defer { worker.giveBack(outgoing: &bytes) }
        exchange.appendRequest(to: &bytes)
        let request = bytes.span
        let headCount = HTTP2UpstreamConnection.headCount(of: request)
        let hasContent = !outgoing.isWhole || headCount < request.count
        let streamID: Int32
        do throws(HTTP2Error) {
            streamID = try session.request(
                request.extracting(0..<headCount), isTLS: group.isTLS,
                takesTrailers: exchange.head.takesTrailers, endsStream: !hasContent)
        } catch {
            throw .requestUnprocessed
        }
        let stream = HTTP2UpstreamStream(
            id: streamID, connection: self, exchange: exchange, isReused: hasServed,
            isRequestOut: !hasContent)
        if !mayRepeat, streams.isEmpty { looksBeforeWriting = true }
        streams[streamID] = stream
        stream.begun()
        watchForLife()
        if state == .open { ownDeadline = nil }
        if hasContent, outgoing.isWhole {
            session.sendData(streamID, request.extracting(headCount..<request.count))
            stream.endContent(trailerLines: [])
        }
        needsFlush()
        return stream
    }

    /// The head ends with the first empty line.
    private static func headCount(of request: Span<UInt8>) -> Int {
        var index = 3
        while index < request.count {
            if request[index] == 0x0A, request[index - 1] == 0x0D, request[index - 2] == 0x0A {
                return index + 1
            }
            index += 1
        }
        return request.count
    }

    // MARK: Readiness

    func ready(_ readiness: Readiness) {
        switch state {
        case .closed: return
        case .connecting: return advance()
        case .open: break
        }
        if readiness.contains(.writable) {
            flush()
            if socket.wantsWritable { readInput() }
        }
        let isReadable = readiness.contains(.readable) && interest.contains(.readable)
        guard isReadable || !readiness.isDisjoint(with: [.peerClosed, .failed]) else { return }
        readInput()
    }

    private func advance() {
        guard var dial else { return }
        let progress = dial.advance()
        self.dial = dial
        switch progress {
        case .wants(let readiness):
            watch(readiness)
        case .failed(let error):
            fail(error)
        case .done(let version):
            self.dial = nil
            if group.isTLS {
                server.speaksHTTP2 = version == .http2
                guard version == .http2 else {
                    return fail(.tlsFailed("the server does not speak HTTP/2"))
                }
            }
            state = .open
            heardAt = worker.loop.now
            // Nobody could be asked before there was a connection.
            askedAt = nil
            ownDeadline = nil
            restOrWork()
            updateInterest()
            flush()
            readOn()
        }
    }

    private func readInput() {
        guard state == .open else { return }
        let buffer = worker.readBuffer
        buffer.removeAll()
        switch socket.read(into: buffer) {
        case .bytes:
            heardAt = worker.loop.now
            askedAt = nil
            isSuspect = false
            earnForTime()
            do throws(HTTP2Error) {
                try session.receive(buffer.readable)
            } catch {
                return fail(.responseInvalid)
            }
            // What has come in this turn leaves together.
            for stream in streams.values { stream.turnEnded() }
            needsFlush()
        case .wouldBlock:
            if socket.wantsWritable { updateInterest() }
        case .end, .failed:
            if let cause = socket.faultCause { group.tell(of: .tlsFailed(cause), server) }
            return fail(.connectionTerminated)
        }
        readOn()
    }

    private func earnForTime() {
        let seconds = (worker.loop.now - earnedAt).components.seconds
        guard seconds > 0 else { return }
        session.earn(Int(clamping: seconds) &* HTTP2UpstreamConnection.earnedPerSecond)
        // Parts of a second count the next time.
        earnedAt = earnedAt + .seconds(seconds)
    }

    /// Goes on with what TLS has taken from the socket already.
    private func readOn() {
        guard socket.hasMoreInput, interest.contains(.readable), let registration else { return }
        worker.loop.readAgain(registration)
    }

    // MARK: HTTP2ClientDelegate

    func makeHead(streamID: Int32) -> ResponseHead? { streams[streamID]?.head }

    func responseHead(streamID: Int32) {
        hasServed = true
        streams[streamID]?.responseHead()
    }

    func data(streamID: Int32, _ input: Span<UInt8>) {
        guard let stream = streams[streamID] else { return session.consumed(streamID, input.count) }
        stream.data(input)
    }

    func responseEnded(streamID: Int32, _ trailers: Trailers) {
        streams[streamID]?.responseEnded(trailers)
    }

    func streamClosed(streamID: Int32, _ end: HTTP2StreamEnd) {
        guard let stream = streams.removeValue(forKey: streamID) else { return }
        stream.closed(end)
        restOrWork()
    }

    // MARK: Writing

    /// Something waits to be written: at the end of the turn it will be.
    func needsFlush() {
        guard !isFlushNeeded, state != .closed else { return }
        isFlushNeeded = true
        worker.flushLater(self)
    }

    /// Writes what the session has to say, as far as the socket takes it.
    func flush() {
        isFlushNeeded = false
        guard state == .open else { return }
        if looksBeforeWriting {
            looksBeforeWriting = false
            if socket.isReadable { readInput() }
            guard state == .open else { return }
        }
        while true {
            if output.isEmpty {
                worker.frames.removeAll(keepingCapacity: true)
                session.appendOutput(
                    to: &worker.frames, upTo: HTTP2UpstreamConnection.writeBytes)
                if worker.frames.isEmpty { break }
                let bytes = worker.frames
                switch socket.write(bytes.span) {
                case .bytes(let count):
                    if count < bytes.count { output.append(bytes.span, from: count) }
                case .wouldBlock: output.append(bytes.span)
                case .end, .failed: return fail(.connectionTerminated)
                }
            } else {
                switch socket.write(output.pending.span) {
                case .bytes(let count):
                    output.removeFirst(count)
                    writeDeadline = nil
                case .wouldBlock: break
                case .end, .failed: return fail(.connectionTerminated)
                }
            }
            if !output.isEmpty { break }
        }
        watchWriting()
        for stream in streams.values { stream.outputMoved() }
        // What the socket did not take of a last word is not waited for: such a server may never read.
        if session.isFinished || session.isTerminated { return fail(.connectionTerminated) }
        if streams.isEmpty, session.hasGoneAway { return close() }
        updateInterest()
    }

    /// A server that takes nothing for as long as it may be silent is gone, or worse.
    private func watchWriting() {
        guard !output.isEmpty else {
            writeDeadline = nil
            return
        }
        guard writeDeadline == nil else { return }
        let deadline = worker.loop.now + group.configuration.responseTimeout
        writeDeadline = deadline
        deadlineMoved(to: deadline)
    }

    // MARK: The end

    /// Takes no further request; those that are under way are finished.
    func retire() {
        isDraining = true
        restOrWork()
    }

    /// Without a stream the idle time runs.
    private func restOrWork() {
        guard state == .open, streams.isEmpty else { return }
        if isDraining || isSuspect || session.hasGoneAway {
            setOwnDeadline(after: .zero)
        } else if ownDeadline == nil {
            setOwnDeadline(after: group.configuration.idleTimeout)
        }
    }

    /// The connection is lost, and with it every stream.
    private func fail(_ error: UpstreamError) {
        guard state != .closed else { return }
        group.tell(of: error, server)
        let open = streams
        streams = [:]
        sayLastWord()
        close()
        for stream in open.values { stream.lost(error) }
    }

    private func close() {
        guard state != .closed else { return }
        state = .closed
        session.delegate = nil
        server.forget(self)
        output.removeAll()
        if let registration { worker.loop.unregister(registration) }
        registration = nil
        socket.shutdownWriting()
        socket.close()
    }

    /// A server that is beyond an answer is told so, if the socket takes it (RFC 9113 section 5.4.1).
    private func sayLastWord() {
        guard state == .open, session.isTerminated, output.isEmpty else { return }
        session.delegate = nil
        writeLast()
    }

    /// An idle connection ends with a word, if the socket takes it.
    private func sayGoodbye() {
        guard output.isEmpty, !session.hasGoneAway else { return }
        session.goAway()
        writeLast()
    }

    private func writeLast() {
        var bytes: [UInt8] = []
        session.appendOutput(to: &bytes, upTo: 1024)
        guard !bytes.isEmpty else { return }
        _ = socket.write(bytes.span)
    }

    // MARK: Deadlines

    private func setOwnDeadline(after duration: Duration) {
        let deadline = worker.loop.now + duration
        ownDeadline = deadline
        deadlineMoved(to: deadline)
    }

    /// A deadline of the connection or of a stream: the earliest is the one that is scheduled.
    func deadlineMoved(to deadline: MonotonicInstant) {
        if let scheduled, scheduled <= deadline { return }
        guard let registration else { return }
        scheduled = deadline
        worker.loop.schedule(registration, at: deadline)
    }

    func deadlineReached() {
        scheduled = nil
        let now = worker.loop.now
        if let ownDeadline, ownDeadline <= now {
            self.ownDeadline = nil
            if state == .connecting { return fail(.connectionTimeout) }
            if streams.isEmpty {
                sayGoodbye()
                return close()
            }
        }
        if let writeDeadline, writeDeadline <= now { return fail(.responseTimeout) }
        if let askedAt, askedAt + HTTP2UpstreamConnection.lifeTime <= now {
            return fail(.responseTimeout)
        }
        for stream in streams.values {
            guard let deadline = stream.deadline, deadline <= now else { continue }
            // First: what the failure sets going must find that nobody may be there.
            askForLife()
            stream.deadlineReached()
        }
        guard state != .closed else { return }
        if let lifeDeadline, lifeDeadline <= now { askForLife() }
        let own = [
            ownDeadline, writeDeadline, lifeDeadline,
            askedAt.map { $0 + HTTP2UpstreamConnection.lifeTime },
        ]
        if let next = (own + streams.values.map(\.deadline)).compactMap(\.self).min() {
            deadlineMoved(to: next)
        }
    }

    /// When a server that is silent is asked for a sign of life while streams are open: a call may be silent for long, but
    /// not because nobody is there.
    private var lifeDeadline: MonotonicInstant? {
        guard state == .open, askedAt == nil, !streams.isEmpty else { return nil }
        let silent = heardAt + group.configuration.responseTimeout
        return lastAskedAt.map { max(silent, $0 + HTTP2UpstreamConnection.lifePause) } ?? silent
    }

    private func watchForLife() {
        if let lifeDeadline { deadlineMoved(to: lifeDeadline) }
    }

    /// One answer is late. Not a byte in all that time, for anybody, may mean that the connection is dead, and may mean that
    /// nobody else was due to hear anything: the server is asked, and until it has answered no further request goes there.
    private func askForLife() {
        let silence = worker.loop.now - heardAt
        guard state == .open, askedAt == nil, silence >= group.configuration.responseTimeout else {
            return
        }
        let now = worker.loop.now
        if let lastAskedAt, now < lastAskedAt + HTTP2UpstreamConnection.lifePause {
            isSuspect = true
            return
        }
        askedAt = now
        lastAskedAt = now
        session.ping()
        needsFlush()
        deadlineMoved(to: now + HTTP2UpstreamConnection.lifeTime)
    }

    private func updateInterest() {
        guard state == .open else { return }
        watch(
            output.isEmpty && !socket.wantsWritable ? [.readable] : [.readable, .writable])
    }

    private func watch(_ wanted: Readiness) {
        guard wanted != interest, let registration else { return }
        interest = wanted
        worker.loop.modify(registration, wanted)
    }
}

extension HTTP2UpstreamConnection: TurnFlushing {}
