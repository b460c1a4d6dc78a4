import Cryptography
import Primitives

/// Makes tokens that say nothing by themselves, and tells those that were never made from those that may have been.
///
/// A token is a prefix, 24 random bytes and 8 bytes of a keyed check over both, in base64url. The check saves the look
/// into the store that a guessed token would cost (junk is refused on the loop); what a genuine one grants, the store
/// alone knows, where it lies under its SHA-256: who reads the store learns no token.
public struct OpaqueTokens: Sendable {
    /// What a token is for; no token of one kind is good as another.
    public enum Kind: String, Sendable, CaseIterable {
        /// A bearer access token.
        case access = "gth_"
        /// OAuth 1.0 temporary credentials (RFC 5849 section 2.1).
        case oauth1Request = "gtr_"
        /// OAuth 1.0 token credentials (section 2.3).
        case oauth1Access = "gta_"
    }

    private static let randomBytes = 24
    private static let checkBytes = 8
    /// Characters of base64url without padding.
    private static let textCount = ((randomBytes + checkBytes) * 4 + 2) / 3

    private let key: [UInt8]

    /// - Parameter key: 32 bytes; the same on every gateway that shares a store.
    public init(key: Secret) {
        self.key = key.exposed
    }

    /// A new token.
    public func make(_ kind: Kind) throws(CryptographyError) -> String {
        var bytes = try RandomBytes.make(count: OpaqueTokens.randomBytes)
        bytes += try check(kind, bytes)
        return kind.rawValue + Base64.encode(bytes, .url)
    }

    /// Which kind of token the text could be; `nil` when none of this key ever was so.
    public func kind(of text: Span<UInt8>) -> Kind? {
        guard text.count == 4 + OpaqueTokens.textCount else { return nil }
        for kind in Kind.allCases where text.starts(with: kind.rawValue) {
            var bytes: [UInt8] = []
            guard Base64.decode(text.extracting(4..<text.count), .url, into: &bytes),
                bytes.count == OpaqueTokens.randomBytes + OpaqueTokens.checkBytes,
                let expected = try? check(kind, Array(bytes[..<OpaqueTokens.randomBytes]))
            else { return nil }
            let check = Array(bytes[OpaqueTokens.randomBytes...])
            return ConstantTime.equal(check.span, expected.span) ? kind : nil
        }
        return nil
    }

    /// Whether a text has the form of such a token, by whatever key.
    public static func isLike(_ kind: Kind, _ text: Span<UInt8>) -> Bool {
        text.count == 4 + textCount && text.starts(with: kind.rawValue)
    }

    /// Under which a token lies in the store: its SHA-256.
    public static func identifier(of text: Span<UInt8>) -> [UInt8] {
        Digest.hash(text, .sha256)
    }

    private func check(_ kind: Kind, _ random: [UInt8]) throws(CryptographyError) -> [UInt8] {
        let message = Array(kind.rawValue.utf8) + random
        let code = try MAC.authenticate(message.span, algorithm: .sha256, key: key)
        return Array(code[..<OpaqueTokens.checkBytes])
    }
}

extension Span<UInt8> {
    fileprivate func starts(with text: String) -> Bool {
        var index = 0
        for byte in text.utf8 {
            guard index < count, self[index] == byte else { return false }
            index += 1
        }
        return true
    }
}
