import Cryptography
import Glibc
import Primitives

/// The 256-bit key under which private keys and shared secrets are sealed at rest (`secrets { key_file }`).
///
/// The file holds the 32 bytes as they are, or as 44 characters of base64 (what we write ourselves);
/// one trailing newline is not part of the key.
public struct SecretsKey: Sendable {
    public static let byteCount = 32

    let secret: Secret
    /// Whether users beside the file's owner may read it: worth a warning, as for every secret file.
    public let isReadableByOthers: Bool

    private init(_ bytes: [UInt8], isReadableByOthers: Bool = false) {
        secret = Secret(bytes)
        self.isReadableByOthers = isReadableByOthers
    }

    /// A new key that is kept nowhere: for a store in memory.
    public static func generate() throws(StoreError) -> SecretsKey {
        do throws(CryptographyError) {
            return SecretsKey(try RandomBytes.make(count: byteCount))
        } catch {
            throw .unavailable(reason: "no random bytes")
        }
    }

    /// The key in the file; where there is no file, a new key is made and written, mode 0600.
    ///
    /// - Throws: `.keyFile` for a file that cannot be read or made, or holds no key.
    public static func loadOrMake(path: String) throws(StoreError) -> SecretsKey {
        if let key = try load(path: path) { return key }
        try publish(try generate(), path: path)
        // Another process may have been first; what lies in the file now is the key of both.
        guard let key = try load(path: path) else {
            throw .keyFile(path: path, reason: "it was removed while it was made")
        }
        return key
    }

    /// The key in the file, or nil when there is no file.
    public static func load(path: String) throws(StoreError) -> SecretsKey? {
        let bytes: [UInt8]
        var status = stat()
        do throws(PrivateFile.Failure) {
            let file = try PrivateFile(path: path, flags: O_RDONLY)
            _ = unsafe fstat(file.descriptor, &status)
            bytes = try file.readAll(limit: 64)
        } catch {
            if error.code == ENOENT { return nil }
            throw .keyFile(path: path, reason: error.reason)
        }
        guard let key = parse(bytes) else {
            throw .keyFile(path: path, reason: "expected 32 bytes, or 44 characters of base64")
        }
        return SecretsKey(key, isReadableByOthers: status.st_mode & 0o077 != 0)
    }

    private static func parse(_ bytes: [UInt8]) -> [UInt8]? {
        // Raw first: a raw key that happens to end in 0x0A is still 32 bytes long.
        if bytes.count == byteCount { return bytes }
        let text = bytes.last == 0x0A ? Array(bytes.dropLast()) : bytes
        if text.count == byteCount { return text }
        var key: [UInt8] = []
        guard Base64.decode(text.span, .standard, into: &key), key.count == byteCount else {
            return nil
        }
        return key
    }

    /// A key of its own for a purpose: what it makes says nothing of this one.
    public func derived(for purpose: String) throws(StoreError) -> Secret {
        let label = Array("gatehouse: \(purpose)".utf8)
        do throws(CryptographyError) {
            return Secret(
                try MAC.authenticate(label.span, algorithm: .sha256, key: secret.exposed))
        } catch {
            throw .unavailable(reason: "no HMAC")
        }
    }

    private static func draftSuffix() throws(StoreError) -> String {
        do throws(CryptographyError) {
            return Base64.encode(try RandomBytes.make(count: 9), .url)
        } catch {
            throw .unavailable(reason: "no random bytes")
        }
    }

    /// Writes the key beside its place and links it there: nobody ever reads half a key, not even after a
    /// crash, and of two processes that do this at once one wins and the other takes that one's key.
    private static func publish(_ key: SecretsKey, path: String) throws(StoreError) {
        // Not the process id: gateways in two containers may share a folder and have the same.
        let draft = "\(path).\(try draftSuffix()).new"
        do throws(PrivateFile.Failure) {
            let file = try PrivateFile.create(path: draft)
            defer { _ = unsafe unlink(draft) }
            let text = Base64.encode(key.secret.exposed, .standard) + "\n"
            try file.writeAll(Array(text.utf8))
            guard unsafe link(draft, path) == 0 || errno == EEXIST else {
                throw PrivateFile.Failure(code: errno)
            }
            try PrivateFile.syncFolder(of: path)
        } catch {
            throw .keyFile(path: path, reason: error.reason)
        }
    }
}
