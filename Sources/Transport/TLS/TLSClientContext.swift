import COpenSSL
import Primitives

/// Who a server must prove to be.
public enum TLSServerName: Sendable, Equatable {
    /// Asked for by SNI, and checked against the certificate's names.
    case host(String)
    /// Checked against the certificate's addresses.
    case address(IPAddress)
    /// Nobody knows: good only where nothing is verified.
    case unknown
}

/// How an upstream is spoken to by TLS. Immutable; shared by all workers.
@safe public final class TLSClientContext: Sendable {
    public struct Settings: Sendable {
        public var minimumVersion = TLSMinimumVersion.tls12
        public var ciphers: String?
        public var verifies = true
        /// PEM; `nil` is the system's.
        public var authorities: [UInt8]?
        public var identity: TLSIdentity?
        /// The most wanted first; empty is no ALPN.
        public var protocols: [TLSApplicationProtocol] = []

        public init() {}
    }

    private let handle: TLSContextHandle
    private let verifies: Bool

    public init(_ settings: Settings) throws(TLSError) {
        let handle = try unsafe TLSContextHandle(TLS_client_method())
        self.handle = handle
        verifies = settings.verifies
        try handle.configure(
            minimumVersion: settings.minimumVersion, ciphers: settings.ciphers, usesTickets: true)
        if let authorities = settings.authorities {
            try handle.trust(authorities, announces: false)
        } else if settings.verifies,
            unsafe SSL_CTX_set_default_verify_paths(handle.raw) != 1
        {
            throw .noAuthority
        }
        unsafe SSL_CTX_set_verify(
            handle.raw, settings.verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nil)
        if let identity = settings.identity { try unsafe identity.install(in: handle.raw) }
        let protocols = settings.protocols.flatMap {
            [UInt8($0.rawValue.utf8.count)] + $0.rawValue.utf8
        }
        if !protocols.isEmpty {
            // 0 is success here, and here alone.
            guard
                unsafe SSL_CTX_set_alpn_protos(handle.raw, protocols, UInt32(protocols.count)) == 0
            else { throw .outOfMemory }
        }
        unsafe gatehouse_set_session_cache(
            handle.raw, Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL))
        unsafe SSL_CTX_sess_set_new_cb(handle.raw) { session, ticket in
            unsafe rememberSession(session, ticket)
        }
    }

    /// Begins a connection to a server.
    ///
    /// - Returns: owned by the caller.
    func makeSession(on wire: TLSWire, for name: TLSServerName) -> OpaquePointer? {
        guard let session = unsafe SSL_new(handle.raw) else { return nil }
        guard unsafe expect(name, of: session), unsafe wire.attach(to: session) else {
            unsafe SSL_free(session)
            return nil
        }
        unsafe SSL_set_connect_state(session)
        return unsafe session
    }

    private func expect(_ name: TLSServerName, of session: OpaquePointer) -> Bool {
        switch name {
        case .host(let host):
            guard unsafe gatehouse_set_server_name(session, host) == 1 else { return false }
            guard verifies else { return true }
            // The common name is no host name (RFC 9525 section 2).
            let flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
            unsafe SSL_set_hostflags(session, UInt32(flags))
            return unsafe SSL_set1_host(session, host) == 1
        case .unknown:
            return !verifies
        case .address(let address):
            guard verifies else { return true }
            return unsafe X509_VERIFY_PARAM_set1_ip_asc(
                SSL_get0_param(session), address.description) == 1
        }
    }
}

/// The newest session with one server: the next connection takes it up again. Belongs to one thread.
@safe public final class TLSResumption {
    private var session: OpaquePointer?

    public init() {}

    deinit {
        unsafe SSL_SESSION_free(session)
    }

    fileprivate func keep(_ newer: OpaquePointer) {
        unsafe SSL_SESSION_free(session)
        unsafe session = newer
    }

    func offer(to connection: OpaquePointer) {
        guard let session = unsafe session else { return }
        if let certificate = unsafe SSL_SESSION_get0_peer(session),
            unsafe CertificateNames.time(X509_get0_notAfter(certificate)) <= .now()
        {
            // Its server has another by now, which only a full handshake shows.
            unsafe SSL_SESSION_free(session)
            unsafe self.session = nil
            return
        }
        _ = unsafe SSL_set_session(connection, session)
    }
}

/// - Returns: 1, which keeps the reference.
private func rememberSession(_ session: OpaquePointer?, _ ticket: OpaquePointer?) -> Int32 {
    guard let session = unsafe session, let ticket = unsafe ticket,
        let raw = unsafe SSL_get_ex_data(session, 0)
    else { return 0 }
    unsafe Unmanaged<TLSResumption>.fromOpaque(raw).takeUnretainedValue().keep(ticket)
    return 1
}
