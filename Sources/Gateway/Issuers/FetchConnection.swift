import HTTP
import Primitives
import Transport

/// One HTTP/1.1 connection to a server that we ask: carries one fetch at a time, then rests in its server's pool, where it
/// has one.
final class FetchConnection: EventHandler {
    private enum State {
        case connecting
        case awaitingHead
        case readingBody
        case idle
        case closed
    }

    private static let interimLimit = 16
    private static let headLimits = HTTP1Limits(
        requestLineBytes: 8 << 10, headBytes: 32 << 10, fieldCount: 100)

    private unowned let client: FetchClient
    private let server: FetchServer
    private var dial: UpstreamDial
    private let socket: SocketBox
    private var registration: Registration?
    private var interest: Readiness = [.writable]
    private var state = State.connecting
    private var fetch: Fetch?
    private var isReused = false
    private var hasAnswered = false
    private var output: [UInt8] = []
    private var parser = ResponseHeadParser(limits: headLimits)
    private let head = ResponseHead()
    private var interims = 0
    private let body = BodyReader()
    private var content: [UInt8] = []

    /// Begins to connect.
    init(
        client: FetchClient, server: FetchServer, endpoint: Endpoint
    ) throws(FetchError) {
        self.client = client
        self.server = server
        do throws(UpstreamError) {
            dial = try UpstreamDial(
                to: endpoint,
                tls: server.tls.map {
                    UpstreamDial.TLS(
                        context: $0, name: server.address.serverName,
                        resumption: server.resumption)
                })
        } catch {
            throw .connect(error)
        }
        socket = dial.socket
        do throws(SystemError) {
            registration = try client.loop.register(socket.descriptor, interest, self)
        } catch {
            throw .connect(.connectionRefused(code: error.code))
        }
    }

    /// Begins a fetch.
    ///
    /// - Parameter deadline: by then it has answered, or failed.
    func begin(_ fetch: Fetch, until deadline: MonotonicInstant) {
        self.fetch = fetch
        hasAnswered = false
        interims = 0
        content = []
        output = fetch.request.bytes
        setDeadline(deadline)
        if case .idle = state {
            state = .awaitingHead
            flush()
        }
    }

    /// Takes the connection out of its rest; false when the server has closed it.
    func reuse() -> Bool {
        guard case .idle = state, !socket.isReadable else {
            close()
            return false
        }
        isReused = true
        return true
    }

    func close() {
        state = .closed
        fetch = nil
        guard let registration else { return }
        client.loop.unregister(registration)
        self.registration = nil
        socket.close()
    }

    // MARK: Readiness

    func ready(_ readiness: Readiness) {
        switch state {
        case .connecting:
            connect()
        case .awaitingHead, .readingBody:
            if readiness.contains(.writable) { flush() }
            if readiness != [.writable] { readInput() }
        case .idle:
            // Whatever it is, nobody asked for it.
            server.forget(self)
            close()
        case .closed:
            break
        }
    }

    func deadlineReached() {
        switch state {
        case .connecting: fail(.connect(.connectionTimeout))
        case .awaitingHead, .readingBody: fail(.timeout)
        case .idle:
            server.forget(self)
            close()
        case .closed: break
        }
    }

    private func connect() {
        switch dial.advance() {
        case .wants(let readiness): watch(readiness)
        case .failed(let error): fail(.connect(error))
        case .done:
            guard let fetch else { return close() }
            state = .awaitingHead
            setDeadline(fetch.deadline)
            flush()
        }
    }

    private func flush() {
        while !output.isEmpty {
            switch socket.write(output.span) {
            case .bytes(let count):
                output.removeFirst(count)
            case .wouldBlock:
                return watch([.readable, .writable])
            case .end, .failed:
                // An answer to the first of it may still be readable.
                output = []
            }
        }
        watch(socket.wantsWritable ? [.readable, .writable] : [.readable])
        readOn()
    }

    private func readInput() {
        let buffer = client.buffer
        buffer.removeAll()
        switch socket.read(into: buffer) {
        case .bytes: take(buffer.readable)
        case .wouldBlock: break
        case .end: ended()
        case .failed: lost()
        }
        readOn()
    }

    /// Goes on with what TLS has taken from the socket already.
    private func readOn() {
        guard socket.hasMoreInput, let registration else { return }
        client.loop.readAgain(registration)
    }

    // MARK: The answer

