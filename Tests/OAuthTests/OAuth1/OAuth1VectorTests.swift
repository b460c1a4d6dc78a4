import Cryptography
import HTTP
import OAuth
import Primitives
import Testing

/// The 243 signed requests of oauth1.json: every step by itself, then the whole check.
struct OAuth1VectorTests {
    @Test func everyStepComesOutAsInTheVectors() throws {
        let vectors = try OAuth1Vectors.table("vectors")
        #expect(vectors.count == 243)
        for vector in vectors {
            let id = vector["id"] as? String ?? ""
            var parameters = OAuth1Parameters()
            for pair in try OAuth1Vectors.pairs(vector["parameters"]) {
                parameters.add(name: pair.name, value: pair.value, .query)
            }
            var baseString = BaseString()
            baseString.normalize(parameters, order: .encoded)
            let normalized = String(decoding: baseString.normalized, as: UTF8.self)
            #expect(normalized == vector["normalized_parameters"] as? String, "\(id)")

            let uri = try Self.baseStringURI(vector)
            let expected = vector["base_string_uri"] as? String
            #expect(String(decoding: uri, as: UTF8.self) == expected, "\(id)")

            let method = Array(try #require(vector["method"] as? String).utf8)
            var base: [UInt8] = []
            baseString.append(method: method.span, uri: uri, to: &base)
            #expect(String(decoding: base, as: UTF8.self) == vector["base_string"] as? String)
            #expect(
                try Self.signature(vector, base) == vector["signature"] as? String, "\(id)")
        }
    }

    private static func baseStringURI(_ vector: [String: Any]) throws -> [UInt8] {
        let url = try URLParts(try #require(vector["url"] as? String))
        let fields = try #require(vector["headers"] as? [[String]])
        let host = fields.first { $0[0].lowercased() == "host" }?[1]
        let authority = Array((host ?? url.authority).utf8)
        let path = Array(url.path.utf8)
        var uri: [UInt8] = []
        BaseString.appendURI(
            isTLS: url.isTLS, authority: authority.span, path: path.span, to: &uri)
        return uri
    }

    private static func signature(_ vector: [String: Any], _ base: [UInt8]) throws -> String {
        let method = try #require(
            OAuth1SignatureMethod(rawValue: vector["signature_method"] as? String ?? ""))
        let credentials = try OAuth1Vectors.credentials(vector)
        let keyName = (vector["credentials"] as? [String: String])?["rsa_key"]
        let signature = try OAuth1Signature.make(
            method, baseString: base, credentials: credentials,
            privateKey: try keyName.map { try OAuth1Vectors.privateKey($0) })
        return String(decoding: signature, as: UTF8.self)
    }

    /// What the gateway refuses before the signature, or cannot be sent: the tag `function_only` of
    /// the vectors, and the one whose RSA key has 1024 bits. PLAINTEXT over plain HTTP would be
    /// refused too; no vector is of that kind.
    private static func isFunctionOnly(_ vector: [String: Any]) -> Bool {
        vector["function_only"] != nil
            || (vector["credentials"] as? [String: String])?["rsa_key"] == "rsa-1024-community"
    }

    @Test func everySignedRequestIsAccepted() throws {
        // The RFC's examples are from 1974 (137131200) to 2012: the window is made to hold them.
        let verifier = try OAuth1Verifier.permissive(windowSeconds: 2_000_000_000)
        let vectors = try OAuth1Vectors.table("vectors").filter { !Self.isFunctionOnly($0) }
        #expect(vectors.count == 234)
        for vector in vectors {
            let id = vector["id"] as? String ?? ""
            do {
                let request = try OAuth1Request(vector)
                let known = try #require(vector["credentials"] as? [String: String])
                let credentials = try OAuth1Vectors.credentials(vector)
                let (claim, match) = try request.verify(by: verifier, { _ in credentials })
                #expect(claim.consumerKey == known["consumer_key"], "\(id)")
                #expect((claim.token ?? "") == known["token"] ?? "", "\(id)")
                #expect(match.publicOrigin == nil && match.order == .encoded, "\(id)")
            } catch {
                Issue.record("\(id): \(error)")
            }
        }
    }

    /// The same requests with one bit of the signature, of the secret, or nothing known of the
    /// consumer.
    @Test func noneIsAcceptedOtherwise() throws {
        let verifier = try OAuth1Verifier.permissive(windowSeconds: 2_000_000_000)
        let vectors = try OAuth1Vectors.table("vectors").filter { !Self.isFunctionOnly($0) }
        let otherKey = try PrivateKey.generate(.rsa2048).publicKey
        for vector in vectors {
            let id = vector["id"] as? String ?? ""
            let request = try OAuth1Request(vector)
            let known = try OAuth1Vectors.credentials(vector)
            #expect(throws: OAuth1Error.unknownConsumer, "\(id)") {
                try request.verify(by: verifier, { _ in nil })
            }
            var other = known
            let secret = known.consumerSecret?.exposed ?? []
            other.consumerSecret = Secret(secret + [0x78])
            other.rsaKey = known.rsaKey == nil ? nil : otherKey
            #expect(throws: OAuth1Error.badSignature, "\(id)") {
                try request.verify(by: verifier, { _ in other })
            }
            #expect(throws: OAuth1Error.badSignature, "\(id)") {
                try request.verify(
                    by: verifier,
                    { _ in
                        OAuth1Credentials(consumerSecret: nil, tokenSecret: known.tokenSecret)
                    })
            }
            // A token that is not known, whatever signs for it: also where the secret takes no part.
            var tokenless = known
            tokenless.tokenSecret = nil
            if known.tokenSecret?.isEmpty == false {
                #expect(throws: OAuth1Error.unknownToken, "\(id)") {
                    try request.verify(by: verifier, { _ in tokenless })
                }
            }
        }
    }
}
