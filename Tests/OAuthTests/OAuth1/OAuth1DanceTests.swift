import Cryptography
import Foundation
import HTTP
import OAuth
import Primitives
import TestSupport
import Testing

/// What the two-legged dance needs of requests, secrets and answers (RFC 5849 section 2).
struct OAuth1DanceTests {
    private static let url = "https://gateway.example.com/oauth1/access_token"
    private static let first = Secret(utf8: "old & secret")
    private static let second = Secret(utf8: "new/secret")
    private static let third = Secret(utf8: "third")
    private static let token = Secret(utf8: "token%secret")

    private static func request(
        _ method: OAuth1SignatureMethod, _ consumer: Secret, _ tokenSecret: Secret?
    ) throws -> OAuth1Request {
        let signer = OAuth1Signer(
            method: method, consumerKey: "key", token: tokenSecret == nil ? nil : "tok",
            credentials: OAuth1Credentials(consumerSecret: consumer, tokenSecret: tokenSecret))
        let field = try signer.authorization(
            for: .init(method: "POST", url: url), timestamp: 1_767_225_600, nonce: "n")
        return try OAuth1Request([
            "method": "POST", "url": url, "headers": [["Authorization", field]],
        ])
    }

    private static func error(
        _ request: OAuth1Request, _ known: OAuth1Credentials?
    ) throws -> OAuth1Error? {
        do {
            _ = try request.verify(by: OAuth1Verifier.permissive()) { _ in known }
            return nil
        } catch let error as OAuth1Error {
            return error
        }
    }

    // MARK: Secrets

    private static let symmetric: [OAuth1SignatureMethod] = [
        .hmacSHA1, .hmacSHA256, .hmacSHA512, .plaintext,
    ]

    @Test(arguments: symmetric)
    func eachLiveSecretSignsWithTheTokensSecret(method: OAuth1SignatureMethod) throws {
        let three = OAuth1Credentials(
            consumerSecrets: [Self.first, Self.second, Self.third], allowsPlaintext: true,
            tokenSecret: Self.token)
        for secret in three.consumerSecrets {
            let signed = try Self.request(method, secret, Self.token)
            #expect(try Self.error(signed, three) == nil)
            // Without the token's secret, with another, or with one secret in place of the other.
            var known = three
            known.tokenSecret = nil
            #expect(try Self.error(signed, known) == .unknownToken)
            known.tokenSecret = Secret([])
            #expect(try Self.error(signed, known) == .badSignature)
            known.tokenSecret = secret
            #expect(try Self.error(signed, known) == .badSignature)
            known = three
            known.consumerSecrets.removeAll { $0 == secret }
            #expect(try Self.error(signed, known) == .badSignature)
            known.consumerSecrets = []
            #expect(try Self.error(signed, known) == .badSignature)
            #expect(try Self.error(signed, nil) == .unknownConsumer)
        }
    }

    /// A consumer without a token goes on by its own secrets.
    @Test(arguments: symmetric)
    func eachLiveSecretSignsAlone(method: OAuth1SignatureMethod) throws {
        let two = OAuth1Credentials(
            consumerSecrets: [Self.first, Self.second], allowsPlaintext: true)
        for secret in two.consumerSecrets {
            #expect(try Self.error(Self.request(method, secret, nil), two) == nil)
        }
        #expect(try Self.error(Self.request(method, Self.third, nil), two) == .badSignature)
        // Signed with an empty secret, of which no consumer has any.
        let empty = try Self.request(method, Secret([]), nil)
        #expect(try Self.error(empty, two) == .badSignature)
        #expect(try Self.error(empty, OAuth1Credentials(consumerSecrets: [])) == .badSignature)
    }

