import Cryptography
import Foundation
import OAuth
import Primitives
import TestSupport
import Testing

/// What an assertion must say, at each limit (RFC 7523 section 3); the table of token_endpoint.json is TokenVectorTests'.
struct ClientAssertionTests {
    private let exchange: TokenExchange
    private let keys: [JWSAlgorithm: SigningKey]
    private static let now = TokenExchange.now.seconds
    private static let issuer = TokenExchange.issuer

    init() throws {
        let kinds: [(JWSAlgorithm, PrivateKey.Kind)] = [
            (.es256, .p256), (.edDSA, .ed25519), (.rs256, .rsa2048),
        ]
        var keys: [JWSAlgorithm: SigningKey] = [:]
        for (algorithm, kind) in kinds {
            keys[algorithm] = try SigningKey(algorithm: algorithm, privateKey: .generate(kind))
        }
        let rsa = try #require(keys[.rs256]).privateKey
        keys[.ps256] = try SigningKey(keyID: "ps", algorithm: .ps256, privateKey: rsa)
        self.keys = keys
        var exchange = try TokenExchange()
        exchange.clients["a"] = RegisteredClient(
            id: "a", secrets: [], scopes: ["read"], audiences: [], authMethod: .privateKeyJWT,
            keys: try KeySet(
                jwks: JWKSDocument.write(keys.values.map(\.published)), allowsSymmetric: false))
        self.exchange = exchange
    }

    /// Claims that hold, each of which a test may replace; `nil` leaves it out.
    private func claims(_ changes: [String: String?] = [:]) -> String {
        var members: [String: String?] = [
            "iss": "\"a\"", "sub": "\"a\"", "aud": "\"\(Self.issuer)\"", "exp": "\(Self.now + 60)",
            "iat": "\(Self.now)", "jti": "\"j\"",
        ]
        members.merge(changes) { $1 }
        let pairs = members.compactMap { name, value in value.map { "\"\(name)\":\($0)" } }
        return "{\(pairs.joined(separator: ","))}"
    }

