import CLinux
import Glibc
import Primitives

/// A bound, listening, non-blocking stream socket. The path of a unix socket stays behind; the next start
/// finds it refusing connections and removes it.
public struct ListeningSocket: ~Copyable, Sendable {
    public let descriptor: Int32
    /// Where it really listens: port 0 has become the one that the kernel chose.
    public let endpoint: Endpoint
    /// Bound by another, who holds it too and goes on listening when we have stopped.
    public let isShared: Bool

    public enum AcceptResult: Equatable, Sendable {
        /// A connected descriptor, non-blocking, and who is there (`nil` on a unix socket).
        case accepted(Int32, peer: IPAddress?)
        case nothing
        /// No descriptor or memory is left: stop accepting for a while.
        case exhausted(Int32)
    }

    /// - Throws: with the failing call: the address is in use, not ours, not permitted.
    public init(binding endpoint: Endpoint, backlog: Int32 = 4096) throws(SystemError) {
        guard let address = SocketAddress(endpoint) else {
            throw SystemError(call: "bind", code: EINVAL)
        }
        let descriptor = gh_stream_socket(address.family)
        guard descriptor >= 0 else { throw SystemError(call: "socket", code: errno) }
        do throws(SystemError) {
            try ListeningSocket.bind(descriptor, to: endpoint, address, backlog)
        } catch {
            _ = close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        self.endpoint = ListeningSocket.localEndpoint(descriptor) ?? endpoint
        isShared = false
    }

    /// A listening descriptor that another program has bound; owned by who holds it.
    public struct Adopted: Sendable {
        let descriptor: Int32
    }

    /// Takes over a socket that is bound already.
    ///
    /// - Throws: when it does not listen for streams.
    public init(
        adopting adopted: consuming Adopted, as endpoint: Endpoint
    ) throws(SystemError) {
        let descriptor = adopted.descriptor
        var isListening: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard
            unsafe getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &isListening, &length) == 0,
            isListening == 1, gh_set_nonblocking(descriptor) == 0
        else {
            _ = close(descriptor)
            throw SystemError(call: "listen", code: EINVAL)
        }
        self.descriptor = descriptor
        self.endpoint = ListeningSocket.localEndpoint(descriptor) ?? endpoint
        isShared = true
    }

    deinit {
        _ = close(descriptor)
    }

    private static func bind(
        _ descriptor: Int32, to endpoint: Endpoint, _ address: SocketAddress, _ backlog: Int32
    ) throws(SystemError) {
        if case .unix(let path) = endpoint {
            removeStale(path, address)
        } else {
            _ = gh_set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        }
        if address.family == AF_INET6 {
            // `[::]:80` beside `0.0.0.0:80` must work, as with nginx.
            _ = gh_set_option(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1)
        }
        let bound = unsafe address.withPointer { pointer, length in
            unsafe Glibc.bind(descriptor, pointer, length)
        }
        guard bound == 0 else { throw SystemError(call: "bind", code: errno) }
        if case .unix(let path) = endpoint {
            // Who may connect is decided by the directory, as with nginx.
            _ = unsafe chmod(path, 0o666)
        }
        guard listen(descriptor, backlog) == 0 else {
            throw SystemError(call: "listen", code: errno)
        }
    }

    /// A socket file whose owner died refuses connections; one that is alive is left, and `bind` reports it.
    private static func removeStale(_ path: String, _ address: SocketAddress) {
        var facts = stat()
        guard unsafe lstat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFSOCK else { return }
        let probe = gh_stream_socket(AF_UNIX)
        guard probe >= 0 else { return }
        let result = unsafe address.withPointer { pointer, length in
            unsafe connect(probe, pointer, length)
        }
        let refused = result != 0 && errno == ECONNREFUSED
        _ = close(probe)
        if refused { _ = unsafe unlink(path) }
    }

    private static func localEndpoint(_ descriptor: Int32) -> Endpoint? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe getsockname(descriptor, address, &length)
            }
        }
        return result == 0 ? SocketAddress.endpoint(of: storage) : nil
    }

    /// Refuses connections from now on, though the descriptor stays open; those in the queue are reset. Those of a socket
    /// that systemd holds wait there for who comes next.
    public func stopListening() {
        guard !isShared else { return }
        _ = shutdown(descriptor, Int32(SHUT_RD))
    }

    public func accept() -> AcceptResult {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        while true {
            let descriptor = unsafe gh_accept(self.descriptor, &storage, &length)
            if descriptor >= 0 {
                if case .ip(let address, _)? = SocketAddress.endpoint(of: storage) {
                    return .accepted(descriptor, peer: address.unmapped)
                }
                return .accepted(descriptor, peer: nil)
            }
            switch errno {
            case EMFILE, ENFILE, ENOBUFS, ENOMEM:
                return .exhausted(errno)
            case EAGAIN, EINVAL:
                // EINVAL: it does not listen any more.
                return .nothing
            default:
                // ECONNABORTED, EINTR and the network's errors concern one peer that is gone already.
                continue
            }
        }
    }
}
