import COpenSSL
import Glibc
import Primitives

/// A server's or client's certificate with its chain and private key, as read from PEM files.
///
/// Immutable once made; OpenSSL counts the references of what it holds. Unchecked, since pointers are no values to Swift.
@safe public final class TLSIdentity: @unchecked Sendable {
    /// The names a client may ask for, in lower case; `*.example.com` is one label in front.
    public let names: [String]
    /// The addresses that it is good for.
    let addresses: [IPAddress]
    /// When the certificate ends.
    public let expiresAt: WallTime
    let certificate: OpaquePointer
    let key: OpaquePointer
    let chain: OpaquePointer
    /// A DER OCSP response for the certificate.
    let staple: [UInt8]?
    /// While it counts; `nil` where there is none.
    public let stapleValidity: Range<WallTime>?

    /// - Parameters:
    ///   - certificates: PEM: the certificate, then its intermediates.
    ///   - privateKey: PEM, without a pass phrase.
    ///   - staple: an OCSP response (RFC 6960) in DER.
    public init(
        certificates: [UInt8], privateKey: [UInt8], staple: [UInt8]? = nil
    ) throws(TLSError) {
        OpenSSLErrors.forget()
        let owned = unsafe try PEMFile.certificates(certificates)
        guard let key = unsafe PEMFile.privateKey(privateKey) else {
            unsafe X509_free(owned.leaf)
            unsafe gatehouse_free_chain(owned.chain)
            throw .noKey
        }
        unsafe self.key = unsafe key
        unsafe certificate = unsafe owned.leaf
        unsafe chain = unsafe owned.chain
        names = unsafe CertificateNames.hosts(of: certificate)
        addresses = unsafe CertificateNames.alternatives(of: certificate)
            .filter { $0.kind == GEN_IPADD }.compactMap { IPAddress(bytes: $0.bytes) }
        expiresAt = unsafe CertificateNames.time(X509_get0_notAfter(certificate))
        var validity: Range<WallTime>?
        var fault: TLSError?
        if let staple {
            do throws(TLSError) {
                validity = unsafe try OCSPStaple.validity(
                    of: staple, for: certificate, chain)
            } catch {
                fault = error
            }
        }
        // All is owned now: what is thrown from here on frees it.
        self.staple = staple
        stapleValidity = validity
        if let fault { throw fault }
        guard unsafe X509_check_private_key(certificate, key) == 1 else {
            OpenSSLErrors.forget()
            throw .keyDoesNotMatch
        }
    }

    deinit {
        unsafe X509_free(certificate)
        unsafe EVP_PKEY_free(key)
        unsafe gatehouse_free_chain(chain)
    }

    /// What kind of key it has, as OpenSSL numbers them: one of each may serve the same names.
    var keyKind: Int32 { unsafe EVP_PKEY_get_base_id(key) }

    /// Makes `context` present it.
    func install(in context: OpaquePointer) throws(TLSError) {
        guard unsafe SSL_CTX_use_cert_and_key(context, certificate, key, chain, 1) == 1 else {
            throw .certificateRefused(OpenSSLErrors.last())
        }
    }
}

/// Reads PEM out of memory.
enum PEMFile {
    /// The first certificate and those behind it.
    ///
    /// - Returns: both owned by the caller.
    static func certificates(
        _ text: [UInt8]
    ) throws(TLSError) -> (leaf: OpaquePointer, chain: OpaquePointer) {
        guard let chain = unsafe gatehouse_new_chain() else { throw .outOfMemory }
        var leaf: OpaquePointer?
        unsafe forEachCertificate(text) { certificate in
            if unsafe leaf == nil {
                unsafe leaf = certificate
            } else if unsafe gatehouse_push(chain, certificate) <= 0 {
                unsafe X509_free(certificate)
            }
        }
        guard let leaf = unsafe leaf else {
            unsafe gatehouse_free_chain(chain)
            throw .noCertificate
        }
        return unsafe (leaf, chain)
    }

    /// Hands each certificate over, owned by the body.
    static func forEachCertificate(_ text: [UInt8], _ body: (OpaquePointer) -> Void) {
        unsafe withFile(text) { file in
            while let certificate = unsafe PEM_read_bio_X509(file, nil, nil, nil) {
                unsafe body(certificate)
            }
        }
        // The end of the text is an error to OpenSSL.
        OpenSSLErrors.forget()
    }

    static func privateKey(_ text: [UInt8]) -> OpaquePointer? {
        var key: OpaquePointer?
        unsafe withFile(text) { file in
            // Without a callback OpenSSL would ask for the pass phrase at the terminal.
            unsafe key = unsafe PEM_read_bio_PrivateKey(file, nil, { _, _, _, _ in -1 }, nil)
        }
        OpenSSLErrors.forget()
        return unsafe key
    }

