import COpenSSL
import Primitives

/// AES-256-GCM (NIST SP 800-38D) for what lies in the store: nonce (12 bytes) ‖ ciphertext ‖ tag
/// (16 bytes).
///
/// The nonce is random for every sealing; at 2^32 sealings under one key that would become a risk:
/// whoever seals without end uses a key for each.
public enum AESGCM {
    public static let keyByteCount = 32
    private static let nonceByteCount = 12
    private static let tagByteCount = 16

    /// - Parameter additionalData: not sealed, but must be the same at `open`: where the value
    ///   belongs.
    /// - Throws: `.noRandomBytes`, `.sealingFailed`, `.invalidKey(.malformed)` for a key that is
    ///   not 32 bytes.
    public static func seal(
        _ plain: [UInt8], key: Secret, additionalData: [UInt8]
    ) throws(CryptographyError) -> [UInt8] {
        let nonce = try RandomBytes.make(count: nonceByteCount)
        let context = try CipherContext()
        try context.begin(key: key, nonce: nonce, isSealing: true)
        var text: [UInt8] = []
        var tag: [UInt8] = []
        guard context.authenticate(additionalData), context.update(plain, into: &text),
            context.finish(), context.readTag(&tag, count: tagByteCount)
        else {
            forgetOpenSSLErrors()
            throw .sealingFailed
        }
        return nonce + text + tag
    }

    /// - Throws: `.notAuthentic` for anything that `seal` did not make with this key and additional
    ///   data; `.invalidKey(.malformed)` for a key that is not 32 bytes.
    public static func open(
        _ sealed: [UInt8], key: Secret, additionalData: [UInt8]
    ) throws(CryptographyError) -> [UInt8] {
        guard sealed.count >= nonceByteCount + tagByteCount else { throw .notAuthentic }
        let nonce = Array(sealed.prefix(nonceByteCount))
        let tag = Array(sealed.suffix(tagByteCount))
        let text = Array(sealed.dropFirst(nonceByteCount).dropLast(tagByteCount))
        let context = try CipherContext()
        try context.begin(key: key, nonce: nonce, isSealing: false)
        var plain: [UInt8] = []
        // Nothing of the plain text leaves before the tag was checked, by `finish`.
        guard context.authenticate(additionalData), context.update(text, into: &plain),
            context.expectTag(tag), context.finish()
        else {
            forgetOpenSSLErrors()
            throw .notAuthentic
        }
        return plain
    }
}

/// Owns an EVP_CIPHER_CTX set up for one sealing or opening.
@safe private struct CipherContext: ~Copyable {
    private let raw: OpaquePointer
    nonisolated(unsafe) private static let cipher = unsafe EVP_CIPHER_fetch(nil, "AES-256-GCM", nil)

    init() throws(CryptographyError) {
        guard let raw = unsafe EVP_CIPHER_CTX_new() else { throw .unavailable }
        unsafe self.raw = unsafe raw
    }

    deinit {
        unsafe EVP_CIPHER_CTX_free(raw)
    }

    func begin(key: Secret, nonce: [UInt8], isSealing: Bool) throws(CryptographyError) {
        guard key.count == AESGCM.keyByteCount else { throw .invalidKey(.malformed) }
        guard let cipher = unsafe CipherContext.cipher,
            unsafe EVP_CipherInit_ex2(raw, cipher, key.exposed, nonce, isSealing ? 1 : 0, nil) == 1
        else {
            forgetOpenSSLErrors()
            throw .unavailable
        }
    }

    func authenticate(_ data: [UInt8]) -> Bool {
        var length: Int32 = 0
        guard let count = Int32(exactly: data.count) else { return false }
        // With no output the bytes are additional data.
        return unsafe data.isEmpty || EVP_CipherUpdate(raw, nil, &length, data, count) == 1
    }

    func update(_ input: [UInt8], into output: inout [UInt8]) -> Bool {
        output.resize(to: input.count)
        var length: Int32 = 0
        guard let count = Int32(exactly: input.count) else { return false }
        guard count > 0 else { return true }
        return unsafe EVP_CipherUpdate(raw, &output, &length, input, count) == 1 && length == count
    }

    func finish() -> Bool {
        // GCM is a stream: nothing is left to write, but the call wants a place.
        var rest: [UInt8] = .init(repeating: 0, count: 16)
        var length: Int32 = 0
        return unsafe EVP_CipherFinal_ex(raw, &rest, &length) == 1 && length == 0
    }

    func readTag(_ tag: inout [UInt8], count: Int) -> Bool {
        tag.resize(to: count)
        return unsafe EVP_CIPHER_CTX_ctrl(raw, EVP_CTRL_AEAD_GET_TAG, Int32(count), &tag) == 1
    }

    func expectTag(_ tag: [UInt8]) -> Bool {
        var copy = tag
        return unsafe EVP_CIPHER_CTX_ctrl(raw, EVP_CTRL_AEAD_SET_TAG, Int32(tag.count), &copy) == 1
    }
}
