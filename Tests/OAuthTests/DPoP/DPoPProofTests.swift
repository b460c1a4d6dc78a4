import Cryptography
import Foundation
import OAuth
import Primitives
import TestSupport
import Testing

/// Proofs of possession (RFC 9449 section 4.3).
struct DPoPProofTests {
    private static let now = WallTime(seconds: 1_767_225_600)

    private static func table() throws -> [String: Any] {
        try #require(try Fixtures.json("token_endpoint.json")["dpop"] as? [String: Any])
    }

    private static func target(_ url: String) throws -> DPoPTarget {
        let parts = try URLParts(url)
        return try #require(
            DPoPTarget(
                isTLS: parts.isTLS, authority: Array(parts.authority.utf8),
                path: Array(parts.path.utf8)))
    }

    /// - Returns: the proof, or why it does not hold.
    private static func verify(
        _ proof: [UInt8], _ method: String = "GET",
        _ url: String = "https://gateway.example.com/api/items", token: String? = "TOKEN",
        now: WallTime = now, policy: DPoPProof.Policy = DPoPProof.Policy(),
        boundTo thumbprint: [UInt8]? = nil
    ) throws -> Result<DPoPProof, DPoPError> {
        let target = try target(url)
        let method = Array(method.utf8)
        let token = token.map { Array($0.utf8) }
        do throws(DPoPError) {
            return .success(
                try DPoPProof.verify(
                    proof.span, method: method.span, targets: [target], accessToken: token?.span,
                    boundTo: thumbprint, now: now, policy: policy))
        } catch {
            return .failure(error)
        }
    }

    // MARK: Proofs of others

    /// The RFC's own proofs, both with a signature that holds: of a token request (section 4.1, no `ath`) and of a
    /// request for a resource (section 7.1, with the `ath` of its token). The thumbprint is that of section 6.1.
    @Test(arguments: ["rfc9449-4.1", "rfc9449-7.1"])
    func theExamplesOfTheRFCHold(id: String) throws {
        let cases = try #require(try Self.table()["cases"] as? [[String: Any]])
        let item = try #require(cases.first { $0["id"] as? String == id })
        let claims = try #require(item["claims"] as? [String: Any])
        let issuedAt = try #require(claims["iat"] as? Int)
        let proof = Array(try #require(item["proof"] as? String).utf8)
        let method = try #require(claims["htm"] as? String)
        let url = try #require(claims["htu"] as? String)
        let token = item["access_token"] as? String
        #expect((token == nil) == (id == "rfc9449-4.1"))
        let now = WallTime(seconds: Int64(issuedAt))
        let result = try Self.verify(proof, method, url, token: token, now: now).get()
        #expect(result.issuedAt == Int64(issuedAt))
        #expect(result.tokenID == claims["jti"] as? String)
        #expect(Base64.encode(result.keyThumbprint, .url) == item["jkt"] as? String)
        let later = WallTime(seconds: Int64(issuedAt) + 61)
        #expect(
            try Self.verify(proof, method, url, token: token, now: later) == .failure(.tooOld))
    }

    /// The thirty cases of token_endpoint.json that are proofs; the others are the gateway's.
    @Test func theTableIsDecidedAsItSays() throws {
        let cases = try #require(try Self.table()["cases"] as? [[String: Any]])
        #expect(cases.count == 38)
        var counts: [String: Int] = [:]
        for item in cases {
            let id = try #require(item["id"] as? String)
            guard !id.hasPrefix("rfc"), let proof = item["proof"] as? String else { continue }
            let url = "https://gateway.example.com/api/items"
            let query = item["request_query"] as? String ?? ""
            let result = try Self.verify(Array(proof.utf8), "GET", url + query)
            let expected = try #require(item["expect"] as? String)
            counts[String(expected.prefix(6)), default: 0] += 1
            switch (expected, result) {
            case ("invalid", .failure(let error)):
                #expect(error.code == item["error"] as? String, "\(id)")
            case ("either", _): break
            case (_, .success(let proof)):
                #expect(expected.hasPrefix("valid"), "\(id)")
                #expect(proof.keyThumbprint.count == 32 && !proof.tokenID.isEmpty, "\(id)")
            default: Issue.record("\(id): \(result)")
            }
        }
        #expect(counts == ["valid": 6, "valid ": 1, "invali": 21, "either": 1])
    }

    /// Why each of them is refused: none for a reason that only looks like the right one.
    @Test(arguments: [
        ("dpop-htm-wrong", DPoPError.wrongMethod), ("dpop-htm-lower", .wrongMethod),
        ("dpop-htu-wrong-path", .wrongTarget), ("dpop-htu-wrong-host", .wrongTarget),
        ("dpop-htu-http", .wrongTarget), ("dpop-htu-missing", .invalid(.missingClaim("htu"))),
        ("dpop-htm-missing", .invalid(.missingClaim("htm"))),
        ("dpop-jti-missing", .invalid(.missingClaim("jti"))),
        ("dpop-iat-missing", .invalid(.missingClaim("iat"))), ("dpop-iat-old", .tooOld),
        ("dpop-iat-future", .fromFuture), ("dpop-ath-missing", .wrongToken),
        ("dpop-ath-wrong", .wrongToken), ("dpop-typ-jwt", .invalid(.wrongType)),
        ("dpop-typ-missing", .invalid(.wrongType)), ("dpop-jwk-missing", .badKey(.malformed)),
        ("dpop-jwk-private", .badKey(.privateKeyPublished)),
        ("dpop-jwk-symmetric", .invalid(.badAlgorithm)),
        ("dpop-alg-none", .invalid(.badAlgorithm)),
        ("dpop-other-key-signed", .invalid(.badSignature)),
        ("dpop-crit", .invalid(.criticalHeader)),
    ])
    func theReasonIsTheRightOne(id: String, error: DPoPError) throws {
        let cases = try #require(try Self.table()["cases"] as? [[String: Any]])
        let proof = cases.first { $0["id"] as? String == id }?["proof"] as? String
        #expect(try Self.verify(Array(try #require(proof).utf8)) == .failure(error))
    }

    /// requests_oauth2client, which other programs use (dpop_clients.json).
    @Test func theProofsOfALibraryHold() throws {
        let proofs = try Fixtures.json("dpop_clients.json")["proofs"] as? [[String: Any]] ?? []
        #expect(
            proofs.compactMap { $0["alg"] as? String } == ["ES256", "EdDSA", "RS256", "PS256"])
        for item in proofs {
            for part in ["resource", "token"] {
                let made = try #require(item[part] as? [String: String])
                let proof = Array(try #require(made["proof"]).utf8)
                let method = try #require(made["method"])
                let url = try #require(made["url"])
                let token = made["access_token"]
                let result = try Self.verify(proof, method, url, token: token).get()
                #expect(Base64.encode(result.keyThumbprint, .url) == item["jkt"] as? String)
                #expect(result.nonce == made["nonce"])
                let other = try Self.verify(proof, method, url, token: "ANOTHER")
                #expect(other == .failure(.wrongToken))
            }
        }
    }

    // MARK: Proofs of our own

    private static let key = try? PrivateKey.generate(.p256)

    /// A proof that holds but for what is changed; members and claims are JSON, `nil` leaves one out.
    private static func make(
        jwk: String? = nil, header changes: [String: String?] = [:],
        claims: [String: String?] = [:], algorithm: JWSAlgorithm = .es256,
        by key: PrivateKey? = key
    ) throws -> [UInt8] {
        let key = try #require(key)
        let published = JWKSDocument.write([
            try SigningKey(algorithm: algorithm, privateKey: key).published
        ])
        let keys = try JSON.object(published)["keys"] as? [[String: Any]]
        let own = try JSONSerialization.data(withJSONObject: try #require(keys?.first))
        var header: [String: String?] = [
            "typ": #""dpop+jwt""#, "alg": "\"\(algorithm.rawValue)\"",
            "jwk": jwk ?? String(decoding: own, as: UTF8.self),
        ]
        header.merge(changes) { $1 }
        let hash = Base64.encode(Digest.hash(Array("TOKEN".utf8).span, .sha256), .url)
        var payload: [String: String?] = [
            "htm": #""GET""#, "htu": #""https://gateway.example.com/api/items""#,
            "iat": "1767225600", "jti": #""j""#, "ath": "\"\(hash)\"",
        ]
        payload.merge(claims) { $1 }
        func text(_ members: [String: String?]) -> String {
            let pairs = members.compactMap { name, value in value.map { "\"\(name)\":\($0)" } }
            return Base64.encode(Array("{\(pairs.joined(separator: ","))}".utf8), .url)
        }
        let input = Array("\(text(header)).\(text(payload))".utf8)
        let signer: SignatureAlgorithm =
            switch algorithm {
            case .rs256: .rs256
            case .ps256: .ps256
            case .edDSA: .eddsa
            case .es384: .es384
            default: .es256
            }
        let signature = try key.sign(input.span, signer)
        return input + Array(".\(Base64.encode(signature, .url))".utf8)
    }

    @Test func oneOfOurOwnHolds() throws {
        let proof = try Self.verify(Self.make()).get()
        #expect(proof.keyThumbprint == Self.key?.publicKey.thumbprintBytes)
        #expect(proof.tokenID == "j" && proof.issuedAt == 1_767_225_600 && proof.nonce == nil)
        // Without a token nobody asks for its hash, and a wrong one does no harm.
        #expect(try Self.verify(Self.make(claims: ["ath": nil]), token: nil).get() == proof)
    }

    @Test(arguments: [
        #""DPOP+JWT""#, #""application/dpop+jwt""#, #""dpop+jwt ""#, #""at+jwt""#, "7",
    ])
    func theTypeIsAMediaType(type: String) throws {
        let holds = try Self.verify(Self.make(header: ["typ": type]))
        let isRight = type.lowercased().hasSuffix("dpop+jwt\"")
        #expect((try? holds.get()) != nil ? isRight : !isRight)
    }

    @Test func aTimeHoldsUpToItsLimits() throws {
        func at(_ offset: Int64, _ policy: DPoPProof.Policy = .init()) throws -> DPoPError? {
            let proof = try Self.make(claims: ["iat": "\(Self.now.seconds + offset)"])
            switch try Self.verify(proof, policy: policy) {
            case .success: return nil
            case .failure(let error): return error
            }
        }
        #expect(try at(-60) == nil)
        #expect(try at(-61) == .tooOld)
        #expect(try at(5) == nil)
        #expect(try at(6) == .fromFuture)
        let policy = DPoPProof.Policy(ageLimitSeconds: 10, leadLimitSeconds: 0)
        #expect(try at(-10, policy) == nil)
        #expect(try at(-11, policy) == .tooOld)
        #expect(try at(1, policy) == .fromFuture)
        #expect(try at(Int64.max - 1_767_225_600) == .fromFuture)
        let text = try Self.make(claims: ["iat": #""1767225600""#])
        #expect(try Self.verify(text) == .failure(.invalid(.invalidClaim("iat"))))
    }

    @Test(arguments: ["jti", "nonce"])
    func aTextHasTwoHundredAndFiftySixBytesAtMost(name: String) throws {
        #expect(DPoPProof.tokenIDLimitBytes == 256)
        let longest = String(repeating: "x", count: 256)
        let longestProof = try Self.verify(Self.make(claims: [name: "\"\(longest)\""])).get()
        #expect(longestProof.tokenID == longest || longestProof.nonce == longest)
        for value in ["\"\(longest)x\"", #""""#, "1", "null"] {
            let result = try Self.verify(Self.make(claims: [name: value]))
            // A nonce that is none is only missed where one is asked for.
            if name == "nonce" {
                #expect(try result.get().nonce == nil)
            } else {
                #expect(result == .failure(.invalid(.invalidClaim(name))))
            }
        }
    }

    /// Whatever belongs to a private or shared key gives it away, in every kind of key.
    @Test(arguments: ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
    func aPrivateMemberIsRefused(name: String) throws {
        let key = try #require(Self.key)
        let keys =
            try JSON.object(
                JWKSDocument.write([
                    try SigningKey(algorithm: .es256, privateKey: key).published
                ]))["keys"] as? [[String: Any]]
        var jwk = try #require(keys?.first)
        jwk[name] = "AQAB"
        let text = try JSONSerialization.data(withJSONObject: jwk)
        let proof = try Self.make(jwk: String(decoding: text, as: UTF8.self))
        #expect(try Self.verify(proof) == .failure(.badKey(.privateKeyPublished)))
    }

    /// A curve of another algorithm, one that is not known, a point that is not on it, a use that signs nothing.
    @Test(arguments: [
        (#"{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}"#, KeyRefusal.unusable(.coordinateLength)),
        (#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#, .unsupportedType),
        (#"{"kty":"oct","alg":"ES256"}"#, .symmetricNotAllowed),
        ("[]", .malformed), ("{}", .malformed),
        (#""x""#, .malformed),
        (#"{"kty":"OKP","crv":"X25519","x":"AA"}"#, .unsupportedType),
        (
            #"{"kty":"OKP","crv":"Ed25519","x":"1pZaD5uJBvnQKUve9PQAUiJrMlVnqfEnmYm3Pjck7-A"}"#,
            .algorithmDoesNotFit
        ),
    ])
    func aKeyThatDoesNotFitIsRefused(jwk: String, refusal: KeyRefusal) throws {
        let result = try Self.verify(Self.make(jwk: jwk))
        #expect(result == .failure(.badKey(refusal)))
    }

    /// RSA below 2048 bits is weak wherever it comes from (RFC 7518 section 3.3).
    @Test func aShortRSAKeyIsRefused() throws {
        let modulus = Base64.encode([0xC1] + Array(repeating: 0x5B, count: 127), .url)
        let jwk = #"{"kty":"RSA","n":"\#(modulus)","e":"AQAB"}"#
        let proof = try Self.make(jwk: jwk, header: ["alg": #""RS256""#])
        #expect(try Self.verify(proof) == .failure(.badKey(.weak)))
    }

    @Test func aCurveOfAnotherAlgorithmIsRefused() throws {
        let other = try Self.make(algorithm: .edDSA, by: PrivateKey.generate(.ed25519))
        #expect(try Self.verify(other).get().keyThumbprint.count == 32)
        let policy = DPoPProof.Policy(algorithms: [.es256, .hs256])
        #expect(policy.algorithms == [.es256])
        #expect(try Self.verify(other, policy: policy) == .failure(.invalid(.badAlgorithm)))
    }

    @Test(arguments: ["", ".", "..", "a.b", "a.b.c.d", "e30.e30.", "\u{e9}.x.y"])
    func whatIsNoTokenIsNoProof(text: String) throws {
        guard case .failure(.invalid) = try Self.verify(Array(text.utf8)) else {
            Issue.record("\(text)")
            return
        }
        let two = try Self.make() + Array(", ".utf8) + Self.make()
        #expect(try Self.verify(two) == .failure(.invalid(.malformed)))
    }

    @Test func aNonceIsAskedForWhereThereAreAny() throws {
        let nonces = try #require(
            DPoPNonce(key: Secret(Array(repeating: 7, count: 32)), rotationSeconds: 100))
        let policy = DPoPProof.Policy(nonces: nonces)
        let good = try nonces.current(at: Self.now)
        let proof = try Self.make(claims: ["nonce": "\"\(good)\""])
        #expect(try Self.verify(proof, policy: policy).get().nonce == good)
        let long = "\"" + String(repeating: "x", count: 257) + "\""
        for value in [nil, #""other""#, #""""#, "1", "null", "[]", long] {
            let claims = value.map { ["nonce": $0] } ?? [:]
            let result = try Self.verify(Self.make(claims: claims), policy: policy)
            #expect(result == .failure(.nonceRequired))
        }
        #expect(DPoPError.nonceRequired.code == "use_dpop_nonce")
        // Nobody learns a nonce by a proof that does not hold otherwise.
        let unsigned = try Self.make().dropLast(4) + Array("AAAA".utf8)
        #expect(
            try Self.verify(Array(unsigned), policy: policy)
                == .failure(.invalid(.badSignature)))
    }

    /// What costs nothing is judged before the signature: by whichever of them it fails.
    @Test func theSignatureIsCheckedLast() throws {
        let unsigned = Array(try Self.make().dropLast(4) + Array("AAAA".utf8))
        #expect(try Self.verify(unsigned, "PUT") == .failure(.wrongMethod))
        #expect(try Self.verify(unsigned, token: "OTHER") == .failure(.wrongToken))
        let later = WallTime(seconds: Self.now.seconds + 100)
        #expect(try Self.verify(unsigned, now: later) == .failure(.tooOld))
        #expect(
            try Self.verify(unsigned, boundTo: Array(repeating: 1, count: 32))
                == .failure(.wrongKey))
        #expect(try Self.verify(unsigned) == .failure(.invalid(.badSignature)))
        let proof = try Self.verify(Self.make()).get()
        #expect(try Self.verify(Self.make(), boundTo: proof.keyThumbprint).get() == proof)
        #expect(DPoPError.wrongKey.code == "invalid_dpop_proof")
    }

    /// To the byte.
    @Test func aProofHasALimit() throws {
        #expect(DPoPProof.limitBytes == 8192)
        var pad = 4000
        var proof = try Self.make(claims: ["pad": "\"\(String(repeating: "x", count: pad))\""])
        while proof.count < DPoPProof.limitBytes - 3 {
            pad += 1 + (DPoPProof.limitBytes - proof.count) / 2
            let text = String(repeating: "x", count: pad)
            let next = try Self.make(claims: ["pad": "\"\(text)\""])
            if next.count > DPoPProof.limitBytes { break }
            proof = next
        }
        #expect(proof.count <= DPoPProof.limitBytes && proof.count > 6000)
        #expect(throws: Never.self) { try Self.verify(proof).get() }
        let larger = proof + Array(repeating: 0x41, count: DPoPProof.limitBytes + 1 - proof.count)
        #expect(try Self.verify(larger) == .failure(.invalid(.tooLarge)))
        #expect(try Self.verify(Array(larger.dropLast())) != .failure(.invalid(.tooLarge)))
    }

    @Test func aRequestWithoutATargetHasNoProof() throws {
        #expect(DPoPTarget(isTLS: true, authority: Array("h".utf8), path: [0x2A]) == nil)
        let proof = try Self.make()
        let method = Array("GET".utf8)
        #expect(throws: DPoPError.wrongTarget) {
            try DPoPProof.verify(
                proof.span, method: method.span, targets: [], accessToken: nil, now: Self.now)
        }
    }

    @Test func atTheTokenEndpointItIsAnErrorOfTheForm() throws {
        let invalid = TokenRequestError.invalidProof(.wrongMethod)
        #expect(invalid.status == 400)
        #expect(try JSON.object(invalid.body)["error"] as? String == "invalid_dpop_proof")
        let stale = TokenRequestError.invalidProof(.nonceRequired)
        #expect(try JSON.object(stale.body)["error"] as? String == "use_dpop_nonce")
    }
}
