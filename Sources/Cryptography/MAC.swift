import COpenSSL

/// HMAC (RFC 2104) with a key that is set once and used for many messages, or changed between them.
///
/// It keeps one prepared context and re-arms it for every message: a fresh one costs four times as
/// much. Belongs to one worker; not Sendable.
@safe public final class MAC {
    public let algorithm: DigestAlgorithm
    private let context: OpaquePointer

    /// - Parameter key: any length; an empty key is a key, and refusing it is the caller's duty
    ///   (RFC 7518 section 3.2 does, OAuth 1.0 has `&` at least).
    /// - Throws: `.unavailable`.
    public init(algorithm: DigestAlgorithm, key: [UInt8] = []) throws(CryptographyError) {
        guard let implementation = unsafe FetchedMAC.hmac,
            let context = unsafe EVP_MAC_CTX_new(implementation)
        else {
            forgetOpenSSLErrors()
            throw .unavailable
        }
        self.algorithm = algorithm
        unsafe self.context = unsafe context
        guard unsafe MAC.arm(context, algorithm: algorithm, key: key) else {
            forgetOpenSSLErrors()
            throw .unavailable
        }
    }

    deinit {
        unsafe EVP_MAC_CTX_free(context)
    }

    /// Takes another key for the messages that follow.
    public func setKey(_ key: [UInt8]) {
        let isSet = unsafe MAC.arm(context, algorithm: nil, key: key)
        // The context was armed before, so that only memory can be lacking; an old key must not
        // stay in use.
        precondition(isSet, "HMAC cannot be keyed")
    }

    /// Makes `output` hold the code of `message`, nothing else; its capacity is kept.
    public func authenticate(_ message: Span<UInt8>, into output: inout [UInt8]) {
        output.resize(to: algorithm.byteCount)
        var written = 0
        let isDone = unsafe message.withUnsafeBufferPointer { input in
            unsafe output.withUnsafeMutableBufferPointer { result in
                // A nil key means: as before.
                unsafe EVP_MAC_init(context, nil, 0, nil) == 1
                    && EVP_MAC_update(context, input.baseAddress, input.count) == 1
                    && EVP_MAC_final(context, result.baseAddress, &written, result.count) == 1
            }
        }
        // Never go on with a code of zeros: anyone could send it.
        precondition(isDone && written == algorithm.byteCount, "HMAC failed")
    }

    /// The code of one message under one key.
    ///
    /// - Throws: `.unavailable`.
    public static func authenticate(
        _ message: Span<UInt8>, algorithm: DigestAlgorithm, key: [UInt8]
    ) throws(CryptographyError) -> [UInt8] {
        var output: [UInt8] = []
        try MAC(algorithm: algorithm, key: key).authenticate(message, into: &output)
        return output
    }

    private static func arm(
        _ context: OpaquePointer, algorithm: DigestAlgorithm?, key: [UInt8]
    ) -> Bool {
        // An empty array may have no address, and NULL would mean "the key of before".
        let bytes = key.isEmpty ? [0] : key
        return unsafe bytes.withUnsafeBufferPointer { buffer in
            guard let algorithm else {
                return unsafe EVP_MAC_init(context, buffer.baseAddress, key.count, nil) == 1
            }
            // The list borrows both texts, and is used up before they end.
            return unsafe ("digest" as StaticString).withCString { label in
                unsafe algorithm.name.withCString { name in
                    // The library only reads the name; its C type lacks the const.
                    let name = unsafe UnsafeMutablePointer(mutating: name)
                    let list = unsafe [
                        OSSL_PARAM_construct_utf8_string(label, name, 0),
                        OSSL_PARAM_construct_end(),
                    ]
                    return unsafe EVP_MAC_init(context, buffer.baseAddress, key.count, list) == 1
                }
            }
        }
    }
}

private enum FetchedMAC {
    nonisolated(unsafe) static let hmac = unsafe EVP_MAC_fetch(nil, "HMAC", nil)
}

extension StaticString {
    /// The text as C takes it.
    func withCString<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
        unsafe UnsafeRawPointer(utf8Start).withMemoryRebound(
            to: CChar.self, capacity: utf8CodeUnitCount + 1
        ) { unsafe body($0) }
    }
}
