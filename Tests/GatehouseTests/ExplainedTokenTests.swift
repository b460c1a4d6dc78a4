import Foundation
import TestSupport
import Testing

/// What `explain` and `token inspect` say of tokens that mean nothing without the store, and of revoked ones.
struct ExplainedTokenTests {
    private static func explain(_ house: AuthorityHouse, _ authorization: String) throws -> String {
        let request =
            "GET /ws HTTP/1.1\r\nHost: h.example\r\nAuthorization: \(authorization)\r\n\r\n"
        let result = try run(
            gatehouseBinary(),
            ["explain", "--request", "-", "--config", house.gateway.folder.file("gateway.conf")],
            input: request)
        #expect(result.status == .code(0), "\(result.error)")
        return result.output
    }

    @Test(arguments: ["jwt", "opaque"]) func aTokenIsJudgedAsTheGatewayDoes(format: String) throws {
        let house = try AuthorityHouse(format: format, more: "require scope read;")
        let token = try house.token()
        let good = try Self.explain(house, "Bearer \(token)")
        #expect(good.hasSuffix("verdict: passes\n"), "\(good)")
        #expect(good.contains("client one, scopes read"))
        #expect(!good.contains(token.suffix(20)))
        #expect(try house.command("token", "inspect", token).output.hasSuffix("verdict: holds\n"))
        _ = try house.command("token", "revoke", token)
        let revoked = try Self.explain(house, "Bearer \(token)")
        #expect(revoked.contains("it has been revoked"), "\(revoked)")
        #expect(revoked.contains("verdict: refused, 401 token_revoked"), "\(revoked)")
        let inspected = try house.command("token", "inspect", token).output
        #expect(
            inspected.hasSuffix("it has been revoked\nverdict: token_revoked\n"), "\(inspected)")
    }

    @Test func anOpaqueTokenThatNobodyKnowsIsRefused() throws {
        let house = try AuthorityHouse(format: "opaque", lifetime: "1s")
        let token = try house.token()
        // Like one, and never issued: its check does not hold.
        let forged = token.dropLast(2) + (token.hasSuffix("AA") ? "BB" : "AA")
        for unknown in [String(forged), token] {
            #expect(
                try eventually(within: .seconds(5)) {
                    try Self.explain(house, "Bearer \(unknown)")
                        .contains("verdict: refused, 401 unknown_token")
                })
            let inspected = try house.command("token", "inspect", unknown).output
            #expect(inspected.hasSuffix("verdict: unknown_token\n"), "\(inspected)")
        }
    }

    @Test func aTokenOfOAuth1IsJudgedAsTheGatewayDoes() throws {
        let house = try AuthorityHouse(more: "require scope read;")
        let token = try house.oauth1Token()
        let good = try Self.explain(house, try house.signature("GET", "/ws", token: token))
        #expect(good.contains("access token of OAuth 1.0, known to the store"), "\(good)")
        #expect(good.hasSuffix("verdict: passes\n"), "\(good)")
        #expect(!good.contains(token.secret))
        let wrong = try Self.explain(
            house, try house.signature("GET", "/ws", token: (token.text, token.secret + "x")))
        #expect(wrong.contains("verdict: refused, 401 bad_signature"), "\(wrong)")
        _ = try house.command("token", "revoke", token.text)
        let revoked = try Self.explain(house, try house.signature("GET", "/ws", token: token))
        // The gateway takes its record away, and remembers that it was revoked where it knew it.
        #expect(revoked.contains("verdict: refused, 401"), "\(revoked)")
        #expect(!revoked.contains("verdict: refused, 401 bad_signature"), "\(revoked)")
    }

    /// What lies in the gateway's memory nobody else can tell of, and that is said.
    @Test func withoutAStoreToLookIntoItIsUndecided() throws {
        let upstream = try ScriptedUpstream { _ in [.respond()] }
        let folder = try TemporaryDirectory()
        try folder.write("secret", "s3cret")
        let conf = testConf(
            """
            secrets { key_file secrets.key; }
            authority { issuer http://127.0.0.1; scopes read; token_format opaque; }
            client one { secret_file secret; scopes read; }
            upstream app { server 127.0.0.1:\(upstream.port); }
            route / { upstream app; authenticate bearer; }
            """)
        let gateway = try Gateway(conf, in: folder)
        let basic = Data("one:s3cret".utf8).base64EncodedString()
        let form = "grant_type=client_credentials"
        let reply = try gateway.request(
            "POST /oauth2/token HTTP/1.1\r\n\(hostLine)Authorization: Basic \(basic)\r\n"
                + "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n"
                + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)")
        let token = try #require(try reply.json()["access_token"] as? String)
        let inspected = try run(
            gatehouseBinary(),
            ["token", "inspect", token, "--config", folder.file("gateway.conf")])
        #expect(inspected.output.contains("memory of the running gateway"), "\(inspected.output)")
        #expect(inspected.output.hasSuffix("verdict: undecided\n"))
    }
}
