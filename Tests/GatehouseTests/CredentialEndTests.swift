import Foundation
import OAuth
import Primitives
import TestSupport
import Testing

/// Streams without an end of their own end with what let them in (`end_streams_with_credential`): when its time is over,
/// and when it is withdrawn.
struct CredentialEndTests {
    // MARK: Revoked

    @Test(arguments: ["jwt", "opaque"], [true, false])
    func aRevokedTokenEndsItsTunnelAndNoOther(format: String, byClient: Bool) throws {
        let house = try AuthorityHouse(
            format: format,
            clients: "client two { secret_file secret; oauth1_secret_file secret; scopes read; }")
        let token = try house.token()
        let other = try house.tunnel(try house.signature("GET", "/ws", as: "two"))
        let (client, server) = try house.tunnel("Bearer \(token)")
        try client.send("still")
        #expect(text(try server.read(5)) == "still")
        _ =
            byClient
            ? try house.command("token", "revoke", "--client", "one")
            : try house.command("token", "revoke", token)
        #expect(try server.isClosedByPeer())
        #expect(try client.isClosedByPeer())
        #expect(try house.reason("/ws") == "token_revoked")
        try other.client.send("mine")
        #expect(text(try other.server.read(4)) == "mine")
    }

    @Test func aRevokedTokenEndsItsEventsOverHTTP2() throws {
        let house = try AuthorityHouse()
        let token = try house.token()
        let (client, server) = try house.listener("Bearer \(token)")
        _ = try house.command("token", "revoke", token)
        #expect(client.waitForExit(within: .seconds(10)) == .code(0), "\(client.standardError)")
        #expect(client.standardOutput == "200 data: 1\nreset 2\n")
        #expect(try server.isClosedByPeer())
        #expect(try house.reason("/events") == "token_revoked")
    }

    @Test func aRevokedTokenOfOAuth1EndsItsTunnel() throws {
        let house = try AuthorityHouse()
        let token = try house.oauth1Token()
        let (client, server) = try house.tunnel(
            try house.signature("GET", "/ws", token: token))
        _ = try house.command("token", "revoke", token.text)
        #expect(try server.isClosedByPeer())
        #expect(try client.isClosedByPeer())
        #expect(try house.reason("/ws") == "token_revoked")
    }

