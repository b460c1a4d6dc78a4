import Cryptography
import Primitives
import Testing

@testable import OAuth

/// Tokens signed here, one property changed at a time: the table "Bearer tokens" of the threats
/// page, as far as a token alone can show it.
struct TokenVerifierTests {
    static let now = WallTime(seconds: 1_767_225_600)

    struct House {
        let key: SigningKey
        var terms: TrustedIssuer

        init() throws {
            key = try SigningKey(keyID: "k1", algorithm: .es256, privateKey: .generate(.p256))
            let published = JWKSDocument.write([key.published])
            terms = TrustedIssuer(
                name: "house", issuer: "https://issuer.example",
                audiences: ["https://api.example", "b"],
                algorithms: [.es256], clockSkewSeconds: 30,
                keys: try KeySet(jwks: published, allowsSymmetric: false))
        }

        func token(
            iss: String? = #""https://issuer.example""#, aud: String? = #""https://api.example""#,
            exp: String? = "1767225660", sub: String? = #""s""#, also: String = "",
            type: String = "at+jwt"
        ) throws -> [UInt8] {
            let members = [("iss", iss), ("aud", aud), ("exp", exp), ("sub", sub)]
            let text = members.compactMap { name, value in value.map { "\"\(name)\":\($0)" } }
            let claims = "{\((text + (also.isEmpty ? [] : [also])).joined(separator: ","))}"
            return try JWTSigner.sign(claims: Array(claims.utf8), with: key, type: type)
        }

        func verify(_ token: [UInt8], at now: WallTime = now) throws(TokenError) -> VerifiedToken {
            try TokenVerifier(issuers: [terms]).verify(token.span, now: now)
        }
    }

    @Test func whatAProvenTokenSaysIsRead() throws {
        let house = try House()
        let token = try house.token(
            aud: #"["x","b"]"#,
            also: #""client_id":"c 1","scope":"read  write","jti":"j","nbf":1767225599.5,"#
                + #""n":1.50,"t":true,"list":["a","b"],"o":{},"é":"\u00e9""#)
        let verified = try house.verify(token)
        #expect(verified.issuerName == "house")
        #expect(verified.issuer == "https://issuer.example")
        #expect(verified.clientID == "c 1")
        #expect(verified.subject == "s")
        #expect(verified.scopes == ["read", "write"])
        #expect(verified.audiences == ["x", "b"])
        #expect(verified.tokenID == "j")
        #expect(verified.expiresAt == 1_767_225_660)
        #expect(verified.notBefore == 1_767_225_599)
        #expect(verified.clockSkewSeconds == 30)
        #expect(!verified.isFromOwnAuthority)
        #expect(verified.claim("n") == .number("1.50"))
        #expect(verified.claim("t") == .bool(true))
        #expect(verified.claim("list") == .strings(["a", "b"]))
        #expect(verified.claim("é") == .string("é"))
        #expect(verified.claim("o") == nil)
        #expect(verified.claim("missing") == nil)
    }

    /// The sign for kelvin is no letter K, though Unicode calls the two equivalent.
    @Test func anAudienceIsComparedByteForByte() throws {
        var house = try House()
        house.terms.audiences = ["https://api.example/K"]
        let right = try house.token(aud: #""https://api.example/K""#)
        #expect(try house.verify(right).audiences == ["https://api.example/K"])
        let wrong = try house.token(aud: "\"https://api.example/\u{212A}\"")
        #expect(throws: TokenError.wrongAudience) { try house.verify(wrong) }
    }

    @Test(
        arguments: [
            (1_767_225_660, 1_767_225_689, nil), (1_767_225_660, 1_767_225_690, TokenError.expired),
            (1_767_225_660, 1_767_225_691, .expired), (Int64.max, 1_767_225_600, nil),
        ] as [(Int64, Int64, TokenError?)])
    func aTokenEndsWithItsSkew(exp: Int64, now: Int64, reason: TokenError?) throws {
        let house = try House()
        let token = try house.token(exp: "\(exp)")
        if let reason {
            #expect(throws: reason) { try house.verify(token, at: WallTime(seconds: now)) }
        } else {
            _ = try house.verify(token, at: WallTime(seconds: now))
        }
    }

    @Test func aTokenBeginsWithItsSkewAndIsJudgedAnewLater() throws {
        let house = try House()
        let token = try house.token(also: #""nbf":1767225600"#)
        #expect(throws: TokenError.notYetValid) {
            try house.verify(token, at: WallTime(seconds: 1_767_225_569))
        }
        let verified = try house.verify(token, at: WallTime(seconds: 1_767_225_570))
        #expect(throws: TokenError.notYetValid) {
            try verified.holds(at: WallTime(seconds: 1_767_225_569))
        }
        #expect(throws: TokenError.expired) {
            try verified.holds(at: WallTime(seconds: 1_767_225_690))
        }
    }

