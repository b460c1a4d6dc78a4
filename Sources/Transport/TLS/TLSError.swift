import COpenSSL

/// Why TLS cannot be spoken as it was asked for; facts for the operator, never for the peer.
public enum TLSError: Error, Equatable, Sendable, CustomStringConvertible {
    case outOfMemory
    /// No PEM certificate is in the file.
    case noCertificate
    /// No unencrypted PEM private key is in the file.
    case noKey
    case keyDoesNotMatch
    /// A certificate names no host that a client could ask for.
    case noNames
    /// OpenSSL refuses the certificate: a weak key or signature, for one.
    case certificateRefused(String)
    case ciphersUnknown(String)
    /// The file of authorities has no certificate.
    case noAuthority
    /// The staple is no successful OCSP response.
    case stapleUnreadable
    /// The staple is about another certificate.
    case stapleOfAnother
    /// The staple says that the certificate is revoked, or that nobody knows it.
    case stapleNotGood
    /// Two certificates of one kind for the same names.
    case certificateTwice(String)

    public var description: String {
        switch self {
        case .outOfMemory: "out of memory"
        case .noCertificate: "no PEM certificate in it"
        case .noKey: "no PEM private key without a pass phrase in it"
        case .keyDoesNotMatch: "the key is not the certificate's"
        case .noNames: "the certificate names no host"
        case .certificateRefused(let cause): "OpenSSL refuses the certificate: \(cause)"
        case .ciphersUnknown(let list): "OpenSSL knows no such ciphers: \(list)"
        case .noAuthority: "no PEM certificate of an authority in it"
        case .stapleUnreadable: "no successful OCSP response (DER) in it"
        case .stapleOfAnother: "the OCSP response is not about this certificate"
        case .stapleNotGood: "the OCSP response does not call the certificate good"
        case .certificateTwice(let names):
            "there is another certificate with a key of the same kind for \(names)"
        }
    }
}

/// OpenSSL's queue of errors: per thread, read by whoever asks next.
enum OpenSSLErrors {
    /// Empties the queue; `SSL_get_error` reads it, so that each operation begins with this.
    static func forget() {
        ERR_clear_error()
    }

    /// What the last error says of itself, and an empty queue.
    static func last() -> String {
        let code = ERR_peek_last_error()
        ERR_clear_error()
        guard code != 0, let text = unsafe ERR_reason_error_string(code) else { return "unknown" }
        return unsafe String(cString: text)
    }
}
