import Foundation
import OAuth
import Primitives
import TestSupport
import Testing

/// Tokens that are bound to a key beside other things that the gateway knows of tokens.
struct DPoPTokenTests {
    private typealias House = DPoPTests.House

    /// An outside server says to which key a token is bound (RFC 9449 section 6.2).
    @Test func introspectedTokensAreHeldToTheirKey() throws {
        let server = try TokenServer()
        let upstream = try ScriptedUpstream { request in [.respond(body: request.head)] }
        let folder = try TemporaryDirectory()
        try folder.write("secret", "s3cret")
        let gateway = try Gateway(
            testConf(
                """
                introspection tokens { endpoint \(server.url)/introspect; client_id me; client_secret_file secret; }
                upstream up { server 127.0.0.1:\(upstream.port); }
                route / { upstream up; authenticate bearer; require dpop; }
                """), in: folder)
        let key = folder.file("key")
        _ = try DPoPTests.client("key", key, "ES256")
        let thumbprint = try DPoPTests.client("jkt", key)[0]
        func say(_ token: String, _ more: String) {
            server.say(#"{"active":true,"client_id":"app"\#(more)}"#, of: token)
        }
        func get(_ token: String, _ scheme: String = "DPoP") throws -> Int {
            let proof = try DPoPTests.client(
                "proof", key, "GET", "http://h.example/x", token, "1")[0]
            return try gateway.request(
                "GET /x HTTP/1.1\r\n\(hostLine)Connection: close\r\n"
                    + "Authorization: \(scheme) \(token)\r\nDPoP: \(proof)\r\n\r\n"
            ).status
        }
        let cnf = #","cnf":{"jkt":"\#(thumbprint)"}"#
        say("bound", cnf + #","token_type":"DPoP""#)
        say("untyped", cnf)
        say("unsaid", #","token_type":"DPoP""#)
        say("another", #","cnf":{"jkt":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#)
        say("bearer", "")
        // With the store in memory no proof passes of the moments around the start.
        #expect(try eventually(within: .seconds(15)) { try get("bound") == 200 })
        #expect(try get("bound") == 200)
        #expect(try get("bound", "Bearer") == 401)
        #expect(try get("untyped") == 200)
        #expect(try get("unsaid") == 401 && get("another") == 401 && get("bearer") == 401)
        #expect(try get("bearer", "Bearer") == 401)
    }

    /// JWTs of an outside issuer; and what is no access token: a proof, shown as a token, or the other way round.
    @Test func tokensOfOtherIssuersAreHeldToTheirKey() throws {
        let folder = try TemporaryDirectory()
        let (issuer, key) = (folder.file("issuer"), folder.file("key"))
        for name in [issuer, key] { _ = try DPoPTests.client("key", name, "ES256") }
        let house = try House(
            more: """
                issuer outside { issuer https://outside.test; audience api; jwks_file \(issuer).jwks; algorithms ES256; }
                route /outside { upstream up; authenticate bearer; require dpop; }
                """)
        let thumbprint = try DPoPTests.client("jkt", key)[0]
        let claims = #""iss":"https://outside.test","aud":"api","client_id":"app","sub":"app""#
        let token = try DPoPTests.client(
            "issued", issuer, "{\(claims),\"cnf\":{\"jkt\":\"\(thumbprint)\"}}")[0]
        let unbound = try DPoPTests.client("issued", issuer, "{\(claims)}")[0]
        let url = try house.base + "/outside"
        let proofs = try DPoPTests.client("proof", key, "GET", url, token, "4")
        #expect(try house.get("/outside", token, proofs[0]).status == 200)
        #expect(try house.get("/outside", token, proofs[0]).status == 401)
        let foreign = try DPoPTests.client("proof", key, "GET", url, unbound, "1")[0]
        #expect(try house.get("/outside", unbound, foreign).status == 401)
        // Neither stands in for the other.
        #expect(try house.get("/outside", proofs[1], proofs[2]).status == 401)
        #expect(try house.get("/outside", token, token).status == 401)
        let bearer = try house.gateway.request(
            "GET /outside HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(proofs[3])\r\n\r\n")
        #expect(bearer.status == 401)
        #expect(try house.get("/outside", token, proofs[3]).status == 200)
    }

    /// A partner that signs with OAuth 1.0 gets a token that is bound, too.
    @Test func aSignedTokenRequestMayAskForABoundToken() throws {
        let house = try House(
            more: "client partner { oauth1_secret_file secret; scopes read; }")
        let (key, _) = try house.bound()
        let url = try house.base + "/oauth2/token"
        let proofs = try DPoPTests.client(
            "proof", key, "POST", "https://as.test/oauth2/token", "-", "2")
        let python = try requirePython(module: "oauthlib", package: "python3-oauthlib")
        let sign = """
            import sys
            from oauthlib.oauth1 import Client
            _, headers, _ = Client("partner", client_secret="s3cret").sign(
                sys.argv[1], "POST", "grant_type=client_credentials",
                {"Content-Type": "application/x-www-form-urlencoded"})
            print(headers["Authorization"])
            """
        func ask(_ proof: String) throws -> HTTPReply {
            let signed = try run(python, ["-c", sign, url]).output
                .trimmingCharacters(in: .newlines)
            let form = "grant_type=client_credentials"
            return try house.gateway.request(
                "POST /oauth2/token HTTP/1.1\r\nHost: 127.0.0.1:\(house.gateway.port)\r\n"
                    + "Authorization: \(signed)\r\nDPoP: \(proof)\r\nConnection: close\r\n"
                    + "Content-Type: application/x-www-form-urlencoded\r\n"
                    + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)")
        }
        let reply = try ask(proofs[0])
        #expect(try reply.json()["token_type"] as? String == "DPoP", "\(reply.text)")
        let token = try #require(try reply.json()["access_token"] as? String)
        let again = try ask(proofs[0])
        #expect(again.status == 400 && again.text.contains("invalid_dpop_proof"))
        let proof = try DPoPTests.client("proof", key, "GET", house.base + "/x", token, "1")[0]
        #expect(try house.get("/x", token, proof).status == 200)
    }

    /// Who is registered for bound tokens gets no other (RFC 9449 section 5.2), by whatever it proves itself.
    @Test func aClientMayHaveToBringAProof() throws {
        let house = try House(
            more: """
                client strict { secret_file secret; scopes read; dpop_bound_access_tokens on; }
                """)
        let key = house.folder.file("key")
        _ = try DPoPTests.client("key", key, "ES256")
        let proofs = try DPoPTests.client(
            "proof", key, "POST", "https://as.test/oauth2/token", "-", "2")
        let form = "grant_type=client_credentials&client_id=strict&client_secret="
        for (secret, proof, status, words) in [
            ("s3cret", nil, 400, #""invalid_dpop_proof""#),
            ("wrong", nil, 401, #""invalid_client""#),
            ("s3cret", proofs[0], 200, #""token_type":"DPoP""#),
        ] {
            let request =
                "POST /oauth2/token HTTP/1.1\r\n\(hostLine)"
                + (proof.map { "DPoP: \($0)\r\n" } ?? "")
                + "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n"
                + "Content-Length: \(form.utf8.count + secret.utf8.count)\r\n\r\n\(form)\(secret)"
            let told = try run(
                gatehouseBinary(),
                ["explain", "--request", "-", "--config", house.folder.file("gateway.conf")],
                input: request)
            let verdict = status == 200 ? "passes" : "refused, \(status)"
            #expect(told.output.contains("verdict: \(verdict)"), "\(told.output)\(told.error)")
            let reply = try house.gateway.request(request)
            #expect(reply.status == status && reply.text.contains(words), "\(reply.text)")
        }
        #expect(try house.ask(nil).status == 200)
        let issued = try run(
            gatehouseBinary(),
            ["token", "issue", "--client", "strict", "--config", house.folder.file("gateway.conf")])
        #expect(issued.status == .code(64) && issued.error.contains("--jkt"), "\(issued.error)")
    }

    /// Refused for want of a proof, it has used up no assertion: the same comes again with one.
    @Test func anAssertionWhoseClientForgotItsProofIsStillGood() throws {
        let signer = try AssertionSigner()
        let house = try House(more: signer.block("dpop_bound_access_tokens on;"))
        let key = house.folder.file("key")
        _ = try DPoPTests.client("key", key, "ES256")
        let proofs = try DPoPTests.client(
            "proof", key, "POST", "https://as.test/oauth2/token", "-", "2")
        let form = try signer.form(to: "https://as.test", id: "once")
        func ask(_ proof: String?) throws -> HTTPReply {
            return try house.gateway.request(
                "POST /oauth2/token HTTP/1.1\r\n\(hostLine)Connection: close\r\n"
                    + (proof.map { "DPoP: \($0)\r\n" } ?? "")
                    + "Content-Type: application/x-www-form-urlencoded\r\n"
                    + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)")
        }
        for proof in [nil, "no proof"] {
            let forgotten = try ask(proof)
            #expect(
                forgotten.status == 400 && forgotten.text.contains(#""invalid_dpop_proof""#),
                "\(forgotten.text)")
        }
        let reply = try ask(proofs[0])
        #expect(
            reply.status == 200 && reply.text.contains(#""token_type":"DPoP""#), "\(reply.text)")
        // Now it has.
        #expect(try ask(proofs[1]).status == 401)
    }

    /// A signature of OAuth 1.0 beside the token, where a route wants both.
    @Test func bothCredentialsMayBeAskedFor() throws {
        let house = try House(
            more: """
                client two { secret_file secret; oauth1_secret_file secret; scopes read; }
                route /both { upstream up; authenticate all bearer oauth1; }
                """)
        let (key, _) = try house.bound()
        let proof = try DPoPTests.client(
            "proof", key, "POST", "https://as.test/oauth2/token", "-", "1")[0]
        let form = "grant_type=client_credentials&client_id=two&client_secret=s3cret"
        let reply = try house.gateway.request(
            "POST /oauth2/token HTTP/1.1\r\n\(hostLine)Connection: close\r\nDPoP: \(proof)\r\n"
                + "Content-Type: application/x-www-form-urlencoded\r\n"
                + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)")
        let token = try #require(try reply.json()["access_token"] as? String)
        let python = try requirePython(module: "oauthlib", package: "python3-oauthlib")
        let sign = """
            import sys
            from oauthlib.oauth1 import Client, SIGNATURE_TYPE_QUERY
            print(Client("two", client_secret="s3cret", signature_type=SIGNATURE_TYPE_QUERY).sign(sys.argv[1])[0])
            """
        let url = try house.base + "/both"
        let signed = try run(python, ["-c", sign, url]).output.trimmingCharacters(in: .newlines)
        let target = String(signed.dropFirst(try house.base.count))
        let once = try DPoPTests.client("proof", key, "GET", url, token, "2")
        let passed = try house.get(target, token, once[0])
        #expect(passed.status == 200 && passed.text.contains("X-Auth-Scheme: dpop\r\n"))
        // The proof is new, the signature is not.
        #expect(try house.get(target, token, once[1]).status == 401)
    }

    @Test(arguments: ["jwt", "opaque"]) func oneThatIsRevokedIsRefusedByItsScheme(
        format: String
    ) throws {
        let house = try House(format)
        let (key, token) = try house.bound()
        let proofs = try DPoPTests.client("proof", key, "GET", house.base + "/items", token, "2")
        #expect(try house.get("/items", token, proofs[0]).status == 200)
        let revoked = try run(
            gatehouseBinary(),
            ["token", "revoke", token, "--config", house.folder.file("gateway.conf")])
        #expect(revoked.status == .code(0), "\(revoked.error)")
        var reply: HTTPReply?
        _ = try eventually(within: .seconds(3)) {
            let proof = try DPoPTests.client(
                "proof", key, "GET", house.base + "/items", token, "1")[0]
            reply = try house.get("/items", token, proof)
            return reply?.status == 401
        }
        let challenges = try #require(reply).values("WWW-Authenticate")
        #expect(
            challenges.first
                == #"Bearer realm="gatehouse", resource_metadata="https://api.test/.well-known/oauth-protected-resource""#
        )
        #expect(
            challenges.last
                == #"DPoP algs="ES256 EdDSA RS256 PS256", realm="gatehouse", resource_metadata="https://api.test/.well-known/oauth-protected-resource", error="invalid_token", error_description="The access token was revoked.""#
        )
    }

    @Test func whatIsLackingIsToldInTheChallengeOfTheScheme() throws {
        let house = try House(
            more: "route /write { upstream up; authenticate bearer; require scope admin; }")
        let (key, token) = try house.bound()
        let proof = try DPoPTests.client("proof", key, "GET", house.base + "/write", token, "1")[0]
        let reply = try house.get("/write", token, proof)
        #expect(reply.status == 403)
        let challenges = reply.values("WWW-Authenticate")
        #expect(challenges.count == 1 && challenges[0].hasPrefix("DPoP algs="))
        #expect(challenges[0].contains(#"error="insufficient_scope""#))
        #expect(challenges[0].hasSuffix(#"scope="admin""#))
        for line in ["DPoP", "DPoP a b", "dpop =", "DPoP, x"] {
            let reply = try house.gateway.request(
                "GET /items HTTP/1.1\r\n\(hostLine)Connection: close\r\nAuthorization: \(line)\r\n\r\n"
            )
            let isOther = line == "DPoP, x"
            #expect(reply.status == (isOther ? 401 : 400), "\(line)")
            let wanted = #"error="invalid_request""#
            #expect(reply.values("WWW-Authenticate").contains { $0.contains(wanted) } != isOther)
        }
        // Two fields of Authorization are nobody's, whatever their schemes.
        let two = try house.get("/items", token, "x", "Authorization: Bearer \(token)\r\n")
        #expect(two.status == 400)
    }

    /// RFC 9728: of an audience whose routes all ask for proofs.
    @Test func theMetadataSayWhereNothingElseWillDo() throws {
        let folder = try TemporaryDirectory()
        let gateway = try Gateway(
            testConf(
                store: "store sqlite { path state.db; }",
                """
                authority { issuer https://as.test; audience https://a.test/a https://a.test/b https://a.test/c; }
                upstream up { server 127.0.0.1:9; }
                route /a { upstream up; require audience https://a.test/a; require dpop; }
                route /a2 { upstream up; authenticate oauth1; }
                route /b { upstream up; require audience https://a.test/b; require dpop; }
                route /b2 { upstream up; require audience https://a.test/b; }
                route /open { upstream up; authenticate none; }
                """), in: folder)
        for (name, isRequired) in [("a", true), ("b", nil), ("c", nil)] {
            let document = try gateway.request(
                "GET /.well-known/oauth-protected-resource/\(name) HTTP/1.1\r\n\(hostLine)\r\n"
            ).json()
            #expect(document["resource"] as? String == "https://a.test/\(name)")
            #expect(document["dpop_bound_access_tokens_required"] as? Bool == isRequired)
        }
    }

    // MARK: Explained

    /// What `explain` says of a proof, and that the running gateway agrees.
    @Test func explainJudgesTheProofToo() throws {
        let house = try House()
        let (key, token) = try house.bound()
        let (otherKey, _) = try house.bound("other")
        let url = try house.base + "/items"
        func proof(_ key: String, _ url: String, _ changes: String = "{}") throws -> String {
            try DPoPTests.client("proof", key, "GET", url, token, "1", changes)[0]
        }
        let bearer = ("Bearer", try proof(key, url))
        let cases: [((String, String), Int, String, String)] = [
            (("DPoP", try proof(key, url)), 200, "passes", "DPoP proof: holds, by the key "),
            (
                ("DPoP", try proof(key, url, #"{"htm":"PUT"}"#)), 401, "dpop_target_mismatch",
                "refused: its htm is not the request's method"
            ),
            (
                ("DPoP", try proof(key, "https://api.test/items")), 401, "dpop_target_mismatch",
                "the request's target is \(url)"
            ),
            (
                ("DPoP", try proof(key, url, #"{"iat":-99}"#)), 401, "timestamp_out_of_window",
                "its iat is too long ago (proof_lifetime)"
            ),
            (
                ("DPoP", try proof(key, url, #"{"ath":"x"}"#)), 401, "invalid_dpop_proof",
                "its ath is missing, or of another token"
            ),
            (
                ("DPoP", try proof(otherKey, url)), 401, "proof_mismatch",
                "the token is bound to another key"
            ),
            (bearer, 401, "proof_mismatch", "it is good by the scheme DPoP, with a proof, alone"),
        ]
        let conf = house.folder.file("gateway.conf")
        for ((scheme, proof), status, verdict, line) in cases {
            let request =
                "GET /items HTTP/1.1\r\nHost: 127.0.0.1:\(try house.gateway.port)\r\n"
                + "Connection: close\r\nAuthorization: \(scheme) \(token)\r\nDPoP: \(proof)\r\n\r\n"
            let told = try run(
                gatehouseBinary(), ["explain", "--request", "-", "--config", conf], input: request)
            let end = status == 200 ? "verdict: passes" : "verdict: refused, 401 \(verdict)"
            #expect(told.output.contains(end), "\(told.output)\(told.error)")
            #expect(told.output.contains(line), "\(told.output)")
            #expect(!told.output.contains(proof) && !told.output.contains(token))
            #expect(try house.gateway.request(request).status == status)
        }
        let inspected = try run(
            gatehouseBinary(), ["token", "inspect", token, "--config", conf])
        let thumbprint = try DPoPTests.client("jkt", key)[0]
        #expect(
            inspected.output.contains(
                "bound to a key (jkt \(thumbprint)): good with a DPoP proof alone"))
    }

    @Test(arguments: ["jwt", "opaque"]) func theCommandIssuesBoundTokensToo(
        format: String
    ) throws {
        let house = try House(format)
        let key = house.folder.file("key")
        _ = try DPoPTests.client("key", key, "ES256")
        let conf = ["--config", house.folder.file("gateway.conf")]
        func issue(_ jkt: String) throws -> CommandResult {
            try run(
                gatehouseBinary(), ["token", "issue", "--client", "one", "--jkt", jkt] + conf)
        }
        let issued = try issue(DPoPTests.client("jkt", key)[0])
        #expect(issued.status == .code(0), "\(issued.error)")
        let token = issued.output.trimmingCharacters(in: .newlines)
        let url = try house.base + "/strict"
        let proof = try DPoPTests.client("proof", key, "GET", url, token, "1")[0]
        let reply = try house.get("/strict", token, proof)
        #expect(reply.status == 200, "\(reply.text)")
        let hyphens = "--" + String(repeating: "A", count: 40) + "8"
        #expect(try issue(hyphens).status == .code(0))
        for wrong in ["", "-", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
            #expect(try issue(wrong).status == .code(64), "\(wrong)")
        }
    }

    /// What an opaque token grants lies in the store.
    @Test func explainTellsOfTheProofBesideAnOpaqueToken() throws {
        let house = try House("opaque")
        let (key, token) = try house.bound()
        let url = try house.base + "/items"
        for (target, line, verdict) in [
            (url, "DPoP proof: holds", "passes"),
            (
                url + "/x", "DPoP proof: refused: its htu is not",
                "refused, 401 dpop_target_mismatch"
            ),
        ] {
            let proof = try DPoPTests.client("proof", key, "GET", target, token, "1")[0]
            let told = try run(
                gatehouseBinary(),
                [
                    "explain", "--request", "-", "--config",
                    house.folder.file("gateway.conf"),
                ],
                input: "GET /items HTTP/1.1\r\nHost: 127.0.0.1:\(house.gateway.port)\r\n"
                    + "Authorization: DPoP \(token)\r\nDPoP: \(proof)\r\n\r\n")
            #expect(told.output.contains(line), "\(told.output)\(told.error)")
            #expect(told.output.contains("verdict: \(verdict)"), "\(told.output)")
        }
    }

    @Test func explainJudgesTheProofOfATokenRequest() throws {
        let house = try House(more: "dpop { require_nonce on; }")
        let key = house.folder.file("key")
        _ = try DPoPTests.client("key", key, "ES256")
        for (changes, verdict) in [
            ("{}", "refused, 400 use_dpop_nonce"), (#"{"nonce":"n"}"#, "passes"),
            (#"{"htm":"GET"}"#, "refused, 400 dpop_target_mismatch"),
        ] {
            let proof = try DPoPTests.client(
                "proof", key, "POST", "https://as.test/oauth2/token", "-", "1", changes)[0]
            let form = "grant_type=client_credentials&client_id=one&client_secret=s3cret"
            let told = try run(
                gatehouseBinary(),
                ["explain", "--request", "-", "--config", house.folder.file("gateway.conf")],
                input: "POST /oauth2/token HTTP/1.1\r\n\(hostLine)DPoP: \(proof)\r\n"
                    + "Content-Type: application/x-www-form-urlencoded\r\n"
                    + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)")
            #expect(told.output.contains("verdict: \(verdict)"), "\(told.output)\(told.error)")
            if verdict == "passes" { #expect(told.output.contains("granted: a DPoP token")) }
        }
    }
}
