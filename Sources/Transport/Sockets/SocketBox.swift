import Primitives

/// A socket inside a class: open until `close`, then every use of it fails quietly as a closed socket would.
public final class SocketBox {
    private var socket: Socket?
    /// The descriptor's number, for registration; of no use after `close`.
    public let descriptor: Int32

    public init(_ socket: consuming Socket) {
        descriptor = socket.descriptor
        self.socket = consume socket
    }

    public func read(into buffer: ByteBuffer) -> Socket.Transfer {
        socket?.read(into: buffer) ?? .end
    }

    public func write(_ bytes: Span<UInt8>) -> Socket.Transfer {
        socket?.write(bytes) ?? .end
    }

    public var isReadable: Bool { socket?.isReadable ?? true }

    public func takeError() -> Int32 { socket?.takeError() ?? 0 }

    public func setNoDelay() { socket?.setNoDelay() }

    public func shutdownWriting() { socket?.shutdownWriting() }

    public func resetOnClose() { socket?.resetOnClose() }

    /// Closes the descriptor, once.
    public func close() { socket = nil }
}
