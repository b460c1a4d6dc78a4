import Foundation
import TestSupport
import Testing

struct CommandsTokenTests {
    @Test func anIssuedTokenHoldsHereAndAtTheGateway() throws {
        let upstream = try ScriptedUpstream()
        let fixture = try CommandFixture(upstream: upstream.port)
        let gateway = try fixture.start()
        defer { gateway.end() }
        let token = try fixture.output(
            "token", "issue", "--client", "declared", "--scope", "orders.read")
        let reply = try fixture.send(
            fixture.request("GET /orders", ["Authorization: Bearer \(token)"]))
        #expect(reply.status == 200)

        let inspected = try fixture.object("token", "inspect", token)
        let claims = try #require(inspected["claims"] as? [String: Any])
        #expect(claims["client_id"] as? String == "declared")
        #expect(claims["scope"] as? String == "orders.read")
        #expect((inspected["header"] as? [String: Any])?["typ"] as? String == "at+jwt")
        #expect(inspected["holds"] as? Bool == true)
        let text = try fixture.output("token", "inspect", "-", input: token + "\n")
        #expect(text.hasSuffix("verdict: holds"))
    }

    @Test func theJSONIsThatOfTheTokenEndpoint() throws {
        let fixture = try CommandFixture()
        _ = try fixture.output("key", "rotate")
        let reply = try fixture.object("token", "issue", "--client", "declared")
        #expect(reply["token_type"] as? String == "Bearer")
        #expect(reply["expires_in"] as? Int == 600)
        #expect(reply["scope"] as? String == "orders.read")
        #expect((reply["access_token"] as? String)?.split(separator: ".").count == 3)
    }

