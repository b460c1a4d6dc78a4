import CLinux
import COpenSSL
import Glibc

/// What lies between OpenSSL and a socket: it reads no more at a time than a turn of the loop may cost, and takes every
/// record that is to be written, so that nothing of OpenSSL's ever waits half done.
///
/// Left alone, OpenSSL reads until the socket is empty while it finds nothing to hand out, and a client that sends nothing
/// but KeyUpdates would keep a worker for as long as it likes.
@safe final class TLSWire {
    /// Sealed bytes that one call may read.
    private static let budgetBytes = 64 << 10
    /// Handshake messages behind the handshake: KeyUpdates, attempts to renegotiate, a server's tickets. Honest peers send a
    /// few; so much content pays for one more.
    private static let chatterLimit = 32
    private static let chatterPrice = 4 << 10
    /// Records that may wait for a peer that takes none. What its own messages call forth comes on top of one write's.
    private static let sealedLimit = 256 << 10

    private let descriptor: Int32
    private var budget = 0
    /// Records that the socket has not taken yet.
    private var sealed: [UInt8] = []
    private var start = 0
    /// Records wait for those behind them, so that one call sends them all.
    private(set) var isGathering = false
    /// Calls that had the socket take sealed bytes.
    private(set) var sends = 0
    private var chatter = 0
    private var unspentContent = 0
    private var isEstablished = false
    fileprivate private(set) var hasEnded = false
    /// Our side of the socket is shut: what TLS still wants to say goes nowhere.
    private var isShut = false
    /// The peer has talked without end.
    private var isTalkative = false
    /// Why the socket takes no more. What the peer has sent before may still be read.
    private(set) var writeFault: Int32?

    init(descriptor: Int32) {
        self.descriptor = descriptor
    }

    /// Whether sealed records wait for the socket.
    var hasSealed: Bool { start < sealed.count }
    /// Sealed bytes that the socket has not taken yet.
    var sealedBytes: Int { sealed.count - start }
    /// Memory for them.
    var keptBytes: Int { sealed.capacity }

    /// From now on records wait for `flush`.
    ///
    /// - Parameter expected: how many bytes of them there will be, about.
    func gather(_ expected: Int) {
        isGathering = true
        sealed.reserveCapacity(expected)
    }

    /// A call to OpenSSL follows.
    func beginCall() {
        budget = TLSWire.budgetBytes
    }

    /// Content has come: the peer may say something of TLS's own again.
    func contentCame(_ count: Int) {
        isEstablished = true
        guard chatter > 0 else { return }
        unspentContent += count
        chatter = max(0, chatter - unspentContent / TLSWire.chatterPrice)
        unspentContent %= TLSWire.chatterPrice
    }

    func handshakeEnded() {
        isEstablished = true
    }

    func shut() {
        isShut = true
        sealed = []
        start = 0
    }

    /// A handshake message has come.
    func heard() {
        guard isEstablished else { return }
        chatter += 1
        if chatter > TLSWire.chatterLimit { isTalkative = true }
    }

    /// Writes what waits.
    ///
    /// - Returns: whether nothing waits any more.
    func flush() -> Bool {
        isGathering = false
        while hasSealed {
            sends += 1
            let count = unsafe sealed.withUnsafeBytes { bytes in
                unsafe gh_send(
                    descriptor, bytes.baseAddress?.advanced(by: start), bytes.count - start)
            }
            guard count >= 0 else {
                if errno == EAGAIN || errno == EINTR { return false }
                writeFault = errno
                shut()
                return false
            }
            start += count
        }
        sealed.removeAll(keepingCapacity: sealed.capacity <= 4096)
        start = 0
        return true
    }

    // MARK: For OpenSSL

    enum Read {
        case bytes(Int)
        case wouldBlock
        case end
        case failed
    }

    fileprivate func read(into room: UnsafeMutableRawBufferPointer) -> Read {
        guard !isTalkative else { return .failed }
        guard budget > 0 else { return .wouldBlock }
        let count = unsafe recv(descriptor, room.baseAddress, min(room.count, budget), 0)
        if count > 0 {
            budget -= count
            return .bytes(count)
        }
        if count == 0 {
            hasEnded = true
            return .end
        }
        return errno == EAGAIN || errno == EINTR ? .wouldBlock : .failed
    }

