import Cryptography
import HTTP
import OAuth
import Primitives
import Testing

/// What must not pass, what must nevertheless, and where implementations differ.
struct OAuth1RefusalTests {
    /// The gateway's part around the verifier: who is known, and the nonce last.
    private struct Gate {
        let verifier: OAuth1Verifier
        let replay = ReplayGuard(windowSeconds: 300, key: [1, 2, 3])

        init() throws {
            verifier = try .permissive()
        }

        /// 200, or the status of the refusal.
        func status(_ vector: [String: Any], credentials of: [String: Any]) throws -> Int {
            let known = try #require(of["credentials"] as? [String: String])
            let credentials = try OAuth1Vectors.credentials(of)
            let request = try OAuth1Request(vector)
            do {
                let (claim, _) = try request.verify(
                    by: verifier,
                    { claim in
                        guard claim.consumerKey == known["consumer_key"] else { return nil }
                        guard let token = claim.token else {
                            var alone = credentials
                            alone.tokenSecret = nil
                            return alone
                        }
                        return token == known["token"] ? credentials : nil
                    })
                guard let timestamp = claim.timestamp, let nonce = claim.nonce else { return 200 }
                let verdict = replay.claim(
                    consumer: claim.consumerKey, token: claim.token ?? "", timestamp: timestamp,
                    nonce: nonce, now: OAuth1Vectors.clock)
                return verdict == .accepted ? 200 : OAuth1Error.nonceReused.status
            } catch let error as OAuth1Error {
                return error.status
            }
        }
    }

    @Test func everyChangedRequestIsRefused() throws {
        let cases = try OAuth1Vectors.table("refuse")
        #expect(cases.count == 67)
        let gate = try Gate()
        var accepted: [String] = []
        for item in cases {
            let id = try #require(item["id"] as? String)
            let request = try #require(item["request"] as? [String: Any])
            let allowed = try #require(item["status"] as? [Int])
            let status = try gate.status(request, credentials: item)
            #expect(allowed.contains(status), "\(id): \(status)")
            if status == 200 { accepted.append(id) }
        }
        // No real changes, or what clients do (interface.md section 3): Ruby's body hash on a form.
        #expect(
            accepted == [
                "refuse-query-reordered-ok", "refuse-query-respelled-ok",
                "refuse-bodyhash-on-form", "refuse-plaintext-unencoded",
            ])
    }

    @Test func noncesAreJudgedLast() throws {
        let cases = try OAuth1Vectors.table("sequences")
        #expect(cases.count == 3)
        for item in cases {
            let gate = try Gate()
            for step in try #require(item["steps"] as? [[String: Any]]) {
                let known = try OAuth1Vectors.signed("matrix-hmac-sha256-header-token")
                let vector = try (step["vector"] as? String).map { try OAuth1Vectors.signed($0) }
                let request = try #require(vector ?? step["request"] as? [String: Any])
                let allowed = try #require(step["status"] as? [Int])
                let status = try gate.status(request, credentials: vector ?? known)
                #expect(allowed.contains(status), "\(item["id"] ?? "")")
            }
        }
    }

    /// How the 21 disputed points are read here: accepted, with the signature over the bytes as
    /// they came, or refused. Those that are no requests are the functions' business below.
    private static let readings: [String: Int] = [
        // Sent by many clients; form decoding passes them through, byte for byte.
        "param-q-brackets-raw": 200, "param-q-pipe-raw": 200, "param-q-dquote-raw": 200,
        "param-q-invalid-utf8": 200, "param-b-lf-raw": 200,
        // Read as one name, so that the body is signed: to leave it out would leave it unsigned.
        "param-b-not-urlencoded": 200,
        "oauth-callback-url-encoded-query": 200, "oauth-callback-url-encoded-body": 200,
        // Names are decoded (section 3.5.1), empty list elements skipped (RFC 9110 section 5.6.1).
        "header-encoded-name": 200, "header-empty-elements": 200,
        "uri-ipv6-long": 200, "uri-port-leading-zero-8080": 200,
        // "Immediately followed" (section 3.5.1).
        "header-equals-spaces": 400,
        // Octets above 0x7F are refused by the request line's grammar (RFC 9112 section 3.2).
        "param-q-raw-utf8": 400,
    ]

    @Test func disputedRequestsAreReadOnPurpose() throws {
        let cases = try OAuth1Vectors.table("disputed")
        #expect(cases.count == 21)
        let whole = cases.filter { $0["headers"] != nil }
        #expect(Set(whole.compactMap { $0["id"] as? String }) == Set(Self.readings.keys))
        for item in whole {
            let id = try #require(item["id"] as? String)
            do {
                let status = try Gate().status(item, credentials: item)
                #expect(status == Self.readings[id], "\(id)")
            } catch let error as HTTP1Error {
                #expect(error.status == Self.readings[id], "\(id)")
            }
        }
    }

    @Test(arguments: ["a=%zz", "a=x%", "a=x%4"])
    func aQueryThatCannotBeDecodedIsRefused(query: String) throws {
        let signed = try OAuth1Vectors.signed("matrix-hmac-sha256-header-token")
        let request = try OAuth1Request([
            "method": "GET", "url": "https://api.example.com/p?" + query,
            "headers": try #require(signed["headers"]),
        ])
        let verifier = try OAuth1Verifier.permissive()
        #expect(throws: OAuth1Error.malformed) { try verifier.prepare(request.head, body: nil) }
    }

    /// header-no-quotes: section 3.5.1 puts every value in quotes, and so must a client.
    @Test func valuesWithoutQuotesAreRefused() throws {
        let request = try OAuth1Request([
            "method": "GET", "url": "https://api.example.com/p",
            "headers": [["Authorization", "OAuth oauth_consumer_key=k, oauth_nonce=n"]],
        ])
        let verifier = try OAuth1Verifier.permissive()
        #expect(throws: OAuth1Error.malformed) { try verifier.prepare(request.head, body: nil) }
    }

    /// rfc5849-3.1-as-printed: the RFC's own value is wrong (erratum 2550).
    @Test func theSignaturePrintedInTheRFCIsRefused() throws {
        var vector = try OAuth1Vectors.signed("rfc5849-3.1-erratum-2550")
        let printed = "bYT5CMsGcbgUdFHObYMEfcx6bsw%3D"
        let right = "r6%2FTJjbCOr97%2F%2BUU0NsvSne7s5g%3D"
        let fields = try #require(vector["headers"] as? [[String]])
        let changed = fields.map { field in
            [field[0], field[1].replacing(right, with: printed)]
        }
        #expect(changed != fields)
        vector["headers"] = changed
        let request = try OAuth1Request(vector)
        let credentials = try OAuth1Vectors.credentials(vector)
        let verifier = try OAuth1Verifier.permissive(windowSeconds: 2_000_000_000)
        #expect(throws: OAuth1Error.badSignature) {
            try request.verify(by: verifier, { _ in credentials })
        }
    }

    /// rfc5849-3.4.1.2-https-8080: the scheme is the connection's, whatever the port. (The
    /// remaining rfc5849-3.4.1.3.1-as-printed is a placeholder, of which `parse_only` has the
    /// parsing.)
    @Test func theSchemeIsNotGuessedFromThePort() {
        let authority = Array("www.example.net:8080".utf8)
        let path = Array("/".utf8)
        var uri: [UInt8] = []
        BaseString.appendURI(isTLS: true, authority: authority.span, path: path.span, to: &uri)
        #expect(String(decoding: uri, as: UTF8.self) == "https://www.example.net:8080/")
    }
}