    @Test func aTokenIsJudgedByTheMomentGiven() throws {
        let fixture = try CommandFixture()
        _ = try fixture.output("key", "rotate")
        let token = try fixture.output("token", "issue", "--client", "declared")
        let later = try fixture.object("token", "inspect", token, "--at", "2100-01-01T00:00:00Z")
        #expect(later["holds"] as? Bool == false)
        #expect(later["reason"] as? String == "token_expired")
        let broken = try fixture.object("token", "inspect", "not.a.token")
        #expect(broken["reason"] as? String == "malformed_credentials")
        #expect(
            try fixture.gatehouse("token", "inspect", token, "--at", "noon").status == .code(64))
    }

    @Test(
        arguments: zip(
            [
                ["token", "issue", "--client", "declared", "--scope", "orders.write"],
                ["token", "issue", "--client", "nobody"],
                ["token", "issue"],
                ["token", "revoke", "x"],
            ], [69, 69, 64, 64] as [Int32]))
    func whatIsNotGrantedIsNotIssued(arguments: [String], code: Int32) throws {
        let fixture = try CommandFixture()
        _ = try fixture.output("key", "rotate")
        let result = try run(
            fixture.binary,
            arguments + ["--config", fixture.conf])
        #expect(result.status == .code(code), "\(result.error)")
        #expect(result.output.isEmpty)
        #expect(!result.error.isEmpty)
    }

    @Test func keysRotateAndOldTokensHold() throws {
        let fixture = try CommandFixture()
        #expect(try fixture.list("key", "list").isEmpty)
        let first = try #require(try fixture.object("key", "rotate")["kid"] as? String)
        let token = try fixture.output("token", "issue", "--client", "declared")
        let second = try #require(
            try fixture.object("key", "rotate", "--now")["kid"] as? String)
        let keys = try fixture.list("key", "list")
        #expect(keys.map { $0["kid"] as? String } == [second, first])
        #expect(keys.map { $0["state"] as? String } == ["current", "retired"])
        #expect(keys.map { $0["retired_at"] != nil } == [false, true])
        #expect(try fixture.object("token", "inspect", token)["holds"] as? Bool == true)

        let exported = try JSONSerialization.jsonObject(
            with: Data(fixture.output("key", "export").utf8))
        let published = try #require((exported as? [String: Any])?["keys"] as? [[String: Any]])
        #expect(published.map { $0["kid"] as? String } == [second, first])
        // Published before it signs, unless there is no time for that.
        let third = try fixture.object("key", "rotate")
        #expect(third["state"] as? String == "next")
        #expect(
            Set(try fixture.list("key", "list").map { $0["state"] as? String })
                == ["next", "current", "retired"])
        for key in published {
            // No member of a private key (RFC 7518 section 6).
            #expect(Set(key.keys) == ["kty", "crv", "x", "y", "kid", "use", "alg"])
        }
    }

    @Test func aRunningGatewaySignsWithTheNewKey() throws {
        let fixture = try CommandFixture()
        let gateway = try fixture.start()
        defer { gateway.end() }
        let kid = try #require(try fixture.object("key", "rotate")["kid"] as? String)
        #expect(
            try eventually(within: .seconds(2)) {
                try fixture.send(fixture.request("GET /.well-known/jwks.json")).text.contains(kid)
            })
    }

    /// A key in wrong hands: the next signs at once, and what the old one signed is refused, remembered or not.
    @Test func aRemovedKeyProvesNothing() throws {
        let upstream = try ScriptedUpstream()
        let fixture = try CommandFixture(upstream: upstream.port)
        let gateway = try fixture.start()
        defer { gateway.end() }
        func status(_ token: String) throws -> Int {
            try fixture.send(fixture.request("GET /orders", ["Authorization: Bearer \(token)"]))
                .status
        }
        let token = try fixture.output(
            "token", "issue", "--client", "declared", "--scope", "orders.read")
        #expect(try status(token) == 200)
        let old = try #require(try fixture.list("key", "list").first?["kid"] as? String)
        let refused = try fixture.gatehouse("key", "remove", old)
        #expect(refused.status == .code(64))
        #expect(refused.error.contains("is the current one"))
        #expect(try fixture.gatehouse("key", "remove", "nothing").status == .code(64))

        _ = try fixture.output("key", "rotate", "--now")
        #expect(try fixture.output("key", "remove", old).hasPrefix("removed \(old)"))
        #expect(try eventually(within: .seconds(3)) { try status(token) == 401 })
        let next = try fixture.output("token", "issue", "--client", "declared")
        #expect(try eventually(within: .seconds(3)) { try status(next) == 200 })
    }

    @Test func thereIsAnEndToKeys() throws {
        let fixture = try CommandFixture()
        for _ in 0..<90 { _ = try fixture.output("key", "rotate", "--now") }
        let refused = try fixture.gatehouse("key", "rotate", "--now")
        #expect(refused.status == .code(69))
        #expect(refused.error.contains("gatehouse key remove KID"))
        let oldest = try #require(try fixture.list("key", "list").last?["kid"] as? String)
        _ = try fixture.output("key", "remove", oldest)
        _ = try fixture.output("key", "rotate", "--now")
        #expect(try fixture.list("key", "list").count == 90)
    }

    @Test func toLookMakesNoStore() throws {
        let fixture = try CommandFixture()
        for arguments in [["key", "list"], ["token", "inspect", "x"]] {
            #expect(try fixture.gatehouse(arguments).status == .code(0))
        }
        let files = try FileManager.default.contentsOfDirectory(atPath: fixture.folder.path)
        #expect(Set(files) == ["gateway.conf", "declared.secret"])
    }

    @Test func withoutAnAuthorityThereIsNothingToSignWith() throws {
        let fixture = try CommandFixture()
        let conf = fixture.folder.read("gateway.conf").replacing(
            /authority \{[^}]*\}/, with: "")
        try fixture.folder.write("gateway.conf", conf)
        #expect(try fixture.gatehouse("key", "rotate").status == .code(78))
        #expect(
            try fixture.gatehouse("token", "issue", "--client", "declared").status == .code(78))
    }

    /// One client's record is damaged while the gateway runs: others' tokens are revoked as ever, and it starts again.
    @Test func aDamagedClientHoldsNoRevocationUp() throws {
        let upstream = try ScriptedUpstream { _ in [.respond(body: "ok")] }
        let fixture = try CommandFixture(upstream: upstream.port)
        let spare = try fixture.output("client", "add", "spare", "--oauth1")
        let gateway = try fixture.start()
        defer { gateway.end() }
        let tokens = try (0..<2).map { _ in
            try fixture.output("token", "issue", "--client", "declared")
        }
        func status(_ token: String) throws -> Int {
            try fixture.send(
                fixture.request("GET /orders", ["Authorization: Bearer \(token)"])
            ).status
        }
        #expect(try tokens.map(status) == [200, 200])
        try fixture.sql(
            "UPDATE client SET oauth1_secrets = replace(oauth1_secrets, 'sealed', 'sealet')")
        let revoked = try fixture.gatehouse("token", "revoke", tokens[0])
        #expect(revoked.status == .code(0))
        #expect(revoked.error.contains("the client spare is damaged"))
        #expect(try eventually(within: .seconds(1)) { try status(tokens[0]) == 401 })
        #expect(try status(tokens[1]) == 200)
        #expect(
            try fixture.gatehouse("token", "revoke", "--client", "declared").status == .code(0))
        #expect(try eventually(within: .seconds(1)) { try status(tokens[1]) == 401 })
        // It is refused itself, and named once.
        let secret = try #require(value("client_secret", in: spare))
        #expect(try eventually { try fixture.tokenStatus("spare", secret) == 401 })
        // The log has a thread of its own: all of it is there when the process has ended.
        gateway.end()
        let line = "the client spare is damaged: oauth1_secrets is not a list of secrets"
        #expect(gateway.standardError.components(separatedBy: line).count == 2)

        let again = try fixture.start()
        defer { again.end() }
        #expect(eventually { again.standardError.contains(line) })
        #expect(try tokens.map(status) == [401, 401])
        // The operator's way out.
        #expect(try fixture.gatehouse("client", "rotate", "spare").status == .code(69))
        #expect(try fixture.gatehouse("store", "export").status == .code(65))
        #expect(try fixture.gatehouse("client", "remove", "spare").status == .code(0))
        #expect(try fixture.gatehouse("store", "export").status == .code(0))
    }
}