    /// Takes all of it, also where it goes nowhere any more: OpenSSL must not take that for the end of the reading too.
    fileprivate func write(_ bytes: UnsafeRawBufferPointer) {
        if isShut { return }
        var written = 0
        if !hasSealed, !isGathering {
            sends += 1
            let count = unsafe gh_send(descriptor, bytes.baseAddress, bytes.count)
            if count < 0, errno != EAGAIN, errno != EINTR {
                writeFault = errno
                return shut()
            }
            written = max(0, count)
        }
        if written < bytes.count { unsafe sealed.append(contentsOf: bytes[written...]) }
        if sealedBytes > TLSWire.sealedLimit { isTalkative = true }
    }

    /// Puts the wire under a session, which must not outlive it.
    ///
    /// - Returns: false when OpenSSL has no memory.
    func attach(to session: OpaquePointer) -> Bool {
        guard let method = unsafe TLSWireMethod.method, let bio = unsafe BIO_new(method) else {
            return false
        }
        unsafe BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        unsafe BIO_set_init(bio, 1)
        // One BIO for both ways: the session takes it over.
        unsafe SSL_set_bio(session, bio, bio)
        unsafe SSL_set_msg_callback(session) { isWritten, _, type, bytes, count, session, _ in
            unsafe messagePassed(isWritten, type, bytes, count, session)
        }
        return true
    }
}

/// The BIO_METHOD of wires; made once, never freed.
private enum TLSWireMethod {
    nonisolated(unsafe) static let method: OpaquePointer? = unsafe make()

    private static func make() -> OpaquePointer? {
        guard
            let method = unsafe BIO_meth_new(
                BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gatehouse wire")
        else { return nil }
        unsafe BIO_meth_set_read_ex(method) { bio, room, count, read in
            unsafe readWire(bio, room, count, read)
        }
        unsafe BIO_meth_set_write_ex(method) { bio, bytes, count, written in
            unsafe writeWire(bio, bytes, count, written)
        }
        unsafe BIO_meth_set_ctrl(method) { bio, command, _, _ in
            switch command {
            case BIO_CTRL_FLUSH: 1
            case BIO_CTRL_EOF: unsafe wire(of: bio)?.hasEnded == true ? 1 : 0
            default: 0
            }
        }
        return unsafe method
    }
}

private func wire(of bio: OpaquePointer?) -> TLSWire? {
    guard let bio = unsafe bio, let raw = unsafe BIO_get_data(bio) else { return nil }
    return unsafe Unmanaged<TLSWire>.fromOpaque(raw).takeUnretainedValue()
}

private let retryRead = BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY
private let retryFlags =
    BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_IO_SPECIAL | BIO_FLAGS_SHOULD_RETRY

private func readWire(
    _ bio: OpaquePointer?, _ room: UnsafeMutablePointer<CChar>?, _ count: Int,
    _ read: UnsafeMutablePointer<Int>?
) -> Int32 {
    guard let wire = unsafe wire(of: bio), let room = unsafe room, let read = unsafe read else {
        return 0
    }
    unsafe read.pointee = 0
    unsafe BIO_clear_flags(bio, retryFlags)
    switch unsafe wire.read(into: UnsafeMutableRawBufferPointer(start: room, count: count)) {
    case .bytes(let count):
        unsafe read.pointee = count
        return 1
    case .wouldBlock:
        unsafe BIO_set_flags(bio, retryRead)
        return 0
    case .end, .failed:
        return 0
    }
}

private func writeWire(
    _ bio: OpaquePointer?, _ bytes: UnsafePointer<CChar>?, _ count: Int,
    _ written: UnsafeMutablePointer<Int>?
) -> Int32 {
    guard let wire = unsafe wire(of: bio), let bytes = unsafe bytes, let written = unsafe written
    else { return 0 }
    unsafe BIO_clear_flags(bio, retryFlags)
    unsafe wire.write(UnsafeRawBufferPointer(start: bytes, count: count))
    unsafe written.pointee = count
    return 1
}

/// Every message of TLS passes here; only what comes in as a handshake message counts.
private func messagePassed(
    _ isWritten: Int32, _ type: Int32, _ bytes: UnsafeRawPointer?, _ count: Int,
    _ session: OpaquePointer?
) {
    guard isWritten == 0, type == SSL3_RT_HANDSHAKE, let session = unsafe session else { return }
    unsafe wire(of: SSL_get_rbio(session))?.heard()
}
