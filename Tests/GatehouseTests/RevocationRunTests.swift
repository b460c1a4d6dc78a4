import Foundation
import OAuth
import Primitives
import TestSupport
import Testing

/// What an operator revokes stays so: tokens that the commands cannot prove, and tokens of an authority whose name changes.
struct RevocationRunTests {
    private func revoke(_ gateway: Gateway, _ arguments: String...) throws -> CommandResult {
        try run(
            gatehouseBinary(),
            ["token", "revoke"] + arguments + ["--config", gateway.folder.file("gateway.conf")])
    }

    private func isRevoked(_ status: () throws -> Int) throws -> Bool {
        try eventually(within: .seconds(3)) { try status() == 401 }
    }

    private func house(_ more: String) throws -> (gateway: Gateway, upstream: ScriptedUpstream) {
        let folder = try TemporaryDirectory()
        try folder.write("secret", "s")
        let upstream = try ScriptedUpstream()
        return (
            try Gateway(
                testConf(
                    workers: 2, store: "store sqlite { path state.db; }",
                    """
                    \(more)
                    upstream up { server 127.0.0.1:\(upstream.port); }
                    route / { upstream up; authenticate bearer; }
                    """), in: folder), upstream
        )
    }

    @Test func aTokenWhoseKeysAreFetched() throws {
        let issuer = try OutsideIssuer("one")
        let (gateway, upstream) = try house(
            "issuer outside { issuer \(issuer.url); audience api; jwks_uri \(issuer.url)/jwks; }")
        defer { withExtendedLifetime(upstream) {} }
        try gateway.waitForLog("keys of an issuer were fetched")
        let (first, second, kept) = (
            try issuer.token("one"), try issuer.token("one", claims: #","n":1"#),
            try issuer.token("one")
        )
        for token in [first, second, kept] { #expect(try gateway.bearer(token).status == 200) }
        let byToken = try revoke(gateway, first)
        #expect(byToken.status == .code(0) && byToken.error.contains("was not proven"))
        #expect(try isRevoked { try gateway.bearer(first).status })
        #expect(try gateway.loggedReason() == "token_revoked")
        // As the issuer's log has it, without the token.
        let jti = try claims(second)["jti"] as? String ?? ""
        let end = "\(WallTime.now().seconds + 600)"
        let byName = try revoke(gateway, "--issuer", "outside", "--jti", jti, "--until", end)
        #expect(byName.status == .code(0), "\(byName.error)")
        #expect(try isRevoked { try gateway.bearer(second).status })
        #expect(try gateway.bearer(kept).status == 200)
        for (arguments, message) in [
            (["--jti", jti], "name the token's issuer with --issuer"),
            (["--issuer", "nobody", "--jti", jti], "no 'issuer' or 'introspection' block nobody"),
            ([try issuer.token("one", claims: #","exp":1000"#)], "malformed_credentials"),
            ([try issuer.token("one", issuer: "http://else.test")], "unknown_issuer"),
            (["x", "--issuer", "outside"], "go with --jti"),
            (
                ["--issuer", "outside", "--jti", jti, "--until", "1000"],
                "nothing would be revoked"
            ),
        ] {
            let result = try run(
                gatehouseBinary(),
                ["token", "revoke"] + arguments
                    + ["--config", gateway.folder.file("gateway.conf")])
            #expect(result.status == .code(64) && result.error.contains(message), "\(result.error)")
        }
    }

    private func claims(_ token: String) throws -> [String: Any] {
        let parts = token.split(separator: ".").map(String.init)
        let bytes = try #require(Base64.decode(parts[1], .url))
        return try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any] ?? [:]
    }

    /// By the token itself, whatever the server says of it; by name where the answers have one.
    @Test func anIntrospectedToken() throws {
        let server = try TokenServer()
        for (token, name) in [("first", "1"), ("second", "2"), ("kept", "3")] {
            server.say(
                #"{"active":true,"client_id":"app","iss":"https://t.test","jti":"\#(name)"}"#,
                of: token)
        }
        let (gateway, upstream) = try house(
            """
            introspection tokens {
                endpoint \(server.url)/i; client_id g; client_secret_file secret; issuer https://t.test;
            }
            """)
        defer { withExtendedLifetime(upstream) {} }
        for token in ["first", "second", "kept"] {
            #expect(try gateway.bearer(token).status == 200)
        }
        let byToken = try revoke(gateway, "first")
        #expect(byToken.status == .code(0) && byToken.error.contains("was not asked"))
        #expect(try isRevoked { try gateway.bearer("first").status })
        #expect(try gateway.loggedReason() == "token_revoked")
        #expect(try revoke(gateway, "--issuer", "tokens", "--jti", "2").status == .code(0))
        #expect(try isRevoked { try gateway.bearer("second").status })
        #expect(try gateway.bearer("kept").status == 200)
        // Also of one that the server is asked about anew.
        gateway.process.signal(SIGTERM)
        #expect(gateway.process.waitForExit() == .code(0))
        let conf = try String(
            contentsOfFile: gateway.folder.file("gateway.conf"), encoding: .utf8)
        let again = try Gateway(conf, in: gateway.folder)
        #expect(try again.bearer("first").status == 401)
        #expect(try again.bearer("kept").status == 200)
    }

    /// Opaque tokens and those of OAuth 1.0 outlive the authority's name, and so does their end.
    @Test func theAuthorityIsCalledOtherwise() throws {
        let house = try AuthorityHouse(
            format: "opaque; audience api", workers: 1, route: "off")
        let opened = try ScriptedUpstream()
        let gateway = house.gateway
        let (bearer, keptBearer) = (try house.token(), try house.token())
        let (oauth1, keptOAuth1) = (try house.oauth1Token(), try house.oauth1Token())
        let path = gateway.folder.file("gateway.conf")
        var conf = try String(contentsOfFile: path, encoding: .utf8)
        conf = conf.replacing("127.0.0.1:\(house.server.port)", with: "127.0.0.1:\(opened.port)")
        /// Waits until the worker has it, too.
        func use(_ conf: String, metadata: String) throws {
            try ReloadTests.reload(conf, of: gateway)
            #expect(
                try eventually {
                    try gateway.request(
                        "GET /.well-known/oauth-authorization-server HTTP/1.1\r\n\(hostLine)"
                            + "Connection: close\r\n\r\n"
                    ).text.contains(metadata)
                })
        }
        func status(_ token: (text: String, secret: String)) throws -> Int {
            try gateway.request(
                "GET /a HTTP/1.1\r\nHost: h.example\r\nConnection: close\r\n"
                    + "Authorization: \(try house.signature("GET", "/a", token: token))\r\n\r\n"
            ).status
        }
        try use(conf, metadata: "http://127.0.0.1/")
        #expect(try eventually { try gateway.bearer(bearer).status == 200 })
        #expect(try status(oauth1) == 200)
        for token in [bearer, oauth1.text] {
            #expect(try revoke(gateway, token).status == .code(0))
        }
        #expect(try isRevoked { try gateway.bearer(bearer).status })
        #expect(try isRevoked { try status(oauth1) })
        conf = conf.replacing("issuer http://127.0.0.1;", with: "issuer http://renamed.test;")
        try use(conf, metadata: "http://renamed.test/")
        #expect(try gateway.bearer(keptBearer).status == 200)
        #expect(try gateway.bearer(bearer).status == 401)
        #expect(try status(keptOAuth1) == 200)
        #expect(try status(oauth1) == 401)
        let authority = try #require(conf.firstRange(of: #/authority \{.*\}/#))
        conf.removeSubrange(authority)
        try use(conf, metadata: "no_credentials")
        #expect(try status(keptOAuth1) == 200)
        #expect(try status(oauth1) == 401)
        #expect(try revoke(gateway, keptOAuth1.text).status == .code(0))
        #expect(try isRevoked { try status(keptOAuth1) })
    }

    /// By a reload, or by a stop and another conf at the next start.
    @Test(arguments: ["jwt", "opaque"], [false, true])
    func aClientThatComesBackToTheConfHasNoOldTokens(format: String, restarts: Bool) throws {
        let two = "client two { secret_file secret; scopes read; }"
        let house = try AuthorityHouse(format: format, route: "off", clients: two)
        let opened = try ScriptedUpstream()
        var gateway = house.gateway
        let conf = gateway.folder.read("gateway.conf")
            .replacing("127.0.0.1:\(house.server.port)", with: "127.0.0.1:\(opened.port)")
        func use(_ conf: String) throws {
            guard restarts else { return try ReloadTests.reload(conf, of: gateway) }
            #expect(gateway.process.end() == .code(0))
            gateway = try Gateway(conf, in: gateway.folder)
        }
        func token(_ client: String) throws -> String {
            let reply = try gateway.post(
                "/oauth2/token", as: client, "grant_type=client_credentials")
            return try #require(try reply.json()["access_token"] as? String, "\(reply.text)")
        }
        try use(conf)
        let (old, kept) = (try token("two"), try token("one"))
        #expect(try eventually { try gateway.bearer(old).status == 200 })
        try use(conf.replacing(two, with: ""))
        #expect(try isRevoked { try gateway.bearer(old).status })
        try use(conf)
        // It is a client again, whose new tokens are good when a moment has passed.
        #expect(
            try eventually(within: .seconds(10)) {
                try gateway.post(
                    "/oauth2/token", as: "two", "grant_type=client_credentials"
                ).status == 200
            })
        #expect(
            try eventually(within: .seconds(10)) { try gateway.bearer(token("two")).status == 200 })
        for _ in 0..<4 { #expect(try gateway.bearer(old).status == 401) }
        #expect(try gateway.loggedReason() == "token_revoked")
        #expect(try gateway.bearer(kept).status == 200)
    }

    @Test func whatWasIssuedLaterStays() throws {
        let house = try AuthorityHouse(route: "off")
        let opened = try ScriptedUpstream()
        let path = house.gateway.folder.file("gateway.conf")
        let conf = try String(contentsOfFile: path, encoding: .utf8)
            .replacing("127.0.0.1:\(house.server.port)", with: "127.0.0.1:\(opened.port)")
        let gateway = try Gateway(
            conf.replacing("state.db", with: "other.db"), in: house.gateway.folder)
        func issue() throws -> (token: String, at: Int64) {
            let reply = try gateway.post(
                "/oauth2/token", as: "one", "grant_type=client_credentials")
            let token = try #require(try reply.json()["access_token"] as? String)
            return (token, Int64(try claims(token)["iat"] as? Int ?? 0))
        }
        let old = try issue()
        var new = try issue()
        let isLater = try eventually(within: .seconds(5)) {
            new = try issue()
            return new.at > old.at
        }
        #expect(isLater)
        let revoked = try revoke(gateway, "--client", "one", "--issued-before", "\(new.at - 1)")
        #expect(revoked.status == .code(0), "\(revoked.error)")
        #expect(try isRevoked { try gateway.bearer(old.token).status })
        #expect(try gateway.bearer(new.token).status == 200)
        // Without a moment: whatever clock a token was issued by.
        let all = try revoke(gateway, "--client", "one")
        #expect(all.status == .code(0) && all.error.contains("in the next 60 s"))
        #expect(try isRevoked { try gateway.bearer(new.token).status })
        #expect(try gateway.bearer(issue().token).status == 401)
    }
}
