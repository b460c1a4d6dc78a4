import Primitives

/// A certificate that a client has shown on its connection, whose key it has proven to hold.
public struct ClientCertificate: Sendable, Equatable {
    /// SHA-256 over the DER (RFC 8705 section 3.1).
    public let thumbprint: [UInt8]
    /// As RFC 4514 writes it.
    public let subject: String
    public let dnsNames: [String]
    public let uris: [String]
    public let emails: [String]
    public let addresses: [IPAddress]
    /// Whether it leads to one of the listener's authorities; without that it says nothing about who shows it.
    public let isVerified: Bool

    public init(
        thumbprint: [UInt8], subject: String, dnsNames: [String], uris: [String],
        emails: [String], addresses: [IPAddress], isVerified: Bool
    ) {
        self.thumbprint = thumbprint
        self.subject = subject
        self.dnsNames = dnsNames
        self.uris = uris
        self.emails = emails
        self.addresses = addresses
        self.isVerified = isVerified
    }
}

/// The one name that a client's certificate must have for `tls_client_auth` (RFC 8705 section 2.1.2).
public enum CertificateRule: Sendable, Equatable {
    case subject(String)
    case dns(String)
    case uri(String)
    case address(IPAddress)
    case email(String)

    /// Names are compared byte for byte, host names in lower case; a wildcard in the certificate is no name of a client.
    public func holds(for certificate: ClientCertificate) -> Bool {
        guard certificate.isVerified else { return false }
        func has(_ name: String, in names: [String]) -> Bool {
            names.contains { $0.utf8.elementsEqual(name.utf8) }
        }
        return switch self {
        case .subject(let name): has(name, in: [certificate.subject])
        case .dns(let name): has(name.lowercased(), in: certificate.dnsNames)
        case .uri(let name): has(name, in: certificate.uris)
        case .address(let address): certificate.addresses.contains(address)
        case .email(let name): has(name, in: certificate.emails)
        }
    }
}
