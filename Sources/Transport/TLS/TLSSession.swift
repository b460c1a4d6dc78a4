import COpenSSL
import Glibc
import Primitives

/// TLS on one connected, non-blocking socket, which it reads and writes through a `TLSWire`; the socket's owner outlives it.
@safe struct TLSSession: ~Copyable {
    /// How a handshake stands.
    enum Handshake: Equatable {
        case done
        case wantsReadable
        case wantsWritable
        /// In words, for the operator.
        case failed(String)
    }

    /// The most that one record holds (RFC 8446 section 5.1): what a read must have room for.
    private static let recordBytes = 16 << 10
    /// Sealed bytes that one call sends: once there are as many, no further record joins them. A read's worth of content
    /// goes in one, with its seals and the heads of its frames.
    private static let gatheredBytes = 66 << 10

    private let raw: OpaquePointer
    private let wire: TLSWire
    /// Content that is sealed and waits for the socket: its owner was told that it was not written, and offers it again.
    private var owed = 0
    /// What the callbacks look things up in.
    private let context: AnyObject
    private let resumption: TLSResumption?
    /// Input was read from the socket that no caller has seen yet: the socket will not become readable for it.
    private(set) var hasMoreInput = false
    /// Calls that had the socket take sealed bytes, and memory that waits for the next.
    var sends: Int { wire.sends }
    var keptBytes: Int { wire.keptBytes }
    /// Something of TLS's own waits for the socket.
    var wantsWritable: Bool { owed == 0 && wire.hasSealed }
    /// What came behind bytes that had to be handed over first.
    private var fault: Socket.Transfer?
    /// Why the last read or write failed, where TLS knows more than the socket.
    private(set) var faultCause: String?

    /// The server's side.
    init(server context: TLSServerContext, descriptor: Int32) throws(TLSError) {
        let wire = TLSWire(descriptor: descriptor)
        guard let raw = unsafe context.makeSession(on: wire) else { throw .outOfMemory }
        unsafe self.raw = unsafe raw
        self.wire = wire
        self.context = context
        resumption = nil
    }

    /// The client's side.
    ///
    /// - Parameters:
    ///   - name: the server's, for SNI and the check of its certificate.
    ///   - resumption: remembers the session for the next connection to that server.
    init(
        client context: TLSClientContext, name: TLSServerName, resumption: TLSResumption,
        descriptor: Int32
    ) throws(TLSError) {
        let wire = TLSWire(descriptor: descriptor)
        guard let raw = unsafe context.makeSession(on: wire, for: name) else {
            throw .outOfMemory
        }
        unsafe self.raw = unsafe raw
        self.wire = wire
        self.context = context
        self.resumption = resumption
        unsafe SSL_set_ex_data(raw, 0, Unmanaged.passUnretained(resumption).toOpaque())
        unsafe resumption.offer(to: raw)
    }

    deinit {
        // A session that ended without an alert is good for resumption all the same (RFC 8446 section 6.1).
        unsafe SSL_set_shutdown(raw, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN)
        unsafe SSL_free(raw)
    }

    // MARK: The handshake

    mutating func handshake() -> Handshake {
        guard wire.flush() else {
            return wire.writeFault == nil ? .wantsWritable : .failed("the connection was lost")
        }
        OpenSSLErrors.forget()
        wire.beginCall()
        let result = unsafe SSL_do_handshake(raw)
        if result == 1 {
            guard !wire.hasSealed else { return .wantsWritable }
            wire.handshakeEnded()
            // A request may have come with the end of the handshake.
            hasMoreInput = unsafe SSL_has_pending(raw) == 1
            return .done
        }
        // What was said last must be out before an answer can come.
        if wire.hasSealed { return .wantsWritable }
        switch unsafe SSL_get_error(raw, result) {
        case SSL_ERROR_WANT_READ: return .wantsReadable
        case SSL_ERROR_WANT_WRITE: return .wantsWritable
        case SSL_ERROR_SYSCALL: return .failed("the connection was lost")
        default:
            let verdict = unsafe SSL_get_verify_result(raw)
            let cause = OpenSSLErrors.last()
            guard verdict != Int(X509_V_OK),
                let text = unsafe X509_verify_cert_error_string(verdict)
            else { return .failed(cause) }
            return .failed("\(cause): \(unsafe String(cString: text))")
        }
    }

    /// What ALPN settled on.
    var applicationProtocol: TLSApplicationProtocol? {
        var start: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        unsafe SSL_get0_alpn_selected(raw, &start, &count)
        let bytes = unsafe UnsafeBufferPointer(start: start, count: Int(count))
        return unsafe TLSApplicationProtocol(rawValue: String(decoding: bytes, as: UTF8.self))
    }

