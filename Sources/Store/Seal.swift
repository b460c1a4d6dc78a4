import Cryptography
import Primitives

/// Seals what must not lie in a store in the clear: AES-256-GCM under the secrets key.
///
/// The row's identity is authenticated with the value. A sealed value that is copied to another row or column
/// does not open there, so whoever can write the store cannot give one client the secret of another.
struct Seal: Sendable {
    /// Where a value lies.
    enum Place {
        case canary
        case replayKey
        case oauth1Secret(clientID: String)
        case privateKey(kid: String)
        case tokenSecret(id: [UInt8])

        /// Constant names, then NUL, then the row's key: two places never share their bytes.
        fileprivate var identity: [UInt8] {
            switch self {
            case .canary: Array("canary\0".utf8)
            case .replayKey: Array("replay.key\0".utf8)
            case .oauth1Secret(let id): Array("client.oauth1_secret\0\(id)".utf8)
            case .privateKey(let kid): Array("signing_key.private_key\0\(kid)".utf8)
            case .tokenSecret(let id): Array("token.secret\0".utf8) + id
            }
        }

        fileprivate var name: String {
            switch self {
            case .canary: "the canary"
            case .replayKey: "the replay key"
            case .oauth1Secret(let id): "the OAuth 1.0 secret of the client \(id)"
            case .privateKey(let kid): "the private key \(kid)"
            case .tokenSecret: "the secret of a token"
            }
        }
    }

    private static let canaryText = Array("gatehouse".utf8)

    let key: Secret

    func close(_ secret: Secret, _ place: Place) throws(StoreError) -> [UInt8] {
        do throws(CryptographyError) {
            return try AESGCM.seal(
                secret.exposed, key: try key(for: place), additionalData: place.identity)
        } catch {
            throw .unavailable(reason: "cannot seal \(place.name)")
        }
    }

    /// - Throws: `.corrupt`: the value was changed or moved (a wrong key has shown itself at the canary).
    func open(_ sealed: [UInt8], _ place: Place) throws(StoreError) -> Secret {
        do throws(CryptographyError) {
            return Secret(
                try AESGCM.open(sealed, key: try key(for: place), additionalData: place.identity))
        } catch {
            // Of a version that sealed everything with one key.
            if case .tokenSecret = place,
                let plain = try? AESGCM.open(sealed, key: key, additionalData: place.identity)
            {
                return Secret(plain)
            }
            guard error == .notAuthentic else {
                throw .unavailable(reason: "cannot open \(place.name)")
            }
            throw .corrupt(reason: "\(place.name) does not open")
        }
    }

    /// Tokens come without end, two with each dance of OAuth 1.0: each has a key of its own, so that no key comes near the
    /// 2^32 sealings at which nonces made by chance are no longer safe (NIST SP 800-38D section 8.3). Of the rest there
    /// is one for each client, rotation and key, and all share one.
    private func key(for place: Place) throws(CryptographyError) -> Secret {
        guard case .tokenSecret = place else { return key }
        let label = Array("gatehouse: seal\0".utf8) + place.identity
        return Secret(try MAC.authenticate(label.span, algorithm: .sha256, key: key.exposed))
    }

    /// What tells a wrong key at open, before anything is sealed under a second one.
    func makeCanary() throws(StoreError) -> [UInt8] {
        try close(Secret(Self.canaryText), .canary)
    }

    func checkCanary(_ sealed: [UInt8]) throws(StoreError) {
        do throws(StoreError) {
            guard try open(sealed, .canary).matches(Self.canaryText) else { throw .wrongKey }
        } catch {
            if case .corrupt = error { throw .wrongKey }
            throw error
        }
    }
}
