import COpenSSL
import Cryptography
import Primitives

/// An application protocol that ALPN can settle on (RFC 7301).
public enum TLSApplicationProtocol: String, Sendable {
    case http2 = "h2"
    case http11 = "http/1.1"
}

/// The oldest version of TLS that is spoken.
public enum TLSMinimumVersion: Sendable {
    case tls12
    case tls13

    var number: Int32 {
        switch self {
        case .tls12: TLS1_2_VERSION
        case .tls13: TLS1_3_VERSION
        }
    }
}

/// The owner of an SSL_CTX. Unchecked, since the pointer is no value to Swift: nothing changes the context once its owner is
/// made, and OpenSSL locks what it counts and remembers.
@safe final class TLSContextHandle: @unchecked Sendable {
    let raw: OpaquePointer

    init(_ method: OpaquePointer?) throws(TLSError) {
        guard let raw = unsafe SSL_CTX_new(method) else { throw .outOfMemory }
        unsafe self.raw = unsafe raw
    }

    deinit {
        unsafe SSL_CTX_free(raw)
    }

    /// Forward secrecy and authenticated encryption alone: Mozilla's "intermediate" without its finite-field exchanges,
    /// which cost a server more than a client (CVE-2002-20001).
    private static let ciphers = [
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
    ].joined(separator: ":")

    /// What both sides have in common.
    ///
    /// - Parameter ciphers: for TLS 1.2, as OpenSSL names them; `nil` for the default.
    func configure(
        minimumVersion: TLSMinimumVersion, ciphers: String?, usesTickets: Bool
    ) throws(TLSError) {
        unsafe gatehouse_set_modes(raw)
        unsafe gatehouse_set_options(raw, usesTickets ? 1 : 0)
        guard unsafe gatehouse_set_min_version(raw, minimumVersion.number) == 1,
            unsafe gatehouse_set_groups(raw, "X25519:P-256:P-384") == 1
        else { throw .outOfMemory }
        let list = ciphers ?? TLSContextHandle.ciphers
        guard unsafe SSL_CTX_set_cipher_list(raw, list) == 1 else {
            OpenSSLErrors.forget()
            throw .ciphersUnknown(list)
        }
    }

    /// Trusts the certificates of a PEM text.
    ///
    /// - Parameter announces: whether a client is told whose certificates are welcome.
    func trust(_ text: [UInt8], announces: Bool) throws(TLSError) {
        guard let store = unsafe SSL_CTX_get_cert_store(raw),
            let names = unsafe gatehouse_new_names()
        else { throw .outOfMemory }
        var count = 0
        unsafe PEMFile.forEachCertificate(text) { certificate in
            if unsafe X509_STORE_add_cert(store, certificate) == 1 { count += 1 }
            _ = unsafe gatehouse_push_name(names, X509_get_subject_name(certificate))
            unsafe X509_free(certificate)
        }
        // Whoever stands in the file is trusted, a subordinate authority as well as a root.
        _ = unsafe X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN))
        // Takes the names over.
        unsafe SSL_CTX_set_client_CA_list(raw, announces ? names : nil)
        if !announces { unsafe gatehouse_free_names(names) }
        guard count > 0 else { throw .noAuthority }
    }
}

/// How a listener speaks TLS: its certificates, chosen by the name that a client asks for, and its rules. Immutable;
/// shared by all workers, kept by each connection that began with it. Unchecked as its handles are.
@safe public final class TLSServerContext: @unchecked Sendable {
    public enum ClientCertificates: Sendable, Equatable {
        case off
        /// A client may show one; one that does not verify ends the handshake.
        case request
        case require
    }

    public struct Settings: Sendable {
        public var minimumVersion = TLSMinimumVersion.tls12
        /// For TLS 1.2, as OpenSSL names them.
        public var ciphers: String?
        public var usesTickets = true
        public var clientCertificates = ClientCertificates.off
        /// PEM; without it a certificate that is requested proves its key alone.
        public var clientAuthorities: [UInt8]?
        /// The most wanted first; empty is no ALPN.
        public var protocols: [TLSApplicationProtocol] = []

        public init() {}
    }

    private let contexts: [TLSContextHandle]
    private let identities: [[TLSIdentity]]
    private let exactNames: [String: Int]
    private let wildcardNames: [String: Int]
    let ticketKeys: TLSTicketKeys
    /// The offered protocols as ALPN frames them.
    let protocols: [UInt8]
    /// Stands for the rules on clients' certificates: what was shown under others counts no more.
    public let clientRules: [UInt8]
    /// Whether somebody vouches for the certificates of clients.
    public let verifiesClients: Bool

