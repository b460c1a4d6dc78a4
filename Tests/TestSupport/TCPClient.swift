import Foundation

/// A client that sends exactly the bytes it is given and shows what comes back. For one thread at a time.
public final class TCPClient {
    private let socket: SocketDescriptor
    private let timeout: Duration
    /// What was received and not yet taken by one of the `read` calls.
    public private(set) var received: [UInt8] = []
    /// The peer has ended its side.
    public private(set) var isAtEnd = false

    /// Connects to 127.0.0.1.
    ///
    /// - Parameter timeout: the limit of every call that waits.
    public init(port: UInt16, timeout: Duration = .seconds(10)) throws {
        socket = try SocketDescriptor.stream()
        self.timeout = timeout
        let number = socket.number
        guard withLoopback(port, { connect(number, $0, $1) }) == 0 else {
            throw Failure("connect to port \(port): errno \(errno)")
        }
        setNoDelay()
    }

    /// Connects to a unix socket.
    public init(unixPath: String, timeout: Duration = .seconds(10)) throws {
        socket = try SocketDescriptor.stream(AF_UNIX)
        self.timeout = timeout
        let number = socket.number
        let code = try withUnixPath(unixPath) { connect(number, $0, $1) }
        guard code == 0 else { throw Failure("connect to \(unixPath): errno \(errno)") }
    }