    private func take(_ input: Span<UInt8>) {
        guard let fetch else { return close() }
        hasAnswered = true
        var offset = 0
        do throws(HTTP1Error) {
            while case .awaitingHead = state {
                guard
                    case .complete(let next) = try parser.parse(
                        input, from: offset, into: head, requestMethod: fetch.request.method)
                else { return }
                offset = next
                parser.reset()
                takeHead(fetch)
            }
            while case .readingBody = state {
                switch try body.next(input, from: &offset) {
                case .data(let range):
                    guard content.count + range.count <= fetch.request.limitBytes else {
                        return fail(.tooLarge(limitBytes: fetch.request.limitBytes))
                    }
                    content.append(input, range)
                case .needsMore: return
                case .end: finish(hasMore: offset < input.count)
                }
            }
        } catch {
            fail(.malformed(error))
        }
    }

    private func takeHead(_ fetch: Fetch) {
        if head.isInterim {
            interims += 1
            // A switch that was not asked for makes of what follows another protocol.
            if head.status == 101 || interims > FetchConnection.interimLimit {
                fail(.malformed(.invalidStatusLine))
            }
            return
        }
        guard head.status == 200 else {
            // What it says besides is not looked at.
            if (300...399).contains(head.status) {
                return fail(.redirect(head.status, to: FetchConnection.redirectHost(head)))
            }
            return fail(.status(head.status))
        }
        if case .length(let count) = head.framing, count > fetch.request.limitBytes {
            return fail(.tooLarge(limitBytes: fetch.request.limitBytes))
        }
        state = .readingBody
        body.begin(head.framing)
    }

    private func finish(hasMore: Bool) {
        guard let fetch else { return close() }
        let answer = FetchedAnswer(body: content, maxAge: CacheControl.maxAge(of: head))
        self.fetch = nil
        content = []
        if head.keepsAlive, !hasMore, output.isEmpty, server.keep(self) {
            state = .idle
            watch([.readable])
            setDeadline(client.loop.now + FetchServer.idleTime)
        } else {
            close()
        }
        fetch.end(.success(answer))
    }

    /// The host of `Location`, for the log.
    private static func redirectHost(_ head: ResponseHead) -> String {
        for line in head.fields where head.equals(line.name, "location") {
            var text: [UInt8] = []
            text.append(head.span(of: line.value))
            let url = String(decoding: text, as: UTF8.self)
            guard let scheme = url.firstRange(of: "://") else { return "another path" }
            let host = url[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" }
            return String(host.prefix(256))
        }
        return "nowhere"
    }

    private func ended() {
        if case .readingBody = state, body.connectionEnded() { return finish(hasMore: true) }
        lost()
    }

    private func lost() {
        if isReused, !hasAnswered, let fetch {
            // The server closed the kept connection while the question was under way: it has not seen it.
            close()
            return fetch.connectAnew()
        }
        fail(.connectionLost)
    }

    private func fail(_ error: FetchError) {
        let fetch = self.fetch
        close()
        fetch?.failed(error)
    }

    // MARK: Deadline and interest

    private func setDeadline(_ deadline: MonotonicInstant) {
        guard let registration else { return }
        client.loop.schedule(registration, at: deadline)
    }

    private func watch(_ wanted: Readiness) {
        guard wanted != interest, let registration else { return }
        interest = wanted
        client.loop.modify(registration, wanted)
    }
}

/// What an answer says about how long it may be kept (RFC 9111 section 5.2.2).
enum CacheControl {
    static func maxAge(of head: ResponseHead) -> Duration? {
        var values: [String] = []
        for line in head.fields where head.equals(line.name, "cache-control") {
            var bytes: [UInt8] = []
            bytes.append(head.span(of: line.value))
            values.append(String(decoding: bytes, as: UTF8.self))
        }
        return maxAge(values)
    }

    /// - Returns: zero for what may not be kept; of several lifetimes the smallest; `nil` when nothing is said that can
    ///   be read.
    static func maxAge(_ values: [String]) -> Duration? {
        var smallest: Duration?
        for directive in values.flatMap({ $0.split(separator: ",") }) {
            let word = directive.trimming { $0 == " " || $0 == "\t" }.lowercased()
            if word == "no-store" || word == "no-cache" || word.hasPrefix("no-cache=") {
                return .zero
            }
            guard word.hasPrefix("max-age=") else { continue }
            let digits = word.dropFirst("max-age=".utf8.count).trimming { $0 == "\"" }
            guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }) else {
                continue
            }
            // More digits than an integer holds are a long time.
            let age = Duration.seconds(Int64(digits) ?? .max / 2)
            smallest = smallest.map { min($0, age) } ?? age
        }
        return smallest
    }
}

extension StringProtocol {
    fileprivate func trimming(_ isBlank: (Character) -> Bool) -> SubSequence {
        let start = firstIndex { !isBlank($0) } ?? endIndex
        let end = lastIndex { !isBlank($0) }.map { index(after: $0) } ?? start
        return self[start..<end]
    }
}