    /// A verifier is used for one request after the other: no key of an earlier one is left.
    @Test func noSecretIsLeftBehind() throws {
        let verifier = try OAuth1Verifier.permissive()
        let signed = try Self.request(.hmacSHA256, Self.third, nil)
        let three = OAuth1Credentials(consumerSecrets: [Self.first, Self.second, Self.third])
        _ = try signed.verify(by: verifier) { _ in three }
        for known in [[Self.first], [Self.first, Self.second], []] {
            #expect(throws: OAuth1Error.badSignature) {
                try signed.verify(by: verifier) { _ in OAuth1Credentials(consumerSecrets: known) }
            }
        }
    }

    @Test func setToOneThereIsNoOther() {
        var known = OAuth1Credentials(consumerSecrets: [Self.first, Self.second])
        #expect(known.consumerSecret == Self.first)
        known.consumerSecret = Self.third
        #expect(known.consumerSecrets == [Self.third])
        known.consumerSecret = nil
        #expect(known.consumerSecrets.isEmpty)
    }

    @Test func aSignatureBySecondSecretIsExplained() throws {
        let known = OAuth1Credentials(consumerSecrets: [Self.first, Self.second])
        for (secret, outcome) in [
            (Self.first, OAuth1Diagnosis.Outcome.matches), (Self.second, .matches),
            (Secret(utf8: "new/secret\n"), .mistaken([.secretNewline])),
            (Self.third, .unexplained),
        ] {
            let signed = try Self.request(.hmacSHA1, secret, nil)
            let body: [UInt8] = []
            let diagnosis = try OAuth1Diagnosis(
                signed.head, body: body.span, isTLS: true, verifier: .permissive(),
                credentials: known)
            #expect(diagnosis.outcome == outcome)
        }
    }

    // MARK: Callback and verifier

    private static func claim(_ more: String, query: String = "") throws -> OAuth1Claim {
        let field =
            "OAuth oauth_consumer_key=\"k\",oauth_signature_method=\"HMAC-SHA1\","
            + "oauth_timestamp=\"1767225600\",oauth_nonce=\"n\",oauth_signature=\"AA==\"" + more
        let request = try OAuth1Request([
            "method": "POST", "url": url + query, "headers": [["Authorization", field]],
        ])
        return try OAuth1Verifier.permissive().prepare(request.head, body: nil)
    }

    @Test(arguments: [
        ("", nil, nil), (#",oauth_callback="oob""#, "oob", nil),
        (#",oauth_callback="""#, "", nil), (#",oauth_verifier="""#, nil, ""),
        (
            #",oauth_callback="https%3A%2F%2Fc%2F%3Fa%3D1",oauth_verifier="v""#, "https://c/?a=1",
            "v"
        ),
    ])
    func callbackAndVerifierAreReadAsTheyStand(
        more: String, callback: String?, verifier: String?
    ) throws {
        let claim = try Self.claim(more)
        #expect(claim.callback == callback)
        #expect(claim.verifier == verifier)
    }

    @Test(arguments: ["oauth_callback", "oauth_verifier"])
    func twoOfThemAreRefused(name: String) throws {
        #expect(throws: OAuth1Error.duplicateParameter) {
            try Self.claim(",\(name)=\"a\",\(name)=\"a\"")
        }
        #expect(throws: OAuth1Error.twoLocations) {
            try Self.claim(",\(name)=\"a\"", query: "?\(name)=a")
        }
    }

    // MARK: Answers

    @Test func anAnswerHasTwoParametersAndAThirdForWhoAsked() throws {
        let secret = Secret(utf8: "s&=+ %\u{e9}")
        let plain = "oauth_token=a%20b&oauth_token_secret=s%26%3D%2B%20%25%C3%A9"
        func text(_ reply: OAuth1TokenReply) -> String {
            String(decoding: reply.body, as: UTF8.self)
        }
        let asked = try Self.claim(#",oauth_callback="oob""#)
        let emptied = try Self.claim(#",oauth_callback="""#)
        let silent = try Self.claim(#",oauth_verifier="v""#)
        for claim in [asked, emptied] {
            let reply = OAuth1TokenReply(temporary: "a b", secret: secret, for: claim)
            #expect(text(reply) == plain + "&oauth_callback_confirmed=true")
        }
        #expect(text(OAuth1TokenReply(temporary: "a b", secret: secret, for: silent)) == plain)
        #expect(text(OAuth1TokenReply(token: "a b", secret: secret)) == plain)
        var dumped = ""
        dump(OAuth1TokenReply(token: "t", secret: Secret(utf8: "hush")), to: &dumped)
        #expect(!dumped.contains("hush"))
    }

    @Test(arguments: [
        (OAuth1Error.malformed, "oauth_problem=parameter_rejected"),
        (.duplicateParameter, "oauth_problem=parameter_rejected"),
        (.twoLocations, "oauth_problem=parameter_rejected"),
        (.tooManyParameters, "oauth_problem=parameter_rejected"),
        (
            .missingParameter("oauth_nonce"),
            "oauth_problem=parameter_absent&oauth_parameters_absent=oauth_nonce"
        ),
        (
            .timestampInvalid,
            "oauth_problem=parameter_rejected&oauth_parameters_rejected=oauth_timestamp"
        ),
        (
            .unsupportedVersion,
            "oauth_problem=version_rejected&oauth_acceptable_versions=1.0-1.0"
        ),
        (.unsupportedSignatureMethod, "oauth_problem=signature_method_rejected"),
        (.plaintextNeedsTLS, "oauth_problem=signature_method_rejected"),
        (.plaintextNotAllowed, "oauth_problem=signature_method_rejected"),
        (
            .timestampOutOfWindow,
            "oauth_problem=timestamp_refused&oauth_acceptable_timestamps=100-700"
        ),
        (.nonceReused, "oauth_problem=nonce_used"),
        (
            .bodyHashMismatch,
            "oauth_problem=parameter_rejected&oauth_parameters_rejected=oauth_body_hash"
        ),
        (
            .bodyHashMissing,
            "oauth_problem=parameter_absent&oauth_parameters_absent=oauth_body_hash"
        ),
    ])
    func aProblemIsNamed(error: OAuth1Error, body: String) {
        let problem = OAuth1Problem(error, acceptableTimestamps: 100...700)
        #expect(String(decoding: problem.body, as: UTF8.self) == body)
    }

    @Test func whichCredentialWasWrongIsNotTold() {
        let one = OAuth1Problem(.badSignature)
        #expect(String(decoding: one.body, as: UTF8.self) == "oauth_problem=invalid_credentials")
        for error in [OAuth1Error.unknownConsumer, .unknownToken] {
            #expect(OAuth1Problem(error) == one)
            #expect(error.status == OAuth1Error.badSignature.status)
        }
    }

    // MARK: A real client

    /// oauthlib signs both steps and a resource, with every symmetric method, and reads both answers.
    @Test func oauthlibDancesThroughIt() throws {
        let python = try requirePython(module: "oauthlib", package: "python3-oauthlib")
        let program = """
            import json, sys
            from oauthlib.oauth1 import Client
            from oauthlib.common import urldecode
            asked = json.load(sys.stdin)
            made = []
            for method in ['HMAC-SHA1', 'HMAC-SHA256', 'HMAC-SHA512', 'PLAINTEXT']:
                for callback in [None, 'oob', 'https://c.example/?a=b c']:
                    client = Client('key', client_secret=asked['consumer'], callback_uri=callback,
                        signature_method=method, timestamp='1767225600', nonce='n')
                    _, headers, _ = client.sign(asked['url'], http_method='POST')
                    made.append([method, callback, None, headers['Authorization']])
                for verifier in [None, 'anything']:
                    answer = dict(urldecode(asked['answer']))
                    client = Client('key', client_secret=asked['consumer'],
                        resource_owner_key=answer['oauth_token'],
                        resource_owner_secret=answer['oauth_token_secret'], verifier=verifier,
                        signature_method=method, timestamp='1767225600', nonce='n')
                    _, headers, _ = client.sign(asked['url'], http_method='POST')
                    made.append([method, None, verifier, headers['Authorization']])
            json.dump(made, sys.stdout)
            """
        let reply = OAuth1TokenReply(token: "tok en", secret: Self.token)
        let input = try JSONSerialization.data(withJSONObject: [
            "url": Self.url, "consumer": "new/secret",
            "answer": String(decoding: reply.body, as: UTF8.self),
        ])
        let result = try run(
            python, ["-c", program], input: String(decoding: input, as: UTF8.self))
        #expect(result.status == .code(0), "\(result.error)")
        let output = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
        let made = (output as? [[Any]] ?? []).map { row in row.map { $0 as? String } }
        #expect(made.count == 20)
        for (index, item) in made.enumerated() {
            let request = try OAuth1Request([
                "method": "POST", "url": Self.url,
                "headers": [["Authorization", try #require(item[3])]],
            ])
            let (claim, _) = try request.verify(by: OAuth1Verifier.permissive()) { claim in
                OAuth1Credentials(
                    consumerSecrets: [Self.first, Self.second], allowsPlaintext: true,
                    tokenSecret: claim.token == "tok en" ? Self.token : nil)
            }
            #expect(claim.consumerKey == "key")
            #expect(claim.token == (index % 5 < 3 ? nil : "tok en"))
            #expect(claim.callback == item[1] && claim.verifier == item[2])
        }
    }
}