    /// What signs by its own secret has no token to be revoked.
    @Test func aClientThatIsRemovedTakesItsTunnelsAlong() throws {
        let house = try AuthorityHouse()
        let added = try house.command(
            "client", "add", "late", "--scope", "read", "--oauth1", "--json")
        let facts =
            try JSONSerialization.jsonObject(with: Data(added.output.utf8))
            as? [String: Any]
        let secret = try #require(facts?["oauth1_consumer_secret"] as? String, "\(added.output)")
        let mine = try house.signature("GET", "/plain", as: "late", secret: secret)
        #expect(
            try eventually {
                // 404 of nobody: the client is known once its signature holds.
                let client = try house.gateway.connect()
                try client.send(
                    "GET /plain HTTP/1.1\r\nHost: h.example\r\nAuthorization: \(mine)\r\n\r\n")
                return house.server.hasWaiting
            })
        _ = try house.server.accept()
        let (client, server) = try house.tunnel(
            try house.signature("GET", "/ws", as: "late", secret: secret))
        _ = try house.command("client", "remove", "late")
        #expect(try server.isClosedByPeer())
        #expect(try client.isClosedByPeer())
        #expect(try house.reason("/ws") == "unknown_client")
    }

    /// A form may take as long to come as its client likes: whose it is counts when it is whole.
    @Test func aClientThatIsRemovedWhileItsFormComesIsUnknown() throws {
        let house = try AuthorityHouse(bodyTimeout: "10s")
        let added = try house.command(
            "client", "add", "late", "--scope", "read", "--oauth1", "--json")
        let facts =
            try JSONSerialization.jsonObject(with: Data(added.output.utf8))
            as? [String: Any]
        let secret = try #require(facts?["client_secret"] as? String, "\(added.output)")
        let key = try #require(facts?["oauth1_consumer_secret"] as? String)
        let basic = Data("late:\(secret)".utf8).base64EncodedString()
        let form = "Content-Type: application/x-www-form-urlencoded\r\n"
        let grant = "grant_type=client_credentials"
        func head(_ path: String, _ authorization: String, _ body: String) -> String {
            "POST \(path) HTTP/1.1\r\nHost: h.example\r\nAuthorization: \(authorization)\r\n\(form)"
                + "Content-Length: \(body.utf8.count)\r\n\r\n"
        }
        func isKnown() throws -> Bool {
            let reply = try house.gateway.connect()
            try reply.send(head("/oauth2/token", "Basic \(basic)", grant) + grant)
            return try reply.readReply().status == 200
        }
        #expect(try eventually { try isKnown() })
        // Each has sent all but the last byte.
        let asking = try house.gateway.connect()
        try asking.send(
            head("/oauth2/token", "Basic \(basic)", grant) + String(grant.dropLast()))
        let content = "a=1&b=2"
        let signer = OAuth1Signer(
            method: .hmacSHA256, consumerKey: "late", token: nil,
            credentials: OAuth1Credentials(consumerSecret: Secret(utf8: key)))
        let signature = try signer.authorization(
            for: .init(
                method: "POST", url: "http://h.example/plain",
                contentType: "application/x-www-form-urlencoded", body: Array(content.utf8)),
            timestamp: WallTime.now().seconds, nonce: UUID().uuidString)
        let signing = try house.gateway.connect()
        try signing.send(head("/plain", signature, content) + String(content.dropLast()))
        _ = try house.command("client", "remove", "late")
        #expect(try eventually { try !isKnown() })
        try asking.send(String(grant.suffix(1)))
        #expect(try asking.readReply().status == 401)
        try signing.send(String(content.suffix(1)))
        #expect(try signing.readReply().status == 401)
        #expect(try house.reason("/plain") == "unknown_client")
        #expect(!house.server.hasWaiting)
    }

    /// Its tokens end with it, remembered ones and streams too, also where nobody revoked them.
    @Test(arguments: ["jwt", "opaque"])
    func aClientThatLeavesTheConfTakesItsTokensAlong(format: String) throws {
        let two = "client two { secret_file secret; scopes read; }"
        let house = try AuthorityHouse(format: format, clients: two)
        let reply = try house.gateway.post(
            "/oauth2/token", as: "two", "grant_type=client_credentials")
        let token = try #require(try reply.json()["access_token"] as? String)
        let kept = try house.tunnel("Bearer \(try house.token())")
        let (client, server) = try house.tunnel("Bearer \(token)")
        let conf = house.gateway.folder.read("gateway.conf")
        try ReloadTests.reload(conf.replacing(two, with: ""), of: house.gateway)
        #expect(try server.isClosedByPeer())
        #expect(try client.isClosedByPeer())
        #expect(try house.reason("/ws") == "unknown_client")
        // Though it is so young that its client could be one that was added a moment ago.
        #expect(
            try eventually {
                try house.gateway.post("/oauth2/introspect", as: "one", "token=\(token)").text
                    == "{\"active\":false}\n"
            })
        for _ in 0..<4 { #expect(try house.gateway.bearer(token, "/again").status == 401) }
        // Whichever is asked first: a young token may be of a client that is yet to be heard of.
        let reason = try #require(try house.reason("/again"))
        #expect(["token_revoked", "unknown_client"].contains(reason))
        let inspected = try run(
            gatehouseBinary(),
            ["token", "inspect", token, "--config", house.gateway.folder.file("gateway.conf")])
        #expect(inspected.output.contains("verdict: token_revoked"), "\(inspected.output)")
        try kept.client.send("mine")
        #expect(text(try kept.server.read(4)) == "mine")
    }

    @Test func anIssuerThatLeavesTheConfTakesItsTunnelsAlong() throws {
        let issuer = try OutsideIssuer("one")
        let block =
            "issuer outside { issuer \(issuer.url); audience api; jwks_uri \(issuer.url)/jwks; }"
        let house = try AuthorityHouse(clients: block)
        try house.gateway.waitForLog("keys of an issuer were fetched")
        let kept = try house.tunnel("Bearer \(try house.token())")
        let (client, server) = try house.tunnel("Bearer \(try issuer.token("one"))")
        let conf = house.gateway.folder.read("gateway.conf")
        try ReloadTests.reload(conf.replacing(block, with: ""), of: house.gateway)
        #expect(try server.isClosedByPeer())
        #expect(try client.isClosedByPeer())
        #expect(try house.reason("/ws") == "unknown_issuer")
        try kept.client.send("mine")
        #expect(text(try kept.server.read(4)) == "mine")
    }

    /// Whose word its token was believed on is asked no more.
    @Test func anIntrospectionServerThatLeavesTheConfTakesItsTunnelsAlong() throws {
        let tokens = try TokenServer()
        tokens.say(#"{"active":true,"client_id":"app"}"#, of: "theirs")
        let block =
            "introspection tokens { endpoint \(tokens.url)/i; client_id g; client_secret_file secret; }"
        let house = try AuthorityHouse(clients: block)
        let kept = try house.tunnel("Bearer \(try house.token())")
        let (client, server) = try house.tunnel("Bearer theirs")
        let conf = house.gateway.folder.read("gateway.conf")
        // While it is there, a reload that leaves it there changes nothing.
        try ReloadTests.reload(conf + "\n", of: house.gateway)
        try client.send("still")
        #expect(text(try server.read(5)) == "still")
        try ReloadTests.reload(conf.replacing(block, with: ""), of: house.gateway)
        #expect(try server.isClosedByPeer())
        #expect(try client.isClosedByPeer())
        #expect(try house.reason("/ws") == "unknown_issuer")
        try kept.client.send("mine")
        #expect(text(try kept.server.read(4)) == "mine")
    }

    /// Between the verdict and the answer nobody tells the exchange; it asks when its stream begins.
    @Test func whatIsRevokedBeforeTheAnswerBeginsNoStream() throws {
        let house = try AuthorityHouse(workers: 1)
        let token = try house.token()
        let known = try house.tunnel("Bearer \(token)")
        let client = try house.gateway.connect()
        try client.send(
            "GET /events HTTP/1.1\r\nHost: h.example\r\nAuthorization: Bearer \(token)\r\n\r\n")
        let server = try house.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        _ = try house.command("token", "revoke", token)
        // The worker has heard of it.
        #expect(try known.client.isClosedByPeer())
        try server.send(AuthorityHouse.events)
        _ = try client.readToEnd()
        #expect(try house.reason("/events") == "token_revoked")
    }

    @Test func withoutTheRuleAStreamGoesOn() throws {
        let house = try AuthorityHouse(workers: 1, route: "off")
        let token = try house.token()
        let (client, server) = try house.tunnel("Bearer \(token)")
        _ = try house.command("token", "revoke", token)
        #expect(
            try eventually(within: .seconds(2)) {
                let basic = Data("one:s3cret".utf8).base64EncodedString()
                let body = "token=\(token)"
                return try house.gateway.request(
                    "POST /oauth2/introspect HTTP/1.1\r\n\(hostLine)Authorization: Basic \(basic)\r\n"
                        + "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n"
                        + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
                ).text == "{\"active\":false}\n"
            })
        try client.send("still")
        #expect(text(try server.read(5)) == "still")
    }

    // MARK: Its time is over

    /// A quiet stream whose client has taken all there was is waited for by nothing else.
    @Test func aQuietStreamOfHTTP2EndsWithItsToken() throws {
        let house = try AuthorityHouse(lifetime: "1s")
        let token = try house.token()
        let (client, server) = try house.listener("Bearer \(token)")
        #expect(client.waitForExit(within: .seconds(10)) == .code(0), "\(client.standardError)")
        #expect(client.standardOutput == "200 data: 1\nreset 2\n")
        #expect(try server.isClosedByPeer())
        #expect(try house.reason("/events") == "token_expired")
    }

    /// A client that goes as the other protocol begins takes its exchange along, and whoever is next on that one ends with
    /// its own token.
    @Test func aTunnelThatNobodyTookUpIsNotKeptInSight() throws {
        let house = try AuthorityHouse(lifetime: "4s", workers: 1)
        let token = try house.token()
        do {
            let (client, server) = try house.askForTunnel("Bearer \(token)")
            house.gateway.process.signal(SIGSTOP)
            try house.gateway.process.waitUntilStopped()
            // In this order, so that the answer finds a connection that is gone.
            try server.send(AuthorityHouse.switching)
            client.resetOnClose()
        }
        house.gateway.process.signal(SIGCONT)
        let (client, server) = try house.tunnel("Bearer \(token)")
        #expect(try server.isClosedByPeer())
        #expect(try client.isClosedByPeer())
        #expect(
            try house.gateway.accessLine { $0["reason"] as? String == "token_expired" }["path"]
                as? String == "/ws")
    }

    /// What the issuer's skew lets in stays as long as it does.
    @Test func aStreamLivesAsLongAsItsTokenLetsIn() throws {
        let issuer = try OutsideIssuer("one")
        let house = try AuthorityHouse(
            clients: """
                issuer outside {
                    issuer \(issuer.url); audience api; jwks_uri \(issuer.url)/jwks; clock_skew 8s;
                }
                """)
        try house.gateway.waitForLog("keys of an issuer were fetched")
        let begun = WallTime.now().seconds
        let token = try issuer.token("one", lifetime: -4)
        let (client, server) = try house.tunnel("Bearer \(token)")
        #expect(try server.isClosedByPeer())
        #expect(try client.isClosedByPeer())
        #expect(WallTime.now().seconds >= begun + 4)
        #expect(try house.reason("/ws") == "token_expired")
    }

    @Test func aQuietStreamOfHTTP2EndsWithItsRoutesTime() throws {
        let house = try AuthorityHouse(more: "timeout 1s;")
        let (client, server) = try house.listener("Bearer \(try house.token())")
        #expect(client.waitForExit(within: .seconds(10)) == .code(0), "\(client.standardError)")
        #expect(client.standardOutput == "200 data: 1\nreset 2\n")
        #expect(try server.isClosedByPeer())
        #expect(try house.reason("/events") == "upstream_timeout")
    }
}
