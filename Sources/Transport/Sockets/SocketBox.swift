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

    private var socket: Socket?
    private var session: TLSSession?
    /// The descriptor's number, for registration; of no use after `close`.
    public let descriptor: Int32

    public init(_ socket: consuming Socket) {
        descriptor = socket.descriptor
        self.socket = consume socket
    }

    // MARK: TLS

    /// From now on the socket speaks TLS as a server; `handshake` comes first.
    public func secure(as context: TLSServerContext) throws(TLSError) {
        session = try TLSSession(server: context, descriptor: descriptor)
    }

    /// From now on the socket speaks TLS as a client; `handshake` comes first.
    public func secure(
        as context: TLSClientContext, to name: TLSServerName, resumption: TLSResumption
    ) throws(TLSError) {
        session = try TLSSession(
            client: context, name: name, resumption: resumption, descriptor: descriptor)
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
    public var hasMoreInput: Bool { session?.hasMoreInput ?? false }

    /// The last read must be tried again when the descriptor is writable.
    public var wantsWritable: Bool { session?.wantsWritable ?? false }

    // MARK: Bytes

    public func read(into buffer: ByteBuffer) -> Socket.Transfer {
        if session != nil { return session?.read(into: buffer) ?? .end }
        return socket?.read(into: buffer) ?? .end
    }

    /// Shows what waits on the socket itself, whatever TLS makes of it, without taking it.
    public func peek(into buffer: ByteBuffer) -> Socket.Transfer {
        socket?.peek(into: buffer) ?? .end
    }

    /// Takes bytes that `peek` has shown.
    public func skip(_ count: Int, through buffer: ByteBuffer) {
        socket?.skip(count, through: buffer)
    }

    public func write(_ bytes: Span<UInt8>) -> Socket.Transfer {
        if session != nil { return session?.write(bytes) ?? .end }
        return socket?.write(bytes) ?? .end
    }

    public var isReadable: Bool {
        if session != nil { return session?.hasInput() ?? true }
        return socket?.isReadable ?? true
    }

    public func takeError() -> Int32 { socket?.takeError() ?? 0 }

    public func setNoDelay() { socket?.setNoDelay() }

    /// Ends the writing side; under TLS the peer is told in so many words that nothing was cut off.
    public func shutdownWriting() {
        session?.shutdown()
        socket?.shutdownWriting()
    }

    public func resetOnClose() { socket?.resetOnClose() }

    /// Closes the descriptor, once.
    public func close() {
        session = nil
        socket = nil
    }
}
