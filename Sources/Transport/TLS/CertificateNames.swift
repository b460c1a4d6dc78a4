import COpenSSL
import Glibc
import Primitives

/// What a certificate says of its holder (RFC 5280 section 4).
enum CertificateNames {
    struct Alternative {
        /// GEN_DNS, GEN_URI, GEN_EMAIL or GEN_IPADD.
        let kind: Int32
        let bytes: [UInt8]
    }

    /// - Parameter limit: how many are read; the rest is left out.
    static func alternatives(of certificate: OpaquePointer, limit: Int = .max) -> [Alternative] {
        guard let names = unsafe gatehouse_alternative_names(certificate) else {
            OpenSSLErrors.forget()
            return []
        }
        defer { unsafe GENERAL_NAMES_free(names) }
        var result: [Alternative] = []
        for index in 0..<(unsafe gatehouse_name_count(names)) where result.count < limit {
            var start: UnsafePointer<UInt8>?
            var count: Int32 = 0
            let kind = unsafe gatehouse_name(names, index, &start, &count)
            guard kind >= 0, let start = unsafe start else { continue }
            let bytes = unsafe Array(UnsafeBufferPointer(start: start, count: Int(count)))
            // A NUL inside cuts the name for whoever reads it as a C string (CVE-2009-2408).
            guard kind == GEN_IPADD || !bytes.contains(0) else { continue }
            result.append(Alternative(kind: kind, bytes: bytes))
        }
        return result
    }

    /// A name as text. These names are IA5String: one with other bytes is none, since
    /// Unicode knows other letters whose lower case is one of ASCII's (K, the sign for kelvin).
    static func text(_ bytes: [UInt8]) -> String? {
        guard bytes.allSatisfy({ $0 < 0x80 }) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A host name as it is compared.
    static func host(_ bytes: [UInt8]) -> String? {
        text(bytes.map { $0 &- 0x41 < 26 ? $0 | 0x20 : $0 })
    }

    /// The host names: the alternative ones, and where there are none the common name, as clients once read it.
    static func hosts(of certificate: OpaquePointer) -> [String] {
        let names = unsafe alternatives(of: certificate).filter { $0.kind == GEN_DNS }
            .compactMap { host($0.bytes) }
        guard names.isEmpty else { return names }
        var text = [CChar](repeating: 0, count: 256)
        let count = unsafe X509_NAME_get_text_by_NID(
            X509_get_subject_name(certificate), NID_commonName, &text, Int32(text.count))
        guard count > 0 else { return [] }
        let bytes = text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
        return bytes.count == Int(count) ? [host(bytes)].compactMap(\.self) : []
    }

    /// The subject as RFC 4514 writes it, the most specific part first.
    static func subject(of certificate: OpaquePointer) -> String {
        guard let file = unsafe BIO_new(BIO_s_mem()) else { return "" }
        defer { unsafe BIO_free(file) }
        guard unsafe gatehouse_print_subject(file, certificate) >= 0 else { return "" }
        var text = [UInt8](repeating: 0, count: 4096)
        let count = unsafe BIO_read(file, &text, Int32(text.count))
        return String(decoding: text.prefix(max(0, Int(count))), as: UTF8.self)
    }

    /// - Returns: the far past for a time that cannot be read, so that nothing is valid by it.
    static func time(_ value: UnsafePointer<ASN1_TIME>?) -> WallTime {
        var parts = unsafe tm()
        guard let value = unsafe value, unsafe ASN1_TIME_to_tm(value, &parts) == 1 else {
            OpenSSLErrors.forget()
            return WallTime(seconds: 0)
        }
        return unsafe WallTime(seconds: Int64(timegm(&parts)))
    }
}
