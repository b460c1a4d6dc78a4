import Cryptography
import HTTP
import OAuth
import Primitives
import TestSupport
import Testing

/// oauth1_mistakes.json: what is wrong is refused, and named.
struct OAuth1DiagnosisTests {
    private static let secrets = OAuth1Credentials(
        consumerSecret: Secret(utf8: "kd94&hf93+k423"),
        tokenSecret: Secret(utf8: "pfkkdhi9/sl3r4s00"))

    /// Without a token there is no token secret.
    private static func credentials(_ claim: OAuth1Claim) -> OAuth1Credentials {
        var known = secrets
        if claim.token == nil { known.tokenSecret = nil }
        return known
    }

    private static func diagnose(
        _ vector: [String: Any], origins: [String] = [], policy: OAuth1Verifier? = nil
    ) throws -> OAuth1Diagnosis {
        let request = try OAuth1Request(vector)
        let verifier = try policy ?? .permissive()
        let claim = try verifier.prepare(request.head, body: request.body.span)
        return try OAuth1Diagnosis(
            request.head, body: request.body.span, isTLS: request.isTLS, verifier: verifier,
            credentials: credentials(claim), origins: origins.compactMap { PublicOrigin($0) })
    }

    @Test func everyMistakeIsRefused() throws {
        let cases = try OAuth1Vectors.mistakes()
        #expect(cases.count == 46)
        let verifier = try OAuth1Verifier.permissive()
        var accepted: [String] = []
        for item in cases {
            let id = try #require(item["id"] as? String)
            let vector = try #require(item["request"] as? [String: Any])
            let request = try OAuth1Request(vector)
            do {
                let (_, match) = try request.verify(by: verifier, Self.credentials)
                #expect(match.order == .decoded)
                accepted.append(id)
            } catch let error as OAuth1Error {
                #expect(error == .badSignature, "\(id)")
                #expect(error.status == item["expect_status"] as? Int, "\(id)")
            }
        }
        // The second canonical order, of Ruby's and PHP's clients (interface.md section 3).
        #expect(accepted == ["mistake-sort-decoded"])
    }

    /// The public name that mistake-other-host signs can stand in the conf alone; all others are
    /// found in the request.
    @Test func everyMistakeIsNamed() throws {
        let cases = try OAuth1Vectors.mistakes()
        var named = 0
        for item in cases {
            let id = try #require(item["id"] as? String)
            let vector = try #require(item["request"] as? [String: Any])
            let origins = id == "mistake-other-host" ? ["https://api.example.com"] : []
            let diagnosis = try Self.diagnose(vector, origins: origins)
            let mistake = try #require(OAuth1Mistake(rawValue: String(id.dropFirst(8))), "\(id)")
            #expect(diagnosis.outcome == .mistaken([mistake]), "\(id)")
            #expect(diagnosis.baseString == item["right_base_string"] as? String, "\(id)")
            #expect(!mistake.explanation.isEmpty)
            if let hint = item["hint"] as? String {
                #expect(mistake.hint?.contains(hint) == true, "\(id)")
            }
            if diagnosis.outcome == .mistaken([mistake]) { named += 1 }
        }
        #expect(named == 46)
    }

    @Test func nothingThatSignsIsTold() throws {
        for item in try OAuth1Vectors.mistakes() {
            let vector = try #require(item["request"] as? [String: Any])
            let right = try #require(item["right_signature"] as? String)
            var told = ""
            dump(try Self.diagnose(vector), to: &told)
            for secret in [right, "kd94", "hf93", "pfkkdhi9", "sl3r4s00"] {
                #expect(!told.contains(secret), "\(item["id"] ?? "")")
            }
        }
    }

    @Test func stepsAreThoseOfTheCheck() throws {
        let vector = try OAuth1Vectors.signed("matrix-hmac-sha256-header-token")
        let request = try OAuth1Request(vector)
        let diagnosis = try OAuth1Diagnosis(
            request.head, body: request.body.span, isTLS: true, verifier: .permissive(),
            credentials: OAuth1Vectors.credentials(vector))
        #expect(diagnosis.outcome == .matches)
        #expect(diagnosis.consumerKey == "dpf43f3p2l4k3l03")
        #expect(diagnosis.normalizedParameters == vector["normalized_parameters"] as? String)
        #expect(diagnosis.baseStringURI == vector["base_string_uri"] as? String)
        #expect(diagnosis.baseString == vector["base_string"] as? String)
        #expect(diagnosis.parameters.contains { $0.name == "oauth_nonce" && $0.source == .header })
        #expect(!diagnosis.parameters.contains { $0.name == "oauth_signature" })
    }

