/// Why a key set is not taken for a client's.
public enum ClientKeySetError: Error, Equatable, Sendable {
    case notAKeySet
    /// None of its keys could prove an assertion; why not, of the first.
    case noUsableKey(KeySet.Skipped?)
    /// A private or a shared key among them: who reads what we keep could sign as the client.
    case secretKey
}

extension KeySet {
    /// Private parts (RFC 7518 sections 6.2.2 and 6.3.2), and the shared key (section 6.4.1).
    private static let secretMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]

    /// Reads the public keys of a client of `private_key_jwt`, a JWK set.
    public static func ofClient(_ jwks: [UInt8]) throws(ClientKeySetError) -> KeySet {
        let keys: KeySet
        var document = JSONDocument()
        do {
            keys = try KeySet(jwks: jwks, allowsSymmetric: false)
            try document.read(jwks.span, limits: limits)
        } catch {
            throw .notAKeySet
        }
        guard !hasSecret(document) else { throw .secretKey }
        guard !keys.isEmpty else { throw .noUsableKey(keys.skipped.first) }
        return keys
    }

    /// Whatever the key is for, and whether it is used or not.
    private static func hasSecret(_ document: JSONDocument) -> Bool {
        guard let list = document.member("keys") else { return false }
        var isFound = false
        _ = document.forEachChild(of: list) { key in
            guard document.kind(key) == .object else { return true }
            isFound = secretMembers.contains { document.member($0, of: key) != nil }
            return !isFound
        }
        return isFound
    }
}
