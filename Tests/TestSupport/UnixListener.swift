import Foundation

/// A unix socket that listens and accepts nothing: connecting works, and what is sent waits for ever.
public final class UnixListener: Sendable {
    public let path: String
    private let socket: SocketDescriptor

    public init(path: String) throws {
        self.path = path
        socket = try SocketDescriptor.stream(AF_UNIX)
        let number = socket.number
        guard try withUnixPath(path, { bind(number, $0, $1) }) == 0, listen(number, 128) == 0 else {
            throw Failure("listen on \(path): errno \(errno)")
        }
    }
}
