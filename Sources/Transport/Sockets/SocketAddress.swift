import Glibc
import Primitives

/// A `sockaddr` of one of the three families, made from an endpoint that needs no look-up.
struct SocketAddress {
    private var storage = sockaddr_storage()
    private var length: socklen_t
    var family: Int32 { Int32(storage.ss_family) }

    /// `nil` for a name and for a socket path that does not fit.
    init?(_ endpoint: Endpoint) {
        switch endpoint {
        case .name, .activated:
            return nil
        case .ip(.v4(let value), let port):
            var four = sockaddr_in()
            four.sin_family = sa_family_t(AF_INET)
            four.sin_port = port.bigEndian
            four.sin_addr.s_addr = value.bigEndian
            length = socklen_t(MemoryLayout<sockaddr_in>.size)
            unsafe withUnsafeMutableBytes(of: &storage) { raw in
                unsafe raw.storeBytes(of: four, as: sockaddr_in.self)
            }
        case .ip(let address, let port):
            var six = sockaddr_in6()
            six.sin6_family = sa_family_t(AF_INET6)
            six.sin6_port = port.bigEndian
            six.sin6_addr = address.in6
            length = socklen_t(MemoryLayout<sockaddr_in6>.size)
            unsafe withUnsafeMutableBytes(of: &storage) { raw in
                unsafe raw.storeBytes(of: six, as: sockaddr_in6.self)
            }
        case .unix(let path):
            let bytes = Array(path.utf8)
            let offset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
            guard bytes.count < MemoryLayout<sockaddr_un>.size - offset else { return nil }
            length = socklen_t(offset + bytes.count + 1)
            storage.ss_family = sa_family_t(AF_UNIX)
            unsafe withUnsafeMutableBytes(of: &storage) { raw in
                for index in bytes.indices { unsafe raw[offset + index] = bytes[index] }
            }
        }
    }

    func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        unsafe withUnsafePointer(to: storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe body(address, length)
            }
        }
    }

    /// The peer that `accept` or `getsockname` reported; `nil` for an unnamed unix socket.
    static func endpoint(of storage: sockaddr_storage) -> Endpoint? {
        unsafe withUnsafeBytes(of: storage) { raw in
            switch Int32(storage.ss_family) {
            case AF_INET:
                let four = unsafe raw.loadUnaligned(as: sockaddr_in.self)
                return .ip(
                    .v4(UInt32(bigEndian: four.sin_addr.s_addr)),
                    port: UInt16(bigEndian: four.sin_port))
            case AF_INET6:
                let six = unsafe raw.loadUnaligned(as: sockaddr_in6.self)
                return .ip(
                    IPAddress(networkOrder: six.sin6_addr), port: UInt16(bigEndian: six.sin6_port))
            default:
                return nil
            }
        }
    }
}
