import Foundation
import Primitives
import TestSupport
import Testing

@testable import OAuth

/// `jwt.json`: whole access tokens against one issuer, at its fixed time.
struct JWTVectorTests {
    static func issuer(requiredType: String? = "at+jwt") throws -> TrustedIssuer {
        let file = try Fixtures.json("jwt.json")
        let settings = try #require(file["settings"] as? [String: Any])
        let algorithms = try #require(settings["algorithms"] as? [String])
        let jwks = try JSONSerialization.data(withJSONObject: try #require(file["jwks"]))
        return TrustedIssuer(
            name: "vectors", issuer: try #require(settings["issuer"] as? String),
            audiences: [try #require(settings["audience"] as? String)],
            algorithms: Set(algorithms.compactMap(JWSAlgorithm.init(rawValue:))),
            requiredType: requiredType,
            clockSkewSeconds: Int64(try #require(settings["skew"] as? Int)),
            keys: try KeySet(jwks: Array(jwks), allowsSymmetric: false))
    }

    private static let now = WallTime(seconds: 1_767_225_600)

    private static func result(
        _ token: String, _ verifier: TokenVerifier
    ) -> Result<VerifiedToken, TokenError> {
        do throws(TokenError) {
            return .success(try verifier.verify(Array(token.utf8).span, now: now))
        } catch {
            return .failure(error)
        }
    }

    @Test func everyCase() throws {
        let issuer = try JWTVectorTests.issuer()
        #expect(issuer.keys.keys.count == 5)
        #expect(issuer.algorithms.count == 10)
        let verifier = TokenVerifier(issuers: [issuer])
        let cases = try #require(Fixtures.json("jwt.json")["cases"] as? [[String: Any]])
        #expect(cases.count == 134)
        var counts: [String: Int] = [:]
        for item in cases {
            let id = try #require(item["id"] as? String)
            let token = try #require(item["token"] as? String)
            let expected = try #require(item["expect"] as? String)
            counts[expected, default: 0] += 1
            let result = JWTVectorTests.result(token, verifier)
            switch (expected, result) {
            case ("invalid", .success(let verified)):
                // Signed and sound, yet no bearer token: it needs a proof, and the caller asks for one.
                #expect(id == "cnf-jkt" && verified.keyThumbprint?.count == 32, "\(id)")
            case ("valid", .success(let verified)):
                #expect(verified.keyThumbprint == nil, "\(id)")
                #expect(verified.clientID == "client-1", "\(id)")
            case ("invalid", .failure), ("either", _):
                break
            default:
                Issue.record("\(id): \(result), \(item["why"] ?? "")")
            }
        }
        #expect(counts == ["valid": 27, "invalid": 79, "either": 28])
    }

    /// The reason that the log shows, where the cases leave no doubt about it.
    @Test(arguments: [
        ("exp-past", TokenError.expired), ("exp-missing", .missingClaim("exp")),
        ("exp-string", .invalidClaim("exp")), ("exp-bool", .invalidClaim("exp")),
        ("exp-null", .invalidClaim("exp")), ("nbf-future", .notYetValid),
        ("nbf-string", .invalidClaim("nbf")), ("iat-string", .invalidClaim("iat")),
        ("iss-wrong", .unknownIssuer), ("iss-missing", .missingClaim("iss")),
        ("iss-array", .invalidClaim("iss")), ("iss-slash", .unknownIssuer),
        ("aud-wrong", .wrongAudience), ("aud-missing", .missingClaim("aud")),
        ("aud-empty-array", .wrongAudience), ("aud-number", .invalidClaim("aud")),
        ("aud-prefix", .wrongAudience),
        ("cnf-x5t", .invalidClaim("cnf")), ("header-typ-id-token", .wrongType),
        ("header-typ-dpop", .wrongType), ("header-typ-number", .malformed),
        ("header-kid-unknown", .unknownKey), ("header-kid-number", .malformed),
        ("header-kid-of-other-key", .badAlgorithm), ("header-kid-long", .unknownKey),
        ("header-crit-exp", .criticalHeader), ("header-b64-false", .criticalHeader),
        ("signed-by-stranger", .badSignature), ("alg-none", .badAlgorithm),
        ("confusion-hs256-pem", .badAlgorithm), ("alg-rs256-as-ps256", .badSignature),
        ("shape-sig-flipped", .badSignature), ("shape-two-segments", .malformed),
        ("shape-jwe-five-segments", .malformed), ("payload-dup-exp", .malformed),
        ("payload-bad-utf8", .malformed), ("sub-newline", .invalidClaim("sub")),
        ("sub-nul", .invalidClaim("sub")), ("scope-number", .invalidClaim("scope")),
        ("header-typ-jwt", .wrongType), ("header-typ-missing", .wrongType),
    ])
    func theReasonIsExact(id: String, reason: TokenError) throws {
        let verifier = TokenVerifier(issuers: [try JWTVectorTests.issuer()])
        let cases = try #require(Fixtures.json("jwt.json")["cases"] as? [[String: Any]])
        let item = try #require(cases.first { $0["id"] as? String == id })
        let result = JWTVectorTests.result(try #require(item["token"] as? String), verifier)
        #expect(throws: reason) { try result.get() }
    }

    /// What `either` and `valid` come to where the issuer asks for no `typ`: the plain profile.
    @Test(arguments: [
        ("header-typ-jwt", true), ("header-typ-missing", true), ("header-typ-at-jwt-upper", true),
        ("header-typ-application", true), ("header-typ-id-token", false),
        ("header-typ-dpop", false),
        ("header-kid-missing", true), ("sub-missing", true), ("client-id-missing", true),
        ("iat-missing", true), ("jti-missing", true), ("header-jku", true),
    ])
    func withoutARequiredTypePlainTokensPass(id: String, passes: Bool) throws {
        let verifier = TokenVerifier(issuers: [try JWTVectorTests.issuer(requiredType: nil)])
        let cases = try #require(Fixtures.json("jwt.json")["cases"] as? [[String: Any]])
        let item = try #require(cases.first { $0["id"] as? String == id })
        let result = JWTVectorTests.result(try #require(item["token"] as? String), verifier)
        #expect(((try? result.get()) != nil) == passes, "\(result)")
    }

    @Test(arguments: ["ok-RS256", "scp-array", "scope-double-space"])
    func scopesAreReadFromEitherForm(id: String) throws {
        let verifier = TokenVerifier(issuers: [try JWTVectorTests.issuer()])
        let cases = try #require(Fixtures.json("jwt.json")["cases"] as? [[String: Any]])
        let item = try #require(cases.first { $0["id"] as? String == id })
        let result = JWTVectorTests.result(try #require(item["token"] as? String), verifier)
        #expect(try result.get().scopes == ["read", "write"])
    }
}