    /// What is known of the peer after the handshake.
    ///
    /// - Parameter rules: under which the peer was asked for a certificate.
    func facts(under rules: TLSServerContext?) -> TLSFacts {
        let version: TLSFacts.Version = unsafe SSL_version(raw) == TLS1_3_VERSION ? .tls13 : .tls12
        guard let rules, let certificate = unsafe SSL_get0_peer_certificate(raw) else {
            return TLSFacts(version: version, certificate: nil)
        }
        let isVerified =
            unsafe rules.verifiesClients && SSL_get_verify_result(raw) == Int(X509_V_OK)
        return TLSFacts(
            version: version,
            certificate: unsafe PeerCertificate(certificate, isVerified: isVerified),
            rules: rules.clientRules)
    }

    // MARK: Bytes

    mutating func read(into buffer: ByteBuffer) -> Socket.Transfer {
        hasMoreInput = false
        if let fault {
            return fault
        }
        _ = wire.flush()
        OpenSSLErrors.forget()
        wire.beginCall()
        var total = 0
        while buffer.capacity - buffer.count >= TLSSession.recordBytes {
            let count = unsafe buffer.fill { room in
                unsafe Int(SSL_read(raw, room.baseAddress, Int32(clamping: room.count)))
            }
            guard count > 0 else {
                let outcome = self.outcome(of: count)
                guard total > 0 else { return outcome }
                if outcome != .wouldBlock {
                    fault = outcome
                    hasMoreInput = true
                }
                return .bytes(total)
            }
            total += count
            wire.contentCame(count)
            if unsafe SSL_has_pending(raw) == 0 { return .bytes(total) }
        }
        hasMoreInput = true
        return .bytes(total)
    }

    /// Whether a byte or an end waits, tickets and the like aside.
    mutating func hasInput() -> Bool {
        OpenSSLErrors.forget()
        wire.beginCall()
        var byte: UInt8 = 0
        let count = unsafe SSL_peek(raw, &byte, 1)
        // It lies in the session now, where no descriptor tells of it.
        if count > 0 { hasMoreInput = true }
        return count > 0 || outcome(of: Int(count)) != .wouldBlock
    }

    /// Writes in records of at most 16 KiB, several at a time. What was refused must be offered again, with or without more
    /// behind it: the first of it may be sealed already.
    mutating func write(_ bytes: Span<UInt8>) -> Socket.Transfer {
        OpenSSLErrors.forget()
        wire.beginCall()
        var sealed = min(owed, bytes.count)
        var refusal: Socket.Transfer?
        while wire.writeFault == nil, wire.flush(), sealed < bytes.count, refusal == nil {
            refusal = seal(bytes, from: &sealed)
        }
        if let fault = wire.writeFault { return .failed(fault) }
        // What waits is longer than the content in it, and is counted by the byte: a peer that takes little by little is
        // seen to do so, however much was sealed at once.
        owed = min(sealed, wire.sealedBytes)
        return owed < sealed ? .bytes(sealed - owed) : refusal ?? .wouldBlock
    }

    /// Seals as many records as leave together.
    ///
    /// - Parameter start: moves behind what was sealed.
    /// - Returns: why it ended early.
    private mutating func seal(_ bytes: Span<UInt8>, from start: inout Int) -> Socket.Transfer? {
        let rest = bytes.count - start
        if rest > TLSSession.recordBytes {
            wire.gather(min(rest, TLSSession.gatheredBytes) + TLSSession.recordBytes)
        }
        repeat {
            let count = unsafe bytes.extracting(start..<bytes.count).withUnsafeBytes { rest in
                unsafe Int(SSL_write(raw, rest.baseAddress, Int32(clamping: rest.count)))
            }
            guard count > 0 else { return outcome(of: count) }
            start += count
        } while wire.isGathering && start < bytes.count
            && wire.sealedBytes < TLSSession.gatheredBytes
        return nil
    }

    /// Says that no more will be sent; a peer that does not hear it takes what it has for cut off.
    mutating func shutdown() {
        OpenSSLErrors.forget()
        wire.beginCall()
        _ = unsafe SSL_shutdown(raw)
        // Where the socket is full the alert is lost: the peer has more to worry about.
        _ = wire.flush()
        wire.shut()
    }

    private mutating func outcome(of result: Int) -> Socket.Transfer {
        switch unsafe SSL_get_error(raw, Int32(clamping: result)) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE:
            return .wouldBlock
        case SSL_ERROR_ZERO_RETURN:
            return .end
        case SSL_ERROR_SYSCALL:
            return .failed(errno == 0 ? ECONNRESET : errno)
        default:
            // An end without the alert counts as a reset: what came before may be cut (RFC 8446 section 6.1).
            faultCause = OpenSSLErrors.last()
            return .failed(EPROTO)
        }
    }
}
