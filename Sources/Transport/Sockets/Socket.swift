import CLinux
import Glibc
import Primitives

/// A connected or connecting stream socket: non-blocking, closed when its owner lets go of it.
public struct Socket: ~Copyable {
    public let descriptor: Int32

    /// Takes over a descriptor that `accept` gave.
    public init(adopting descriptor: Int32) {
        self.descriptor = descriptor
    }

    deinit {
        _ = close(descriptor)
    }

    /// Lets go of the descriptor, open; the caller closes it.
    consuming func release() -> Int32 {
        let descriptor = self.descriptor
        discard self
        return descriptor
    }

    /// What reading or writing came to.
    public enum Transfer: Equatable, Sendable {
        /// So many bytes, at least 1.
        case bytes(Int)
        /// Nothing now; wait for readiness.
        case wouldBlock
        /// The peer ended its side (reading only).
        case end
        case failed(Int32)
    }

    /// Begins a connection to `endpoint`.
    ///
    /// - Returns: the socket; it is connected once it becomes writable and `takeError` is 0.
    /// - Throws: for a refusal that comes at once, and for a name (which must be looked up first).
    public static func connect(to endpoint: Endpoint) throws(SystemError) -> Socket {
        guard let address = SocketAddress(endpoint) else {
            throw SystemError(call: "connect", code: EINVAL)
        }
        let descriptor = gh_stream_socket(address.family)
        guard descriptor >= 0 else { throw SystemError(call: "socket", code: errno) }
        let socket = Socket(adopting: descriptor)
        if address.family != AF_UNIX { SocketDescriptor(descriptor).setNoDelay() }
        let result = unsafe address.withPointer { pointer, length in
            unsafe Glibc.connect(descriptor, pointer, length)
        }
        // EAGAIN is no progress: a unix socket's queue is full, or no local port is left.
        if result != 0, errno != EINPROGRESS {
            throw SystemError(call: "connect", code: errno)
        }
        return socket
    }

    /// Makes `close` send a reset instead of a clean end, so that a cut answer is never taken for a whole one.
    public func resetOnClose() { SocketDescriptor(descriptor).resetOnClose() }
}

/// What can be asked of a connected stream socket by whoever owns its descriptor.
struct SocketDescriptor {
    let number: Int32

    init(_ number: Int32) {
        self.number = number
    }

    /// Answers are written whole, so Nagle's delay only costs.
    func setNoDelay() {
        _ = gh_set_option(number, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    }

    func read(into buffer: ByteBuffer) -> Socket.Transfer {
        let count = unsafe buffer.fill { room in
            unsafe gh_receive(number, room.baseAddress, room.count)
        }
        if count > 0 { return .bytes(count) }
        if count == 0 { return .end }
        return SocketDescriptor.outcome(of: errno)
    }

    /// Shows what waits, without taking it.
    func peek(into buffer: ByteBuffer) -> Socket.Transfer {
        let count = unsafe buffer.fill { room in
            unsafe gh_peek(number, room.baseAddress, room.count)
        }
        if count > 0 { return .bytes(count) }
        return count == 0 ? .end : SocketDescriptor.outcome(of: errno)
    }

    /// Takes bytes that `peek` has shown.
    func skip(_ count: Int, through buffer: ByteBuffer) {
        buffer.removeAll()
        _ = unsafe buffer.fill { room in
            unsafe recv(number, room.baseAddress, min(count, room.count), 0)
        }
    }

    func write(_ bytes: Span<UInt8>) -> Socket.Transfer {
        let count = unsafe bytes.withUnsafeBytes { raw in
            unsafe gh_send(number, raw.baseAddress, raw.count)
        }
        return count >= 0 ? .bytes(count) : SocketDescriptor.outcome(of: errno)
    }

    private static func outcome(of code: Int32) -> Socket.Transfer {
        code == EAGAIN || code == EINTR ? .wouldBlock : .failed(code)
    }

    /// Whether bytes or an end are waiting, without taking them: a pooled connection that is readable is stale.
    var isReadable: Bool {
        gh_is_readable(number) != 0 || (errno != EAGAIN && errno != EINTR)
    }

    /// SO_ERROR, cleared by reading it; 0 when all is well.
    func takeError() -> Int32 {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard unsafe getsockopt(number, SOL_SOCKET, SO_ERROR, &code, &length) == 0 else {
            return errno
        }
        return code
    }

    /// Ends the writing side; the peer sees the end of the stream.
    func shutdownWriting() {
        _ = shutdown(number, Int32(SHUT_WR))
    }

    /// Makes `close` send a reset instead of a clean end, so that a cut answer is never taken for a whole one.
    func resetOnClose() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        let size = socklen_t(MemoryLayout.size(ofValue: linger))
        _ = unsafe setsockopt(number, SOL_SOCKET, SO_LINGER, &linger, size)
    }
}
