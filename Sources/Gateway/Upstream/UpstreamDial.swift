import Glibc
import Primitives
import Transport

/// A connection to a server until it can be used: TCP first, then the TLS handshake where the upstream has one.
struct UpstreamDial {
    enum Progress {
        case wants(Readiness)
        /// With what ALPN settled on.
        case done(TLSApplicationProtocol?)
        case failed(UpstreamError)
    }

    /// How the server is spoken to.
    struct TLS {
        let context: TLSClientContext
        let name: TLSServerName
        let resumption: TLSResumption
    }

    let socket: SocketBox
    private let tls: TLS?
    private var isConnected = false

    /// Begins to connect.
    init(to endpoint: Endpoint, tls: TLS?) throws(UpstreamError) {
        do throws(SystemError) {
            socket = SocketBox(try Socket.connect(to: endpoint))
        } catch {
            throw .connectionRefused(code: error.code)
        }
        self.tls = tls
    }

    /// Goes on as far as it can; called when the socket is ready for what was wanted.
    mutating func advance() -> Progress {
        if !isConnected {
            let code = socket.takeError()
            guard code == 0 else { return .failed(.connectionRefused(code: code)) }
            isConnected = true
            guard let tls else { return .done(nil) }
            do throws(TLSError) {
                try socket.secure(as: tls.context, to: tls.name, resumption: tls.resumption)
            } catch {
                return .failed(.tlsFailed("\(error)"))
            }
        }
        guard tls != nil else { return .done(nil) }
        switch socket.handshake() {
        case .done(let version): return .done(version)
        case .wantsReadable: return .wants(.readable)
        case .wantsWritable: return .wants(.writable)
        case .failed(let cause): return .failed(.tlsFailed(cause))
        }
    }
}