    /// - Parameter identities: the first is for clients that ask for no name we know. Several of the same names, with
    ///   keys of different kinds, stand side by side.
    public init(
        _ identities: [TLSIdentity], _ settings: Settings, ticketKeys: TLSTicketKeys
    ) throws(TLSError) {
        let groups = try TLSServerContext.groups(identities)
        var contexts: [TLSContextHandle] = []
        clientRules = TLSServerContext.clientRules(settings)
        for group in groups {
            let context = try unsafe TLSContextHandle(TLS_server_method())
            try context.configure(
                minimumVersion: settings.minimumVersion, ciphers: settings.ciphers,
                usesTickets: settings.usesTickets)
            for identity in group { try unsafe identity.install(in: context.raw) }
            try TLSServerContext.verify(context, settings)
            unsafe gatehouse_set_session_cache(context.raw, Int(SSL_SESS_CACHE_OFF))
            unsafe SSL_CTX_set_timeout(context.raw, TLSTicketKeys.lifetimeSeconds)
            // A client with several connections takes each up with a ticket of its own: the answer brings the next one.
            unsafe SSL_CTX_set_num_tickets(context.raw, settings.usesTickets ? 1 : 0)
            unsafe SSL_CTX_set_session_id_context(
                context.raw, clientRules, UInt32(clientRules.count))
            contexts.append(context)
        }
        var exact: [String: Int] = [:]
        var wildcards: [String: Int] = [:]
        for (index, group) in groups.enumerated() {
            for name in group.first?.names ?? [] {
                // Of two certificates for a name the first counts.
                if name.hasPrefix("*.") {
                    wildcards[String(name.dropFirst()), default: index] =
                        wildcards[String(name.dropFirst())] ?? index
                } else {
                    exact[name] = exact[name] ?? index
                }
            }
        }
        self.contexts = contexts
        self.identities = groups
        exactNames = exact
        wildcardNames = wildcards
        self.ticketKeys = ticketKeys
        protocols = settings.protocols.flatMap {
            [UInt8($0.rawValue.utf8.count)] + $0.rawValue.utf8
        }
        verifiesClients = settings.clientAuthorities != nil
        for context in contexts { unsafe installCallbacks(in: context.raw) }
    }

    /// Certificates of the same names stand in one context.
    private static func groups(_ identities: [TLSIdentity]) throws(TLSError) -> [[TLSIdentity]] {
        var groups: [[TLSIdentity]] = []
        for identity in identities {
            guard !identity.names.isEmpty else { throw .noNames }
            let names = Set(identity.names)
            guard let index = groups.firstIndex(where: { Set($0[0].names) == names }) else {
                groups.append([identity])
                continue
            }
            guard !groups[index].contains(where: { $0.keyKind == identity.keyKind }) else {
                throw .certificateTwice(identity.names.joined(separator: " "))
            }
            groups[index].append(identity)
        }
        return groups
    }

    private static func verify(_ context: TLSContextHandle, _ settings: Settings) throws(TLSError) {
        // A chain of some length with names in it; the default is three times as much (100 KB).
        unsafe gatehouse_set_certificate_list_limit(context.raw, 32 << 10)
        if let authorities = settings.clientAuthorities {
            try context.trust(authorities, announces: true)
        }
        var mode = SSL_VERIFY_PEER
        switch settings.clientCertificates {
        case .off: return
        case .request: break
        case .require: mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT
        }
        if settings.clientAuthorities == nil {
            // Nobody vouches for it: it is good for tokens that are bound to it, and `isVerified` is false.
            unsafe SSL_CTX_set_verify(context.raw, mode, { _, _ in 1 })
        } else {
            unsafe SSL_CTX_set_verify(context.raw, mode, nil)
        }
    }

    /// A session is taken up again only under the rules on client certificates under which it began: it carries the
    /// certificate that was verified then.
    private static func clientRules(_ settings: Settings) -> [UInt8] {
        var rules: [UInt8] = Array("\(settings.clientCertificates)|".utf8)
        rules += settings.clientAuthorities ?? []
        return Array(Digest.hash(rules.span, .sha256))
    }

    /// Whether one of the certificates is good for a host: a name, or an address as a URI has it.
    public func isNamed(_ host: String) -> Bool {
        if index(of: host) != nil { return true }
        let text =
            host.hasPrefix("[") && host.hasSuffix("]") ? host.dropFirst().dropLast() : host[...]
        guard let address = IPAddress(String(text)) else { return false }
        return identities.contains { $0.contains { $0.addresses.contains(address) } }
    }

    // MARK: For the callbacks

    /// The context for a name in a client's SNI: exact before wildcard, the first certificate when none fits.
    func context(for name: String) -> OpaquePointer {
        unsafe contexts[index(of: name) ?? 0].raw
    }

    private func index(of name: String) -> Int? {
        var host = name.lowercased()
        if host.hasSuffix(".") { host.removeLast() }
        if let index = exactNames[host] { return index }
        return host.firstIndex(of: ".").flatMap { wildcardNames[String(host[$0...])] }
    }

    /// The staple for a certificate in use, while it counts.
    func staple(for certificate: OpaquePointer?, at now: WallTime) -> [UInt8]? {
        for group in identities {
            for identity in group where unsafe identity.certificate == certificate {
                guard identity.stapleValidity?.contains(now) == true else { return nil }
                return identity.staple
            }
        }
        return nil
    }

    /// Begins a connection of a client.
    ///
    /// - Returns: owned by the caller.
    func makeSession(on wire: TLSWire) -> OpaquePointer? {
        guard let session = unsafe SSL_new(contexts[0].raw) else { return nil }
        guard unsafe wire.attach(to: session) else {
            unsafe SSL_free(session)
            return nil
        }
        unsafe SSL_set_accept_state(session)
        return unsafe session
    }
}