    /// Signatures that are right, yet not of this consumer: no mistake may be made up for them.
    @Test func anotherSecretIsNotExplained() throws {
        for id in ["matrix-hmac-sha256-header-token", "matrix-rsa-sha256-header-token"] {
            let vector = try OAuth1Vectors.signed(id)
            let request = try OAuth1Request(vector)
            let other = OAuth1Credentials(
                consumerSecret: Secret(utf8: "other"),
                rsaKey: try PrivateKey.generate(.rsa2048).publicKey,
                tokenSecret: Secret(utf8: "another"))
            let diagnosis = try OAuth1Diagnosis(
                request.head, body: request.body.span, isTLS: true, verifier: .permissive(),
                credentials: other)
            #expect(diagnosis.outcome == .unexplained)
            let unknown = try OAuth1Diagnosis(
                request.head, body: request.body.span, isTLS: true, verifier: .permissive(),
                credentials: nil)
            #expect(unknown.outcome == .unknownConsumer)
        }
    }

    /// Signs by our own signer what another URL or method would want, and sends it to this one.
    private static func sent(
        _ url: String, signedAs signed: OAuth1Signer.Request,
        method: OAuth1SignatureMethod = .hmacSHA256, key: PrivateKey? = nil,
        credentials: OAuth1Credentials = secrets, change: (String) -> String = { $0 }
    ) throws -> [String: Any] {
        let signer = OAuth1Signer(
            method: method, consumerKey: "dpf43f3p2l4k3l03", token: "nnch734d00sl2jdk",
            credentials: credentials, privateKey: key)
        let field = try signer.authorization(for: signed, timestamp: 1_767_225_600, nonce: "n")
        return ["method": "GET", "url": url, "headers": [["Authorization", change(field)]]]
    }

    @Test func twoMistakesAtOnceAreNamed() throws {
        let vector = try Self.sent(
            "https://api.example.com/v1/items?a=1",
            signedAs: .init(method: "POST", url: "http://api.example.com/v1/items?a=1"))
        #expect(
            try Self.diagnose(vector).outcome == .mistaken([.otherMethod, .schemeHTTP]))
    }

    @Test func spellingsOfTheSignatureAreNamed() throws {
        let url = "https://api.example.com/v1/items"
        // A nonce whose signature has a "+" would have to be looked for; every signature of 32
        // bytes ends with "=".
        let vector = try Self.sent(url, signedAs: .init(method: "GET", url: url)) {
            $0.replacing("%3D\"", with: "\"").replacing("%2B", with: "-").replacing(
                "%2F", with: "_")
        }
        #expect(try Self.diagnose(vector).outcome == .mistaken([.signatureOtherBase64]))
    }

    @Test func aHashOfAnotherNameIsFoundForRSA() throws {
        let url = "https://api.example.com/v1/items"
        let key = try OAuth1Vectors.privateKey("rsa-2048-test")
        let vector = try Self.sent(
            url, signedAs: .init(method: "GET", url: "http://api.example.com/v1/items"),
            method: .rsaSHA256, key: key)
        let request = try OAuth1Request(vector)
        let diagnosis = try OAuth1Diagnosis(
            request.head, body: request.body.span, isTLS: true, verifier: .permissive(),
            credentials: OAuth1Credentials(consumerSecret: nil, rsaKey: key.publicKey))
        #expect(diagnosis.outcome == .mistaken([.schemeHTTP]))
    }

    @Test func plaintextIsExplainedByItsKeyAlone() throws {
        let url = "https://api.example.com/v1/items"
        var wrong = Self.secrets
        wrong.tokenSecret = nil
        let vector = try Self.sent(
            url, signedAs: .init(method: "GET", url: url), method: .plaintext, credentials: wrong)
        #expect(try Self.diagnose(vector).outcome == .mistaken([.tokenSecretMissing]))
    }

    /// The gateway is told a public_url; the client signs what it connects to.
    @Test func thePublicURLIsWhatShouldBeSigned() throws {
        let policy = OAuth1Policy(
            signatureMethods: [.hmacSHA256], timestampWindowSeconds: 300, bodyHashRequired: false,
            heldBodyBytes: 1 << 20, publicURLs: ["https://api.example.com/shop/"])
        let inner = "http://10.0.0.7:8080/v1/items"
        let verifier = try OAuth1Verifier(policy: policy)
        let vector = try Self.sent(inner, signedAs: .init(method: "GET", url: inner))
        let diagnosis = try Self.diagnose(vector, policy: verifier)
        #expect(diagnosis.baseStringURI == "https://api.example.com/shop/v1/items")
        #expect(diagnosis.outcome == .mistaken([.otherHost]))
        let right = try Self.sent(
            inner,
            signedAs: .init(method: "GET", url: "https://api.example.com/shop/v1/items"))
        #expect(try Self.diagnose(right, policy: verifier).outcome == .matches)
        let (_, match) = try OAuth1Request(right).verify(by: verifier, Self.credentials)
        #expect(match.publicOrigin == 0)
    }
}
