import Foundation
import Synchronization

/// What a scripted server does next with a connection.
public enum UpstreamStep: Sendable {
    case send([UInt8])
    /// Reads and throws away until the client ends its side or the server is stopped.
    case readToEnd
    /// Answers nothing, but keeps the connection until the client ends it or the server is stopped.
    case hold
    /// Ends the connection with FIN.
    case close
    /// Ends the connection with RST.
    case reset

    public static func send(_ text: String) -> UpstreamStep { .send(Array(text.utf8)) }

    /// A whole response with `Content-Length`.
    public static func respond(
        _ status: String = "200 OK", fields: [String] = [], body: String = ""
    ) -> UpstreamStep {
        let head = ["HTTP/1.1 \(status)", "Content-Length: \(body.utf8.count)"] + fields
        return .send(head.joined(separator: "\r\n") + "\r\n\r\n" + body)
    }
}

/// One request as it arrived, byte for byte.
public struct ReceivedRequest: Sendable {
    /// 0 for the first connection that was accepted.
    public let connection: Int
    /// 0 for the first request on its connection.
    public let index: Int
    /// Request line and fields with the empty line.
    public let head: String
    /// The body as it was framed: of a chunked one the chunks, their sizes and the trailers.
    public let rawBody: [UInt8]

    public init(connection: Int, index: Int, head: String, rawBody: [UInt8]) {
        self.connection = connection
        self.index = index
        self.head = head
        self.rawBody = rawBody
    }

    public var requestLine: String { head.components(separatedBy: "\r\n")[0] }

    /// The values of all fields of exactly that name, in any letter case.
    public func values(_ name: String) -> [String] {
        head.components(separatedBy: "\r\n").dropFirst().compactMap { line in
            guard let colon = line.firstIndex(of: ":"),
                line[..<colon].lowercased() == name.lowercased()
            else { return nil }
            return line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
    }
}

/// An upstream on 127.0.0.1 that does what a closure says, one thread a connection, and records every request. It takes
/// framing by the letter and nothing else: it is a peer to look through, not a server to trust.
public final class ScriptedUpstream: Sendable {
    public typealias Script = @Sendable (ReceivedRequest) -> [UpstreamStep]

    private let listener: LoopbackListener
    private let record = Mutex<[ReceivedRequest]>([])
    private let accepted = Mutex(0)
    private let ended = Mutex(0)
    private let isStopped = Mutex(false)

    public var port: UInt16 { listener.port }
    /// Every complete request so far, in the order of their ends.
    public var requests: [ReceivedRequest] { record.withLock { $0 } }
    /// How many connections were accepted so far.
    public var connections: Int { accepted.withLock { $0 } }
    /// How many of them we have not ended yet.
    public var openConnections: Int { connections - ended.withLock { $0 } }

    /// Starts to listen. The script runs on the connection's thread, once for each request; after its steps
    /// the next request of the connection is read.
    public init(_ script: @escaping Script = { _ in [.respond(body: "hello\n")] }) throws {
        listener = try LoopbackListener()
        Thread.detachNewThread { [weak self, listener] in
            while true {
                let isReady = listener.socket.wait(for: POLLIN, until: .now + .milliseconds(50))
                guard let self, !self.isStopped.withLock({ $0 }) else { return }
                guard isReady,
                    let socket = try? SocketDescriptor(
                        accept(listener.socket.number, nil, nil), "accept")
                else { continue }
                self.serve(socket, script)
            }
        }
    }

    deinit {
        stop()
    }

    /// Stops accepting and lets every connection end.
    public func stop() {
        isStopped.withLock { $0 = true }
    }

    /// Waits until that many requests have arrived.
    public func waitForRequests(
        _ count: Int, within limit: Duration = .seconds(10)
    ) -> [ReceivedRequest] {
        _ = eventually(within: limit) { requests.count >= count }
        return requests
    }

    private func serve(_ socket: SocketDescriptor, _ script: @escaping Script) {
        let connection = accepted.withLock { count in
            count += 1
            return count - 1
        }
        Thread.detachNewThread { [weak self] in
            var isReset = false
            defer {
                // After a `reset` the kernel sends RST once the last reference goes; a FIN must not come first.
                if !isReset { shutdown(socket.number, Int32(SHUT_WR)) }
                self?.ended.withLock { $0 += 1 }
            }
            var reader = RequestReader(socket) { self?.isStopped.withLock { $0 } ?? true }
            var index = 0
            while let (head, body) = reader.next() {
                let request = ReceivedRequest(
                    connection: connection, index: index, head: head, rawBody: body)
                index += 1
                self?.record.withLock { $0.append(request) }
                for step in script(request) {
                    if case .reset = step { isReset = true }
                    guard reader.perform(step) else { return }
                }
            }
        }
    }
}

/// Reads requests off one connection of the scripted upstream.
private struct RequestReader {
    private let socket: SocketDescriptor
    private let isStopped: () -> Bool
    private var buffer = Data()

    init(_ socket: SocketDescriptor, isStopped: @escaping () -> Bool) {
        self.socket = socket
        self.isStopped = isStopped
    }

    /// The next request, `nil` at the end of the stream.
    mutating func next() -> (head: String, body: [UInt8])? {
        guard let head = take(through: "\r\n\r\n") else { return nil }
        let text = String(decoding: head, as: UTF8.self)
        var body = Data()
        for line in text.lowercased().components(separatedBy: "\r\n") {
            if line.hasPrefix("transfer-encoding:"), line.hasSuffix("chunked") {
                guard let chunks = takeChunks() else { return nil }
                body = chunks
            } else if line.hasPrefix("content-length:") {
                let digits = line.dropFirst(15).trimmingCharacters(in: .whitespaces)
                guard let count = Int(digits), let bytes = take(count) else { return nil }
                body = bytes
            }
        }
        return (text, Array(body))
    }

    /// - Returns: false when the connection is to end.
    mutating func perform(_ step: UpstreamStep) -> Bool {
        switch step {
        case .send(let bytes):
            return (try? socket.send(bytes, until: .now + .seconds(30))) != nil
        case .readToEnd, .hold:
            while readMore() { buffer.removeAll() }
            return false
        case .close:
            return false
        case .reset:
            socket.resetOnClose()
            return false
        }
    }

    private mutating func takeChunks() -> Data? {
        var body = Data()
        while true {
            guard let line = take(through: "\r\n") else { return nil }
            body += line
            let digits = String(decoding: line, as: UTF8.self).prefix { $0.isHexDigit }
            guard let size = Int(digits, radix: 16) else { return nil }
            if size == 0 { break }
            guard let chunk = take(size + 2) else { return nil }
            body += chunk
        }
        while let line = take(through: "\r\n") {
            body += line
            if line.count == 2 { return body }
        }
        return nil
    }

    private mutating func take(through mark: String) -> Data? {
        while true {
            if let range = buffer.range(of: Data(mark.utf8)) {
                return take(range.upperBound - buffer.startIndex)
            }
            guard readMore() else { return nil }
        }
    }

    private mutating func take(_ count: Int) -> Data? {
        while buffer.count < count {
            guard readMore() else { return nil }
        }
        let taken = buffer.prefix(count)
        buffer = Data(buffer.dropFirst(count))
        return Data(taken)
    }

    /// - Returns: false at the end of the stream, or when the server is stopped.
    private mutating func readMore() -> Bool {
        while !isStopped() {
            if let bytes = socket.receive(until: .now + .milliseconds(50)) {
                buffer.append(contentsOf: bytes)
                return !bytes.isEmpty
            }
        }
        return false
    }
}
