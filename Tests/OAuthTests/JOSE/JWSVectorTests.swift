import Foundation
import TestSupport
import Testing

@testable import OAuth

/// `jws.json` and Wycheproof: signatures and key sets, without claims.
struct JWSVectorTests {
    private enum Expectation { case valid, invalid, either }

    private static func bytes(_ json: Any) throws -> [UInt8] {
        Array(try JSONSerialization.data(withJSONObject: json))
    }

    private static func expectation(_ text: String?) throws -> Expectation {
        switch text {
        case "valid": .valid
        case "invalid": .invalid
        case "either": .either
        default: throw CocoaError(.coderInvalidValue)
        }
    }

    /// Every algorithm is allowed: the key alone decides, as both sources have it.
    private static func isAccepted(
        _ token: [UInt8], _ keys: KeySet, _ algorithms: Set<JWSAlgorithm>
    )
        -> Bool
    {
        var payload: [UInt8] = []
        let verifier = JWSVerifier(keys: keys, algorithms: algorithms)
        do throws(TokenError) {
            _ = try verifier.verify(token.span, payload: &payload)
            return true
        } catch {
            #expect(payload.isEmpty)
            return false
        }
    }

    @Test func everyCaseOfTheJWSFile() throws {
        let file = try Fixtures.json("jws.json")
        let keys = try #require(file["keys"] as? [String: Any])
        let cases = try #require(file["cases"] as? [[String: Any]])
        #expect(cases.count == 98)
        var counts: [Expectation: Int] = [:]
        for item in cases {
            let id = try #require(item["id"] as? String)
            let keyName = try #require(item["key"] as? String)
            let key = try #require(keys[keyName])
            let set = try KeySet(jwk: JWSVectorTests.bytes(key), allowsSymmetric: true)
            #expect(set.keys.count == 1, "\(id): \(set.skipped)")
            // A JSON serialization is what a client would send as it stands.
            let token: [UInt8] =
                if let compact = item["compact"] as? String {
                    Array(compact.utf8)
                } else {
                    try JWSVectorTests.bytes(try #require(item["json"]))
                }
            let accepted = JWSVectorTests.isAccepted(token, set, Set(JWSAlgorithm.allCases))
            let expected = try JWSVectorTests.expectation(item["expect"] as? String)
            counts[expected, default: 0] += 1
            #expect(expected == .either || accepted == (expected == .valid), "\(id)")
        }
        #expect(counts == [.valid: 15, .invalid: 75, .either: 8])
    }

    @Test func everyThumbprint() throws {
        let file = try Fixtures.json("jws.json")
        let cases = try #require(file["thumbprints"] as? [[String: Any]])
        #expect(cases.count == 6)
        for item in cases {
            let jwk = try JWSVectorTests.bytes(try #require(item["jwk"]))
            let set = try KeySet(jwk: jwk, allowsSymmetric: false)
            guard case .publicKey(let key)? = set.keys.first?.material else {
                Issue.record("\(item["id"] ?? ""): no key")
                continue
            }
            #expect(key.thumbprint == item["sha256"] as? String)
        }
    }

    /// Wycheproof's own results stand but for the ten overrides that `jws.json` lists with their
    /// reasons, and its JWE groups: a JWE is never a token here, valid as it may be.
    @Test(arguments: [
        ("json_web_signature_test.json", 401), ("json_web_key_test.json", 26),
        ("json_web_crypto_test.json", 83),
    ])
    func everyCaseOfWycheproof(name: String, count: Int) throws {
        let overrides = try JWSVectorTests.overrides(of: name)
        let file = try Fixtures.json("wycheproof/\(name)")
        let groups = try #require(file["testGroups"] as? [[String: Any]])
        var seen = 0
        for group in groups {
            let material = try #require(group["public"] ?? group["private"])
            let set = JWSVectorTests.keySet(try JWSVectorTests.bytes(material))
            for test in try #require(group["tests"] as? [[String: Any]]) {
                seen += 1
                let number = try #require(test["tcId"] as? Int)
                let isJWE = test["jws"] == nil
                let content = try #require(test["jws"] ?? test["jwe"])
                let token =
                    try (content as? String).map { Array($0.utf8) }
                    ?? JWSVectorTests.bytes(content)
                let accepted =
                    set.map { JWSVectorTests.isAccepted(token, $0, Set(JWSAlgorithm.allCases)) }
                    ?? false
                let stated = isJWE ? "invalid" : overrides[number] ?? test["result"] as? String
                let expected = try JWSVectorTests.expectation(stated)
                #expect(
                    expected == .either || accepted == (expected == .valid),
                    "\(name) \(number) \(test["comment"] ?? "")")
            }
        }
        #expect(seen == count)
    }

    /// A set or a single key; `nil` when it is refused as a whole.
    private static func keySet(_ json: [UInt8]) -> KeySet? {
        (try? KeySet(jwks: json, allowsSymmetric: true))
            ?? (try? KeySet(jwk: json, allowsSymmetric: true))
    }

    private static func overrides(of name: String) throws -> [Int: String] {
        let file = try Fixtures.json("jws.json")
        let section = try #require(file["wycheproof"] as? [String: Any])
        let list = try #require(section["overrides"] as? [[String: Any]])
        #expect(list.count == 10)
        var result: [Int: String] = [:]
        for item in list where item["file"] as? String == name {
            result[try #require(item["tcId"] as? Int)] = item["expect"] as? String
        }
        return result
    }

    /// Where the vectors leave it open, this is what is decided: keys are held to their `alg`, a
    /// set with secrets beside public keys is refused, and so is a key with the ROCA weakness.
    @Test func openCasesAreDecidedTheStrictWay() throws {
        let file = try Fixtures.json("wycheproof/json_web_key_test.json")
        let groups = try #require(file["testGroups"] as? [[String: Any]])
        let mixed = try JWSVectorTests.bytes(try #require(groups[0]["private"]))
        #expect(throws: KeySetError.symmetricBesidePublic) {
            try KeySet(jwks: mixed, allowsSymmetric: true)
        }
        let roca = try #require(groups.first { $0["comment"] as? String == "jws_rsa_roca_key" })
        let set = try KeySet(
            jwks: JWSVectorTests.bytes(try #require(roca["public"])), allowsSymmetric: false)
        #expect(set.keys.isEmpty)
        #expect(set.skipped.map(\.reason) == [.unusable(.flawedGenerator)])
    }
}
