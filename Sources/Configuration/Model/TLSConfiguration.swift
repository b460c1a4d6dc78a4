/// A certificate with its key, as files.
public struct CertificateFiles: Sendable, Equatable {
    /// PEM: the certificate, then its intermediates.
    public var certificate: String
    /// PEM, without a pass phrase.
    public var key: String
    /// `stapling_file`: an OCSP response for the certificate, DER.
    public var staple: String?

    public init(certificate: String, key: String, staple: String? = nil) {
        self.certificate = certificate
        self.key = key
        self.staple = staple
    }
}

public enum TLSVersion: String, Sendable, Equatable, CaseIterable {
    case tls12 = "1.2"
    case tls13 = "1.3"
}

/// The `tls` blocks of a listener: a certificate each, chosen by SNI, under rules that they share.
public struct ListenerTLS: Sendable, Equatable {
    public enum ClientCertificate: String, Sendable, Equatable, CaseIterable {
        case off, request, require
    }

    /// The first is for clients that ask for no name we know.
    public var certificates: [CertificateFiles] = []
    /// PEM: who may vouch for clients; `nil`: nobody does.
    public var clientCA: String?
    public var clientCertificate = ClientCertificate.off
    public var minVersion = TLSVersion.tls12
    /// For TLS 1.2, as OpenSSL names them; empty is the default.
    public var ciphers: [String] = []
    public var sessionTickets = true

    public init() {}
}

/// `tls` of an upstream: how its servers are spoken to.
public struct UpstreamTLS: Sendable, Equatable {
    /// PEM: who may vouch for the servers; `nil` is the system's authorities.
    public var ca: String?
    /// The name that a server's certificate must have; `nil` is the one it has in the conf.
    public var serverName: String?
    public var verifies = true
    /// What the gateway shows of itself.
    public var certificate: CertificateFiles?
    public var minVersion = TLSVersion.tls12
    /// For TLS 1.2, as OpenSSL names them; empty is the default.
    public var ciphers: [String] = []

    public init() {}
}