    private func signed(
        _ claims: String, by algorithm: JWSAlgorithm = .es256, type: String = "JWT"
    ) throws -> [UInt8] {
        try JWTSigner.sign(
            claims: Array(claims.utf8), with: try #require(keys[algorithm]), type: type)
    }

    private func verify(
        _ assertion: [UInt8], policy: ClientAssertion.Policy? = nil
    ) throws -> ProvenClient {
        let policy = try policy ?? #require(exchange.assertions)
        return try ClientAssertion.verify(assertion.span, now: TokenExchange.now, policy: policy) {
            exchange.clients[$0]
        }
    }

    private func cause(
        _ assertion: [UInt8], policy: ClientAssertion.Policy? = nil
    ) throws -> TokenRequestError.Cause? {
        do {
            _ = try verify(assertion, policy: policy)
            return nil
        } catch TokenRequestError.invalidClient(let cause) {
            return cause
        }
    }

    @Test(arguments: [JWSAlgorithm.es256, .edDSA, .rs256, .ps256])
    func everyAlgorithmProvesItsClient(algorithm: JWSAlgorithm) throws {
        for type in ["JWT", "jwt", "application/JWT", "client-authentication+jwt"] {
            let proven = try verify(signed(claims(), by: algorithm, type: type))
            #expect(proven.client.id == "a")
            let assertion = try #require(proven.assertion)
            #expect(assertion.clientID == "a" && assertion.tokenID == "j")
            #expect(assertion.expiresAt == Self.now + 60)
        }
    }

    @Test(arguments: ["at+jwt", "dpop+jwt", "", "x"])
    func anotherKindOfTokenIsNone(type: String) throws {
        #expect(try cause(signed(claims(), type: type)) == .badAssertion(.wrongType))
    }

    @Test func anAlgorithmThatIsNotAllowedIsRefused() throws {
        let policy = ClientAssertion.Policy(audiences: [Self.issuer], algorithms: [.edDSA, .hs256])
        #expect(policy.algorithms == [.edDSA])
        #expect(try cause(signed(claims()), policy: policy) == .badAssertion(.badAlgorithm))
        #expect(try cause(signed(claims(), by: .edDSA), policy: policy) == nil)
        let key = Array("a secret of thirty-two characters".utf8)
        let header = Base64.encode(Array(#"{"alg":"HS256","typ":"JWT"}"#.utf8), .url)
        var text = Array("\(header).\(Base64.encode(Array(claims().utf8), .url))".utf8)
        let code = try MAC.authenticate(text.span, algorithm: .sha256, key: key)
        text += Array(".\(Base64.encode(code, .url))".utf8)
        #expect(try cause(text) == .badAssertion(.badAlgorithm))
    }

    @Test(arguments: [
        ("iss", nil, TokenError.missingClaim("iss")), ("sub", nil, .missingClaim("sub")),
        ("aud", nil, .missingClaim("aud")), ("exp", nil, .missingClaim("exp")),
        ("jti", nil, .missingClaim("jti")), ("iss", "1", .invalidClaim("iss")),
        ("iss", #""""#, .invalidClaim("iss")), ("sub", #""b""#, .invalidClaim("sub")),
        ("aud", "{}", .invalidClaim("aud")), ("aud", "[1]", .invalidClaim("aud")),
        ("aud", "[]", .wrongAudience), ("aud", #""https://gateway.example.com/""#, .wrongAudience),
        ("aud", #"["https://gateway.example.com/oauth2"]"#, .wrongAudience),
        ("exp", #""9""#, .invalidClaim("exp")), ("exp", "1e99", .invalidClaim("exp")),
        ("nbf", "null", .invalidClaim("nbf")), ("iat", #""x""#, .invalidClaim("iat")),
        ("jti", #""""#, .invalidClaim("jti")), ("jti", "7", .invalidClaim("jti")),
    ])
    func aClaimThatIsMissingOrWrongIsRefused(
        name: String, value: String?, error: TokenError
    ) throws {
        let text = claims([name: value])
        #expect(try cause(signed(text)) == .badAssertion(error))
    }

    @Test func timesHoldUpToTheirLimits() throws {
        func with(_ name: String, _ offset: Int64) throws -> TokenRequestError.Cause? {
            try cause(signed(claims([name: "\(Self.now + offset)"])))
        }
        #expect(try with("exp", 1) == nil)
        #expect(try with("exp", 0) == .badAssertion(.expired))
        // Ten minutes, and the skew by which the client's clock may be ahead.
        #expect(try with("exp", 630) == nil)
        #expect(try with("exp", 631) == .badAssertion(.invalidClaim("exp")))
        for name in ["nbf", "iat"] {
            #expect(try with(name, 30) == nil)
            #expect(try with(name, 31) == .badAssertion(.notYetValid))
            #expect(try with(name, -1_000_000) == nil)
        }
        let policy = ClientAssertion.Policy(
            audiences: [Self.issuer], lifetimeLimitSeconds: 50, clockSkewSeconds: 9)
        #expect(try cause(signed(claims(["exp": "\(Self.now + 59)"])), policy: policy) == nil)
        #expect(
            try cause(signed(claims()), policy: policy) == .badAssertion(.invalidClaim("exp")))
        #expect(try cause(signed(claims(["exp": "\(Int64.max)"]))) != nil)
    }

    @Test func aTokenIDHasTwoHundredAndFiftySixBytesAtMost() throws {
        let limit = ClientAssertion.tokenIDLimitBytes
        #expect(limit == 256)
        let longest = String(repeating: "j", count: limit)
        let proven = try verify(signed(claims(["jti": "\"\(longest)\""])))
        #expect(proven.assertion?.tokenID == longest)
        let cause = try cause(signed(claims(["jti": "\"\(longest)j\""])))
        #expect(cause == .badAssertion(.invalidClaim("jti")))
    }

    /// Unknown, known by another method, known with other keys, a key name that nobody has: one answer outside.
    @Test func whoHasNotProvenItselfLearnsNothing() throws {
        var exchange = exchange
        try exchange.add("post", "secret", scopes: [], method: .post)
        exchange.clients["keyless"] = RegisteredClient(
            id: "keyless", secrets: [], scopes: [], audiences: [], authMethod: .privateKeyJWT)
        func answer(_ id: String, by key: SigningKey) throws -> TokenExchange.Answer {
            let text = claims(["iss": "\"\(id)\"", "sub": "\"\(id)\""])
            let token = try JWTSigner.sign(claims: Array(text.utf8), with: key, type: "JWT")
            let form =
                "grant_type=client_credentials&client_assertion_type=\(ClientAssertion.type)"
                + "&client_assertion=\(String(decoding: token, as: UTF8.self))"
            return try exchange.answer(form, basic: nil)
        }
        let known = try #require(keys[.es256])
        let stranger = try SigningKey(algorithm: .es256, privateKey: .generate(.p256))
        let alike = try SigningKey(
            keyID: known.keyID, algorithm: .es256, privateKey: stranger.privateKey)
        let misnamed = try SigningKey(
            keyID: try #require(keys[.edDSA]).keyID, algorithm: .es256,
            privateKey: known.privateKey)
        #expect(try answer("a", by: known).status == 200)
        let failures = [
            (try answer("nobody", by: known), TokenRequestError.Cause.unknownClient),
            (try answer("post", by: known), .methodNotAllowed),
            (try answer("keyless", by: known), .badAssertion(.unknownKey)),
            (try answer("a", by: stranger), .badAssertion(.unknownKey)),
            (try answer("a", by: alike), .badAssertion(.badSignature)),
            (try answer("a", by: misnamed), .badAssertion(.badAlgorithm)),
        ]
        for (answer, cause) in failures {
            #expect(answer.error == .invalidClient(cause))
            #expect(answer.status == 401)
            #expect(answer.body == failures[0].0.body)
        }
    }

    /// A client that makes assertions has no other way in.
    @Test func aSecretOfSuchAClientOpensNothing() throws {
        var exchange = exchange
        exchange.clients["a"]?.secrets = [.plain(Secret(utf8: "secret"))]
        let answer = try exchange.answer("grant_type=client_credentials", basic: "a:secret")
        #expect(answer.error == .invalidClient(.methodNotAllowed))
    }

    @Test func clientIDMustNameTheSameClient() throws {
        let form =
            "grant_type=client_credentials&client_assertion_type=\(ClientAssertion.type)"
            + "&client_assertion=\(String(decoding: try signed(claims()), as: UTF8.self))"
        #expect(try exchange.answer(form + "&client_id=a", basic: nil).status == 200)
        let other = try exchange.answer(form + "&client_id=b", basic: nil)
        #expect(other.code == "invalid_request")
    }

    @Test func anAssertionLargerThanATokenMayBeIsRefused() throws {
        let padding = String(repeating: "x", count: TokenVerifier.limitBytes)
        let text = try signed(claims(["x": "\"\(padding)\""]))
        #expect(try cause(text) == .badAssertion(.tooLarge))
    }

    /// Authlib signs with each of its algorithms, as a client of its `PrivateKeyJWT` does.
    @Test func theAssertionsOfALibraryHold() throws {
        let python = try requirePython(module: "authlib", package: "python3-authlib")
        let program = """
            import json, sys
            from authlib.oauth2.rfc7523 import private_key_jwt_sign
            asked = json.load(sys.stdin)
            made = {alg: private_key_jwt_sign(pem, 'a', asked['url'], alg=alg,
                        header={'kid': alg}, claims={'iat': asked['now'], 'exp': asked['now'] + 60}).decode()
                    for alg, pem in asked['keys'].items()}
            json.dump(made, sys.stdout)
            """
        var pem: [String: String] = [:]
        var published: [JWKSDocument.Key] = []
        for (algorithm, key) in keys {
            pem[algorithm.rawValue] =
                "-----BEGIN PRIVATE KEY-----\n"
                + Base64.encode(try key.privateKey.pkcs8DER().exposed, .standard)
                + "\n-----END PRIVATE KEY-----\n"
            published.append(
                JWKSDocument.Key(
                    keyID: algorithm.rawValue, algorithm: algorithm,
                    publicKey: key.privateKey.publicKey))
        }
        let input = try JSONSerialization.data(withJSONObject: [
            "url": Self.issuer + "/oauth2/token", "now": Self.now, "keys": pem,
        ])
        let result = try run(
            python, ["-c", program], input: String(decoding: input, as: UTF8.self))
        #expect(result.status == .code(0), "\(result.error)")
        let made = try JSON.object(Array(result.output.utf8))
        #expect(made.count == 4)
        let known = try KeySet(jwks: JWKSDocument.write(published), allowsSymmetric: false)
        for (algorithm, text) in made {
            let assertion = Array(try #require(text as? String).utf8)
            let proven = try ClientAssertion.verify(
                assertion.span, now: TokenExchange.now, policy: try #require(exchange.assertions)
            ) { id in
                RegisteredClient(
                    id: id, secrets: [], scopes: [], audiences: [], authMethod: .privateKeyJWT,
                    keys: known)
            }
            #expect(proven.client.id == "a", "\(algorithm)")
            #expect(proven.assertion?.expiresAt == Self.now + 60)
        }
    }
}
