import Foundation
import TestSupport
import Testing

/// Issuers whose keys are fetched, against the running program.
@Suite(.serialized)
struct IssuerTests {
    let upstream: ScriptedUpstream

    init() throws {
        upstream = try ScriptedUpstream()
    }

    func conf(
        _ issuer: OutsideIssuer, workers: Int = 1, source: String? = nil
    ) -> String {
        testConf(
            workers: workers,
            """
            issuer outside {
                issuer \(issuer.url);
                audience api;
                \(source ?? "jwks_uri \(issuer.url)/jwks;")
            }
            upstream up { server 127.0.0.1:\(upstream.port); }
            route / { upstream up; authenticate bearer; }
            """)
    }

    /// Starts it and waits until the issuer's first keys are here.
    func start(_ issuer: OutsideIssuer, workers: Int = 1) throws -> Gateway {
        let gateway = try Gateway(conf(issuer, workers: workers))
        try gateway.waitForLog("keys of an issuer were fetched")
        return gateway
    }

    // MARK: Keys that change

    @Test func aNewKeyIsFoundAndAnOldOneForgotten() throws {
        let issuer = try OutsideIssuer("one", "two")
        let gateway = try start(issuer, workers: 2)
        let old = try issuer.token("one")
        // On every worker it is remembered.
        for _ in 0..<8 { #expect(try gateway.bearer(old).status == 200) }
        issuer.publish("one", "two")
        for _ in 0..<8 { #expect(try gateway.bearer(issuer.token("two")).status == 200) }
        #expect(issuer.fetches == 2)
        #expect(try gateway.bearer(old).status == 200)
        #expect(upstream.requests.count == 17)
    }

    @Test func aTokenWhoseKeyIsGoneIsForgotten() throws {
        let issuer = try OutsideIssuer("one", "two")
        let gateway = try start(issuer, workers: 2)
        let old = try issuer.token("one")
        for _ in 0..<8 { #expect(try gateway.bearer(old).status == 200) }
        issuer.publish("two")
        #expect(try gateway.bearer(issuer.token("two")).status == 200)
        for _ in 0..<8 {
            let reply = try gateway.bearer(old)
            #expect(reply.status == 401)
            #expect(reply.reason == "invalid_credentials")
        }
        #expect(try gateway.loggedReason() == "unknown_key")
        #expect(issuer.fetches == 2)
    }

    /// Keys without names: an issuer that has one at a time needs none.
    @Test func aNewKeyWithoutANameIsFoundToo() throws {
        let issuer = try OutsideIssuer("one", "two")
        issuer.hideNames()
        let gateway = try start(issuer)
        #expect(try gateway.bearer(issuer.token("one")).status == 200)
        issuer.publish("two")
        #expect(try gateway.bearer(issuer.token("two")).status == 200)
        #expect(try gateway.bearer(issuer.token("one")).status == 401)
        #expect(try gateway.loggedReason() == "bad_signature")
        #expect(issuer.fetches == 2)
    }

    @Test func aRequestWithABodyWaitsForItsKey() throws {
        let issuer = try OutsideIssuer("one", "two")
        let gateway = try start(issuer)
        issuer.publish("one", "two")
        issuer.hold(true)
        let client = try gateway.connect()
        try client.send(
            "POST /x HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(issuer.token("two"))\r\n"
                + "Content-Length: 5\r\n\r\nhel")
        let isAsked = eventually { issuer.fetches == 2 }
        #expect(isAsked)
        try client.send("lo")
        #expect(upstream.requests.isEmpty)
        issuer.hold(false)
        #expect(try client.readReply().status == 200)
        #expect(text(try #require(upstream.requests.first).rawBody) == "hello")
        // The connection goes on.
        try client.send(
            "GET /y HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(issuer.token("one"))\r\n\r\n")
        #expect(try client.readReply().status == 200)
    }

    /// The issuer has answered the background's fetch before it published the key of a token that comes meanwhile.
    @Test func aKeyThatIsPublishedDuringAFetchIsFound() throws {
        let issuer = try OutsideIssuer("one", "two")
        issuer.hold(true)
        issuer.answerNext([.respond(body: issuer.document)])
        let gateway = try Gateway(conf(issuer))
        let isAsked = eventually { issuer.fetches == 1 }
        #expect(isAsked)
        let waiting = try (0..<20).map { _ in try gateway.begin(issuer.token("two")) }
        // The one worker has read them all once it answers who came last.
        #expect(try gateway.bearer("x.y.z").status == 401)
        issuer.publish("one", "two")
        issuer.hold(false)
        for client in waiting { #expect(try client.readReply().status == 200) }
        #expect(issuer.fetches == 2)
    }

    @Test func aClientThatLeavesWhileItWaitsIsForgotten() throws {
        let issuer = try OutsideIssuer("one", "two")
        let gateway = try start(issuer)
        issuer.publish("one", "two")
        issuer.hold(true)
        var client: TCPClient? = try gateway.begin(issuer.token("two"))
        let isAsked = eventually { issuer.fetches == 2 }
        #expect(isAsked && client != nil)
        client = nil
        #expect(try gateway.accessLine { $0["status"] as? Int == 499 }["reason"] != nil)
        issuer.hold(false)
        #expect(try gateway.bearer(issuer.token("two")).status == 200)
        #expect(upstream.requests.count == 1)
    }

    /// Five minutes are the least that an issuer's `Cache-Control` gets; here they pass in three seconds.
    @Test func keysAreFetchedAgainInTheBackground() throws {
        let issuer = try OutsideIssuer("one", "two")
        issuer.answer([.respond(fields: ["Cache-Control: no-store"], body: issuer.document)])
        let faketime = try requireTool("faketime", package: "faketime")
        let gateway = try Gateway(conf(issuer), through: [faketime, "-f", "+0 x100"])
        try gateway.waitForLog("keys of an issuer were fetched")
        let began = ContinuousClock.now
        #expect(issuer.fetches == 1)
        issuer.answer(nil)
        issuer.publish("two")
        let isFetched = eventually(within: .seconds(15)) { issuer.fetches > 1 }
        #expect(isFetched)
        #expect(ContinuousClock.now - began > .seconds(2))
        // No token has asked for it.
        try gateway.process.waitUntil("the new key") {
            gateway.process.standardError.components(separatedBy: "issuer were fetched").count == 3
        }
        #expect(upstream.requests.isEmpty)
    }

    // MARK: Floods

    @Test func twoHundredUnknownKeysCostTheIssuerOneFetch() throws {
        let issuer = try OutsideIssuer("one")
        let gateway = try start(issuer, workers: 2)
        issuer.hold(true)
        let clients = try (0..<200).map { try gateway.begin(issuer.token("junk-\($0)")) }
        let isAsked = eventually { issuer.fetches == 2 }
        #expect(isAsked)
        // While they wait, who has a known key is served at once.
        let began = ContinuousClock.now
        for _ in 0..<20 { #expect(try gateway.bearer(issuer.token("one")).status == 200) }
        #expect(ContinuousClock.now - began < .seconds(2))
        issuer.hold(false)
        for client in clients { #expect(try client.readReply().status == 401) }
        // And more of them cost nothing at all.
        for index in 0..<50 {
            #expect(try gateway.bearer(issuer.token("more-\(index)")).status == 401)
        }
        #expect(issuer.fetches <= 3)
        #expect(upstream.requests.count == 20)
    }

    @Test func noMoreThanSoManyWait() throws {
        let issuer = try OutsideIssuer("one")
        let other = try OutsideIssuer("one", "two")
        let gateway = try Gateway(
            conf(issuer) + """
                issuer other { issuer \(other.url); audience api; jwks_uri \(other.url)/jwks; }
                """)
        try gateway.process.waitUntil("the keys of both") {
            gateway.process.standardError.components(separatedBy: "issuer were fetched").count == 3
        }
        issuer.hold(true)
        let junk = try issuer.token("junk")
        let clients = try (0..<1024).map { _ in try gateway.begin(junk) }
        let isAsked = eventually { issuer.fetches == 2 }
        #expect(isAsked)
        // They are all there once one beyond them is answered at once.
        var refused: HTTPReply?
        let isFull = try eventually {
            let client = try TCPClient(port: gateway.port, timeout: .milliseconds(500))
            try client.send("GET / HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(junk)\r\n\r\n")
            refused = try? client.readReply()
            return refused != nil
        }
        #expect(isFull)
        // Not a 401: nobody has looked for its key.
        #expect(refused?.status == 503)
        #expect(refused?.reason == "issuer_unavailable")
        #expect(try gateway.bearer(issuer.token("one")).status == 200)
        // Each issuer has its own places.
        other.publish("one", "two")
        #expect(try gateway.bearer(other.token("two")).status == 200)
        issuer.hold(false)
        for client in clients { #expect(try client.readReply().status == 401) }
    }

    // MARK: Issuers that are away

    @Test func theGatewayStartsBeforeItsIssuer() throws {
        let issuer = try OutsideIssuer("one")
        let port = try freePort()
        let folder = try TemporaryDirectory()
        let gateway = try Gateway(
            conf(issuer, workers: 2, source: "jwks_uri http://localhost:\(port)/jwks.json;"),
            in: folder)
        // Never a 401, on which the client would throw its token away.
        let reply = try gateway.bearer(issuer.token("one"))
        #expect(reply.status == 503)
        #expect(reply.reason == "issuer_unavailable")
        #expect(reply.values("Retry-After") == ["1"])
        #expect(try gateway.loggedReason() == "issuer_unavailable")
        try gateway.waitForLog("no connection: connectionRefused")
        #expect(try gateway.bearer("x.y.z").status == 401)

        try folder.write("jwks.json", issuer.document)
        let python = try requireTool("/usr/bin/python3", package: "python3")
        let server = try RunningProcess(
            python,
            ["-m", "http.server", "\(port)", "--bind", "127.0.0.1", "--directory", folder.path])
        try server.waitForPort(port)
        let isServed = try eventually { try gateway.bearer(issuer.token("one")).status == 200 }
        #expect(isServed)
        // Said once, however often it was tried.
        let log = gateway.process.standardError
        #expect(log.components(separatedBy: " warn the keys of an issuer").count == 2)
        // Away again: what came stays, on a reload too.
        server.end()
        gateway.process.signal(SIGHUP)
        try gateway.waitForLog("reloaded")
        for _ in 0..<4 { #expect(try gateway.bearer(issuer.token("one")).status == 200) }
    }

    /// A token of a new key is good, for all that anybody can say while its issuer is away. The clock goes so fast that
    /// the 10 seconds between two fetches take half a second.
    @Test func aNewKeyIsNotRefusedWhileItsIssuerIsAway() throws {
        let issuer = try OutsideIssuer("one", "two")
        let faketime = try requireTool("faketime", package: "faketime")
        let gateway = try Gateway(conf(issuer), through: [faketime, "-f", "+0 x20"])
        try gateway.waitForLog("keys of an issuer were fetched")
        issuer.publish("one", "two")
        issuer.answer([.respond("500 Oops")])
        for _ in 0..<30 {
            let reply = try gateway.bearer(issuer.token("two"))
            #expect(reply.status == 503)
            #expect(reply.reason == "issuer_unavailable")
            #expect(reply.values("WWW-Authenticate") == [])
        }
        let began = ContinuousClock.now
        let fetches = issuer.fetches
        #expect(try gateway.bearer(issuer.token("one")).status == 200)
        // Junk costs the issuer no more than before, however often it is shown.
        while ContinuousClock.now - began < .seconds(2) {
            #expect(try gateway.bearer(issuer.token("junk")).status == 503)
        }
        let isOver = (ContinuousClock.now - began) / .milliseconds(500)
        #expect(Double(issuer.fetches - fetches) <= isOver + 2)
        issuer.answer(nil)
        let isFound = try eventually { try gateway.bearer(issuer.token("two")).status == 200 }
        #expect(isFound)
        // Its keys have been seen, and this is none of them.
        #expect(try gateway.bearer(issuer.token("junk")).status == 401)
        _ = try gateway.accessLine { $0["reason"] as? String == "unknown_key" }
    }

    /// Keys serve on for a day past the time at which they should have been fetched again, and no longer.
    @Test func theLastGoodKeysEnd() throws {
        let issuer = try OutsideIssuer("one")
        let clock = try TurnedClock()
        let gateway = try Gateway(conf(issuer), through: clock.command())
        try gateway.waitForLog("keys of an issuer were fetched")
        #expect(try gateway.bearer(issuer.token("one")).status == 200)
        issuer.answer([.respond("500 Oops")])
        // Within the last 6 of 25 hours. A token of an unknown key wakes who fetches; that of the key at hand is judged.
        try clock.turn(to: "+20h")
        #expect(try gateway.bearer(issuer.token("junk")).status == 503)
        try gateway.waitForLog("warn the keys of an issuer are old")
        #expect(try gateway.bearer(issuer.token("one")).status == 401)
        _ = try gateway.accessLine { $0["reason"] as? String == "token_expired" }
        try clock.turn(to: "+26h")
        #expect(try gateway.bearer(issuer.token("junk")).status == 503)
        try gateway.waitForLog("error the keys of an issuer are too old")
        let reply = try gateway.bearer(issuer.token("one"))
        #expect(reply.status == 503)
        #expect(reply.reason == "issuer_unavailable")
        // It is back.
        issuer.answer(nil)
        try clock.turn(to: "+27h")
        #expect(try gateway.bearer(issuer.token("one")).status == 401)
    }

    @Test func anotherPlaceOfTheKeysBeginsWithoutKeys() throws {
        let issuer = try OutsideIssuer("one")
        let gateway = try start(issuer)
        #expect(try gateway.bearer(issuer.token("one")).status == 200)
        // A connection refused, by a port that nobody has.
        let text = conf(issuer, source: "jwks_uri http://127.0.0.1:\(try freePort())/jwks;")
        try gateway.folder.write("gateway.conf", text)
        gateway.process.signal(SIGHUP)
        try gateway.waitForLog("reloaded")
        let reply = try gateway.bearer(issuer.token("one"))
        #expect(reply.status == 503)
        #expect(reply.reason == "issuer_unavailable")
    }

    @Test func aDrillTakesAnIssuerForAway() throws {
        let issuer = try OutsideIssuer("one")
        let folder = try TemporaryDirectory()
        let port = try freePort()
        let path = try folder.write(
            "gateway.conf", conf(issuer).replacing("127.0.0.1:0", with: "127.0.0.1:\(port)"))
        let process = try RunningProcess(
            gatehouseBinary(), ["serve", "--config", path, "--without", "issuer", "outside"])
        try process.waitForPort(port)
        let client = try TCPClient(port: port)
        try client.send(
            "GET / HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(issuer.token("one"))\r\n\r\n")
        let reply = try client.readReply()
        #expect(reply.status == 503)
        #expect(reply.reason == "issuer_unavailable")
        try process.waitUntil("the log names the drill") {
            process.standardError.contains("away for a drill (--without issuer)")
        }
        #expect(issuer.server.connections == 0)
        process.end()

        for (words, text) in [
            (["issuer", "nobody"], "the conf has no such issuer"),
            (["issuer"], "needs the issuer's name"),
            (["moon"], "expected --without store or --without issuer NAME"),
        ] {
            let result = try run(
                gatehouseBinary(), ["serve", "--config", path, "--without"] + words)
            #expect(result.status == .code(64))
            #expect(result.error.contains(text), "\(result.error)")
        }
    }

    // MARK: The commands

    @Test func theCommandsAskNobodyAndSayIt() throws {
        let issuer = try OutsideIssuer("one")
        let fixture = try CommandFixture(
            more:
                "issuer outside { issuer \(issuer.url); audience api; jwks_uri \(issuer.url)/jwks; }"
        )
        let token = try issuer.token("one")
        let inspected = try fixture.output("token", "inspect", token)
        #expect(inspected.contains("the keys of issuer outside are fetched by the running gateway"))
        #expect(inspected.hasSuffix("verdict: undecided"))
        let explained = try fixture.output(
            "explain", "--request", "-", "--json",
            input: "GET /bearer HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer \(token)\r\n\r\n")
        let object =
            try JSONSerialization.jsonObject(with: Data(explained.utf8)) as? [String: Any]
        let verdict = try #require(object?["verdict"] as? [String: Any])
        #expect(verdict["passes"] as? Bool == false)
        #expect(verdict["reason"] == nil)
        #expect((verdict["undecided"] as? String ?? "").contains("none is looked at here"))
        // What does not hang on the keys is decided.
        let foreign = try issuer.token("one", issuer: "https://nobody.test")
        #expect(try fixture.output("token", "inspect", foreign).contains("unknown_issuer"))
        #expect(issuer.server.connections == 0)
    }
}
