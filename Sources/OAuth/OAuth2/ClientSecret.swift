import Cryptography
import Primitives

/// The secrets of OAuth 2.0 clients, as they are made, kept and compared.
///
/// A secret that we make holds 256 random bits, so nobody can guess it from its hash however fast the hash
/// is: one salted SHA-256 is the right cost, where a password of a person would need a slow one. Secrets that
/// an operator chose (`secret_file`) are not known to be random; they stay in their file, are compared
/// as they stand and are never hashed into the store.
///
/// The kept form is `sha256$SALT$DIGEST`: the salt of 16 bytes and SHA-256(salt ‖ secret), both base64url.
public enum ClientSecret {
    private static let scheme = "sha256"
    private static let saltBytes = 16
    private static let secretBytes = 32

    /// A hash that no secret has: what the credentials of an unknown client are compared with, so that the
    /// answer takes as long as for a client that exists.
    public static let decoy = Salted.decoy.text

    /// A new secret: 32 random bytes as 43 characters of base64url, safe in a header, a form and a shell.
    ///
    /// - Throws: when the system gives no random bytes.
    public static func generate() throws(CryptographyError) -> Secret {
        Secret(utf8: Base64.encode(try RandomBytes.make(count: secretBytes), .url))
    }

    /// The kept form of a secret, under a new salt each time.
    ///
    /// - Throws: when the system gives no random bytes.
    public static func hash(_ secret: Secret) throws(CryptographyError) -> String {
        Salted(salt: try RandomBytes.make(count: saltBytes), secret: secret).text
    }

    /// Whether `secret` is the one that `hash` was made of. The digests are compared in constant time;
    /// a text that is no hash of ours matches nothing.
    public static func verify(_ secret: Secret, against hash: String) -> Bool {
        Salted(hash)?.matches(secret) ?? false
    }

    /// Whether `text` has the kept form.
    public static func isHash(_ text: String) -> Bool { Salted(text) != nil }

    /// The kept form, read once: the digest of a salt with a secret.
    struct Salted: Sendable {
        /// Nobody can find a secret with this digest.
        static let decoy = Salted(
            salt: Array(repeating: 0, count: saltBytes),
            digest: Array(repeating: 0, count: DigestAlgorithm.sha256.byteCount))

        let salt: [UInt8]
        private let digest: [UInt8]

        private init(salt: [UInt8], digest: [UInt8]) {
            self.salt = salt
            self.digest = digest
        }

        init(salt: [UInt8], secret: Secret) {
            self.init(salt: salt, digest: Salted.digest(salt, secret))
        }

        /// Reads `sha256$SALT$DIGEST`.
        init?(_ text: String) {
            let parts = text.split(separator: "$", omittingEmptySubsequences: false)
            guard parts.count == 3, parts[0] == scheme,
                let salt = Base64.decode(String(parts[1]), .url), salt.count == saltBytes,
                let digest = Base64.decode(String(parts[2]), .url),
                digest.count == DigestAlgorithm.sha256.byteCount
            else { return nil }
            self.init(salt: salt, digest: digest)
        }

        var text: String { "\(scheme)$\(Base64.encode(salt, .url))$\(Base64.encode(digest, .url))" }

        /// One hash, and a comparison in constant time.
        func matches(_ secret: Secret) -> Bool {
            ConstantTime.equal(Salted.digest(salt, secret), digest)
        }

        private static func digest(_ salt: [UInt8], _ secret: Secret) -> [UInt8] {
            let input = salt + secret.exposed
            return Digest.hash(input.span, .sha256)
        }
    }
}
