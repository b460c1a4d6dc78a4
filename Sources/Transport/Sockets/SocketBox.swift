import Glibc
import Primitives

/// A socket inside a class, in clear or under TLS: open until `close`, then every use of it fails quietly as a closed
/// socket would.
public final class SocketBox {
    /// How a handshake stands.
    public enum Handshake: Equatable {
        /// Done, with what ALPN settled on.
        case done(TLSApplicationProtocol?)
        case wantsReadable
        case wantsWritable
        /// In words, for the operator.
        case failed(String)
    }

    private let socket: SocketDescriptor
    private var isOpen = true
    private var session: TLSSession?
    /// Whether there is a session: asked on every read and write, of which a session itself is not to be bothered.
    private var isSecure = false
    /// The descriptor's number, for registration; of no use after `close`.
    public var descriptor: Int32 { socket.number }

    public init(_ socket: consuming Socket) {
        self.socket = SocketDescriptor(socket.release())
    }

    deinit {
        close()
    }

    // MARK: TLS

    /// From now on the socket speaks TLS as a server; `handshake` comes first.
    public func secure(as context: TLSServerContext) throws(TLSError) {
        session = try TLSSession(server: context, descriptor: descriptor)
        isSecure = true
    }

    /// From now on the socket speaks TLS as a client; `handshake` comes first.
    public func secure(
        as context: TLSClientContext, to name: TLSServerName, resumption: TLSResumption
    ) throws(TLSError) {
        session = try TLSSession(
            client: context, name: name, resumption: resumption, descriptor: descriptor)
        isSecure = true
    }

    /// Takes the handshake as far as it goes.
    public func handshake() -> Handshake {
        switch session?.handshake() {
        case .done: .done(session?.applicationProtocol)
        case .wantsReadable: .wantsReadable
        case .wantsWritable: .wantsWritable
        case .failed(let cause): .failed(cause)
        case nil: .failed("the connection was closed")
        }
    }

    /// What the handshake established.
    ///
    /// - Returns: `nil` when the peer's certificate is no longer good.
    public func facts(under rules: TLSServerContext?) -> TLSFacts? {
        session?.facts(under: rules)
    }

    /// Why the last read or write failed, where TLS knows more than the socket: an alert, for one.
    public var faultCause: String? { session?.faultCause }

    /// Input waits of which the descriptor's readiness tells nothing.
    public var hasMoreInput: Bool { isSecure && session?.hasMoreInput ?? false }

    /// The last read must be tried again when the descriptor is writable.
    public var wantsWritable: Bool { isSecure && session?.wantsWritable ?? false }

    // MARK: Bytes

    public func read(into buffer: ByteBuffer) -> Socket.Transfer {
        if isSecure { return session?.read(into: buffer) ?? .end }
        return isOpen ? socket.read(into: buffer) : .end
    }

    /// Shows what waits on the socket itself, whatever TLS makes of it, without taking it.
    public func peek(into buffer: ByteBuffer) -> Socket.Transfer {
        isOpen ? socket.peek(into: buffer) : .end
    }

    /// Takes bytes that `peek` has shown.
    public func skip(_ count: Int, through buffer: ByteBuffer) {
        if isOpen { socket.skip(count, through: buffer) }
    }

    public func write(_ bytes: Span<UInt8>) -> Socket.Transfer {
        if isSecure { return session?.write(bytes) ?? .end }
        return isOpen ? socket.write(bytes) : .end
    }

    public var isReadable: Bool {
        if isSecure { return session?.hasInput() ?? true }
        return isOpen ? socket.isReadable : true
    }

    public func takeError() -> Int32 { isOpen ? socket.takeError() : 0 }

    public func setNoDelay() { if isOpen { socket.setNoDelay() } }

    /// Ends the writing side; under TLS the peer is told in so many words that nothing was cut off.
    public func shutdownWriting() {
        session?.shutdown()
        if isOpen { socket.shutdownWriting() }
    }

    public func resetOnClose() { if isOpen { socket.resetOnClose() } }

    /// Closes the descriptor, once.
    public func close() {
        guard isOpen else { return }
        isOpen = false
        session = nil
        _ = Glibc.close(socket.number)
    }
}