    @Test(arguments: [
        (#""client_id":"a","azp":"b""#, "a"), (#""azp":"b""#, "b"), (#""x":"a""#, "s"),
    ])
    func theFirstClientClaimCounts(also: String, client: String) throws {
        let house = try House()
        #expect(try house.verify(house.token(also: also)).clientID == client)
    }

    @Test func aTokenWithoutAClientIsRefused() throws {
        let house = try House()
        let token = try house.token(sub: nil)
        #expect(throws: TokenError.missingClaim("client_id")) { try house.verify(token) }
    }

    @Test(arguments: [
        (#""client_id":1"#, "client_id"), (#""client_id":"""#, "client_id"),
        (#""client_id":"a\r\nX-Auth-Client: b""#, "client_id"),
        (#""client_id":"a\u0000b""#, "client_id"),
        (#""client_id":" a""#, "client_id"), (#""client_id":"a ""#, "client_id"),
        (#""client_id":"a\tb""#, "client_id"), (#""client_id":"a\u007f""#, "client_id"),
        (#""client_id":null"#, "client_id"), (#""jti":1"#, "jti"), (#""scope":1"#, "scope"),
        (#""scope":["a b"]"#, "scope"), (#""scope":["a",1]"#, "scope"),
        (#""scope":"a\tb""#, "scope"),
        (#""scope":"é""#, "scope"), (#""scope":"a\"b""#, "scope"), (#""scope":[""]"#, "scope"),
        (#""scp":{}"#, "scp"),
    ])
    func aClaimThatNoHeaderMayCarryIsRefused(also: String, claim: String) throws {
        let house = try House()
        let token = try house.token(also: also)
        #expect(throws: TokenError.invalidClaim(claim)) { try house.verify(token) }
    }

    /// Names and texts count as they are once their escapes are resolved.
    @Test func anEscapedClaimIsTheSameClaim() throws {
        let house = try House()
        let verified = try house.verify(
            house.token(
                aud: #"["\u0062"]"#, exp: nil, sub: nil,
                also: #""e\u0078p":1767225660,"s\u0075b":"\u0073","jt\u0069":"\u00e9","exq":1,"#
                    + #""client\u005fid":"c\u0020d","scope":"\u0061  b\u0063 ""#))
        #expect(verified.expiresAt == 1_767_225_660)
        #expect(verified.subject == "s")
        #expect(verified.tokenID == "é")
        #expect(verified.clientID == "c d")
        #expect(verified.scopes == ["a", "bc"])
        #expect(verified.audiences == ["b"])
    }

    @Test(arguments: [
        (#""""#, []), (#""  ""#, []), (#"" a ""#, ["a"]), (#""a""#, ["a"]), ("[]", []),
        (#"["a","b"]"#, ["a", "b"]),
    ])
    func scopesAreWordsOrAList(scope: String, scopes: [String]) throws {
        let house = try House()
        #expect(try house.verify(house.token(also: #""scope":\#(scope)"#)).scopes == scopes)
    }

    @Test func whatATokenListsIsBounded() throws {
        let house = try House()
        func list(_ count: Int) -> String {
            "[" + (0..<count).map { _ in #""b""# }.joined(separator: ",") + "]"
        }
        #expect(try house.verify(house.token(aud: list(64))).audiences.count == 64)
        let audiences = try house.token(aud: list(65))
        #expect(throws: TokenError.invalidClaim("aud")) { try house.verify(audiences) }
        func words(_ count: Int) -> String {
            "\"" + String(repeating: "b ", count: count) + "\""
        }
        for write in [list, words] {
            let most = try house.token(also: #""scope":\#(write(256))"#)
            #expect(try house.verify(most).scopes.count == 256)
            let more = try house.token(also: #""scope":\#(write(257))"#)
            #expect(throws: TokenError.invalidClaim("scope")) { try house.verify(more) }
        }
        for name in ["scope", "client_id", "jti"] {
            func token(_ count: Int) throws -> [UInt8] {
                try house.token(also: "\"\(name)\":\"\(String(repeating: "x", count: count))\"")
            }
            _ = try house.verify(token(1024))
            let more = try token(1025)
            #expect(throws: TokenError.invalidClaim(name)) { try house.verify(more) }
        }
    }

    /// They are passed over at each use.
    @Test func noMoreSpacesStandBetweenScopesThanItsLimitAllows() throws {
        let house = try House()
        func token(_ blanks: Int) throws -> [UInt8] {
            try house.token(also: "\"scope\":\"a\(String(repeating: " ", count: blanks))b\"")
        }
        #expect(try house.verify(token(512)).scopes == ["a", "b"])
        for blanks in [513, 10_000] {
            let more = try token(blanks)
            #expect(throws: TokenError.invalidClaim("scope")) { try house.verify(more) }
        }
    }

    /// Of two faults the first in this order is told.
    @Test func theFirstFaultIsTheReason() throws {
        let house = try House()
        let faults: [(claims: String, reason: TokenError)] = [
            (#""exp":"x""#, .invalidClaim("exp")), (#""nbf":"x""#, .invalidClaim("nbf")),
            (#""iat":"x""#, .invalidClaim("iat")), (#""aud":"other""#, .wrongAudience),
            (#""cnf":{}"#, .confirmationRequired), (#""sub":"""#, .invalidClaim("sub")),
            (#""jti":1"#, .invalidClaim("jti")), (#""client_id":1"#, .invalidClaim("client_id")),
            (#""scope":1"#, .invalidClaim("scope")),
        ]
        for index in 1..<faults.count {
            let pair = [faults[index], faults[index - 1]].map(\.claims)
            func rest(_ name: String, _ value: String) -> String? {
                pair.contains { $0.hasPrefix("\"\(name)\"") } ? nil : value
            }
            let token = try house.token(
                aud: rest("aud", #""b""#), exp: rest("exp", "1767225660"), sub: nil,
                also: (pair + [rest("client_id", #""client_id":"c""#)].compactMap { $0 })
                    .joined(separator: ","))
            #expect(throws: faults[index - 1].reason) { try house.verify(token) }
        }
    }

    @Test(arguments: ["1", "null", "{}", "true", #"["b",1]"#, #"["b",["b"]]"#])
    func anAudienceIsATextOrAList(aud: String) throws {
        let house = try House()
        let token = try house.token(aud: aud)
        #expect(throws: TokenError.invalidClaim("aud")) { try house.verify(token) }
    }

    @Test func theSizeIsBoundedBeforeAnyWork() throws {
        let house = try House()
        let pad = String(repeating: "x", count: 16 << 10)
        let token = try house.token(also: #""pad":"\#(pad)""#)
        #expect(throws: TokenError.tooLarge) { try house.verify(token) }
        let most = [UInt8](repeating: 0x41, count: 16 << 10)
        #expect(throws: TokenError.malformed) { try house.verify(most) }
        #expect(throws: TokenError.tooLarge) { try house.verify(most + [0x41]) }
    }

    @Test(arguments: [0, 1, 2, 3, 5])
    func onlyThreePartsAreAToken(dots: Int) throws {
        let house = try House()
        let parts = Array(repeating: "e30", count: dots + 1).joined(separator: ".")
        #expect(throws: dots == 2 ? TokenError.badAlgorithm : .malformed) {
            try house.verify(Array(parts.utf8))
        }
    }

    @Test func everyByteOfATokenCounts() throws {
        let house = try House()
        let token = try house.token()
        _ = try house.verify(token)
        for index in token.indices {
            for change in [1, 0x20, 0x80] as [UInt8] {
                var changed = token
                changed[index] ^= change
                #expect(throws: TokenError.self) { try house.verify(changed) }
            }
        }
        for length in 0..<token.count {
            #expect(throws: TokenError.self) { try house.verify(Array(token.prefix(length))) }
        }
    }

    @Test(arguments: [
        "none", "None", "NONE", "nOnE", "", "HS256", "RS256", "ES384", "es256", "ES256 ",
        "ES256\u{0}",
    ])
    func anAlgorithmThatIsNotAllowedIsRefused(name: String) throws {
        let house = try House()
        let signed = try house.token().split(separator: 0x2E)
        var header = Array(#"{"alg":"#.utf8)
        JSONText.appendString(name, to: &header)
        header.append(contentsOf: #","kid":"k1"}"#.utf8)
        let first = Array(Base64.encode(header, .url).utf8)
        for signature in [Array(signed[2]), []] {
            let token = first + [0x2E] + signed[1] + [0x2E] + signature
            #expect(throws: TokenError.badAlgorithm) { try house.verify(token) }
        }
    }

    /// A verifier remembers the last header: whatever came before a token, it says of it what a new one says.
    @Test func whatCameBeforeATokenIsNoMatter() throws {
        let house = try House()
        let signed = try house.token().split(separator: 0x2E)
        func token(_ header: String, _ rest: [ArraySlice<UInt8>]) -> [UInt8] {
            Array(
                ([Array(Base64.encode(Array(header.utf8), .url).utf8)[...]] + rest)
                    .joined(separator: [0x2E]))
        }
        let rest = Array(signed[1...])
        let tokens = [
            try house.token(), try house.token(sub: #""t""#), try house.token(type: "JWT"),
            try house.token(type: "x"), token(#"{"alg":"none","kid":"k1"}"#, rest),
            token(#"{"alg":"ES256","kid":"k2"}"#, rest), token(#"{"alg":"ES256"}"#, rest),
            token(#"{"alg":"ES256","kid":1}"#, rest), token(#"{"alg":"ES256","crit":[]}"#, rest),
            token("{", rest), Array("e30".utf8), token("", rest),
            Array(signed[0] + [0x2E] + signed[1] + [0x2E] + signed[2] + [0x2E]),
        ]
        func verdict(_ verifier: TokenVerifier, _ token: [UInt8]) -> String {
            do throws(TokenError) {
                let verified = try verifier.verify(token.span, now: TokenVerifierTests.now)
                return verified.subject ?? ""
            } catch {
                return "\(error)"
            }
        }
        let verdicts = tokens.map { verdict(TokenVerifier(issuers: [house.terms]), $0) }
        #expect(verdicts[...2] == ["s", "t", "s"])
        #expect(Set(verdicts).count >= 7, "\(verdicts)")
        for (first, before) in zip(tokens, verdicts) {
            for (second, expected) in zip(tokens, verdicts) {
                let verifier = TokenVerifier(issuers: [house.terms])
                #expect(verdict(verifier, first) == before)
                #expect(verdict(verifier, second) == expected)
                #expect(verdict(verifier, first) == before)
            }
        }
    }

    /// CVE-2016-10555: the public key is known to all, so an HMAC under it proves nothing.
    @Test func anHMACUnderThePublicKeyIsRefusedEvenWhereHMACIsAllowed() throws {
        var house = try House()
        house.terms.algorithms = [.es256, .hs256]
        let material = try house.key.privateKey.publicKey.subjectPublicKeyInfo()
        let header = Base64.encode(Array(#"{"alg":"HS256","kid":"k1"}"#.utf8), .url)
        let payload = try house.token().split(separator: 0x2E)[1]
        let input = Array(header.utf8) + [0x2E] + payload
        for key in [material, []] {
            let code = try MAC.authenticate(input.span, algorithm: .sha256, key: key)
            let token = input + [0x2E] + Array(Base64.encode(code, .url).utf8)
            #expect(throws: TokenError.badAlgorithm) { try house.verify(token) }
        }
    }

    @Test func aSharedSecretProvesWhereItIsNamed() throws {
        let secret = Array(UInt8(0)..<32)
        let set = try KeySet(
            jwk: Array(#"{"kty":"oct","kid":"m","k":"\#(Base64.encode(secret, .url))"}"#.utf8),
            allowsSymmetric: true)
        var terms = try House().terms
        terms.keys = set
        let header = Base64.encode(Array(#"{"alg":"HS256","kid":"m"}"#.utf8), .url)
        let claims = #"{"iss":"https://issuer.example","aud":"b","exp":1767225700,"sub":"s"}"#
        let input = Array("\(header).\(Base64.encode(Array(claims.utf8), .url))".utf8)
        let code = try MAC.authenticate(input.span, algorithm: .sha256, key: secret)
        let token = input + [0x2E] + Array(Base64.encode(code, .url).utf8)
        let cut = input + [0x2E] + Array(Base64.encode(Array(code.prefix(16)), .url).utf8)
        // Not named: not allowed, though the key is there.
        #expect(throws: TokenError.badAlgorithm) {
            try TokenVerifier(issuers: [terms]).verify(token.span, now: TokenVerifierTests.now)
        }
        terms.algorithms = [.hs256]
        let verifier = TokenVerifier(issuers: [terms])
        #expect(try verifier.verify(token.span, now: TokenVerifierTests.now).clientID == "s")
        #expect(throws: TokenError.badSignature) {
            try verifier.verify(cut.span, now: TokenVerifierTests.now)
        }
        #expect(throws: TokenError.badSignature) {
            try verifier.verify((input + [0x2E]).span, now: TokenVerifierTests.now)
        }
    }

    @Test func eachIssuerIsProvenByItsOwnKeysAlone() throws {
        let one = try House()
        var other = try House()
        other.terms.issuer = "https://other.example"
        other.terms.name = "other"
        let verifier = TokenVerifier(issuers: [one.terms, other.terms])
        let own = try other.token(iss: #""https://other.example""#)
        #expect(try verifier.verify(own.span, now: TokenVerifierTests.now).issuerName == "other")
        // Signed by the one, in the name of the other.
        let forged = try one.token(iss: #""https://other.example""#)
        #expect(throws: TokenError.badSignature) {
            try verifier.verify(forged.span, now: TokenVerifierTests.now)
        }
    }

    @Test func withoutAKeyIDOnlyFourKeysAreTried() throws {
        let house = try House()
        let strangers = try (0..<4).map { _ in
            try SigningKey(algorithm: .es256, privateKey: .generate(.p256)).privateKey.publicKey
        }
        let own = house.key.privateKey.publicKey
        func holds(_ keys: [PublicKey]) throws -> Bool {
            var terms = house.terms
            terms.keys = try KeySet(
                keys.map {
                    try VerificationKey(keyID: nil, algorithm: nil, material: .publicKey($0))
                })
            let parts = try house.token().split(separator: 0x2E)
            let header = Base64.encode(Array(#"{"alg":"ES256"}"#.utf8), .url)
            let input = Array(header.utf8) + [0x2E] + parts[1]
            let signature = try house.key.privateKey.sign(input, .es256)
            let token = input + [0x2E] + Array(Base64.encode(signature, .url).utf8)
            let verifier = TokenVerifier(issuers: [terms])
            do throws(TokenError) {
                _ = try verifier.verify(token.span, now: TokenVerifierTests.now)
                return true
            } catch {
                #expect(error == .badSignature)
                return false
            }
        }
        #expect(try holds(strangers.dropLast() + [own]))
        #expect(try !holds(strangers + [own]))
    }

    @Test(
        arguments: [
            (nil, "at+jwt", true), (nil, "AT+JWT", true), (nil, "application/at+jwt", true),
            (nil, "JWT", true), (nil, "jwt", true), (nil, "dpop+jwt", false),
            (nil, "logout+jwt", false),
            (nil, "", false), (nil, "at+jwt ", false), ("at+jwt", "JWT", false),
            ("at+jwt", "application/AT+JWT", true), ("JWT", "jwt", true), ("JWT", "at+jwt", false),
            ("token-introspection+jwt", "token-introspection+jwt", true),
        ] as [(String?, String, Bool)])
    func theTypeIsHeldTo(required: String?, type: String, passes: Bool) throws {
        var house = try House()
        house.terms.requiredType = required
        let token = try house.token(type: type)
        if passes {
            _ = try house.verify(token)
        } else {
            #expect(throws: TokenError.wrongType) { try house.verify(token) }
        }
    }

    @Test func anIssuerWithoutAudiencesAcceptsNothing() throws {
        var house = try House()
        house.terms.audiences = []
        #expect(throws: TokenError.wrongAudience) { try house.verify(house.token()) }
    }

    @Test func withoutIssuersNothingHolds() throws {
        let token = try House().token()
        #expect(throws: TokenError.unknownIssuer) {
            try TokenVerifier(issuers: []).verify(token.span, now: TokenVerifierTests.now)
        }
    }

    @Test func anExplanationTellsEachStep() throws {
        let house = try House()
        let verifier = TokenVerifier(issuers: [house.terms])
        let good = try house.token(also: #""nbf":1,"iat":2"#)
        let told = verifier.explain(good.span, now: TokenVerifierTests.now)
        #expect(told.algorithm == .es256)
        #expect(told.keyID == "k1")
        #expect(told.type == "at+jwt")
        #expect(told.issuerClaim == "https://issuer.example")
        #expect(told.issuer?.name == "house")
        #expect(told.issuer?.fittingKeys == ["k1"])
        #expect(told.issuer?.hasKeyID == true)
        #expect(told.expiresAt == 1_767_225_660)
        #expect(told.notBefore == 1)
        #expect(told.issuedAt == 2)
        #expect(told.audiences == ["https://api.example"])
        #expect(told.provingKey?.keyID == Array("k1".utf8))
        #expect(try told.verdict.get().clientID == "s")

        let late = verifier.explain(good.span, now: WallTime(seconds: 1_767_229_200))
        #expect(late.provingKey != nil)
        #expect(throws: TokenError.expired) { try late.verdict.get() }

        let strange = try house.token(iss: #""https://nobody.example""#)
        let unknown = verifier.explain(strange.span, now: TokenVerifierTests.now)
        #expect(unknown.issuerClaim == "https://nobody.example")
        #expect(unknown.issuer == nil)
        #expect(throws: TokenError.unknownIssuer) { try unknown.verdict.get() }

        let junk = verifier.explain(Array("a.b".utf8).span, now: TokenVerifierTests.now)
        #expect(junk.header == nil)
        #expect(throws: TokenError.malformed) { try junk.verdict.get() }
    }
}

struct HeaderTextTests {
    @Test(arguments: [
        "a", "a b", "CN=Jörg, O=Ä", "100%", "~!@#$^&*()", String(repeating: "x", count: 1024),
    ])
    func theseMayBecomeHeaders(text: String) {
        #expect(HeaderText.isAcceptable(text))
    }

    @Test(arguments: [
        "", " ", " a", "a ", "a\n", "a\rb", "a\u{0}", "\u{7F}", "a\tb", "\u{1B}[2J",
        String(repeating: "x", count: 1025),
    ])
    func theseMayNot(text: String) {
        #expect(!HeaderText.isAcceptable(text))
    }
}
