import Cryptography
import HTTP
import OAuth
import Primitives

// What the seams are given: a request as clients send it, and tokens.

/// 2026-01-01T00:00:00Z.
let now = WallTime(seconds: 1_767_225_600)

/// Ten fields with what a browser's and a program's requests have in common.
let fields: [(name: String, value: String)] = [
    ("host", "api.example.test"), ("user-agent", "bench/1.0"), ("accept", "application/json"),
    ("accept-encoding", "gzip, br"), ("accept-language", "en-GB,en;q=0.8"),
    ("origin", "https://app.example.test"), ("referer", "https://app.example.test/items"),
    ("cache-control", "no-cache"), ("cookie", "session=2f6c1d0b9a8e47f5"),
]

func requestText(authorization: String, target: String = "/items/42?page=2") -> [UInt8] {
    var text = "GET \(target) HTTP/1.1\r\n"
    for field in fields { text += "\(field.name): \(field.value)\r\n" }
    return Array((text + "authorization: \(authorization)\r\n\r\n").utf8)
}

func parsed(_ text: [UInt8]) -> RequestHead {
    let head = RequestHead()
    var parser = RequestHeadParser(limits: HTTP1Limits())
    guard case .complete? = try? parser.parse(text.span, from: 0, into: head) else {
        fatalError("the request is not read")
    }
    return head
}

/// A key with what it signs, and the verifier that believes it.
struct Mint {
    enum Key {
        case pair(SigningKey)
        case secret([UInt8])
    }

    let algorithm: JWSAlgorithm
    let key: Key
    let issuer: TrustedIssuer

    init(_ algorithm: JWSAlgorithm) throws {
        self.algorithm = algorithm
        let keys: KeySet
        if algorithm == .hs256 {
            let secret = try RandomBytes.make(count: 32)
            key = .secret(secret)
            let text = #"{"keys":[{"kty":"oct","kid":"k","k":"\#(Base64.encode(secret, .url))"}]}"#
            keys = try KeySet(jwks: Array(text.utf8), allowsSymmetric: true)
        } else {
            let pair = try SigningKey(
                algorithm: algorithm,
                privateKey: .generate(algorithm == .rs256 ? .rsa2048 : .p256))
            key = .pair(pair)
            keys = try KeySet(jwks: JWKSDocument.write([pair.published]), allowsSymmetric: false)
        }
        issuer = TrustedIssuer(
            name: "bench", issuer: "https://issuer.example.test",
            audiences: ["https://api.example.test"],
            algorithms: [algorithm], keys: keys)
    }

    /// - Parameter lifetime: seconds from `now` on.
    func token(_ number: Int, lifetime: Int64 = 3600) throws -> [UInt8] {
        let claims = Array(
            """
            {"iss":"https://issuer.example.test","aud":"https://api.example.test","sub":"user-\(number)",\
            "client_id":"robot","scope":"read write","iat":\(now.seconds),"exp":\(now.seconds + lifetime),\
            "jti":"b0a4c1f2-\(number)"}
            """.utf8)
        switch key {
        case .pair(let pair): return try JWTSigner.sign(claims: claims, with: pair)
        case .secret(let secret):
            let header = Array(#"{"alg":"HS256","typ":"at+jwt","kid":"k"}"#.utf8)
            let input = Array(
                (Base64.encode(header, .url) + "." + Base64.encode(claims, .url)).utf8)
            let code = try MAC.authenticate(input.span, algorithm: .sha256, key: secret)
            return input + [0x2E] + Array(Base64.encode(code, .url).utf8)
        }
    }

    func verifier() -> TokenVerifier { TokenVerifier(issuers: [issuer]) }
}
