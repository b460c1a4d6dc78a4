import Cryptography
import Gateway
import HTTP
import OAuth
import Primitives
import References

enum CredentialSeams {
    /// A token that is remembered, among `count` of them, each asked for in turn.
    static func cached(_ count: Int) throws -> Seam {
        let mint = try Mint(.es256)
        let verifier = mint.verifier()
        let cache = TokenCache(byteLimit: 256 << 20)
        let tokens = try (0..<count).map { try mint.token($0) }
        for token in tokens {
            cache.insert(token.span, .bearer(try verifier.verify(token.span, now: now)))
        }
        return Seam(
            name: "JWT from the cache of \(count)",
            subject: { count in
                var next = 0
                for _ in 0..<count {
                    let token = tokens[next]
                    guard let known = cache.lookup(token.span, now: now),
                        (try? known.token?.holds(at: now)) != nil
                    else { fatalError("forgotten") }
                    next += 1
                    if next == tokens.count { next = 0 }
                }
            },
            reference: "SHA-256 of the token by OpenSSL",
            base: { count in
                var next = 0
                for _ in 0..<count {
                    use(reference_sha256(tokens[next], tokens[next].count))
                    next += 1
                    if next == tokens.count { next = 0 }
                }
            })
    }

    /// A token that was not seen before: parts, claims, signature and judgement.
    static func verified(_ algorithm: JWSAlgorithm) throws -> Seam {
        let mint = try Mint(algorithm)
        let verifier = mint.verifier()
        let token = try mint.token(1)
        guard let dot = token.lastIndex(of: 0x2E) else { fatalError("no JWT") }
        let message = Array(token[..<dot])
        guard
            let signature = Base64.decode(
                String(decoding: token[(dot + 1)...], as: UTF8.self), .url)
        else {
            fatalError("no signature")
        }
        return Seam(
            name: "JWT verified, \(algorithm.rawValue)",
            subject: { count in
                for _ in 0..<count {
                    guard (try? verifier.verify(token.span, now: now)) != nil else {
                        fatalError("refused")
                    }
                }
            },
            reference: algorithm == .hs256 ? "EVP_MAC alone" : "EVP_DigestVerify alone",
            base: try base(mint, message, signature))
    }

    private static func base(
        _ mint: Mint, _ message: [UInt8], _ signature: [UInt8]
    ) throws -> (Int) -> Void {
        switch mint.key {
        case .secret(let secret):
            let mac = reference_mac_make("SHA256", secret, secret.count)
            return { count in
                for _ in 0..<count { use(reference_mac_run(mac, 0, message, message.count)) }
            }
        case .pair(let pair):
            let spki = try pair.privateKey.publicKey.subjectPublicKeyInfo()
            let verifier = reference_verifier_make(
                spki, spki.count, mint.algorithm == .es256 ? 1 : 0, signature, signature.count)
            return { count in
                for _ in 0..<count {
                    guard reference_verify(verifier, message, message.count) == 1 else {
                        fatalError("refused")
                    }
                }
            }
        }
    }

    /// A request signed by HMAC-SHA1: parameters, base string, signature. Its nonce is not judged.
    static func oauth1() throws -> Seam {
        let secret = Array("kd94hf93k423kf44".utf8)
        let credentials = OAuth1Credentials(consumerSecret: Secret(secret))
        let signer = OAuth1Signer(method: .hmacSHA1, consumerKey: "robot", credentials: credentials)
        let authorization = try signer.authorization(
            for: .init(method: "GET", url: "http://api.example.test/items/42?page=2"),
            timestamp: now.seconds, nonce: "7d8f3e4a9b2c1d0e")
        let head = parsed(requestText(authorization: authorization))
        let verifier = try OAuth1Verifier(
            policy: OAuth1Policy(
                signatureMethods: [.hmacSHA1], timestampWindowSeconds: 300, bodyHashRequired: false,
                heldBodyBytes: 1 << 20, publicURLs: []))
        let base = try baseString(head, verifier)
        let key = secret + [0x26]
        let mac = reference_mac_make("SHA1", key, key.count)
        return Seam(
            name: "OAuth 1.0 base string and HMAC-SHA1",
            subject: { count in
                let none: [UInt8] = []
                for _ in 0..<count {
                    guard let claim = try? verifier.prepare(head, body: nil),
                        (try? verifier.verify(
                            claim, head, from: RequestOrigin(isTLS: false), body: none.span,
                            credentials: credentials, now: now)) != nil
                    else { fatalError("refused") }
                }
            },
            reference: "EVP_MAC of the base string, with its key",
            base: { count in
                for _ in 0..<count { use(reference_mac_run(mac, 1, base, base.count)) }
            })
    }

    private static func baseString(_ head: RequestHead, _ verifier: OAuth1Verifier) throws
        -> [UInt8]
    {
        _ = try verifier.prepare(head, body: nil)
        var baseString = BaseString()
        baseString.normalize(verifier.parameters, order: .encoded)
        var uri: [UInt8] = []
        BaseString.appendURI(
            isTLS: false, authority: head.span(of: head.authority), path: head.span(of: head.path),
            to: &uri)
        var output: [UInt8] = []
        baseString.append(method: head.span(of: head.methodRange), uri: uri, to: &output)
        return output
    }
}
