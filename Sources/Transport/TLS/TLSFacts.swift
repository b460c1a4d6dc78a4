import COpenSSL
import Cryptography
import Primitives

/// What a handshake established about a connection.
public final class TLSFacts: Sendable {
    public enum Version: String, Sendable {
        case tls12 = "TLSv1.2"
        case tls13 = "TLSv1.3"

        /// As the access log has it.
        public var bytes: [UInt8] {
            switch self {
            case .tls12: Version.tls12Bytes
            case .tls13: Version.tls13Bytes
            }
        }

        private static let tls12Bytes = Array(tls12.rawValue.utf8)
        private static let tls13Bytes = Array(tls13.rawValue.utf8)
    }

    public let version: Version
    /// The client's certificate, whose key it has proven to hold; `nil` when it showed none.
    public let certificate: PeerCertificate?
    /// The rules under which it was shown (`TLSServerContext.clientRules`).
    public let rules: [UInt8]

    public init(version: Version, certificate: PeerCertificate?, rules: [UInt8] = []) {
        self.version = version
        self.certificate = certificate
        self.rules = rules
    }

    /// The certificate, as long as it counts: connections may last longer than it, and than the rules.
    ///
    /// - Parameter current: the rules that the listener has now.
    public func certificate(at now: WallTime, under current: [UInt8]?) -> PeerCertificate? {
        guard let certificate, now < certificate.expiresAt, rules == current else { return nil }
        return certificate
    }
}

/// A certificate that a client has shown and proven to hold the key of.
public struct PeerCertificate: Sendable, Equatable {
    /// SHA-256 over the DER: what `x5t#S256` carries (RFC 8705 section 3.1).
    public let thumbprint: [UInt8]
    /// The subject as RFC 4514 writes it.
    public let subject: String
    public let dnsNames: [String]
    public let uris: [String]
    public let emails: [String]
    public let addresses: [IPAddress]
    /// Whether it leads to one of the listener's authorities. A certificate that does not (where none is named) proves
    /// possession of its key and nothing about who that is.
    public let isVerified: Bool
    public let expiresAt: WallTime

    /// How many names of one certificate are read.
    private static let nameLimit = 256

    /// The first certificate in a PEM text, which nobody has shown.
    ///
    /// - Parameter isVerified: what is to be supposed.
    public init?(pem: [UInt8], isVerified: Bool) {
        guard let (leaf, chain) = unsafe try? PEMFile.certificates(pem) else { return nil }
        defer {
            unsafe X509_free(leaf)
            unsafe gatehouse_free_chain(chain)
        }
        unsafe self.init(leaf, isVerified: isVerified)
    }

    init?(_ certificate: OpaquePointer, isVerified: Bool) {
        guard let der = unsafe PeerCertificate.der(certificate) else { return nil }
        thumbprint = Digest.hash(der.span, .sha256)
        subject = unsafe CertificateNames.subject(of: certificate)
        expiresAt = unsafe CertificateNames.time(X509_get0_notAfter(certificate))
        // The names of one that nobody vouches for are never asked for, and anybody may send a great many.
        let names =
            isVerified
            ? unsafe CertificateNames.alternatives(
                of: certificate, limit: PeerCertificate.nameLimit)
            : []
        func texts(_ kind: Int32) -> [String] {
            names.filter { $0.kind == kind }.compactMap { CertificateNames.text($0.bytes) }
        }
        dnsNames = names.filter { $0.kind == GEN_DNS }.compactMap {
            CertificateNames.host($0.bytes)
        }
        uris = texts(GEN_URI)
        emails = texts(GEN_EMAIL)
        addresses = names.filter { $0.kind == GEN_IPADD }.compactMap {
            IPAddress(bytes: $0.bytes)
        }
        self.isVerified = isVerified
    }

    private static func der(_ certificate: OpaquePointer) -> [UInt8]? {
        let count = unsafe i2d_X509(certificate, nil)
        guard count > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(count))
        let written = unsafe bytes.withUnsafeMutableBufferPointer { buffer in
            var cursor = buffer.baseAddress
            return unsafe i2d_X509(certificate, &cursor)
        }
        return written == count ? bytes : nil
    }
}
