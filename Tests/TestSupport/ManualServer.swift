import Foundation

/// A server whose every move the test makes itself: it accepts when asked to, and each connection reads and sends by hand.
///
/// For what a script cannot say, such as an answer before the end of the request, or a server that does not read.
public final class ManualServer {
    private let socket: SocketDescriptor
    private let timeout: Duration
    /// 0 for a unix socket.
    public let port: UInt16

    /// Listens on 127.0.0.1.
    ///
    /// - Parameters:
    ///   - backlog: with 0, one connection that nobody accepts makes the kernel drop all further ones.
    ///   - timeout: the limit of every call that waits, those of accepted connections too.
    public init(backlog: Int32 = 256, timeout: Duration = .seconds(10)) throws {
        let listener = try LoopbackListener(backlog: backlog)
        socket = listener.socket
        port = listener.port
        self.timeout = timeout
    }

    /// Listens on a unix socket.
    public init(unixPath: String, timeout: Duration = .seconds(10)) throws {
        socket = try SocketDescriptor.stream(AF_UNIX)
        port = 0
        self.timeout = timeout
        let number = socket.number
        let code = try withUnixPath(unixPath) { bind(number, $0, $1) }
        guard code == 0, listen(number, 16) == 0 else { throw Failure("bind: errno \(errno)") }
    }

    /// The next connection.
    ///
    /// - Throws: when none comes in time.
    public func accept() throws -> TCPClient {
        guard socket.wait(for: POLLIN, until: .now + timeout) else {
            throw Failure("no connection in \(timeout)")
        }
        let number = Foundation.accept(socket.number, nil, nil)
        return TCPClient(try SocketDescriptor(number, "accept"), timeout: timeout)
    }

    /// Whether a connection waits to be accepted at this moment.
    public var hasWaiting: Bool { socket.wait(for: POLLIN, until: .now) }
}