    /// Connects to `[::1]`.
    public init(ipv6Port port: UInt16, timeout: Duration = .seconds(10)) throws {
        socket = try SocketDescriptor.stream(AF_INET6)
        self.timeout = timeout
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = port.bigEndian
        address.sin6_addr = in6addr_loopback
        let number = socket.number
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(number, $0, socklen_t(MemoryLayout<sockaddr_in6>.size))
            }
        }
        guard code == 0 else { throw Failure("connect to [::1]:\(port): errno \(errno)") }
        setNoDelay()
    }

    /// The other end of a connection that a server of ours accepted.
    init(_ socket: SocketDescriptor, timeout: Duration) {
        self.socket = socket
        self.timeout = timeout
        setNoDelay()
    }

    /// Each `send` goes out as a segment of its own, so that a test decides where the peer's reads are cut.
    private func setNoDelay() {
        var on: Int32 = 1
        setsockopt(socket.number, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
    }

    public func send(_ bytes: [UInt8]) throws {
        try socket.send(bytes, until: .now + timeout)
    }

    public func send(_ text: String) throws {
        try send(Array(text.utf8))
    }

    /// Sends on a thread of its own, for a peer that must read at the same time. A failure shows on the peer's side.
    public func sendInBackground(_ bytes: [UInt8]) {
        let deadline = ContinuousClock.now + timeout
        Thread.detachNewThread { [socket] in try? socket.send(bytes, until: deadline) }
    }

    /// Sends until the peer has taken nothing for `patience`.
    ///
    /// - Returns: how many bytes were taken.
    public func sendUntilStuck(_ bytes: [UInt8], patience: Duration) throws -> Int {
        var sent = 0
        while sent < bytes.count, socket.wait(for: POLLOUT, until: .now + patience) {
            let piece = bytes[sent..<min(bytes.count, sent + 65_536)]
            sent += try socket.sendSome(piece)
        }
        return sent
    }

    /// Ends our side of the stream; the other stays open.
    public func shutdownWriting() {
        _ = shutdown(socket.number, Int32(SHUT_WR))
    }

    /// Makes the connection end with RST when the last reference goes.
    public func resetOnClose() {
        socket.resetOnClose()
    }

    /// Reads until the peer ends the stream.
    ///
    /// - Returns: everything that was not taken before.
    /// - Throws: when the stream is still open after the time-out.
    public func readToEnd() throws -> [UInt8] {
        let deadline = ContinuousClock.now + timeout
        while !isAtEnd { try readMore(until: deadline) }
        return take(received.count)
    }

    /// Takes exactly `count` bytes.
    public func read(_ count: Int) throws -> [UInt8] {
        let deadline = ContinuousClock.now + timeout
        while received.count < count {
            if isAtEnd { throw Failure("the stream ended after \(received.count) bytes") }
            try readMore(until: deadline)
        }
        return take(count)
    }

    /// Takes what comes up to and including `mark`.
    public func read(through mark: String) throws -> [UInt8] {
        let deadline = ContinuousClock.now + timeout
        let mark = Data(mark.utf8)
        while true {
            if let range = Data(received).range(of: mark) { return take(range.upperBound) }
            if isAtEnd { throw Failure("the stream ended before \(mark): \(text(received))") }
            try readMore(until: deadline)
        }
    }

    /// Takes one HTTP/1.1 response with its body.
    ///
    /// - Parameter isBodyless: the answer to HEAD, whose framing fields announce no bytes.
    public func readReply(isBodyless: Bool = false) throws -> HTTPReply {
        let head = text(try read(through: "\r\n\r\n"))
        var reply = try HTTPReply(head: head)
        let status = reply.status
        if isBodyless || status < 200 || status == 204 || status == 304 { return reply }
        if reply.values("transfer-encoding").last?.lowercased() == "chunked" {
            try readChunks(into: &reply)
        } else if let length = reply.values("content-length").first {
            guard let length = Int(length) else { throw Failure("Content-Length: \(length)") }
            reply.body = try read(length)
        } else {
            reply.body = try readToEnd()
        }
        return reply
    }

    /// Waits for the end of the stream and tells whether nothing came before it.
    public func isClosedByPeer() throws -> Bool {
        try readToEnd().isEmpty
    }

    /// Whether the peer has ended the stream by now, without a byte that was not read.
    public func hasEnded() throws -> Bool {
        if isAtEnd { return received.isEmpty }
        guard socket.wait(for: POLLIN, until: .now) else { return false }
        try readMore(until: .now)
        return isAtEnd && received.isEmpty
    }

    /// Whether something comes within that time: bytes, or the end of the stream.
    public func isReadable(within limit: Duration) -> Bool {
        socket.wait(for: POLLIN, until: .now + limit)
    }

    private func readChunks(into reply: inout HTTPReply) throws {
        while true {
            let line = text(try read(through: "\r\n")).dropLast(1)
            guard let size = Int(line, radix: 16) else { throw Failure("chunk size: \(line)") }
            if size == 0 { break }
            reply.body += try read(size)
            guard text(try read(2)) == "\r\n" else { throw Failure("a chunk without its end") }
        }
        while true {
            let line = text(try read(through: "\r\n")).dropLast(1)
            if line.isEmpty { return }
            reply.trailers.append(try HTTPReply.field(String(line)))
        }
    }

    private func readMore(until deadline: ContinuousClock.Instant) throws {
        guard let bytes = socket.receive(until: deadline) else {
            throw Failure("nothing more came in \(timeout); so far: \(text(received))")
        }
        received += bytes
        if bytes.isEmpty { isAtEnd = true }
    }

    private func take(_ count: Int) -> [UInt8] {
        let taken = Array(received.prefix(count))
        received.removeFirst(count)
        return taken
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}

/// A response as a client saw it.
public struct HTTPReply: Sendable {
    public let status: Int
    /// In their order and letter case.
    public let fields: [(name: String, value: String)]
    public var body: [UInt8] = []
    public var trailers: [(name: String, value: String)] = []

    public var text: String { String(decoding: body, as: UTF8.self) }

    /// The values of all fields of that name, in any letter case.
    public func values(_ name: String) -> [String] {
        fields.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
    }

    /// The body as a JSON object.
    public func json() throws -> [String: Any] {
        guard let object = try JSONSerialization.jsonObject(with: Data(body)) as? [String: Any]
        else { throw Failure("no JSON object: \(text)") }
        return object
    }

    init(head: String) throws {
        // Swift sees CR LF as one character, so lines are split at that.
        let lines = head.split(separator: "\r\n", omittingEmptySubsequences: true)
        let parts = (lines.first ?? "").split(separator: " ", maxSplits: 2)
        guard parts.count >= 2, parts[0].hasPrefix("HTTP/1."), let status = Int(parts[1]) else {
            throw Failure("no status line: \(head)")
        }
        self.status = status
        fields = try lines.dropFirst().map { try HTTPReply.field(String($0)) }
    }

    static func field(_ line: String) throws -> (name: String, value: String) {
        guard let colon = line.firstIndex(of: ":") else { throw Failure("no field: \(line)") }
        let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        return (String(line[..<colon]), value)
    }
}
