import Cryptography
import HTTP
import OAuth
import Primitives
import Testing

/// What our signer makes, our verifier takes; what cannot be signed is refused.
struct OAuth1SignerTests {
    private static let secrets = OAuth1Credentials(
        consumerSecret: Secret(utf8: "s&c+/é"), allowsPlaintext: true,
        tokenSecret: Secret(utf8: "t%s"))

    private static func accepts(
        _ request: OAuth1Signer.Request, by signer: OAuth1Signer, isFormOrHashed: Bool
    ) throws -> Bool {
        let field = try signer.authorization(for: request, timestamp: 1_767_225_600, nonce: "n 1")
        var fields = [["Authorization", field]]
        if let type = request.contentType { fields.append(["Content-Type", type]) }
        let sent = try OAuth1Request([
            "method": request.method, "url": request.url, "headers": fields,
            "body": String(decoding: request.body, as: UTF8.self),
        ])
        var known = signer.credentials
        known.rsaKey = signer.privateKey?.publicKey
        let verifier = try OAuth1Verifier.permissive()
        let claim = try verifier.prepare(sent.head, body: nil)
        #expect(claim.needsBody == isFormOrHashed)
        _ = try sent.verify(by: verifier, { _ in known })
        return true
    }

    @Test(arguments: OAuth1SignatureMethod.allCases)
    func everyMethodIsAccepted(method: OAuth1SignatureMethod) throws {
        let signer = OAuth1Signer(
            method: method, consumerKey: "key ü", token: "to&ken", credentials: Self.secrets,
            privateKey: try OAuth1Vectors.privateKey("rsa-2048-test"), realm: "a realm")
        let url = "https://API.example.com:443/a%20b?x=1&x=%C3%A9&y=a+b#part"
        #expect(try Self.accepts(.init(method: "GET", url: url), by: signer, isFormOrHashed: false))
        #expect(
            try Self.accepts(
                .init(
                    method: "POST", url: url, contentType: "application/x-www-form-urlencoded",
                    body: Array("a=1&x=0".utf8), hashesBody: true),
                by: signer, isFormOrHashed: true))
        #expect(
            try Self.accepts(
                .init(
                    method: "PUT", url: url, contentType: "application/json",
                    body: Array("{\"a\":1}".utf8), hashesBody: true),
                by: signer, isFormOrHashed: true))
    }

    /// HMAC-SHA1 of a request of OAuth Core 1.0 appendix A.5, so that signer and verifier cannot be wrong
    /// together.
    @Test func theFieldIsWrittenAsTheRFCWritesIt() throws {
        let signer = OAuth1Signer(
            method: .hmacSHA1, consumerKey: "dpf43f3p2l4k3l03", token: "nnch734d00sl2jdk",
            credentials: OAuth1Credentials(
                consumerSecret: Secret(utf8: "kd94hf93k423kf44"),
                tokenSecret: Secret(utf8: "pfkkdhi9sl3r4s00")),
            realm: "Photos")
        let field = try signer.authorization(
            for: .init(
                method: "GET",
                url: "http://photos.example.net/photos?file=vacation.jpg&size=original"),
            timestamp: 1_191_242_096, nonce: "kllo9940pd9333jh")
        #expect(
            field == "OAuth realm=\"Photos\", oauth_consumer_key=\"dpf43f3p2l4k3l03\", "
                + "oauth_token=\"nnch734d00sl2jdk\", oauth_signature_method=\"HMAC-SHA1\", "
                + "oauth_timestamp=\"1191242096\", oauth_nonce=\"kllo9940pd9333jh\", "
                + "oauth_version=\"1.0\", oauth_signature=\"tR3%2BTy81lMeYAr%2FFid0kMTYa%2FWM%3D\"")
    }

    @Test(arguments: [
        "", "api.example.com/x", "ftp://a/", "https://", "https:///x", "https://user@host/",
        "https://a b/", "https://a/\r\nX: y",
    ])
    func whatIsNoURLIsRefused(url: String) {
        let signer = OAuth1Signer(
            method: .hmacSHA256, consumerKey: "k", credentials: Self.secrets)
        #expect(throws: OAuth1SigningError.invalidURL) {
            try signer.authorization(for: .init(method: "GET", url: url), timestamp: 1, nonce: "n")
        }
    }

    @Test func anRSAMethodNeedsAnRSAKey() throws {
        for key in [nil, try PrivateKey.generate(.p256)] {
            let signer = OAuth1Signer(
                method: .rsaSHA256, consumerKey: "k", credentials: Self.secrets, privateKey: key)
            #expect(throws: OAuth1SigningError.keyMissing) {
                try signer.authorization(
                    for: .init(method: "GET", url: "https://a/"), timestamp: 1, nonce: "n")
            }
        }
    }

    @Test func aQueryThatCannotBeDecodedIsNotSigned() {
        let signer = OAuth1Signer(
            method: .hmacSHA256, consumerKey: "k", credentials: Self.secrets)
        #expect(throws: OAuth1SigningError.malformedParameters) {
            try signer.authorization(
                for: .init(method: "GET", url: "https://a/?x=%zz"), timestamp: 1, nonce: "n")
        }
    }
}
