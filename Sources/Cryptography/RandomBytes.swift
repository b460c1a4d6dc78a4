import COpenSSL

public enum RandomBytes {
    /// Bytes from OpenSSL's generator, which the kernel seeds: fit for keys, secrets and nonces.
    ///
    /// - Throws: `.noRandomBytes`; the caller makes nothing then (fail closed).
    public static func make(count: Int) throws(CryptographyError) -> [UInt8] {
        precondition(count >= 0 && count <= 1 << 20)
        var bytes: [UInt8] = []
        bytes.resize(to: count)
        let status = unsafe bytes.withUnsafeMutableBufferPointer {
            unsafe RAND_bytes($0.baseAddress, Int32($0.count))
        }
        guard status == 1 || count == 0 else {
            forgetOpenSSLErrors()
            throw .noRandomBytes
        }
        return bytes
    }
}