    private static func withFile(_ text: [UInt8], _ body: (OpaquePointer) -> Void) {
        guard let count = Int32(exactly: text.count) else { return }
        unsafe text.withUnsafeBufferPointer { buffer in
            guard let file = unsafe BIO_new_mem_buf(buffer.baseAddress, count) else { return }
            unsafe body(file)
            unsafe BIO_free(file)
        }
    }
}

/// An OCSP response that a server sends along (RFC 6066 section 8).
enum OCSPStaple {
    /// Clocks may differ by as much: what was said a moment ago must not lie ahead.
    private static let skewSeconds: Int64 = 300

    /// Holds the response to what a client would: it must be about the certificate, and call it good.
    ///
    /// - Parameter chain: in which the issuer may be found.
    /// - Returns: while it counts.
    static func validity(
        of bytes: [UInt8], for certificate: OpaquePointer, _ chain: OpaquePointer
    ) throws(TLSError) -> Range<WallTime> {
        defer { OpenSSLErrors.forget() }
        let response = unsafe bytes.withUnsafeBufferPointer { buffer in
            var cursor = buffer.baseAddress
            return unsafe d2i_OCSP_RESPONSE(nil, &cursor, buffer.count)
        }
        guard let response = unsafe response else { throw .stapleUnreadable }
        defer { unsafe OCSP_RESPONSE_free(response) }
        guard unsafe OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL,
            let basic = unsafe OCSP_response_get1_basic(response)
        else { throw .stapleUnreadable }
        defer { unsafe OCSP_BASICRESP_free(basic) }
        let count = unsafe OCSP_resp_count(basic)
        for index in 0..<count {
            guard let single = unsafe OCSP_resp_get0(basic, index),
                unsafe isAbout(certificate, chain, single)
            else { continue }
            var this: UnsafeMutablePointer<ASN1_GENERALIZEDTIME>?
            var next: UnsafeMutablePointer<ASN1_GENERALIZEDTIME>?
            let status = unsafe OCSP_single_get0_status(single, nil, nil, &this, &next)
            guard status == V_OCSP_CERTSTATUS_GOOD else { throw .stapleNotGood }
            let said = unsafe CertificateNames.time(this).seconds
            guard said > 0 else { throw .stapleUnreadable }
            let begin = WallTime(seconds: said - skewSeconds)
            // Without a next update it is the newest there is, whenever that was (RFC 6960 section 4.2.2.1).
            let end =
                unsafe next.map { unsafe CertificateNames.time($0) }
                ?? WallTime(seconds: .max / 2_000_000_000)
            return begin..<max(begin, end)
        }
        throw .stapleOfAnother
    }

    /// By the serial number and the hash of the issuer's name, and where the issuer is known by the hash of its key too (RFC
    /// 6960 section 4.1.1): a name may be another authority's as well.
    private static func isAbout(
        _ certificate: OpaquePointer, _ chain: OpaquePointer, _ single: OpaquePointer
    ) -> Bool {
        var nameHash: UnsafeMutablePointer<ASN1_OCTET_STRING>?
        var algorithm: OpaquePointer?
        var serial: UnsafeMutablePointer<ASN1_INTEGER>?
        guard let id = unsafe OCSP_SINGLERESP_get0_id(single),
            unsafe OCSP_id_get0_info(&nameHash, &algorithm, nil, &serial, id) == 1,
            unsafe ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(certificate)) == 0,
            let digest = unsafe EVP_get_digestbyname(OBJ_nid2sn(OBJ_obj2nid(algorithm)))
        else { return false }
        var isIssuerKnown = false
        for index in unsafe 0..<gatehouse_chain_count(chain) {
            // One name may be that of several, as where an authority has changed its key.
            guard let issuer = unsafe gatehouse_chain_member(chain, index),
                unsafe X509_check_issued(issuer, certificate) == X509_V_OK
            else { continue }
            isIssuerKnown = true
            guard let expected = unsafe OCSP_cert_to_id(digest, certificate, issuer) else {
                return false
            }
            defer { unsafe OCSP_CERTID_free(expected) }
            if unsafe OCSP_id_cmp(expected, id) == 0 { return true }
        }
        if isIssuerKnown { return false }
        var hash = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        guard
            unsafe X509_NAME_digest(X509_get_issuer_name(certificate), digest, &hash, &count) == 1,
            unsafe ASN1_STRING_length(nameHash) == Int32(count),
            let expected = unsafe ASN1_STRING_get0_data(nameHash)
        else { return false }
        return unsafe UnsafeBufferPointer(start: expected, count: Int(count))
            .elementsEqual(hash[..<Int(count)])
    }
}
