import Foundation

/// A socket descriptor with one owner.
final class SocketDescriptor: Sendable {
    let number: Int32

    init(_ number: Int32, _ call: String) throws {
        guard number >= 0 else { throw Failure("\(call): errno \(errno)") }
        self.number = number
    }

    deinit {
        close(number)
    }

    static func stream(_ family: Int32 = AF_INET) throws -> SocketDescriptor {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        return try SocketDescriptor(socket(family, kind, 0), "socket")
    }

    /// Whether it became ready before `deadline`.
    func wait(for events: Int32, until deadline: ContinuousClock.Instant) -> Bool {
        while true {
            var entry = pollfd(fd: number, events: Int16(events), revents: 0)
            let count = poll(&entry, 1, milliseconds(until: deadline))
            if count > 0 { return true }
            if count == 0 || errno != EINTR { return false }
        }
    }

    /// Sends everything.
    ///
    /// - Throws: when the peer has gone or does not read before `deadline`.
    func send(_ bytes: [UInt8], until deadline: ContinuousClock.Instant) throws {
        var sent = 0
        while sent < bytes.count {
            guard wait(for: POLLOUT, until: deadline) else { throw Failure("send: timed out") }
            do {
                sent += try sendSome(bytes[sent...])
            } catch {
                throw Failure("\(error) after \(sent) of \(bytes.count) bytes")
            }
        }
    }

    /// Sends what the kernel takes at once.
    ///
    /// - Throws: when the peer has gone.
    func sendSome(_ bytes: ArraySlice<UInt8>) throws -> Int {
        let count = bytes.withUnsafeBytes {
            Foundation.send(
                number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        }
        if count >= 0 { return count }
        guard errno == EAGAIN || errno == EINTR else { throw Failure("send: errno \(errno)") }
        return 0
    }

    /// What there is to read: bytes, empty at the end of the stream (or after a reset), `nil` when nothing came in time.
    func receive(until deadline: ContinuousClock.Instant) -> [UInt8]? {
        guard wait(for: POLLIN, until: deadline) else { return nil }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = recv(number, &buffer, buffer.count, 0)
        return count > 0 ? Array(buffer.prefix(count)) : []
    }

    /// Makes `close` send RST instead of FIN.
    func resetOnClose() {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(number, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    }
}

/// Calls `body` with the C form of a unix socket's path.
///
/// - Throws: when the path is too long for one.
func withUnixPath<Result>(
    _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) throws -> Result {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
        throw Failure("the path is too long for a unix socket: \(path)")
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }
}

/// Calls `body` with the C form of 127.0.0.1 and the port.
func withLoopback<Result>(
    _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
}

/// A listening socket on a port of 127.0.0.1 that the kernel picks.
final class LoopbackListener: Sendable {
    let socket: SocketDescriptor
    let port: UInt16

    init(backlog: Int32 = 256) throws {
        socket = try SocketDescriptor.stream()
        let number = socket.number
        guard withLoopback(0, { bind(number, $0, $1) }) == 0, listen(number, backlog) == 0 else {
            throw Failure("bind: errno \(errno)")
        }
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(number, $0, &length)
            }
        }
        guard code == 0 else { throw Failure("getsockname: errno \(errno)") }
        port = UInt16(bigEndian: address.sin_port)
    }
}
