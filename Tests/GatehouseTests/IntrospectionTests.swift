import Foundation
import TestSupport
import Testing

/// Tokens that an outside server is asked about (RFC 7662), against the running program.
@Suite(.serialized)
struct IntrospectionTests {
    let upstream: ScriptedUpstream
    let server: TokenServer
    private static let secret = "s3cr+t/ %& é"

    init() throws {
        upstream = try ScriptedUpstream()
        server = try TokenServer()
    }

    func conf(
        _ more: String = "", workers: Int = 1, endpoint: String? = nil, rest: String = "",
        listener: String = ""
    ) -> String {
        testConf(
            workers: workers, listener: listener,
            """
            introspection tokens {
                endpoint \(endpoint ?? "\(server.url)/introspect?tenant=a");
                client_id "gate:house";
                client_secret_file secret;
                \(more)
            }
            \(rest)
            upstream up { server 127.0.0.1:\(upstream.port); }
            route / { upstream up; authenticate bearer; }
            route /write { upstream up; authenticate bearer; require scope write; }
            route /api { upstream up; authenticate bearer; require audience api; }
            route /bound { upstream up; authenticate bearer; require certificate_bound; }
            """)
    }

    func start(
        _ more: String = "", workers: Int = 1, endpoint: String? = nil, rest: String = "",
        listener: String = ""
    ) throws -> Gateway {
        let folder = try TemporaryDirectory()
        try folder.write("secret", IntrospectionTests.secret + "\n")
        return try Gateway(
            conf(more, workers: workers, endpoint: endpoint, rest: rest, listener: listener),
            in: folder)
    }

    static func now(_ offset: Int) -> Int { Int(Date().timeIntervalSince1970) + offset }

    // MARK: The question and the answer

    @Test func whatTheServerSaysIsPassedOn() throws {
        let token = "opaque+token/1~2=="
        server.say(
            """
            {"active":true,"client_id":"app","sub":"alice","scope":"read write","aud":["x","api"],\
            "iss":"https://tokens.test","exp":\(Self.now(600)),"token_type":"Bearer","username":"a"}
            """, of: token)
        let gateway = try start()
        #expect(try gateway.bearer(token).status == 200)
        let question = try #require(server.server.requests.first)
        #expect(question.requestLine == "POST /introspect?tenant=a HTTP/1.1")
        #expect(question.values("Host") == ["127.0.0.1:\(server.server.port)"])
        #expect(question.values("Content-Type") == ["application/x-www-form-urlencoded"])
        // Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1).
        let basic = Data("gate%3Ahouse:s3cr%2Bt%2F%20%25%26%20%C3%A9".utf8).base64EncodedString()
        #expect(question.values("Authorization") == ["Basic \(basic)"])
        #expect(
            text(question.rawBody)
                == "token_type_hint=access_token&token=opaque%2Btoken%2F1~2%3D%3D")
        let request = try #require(upstream.requests.first)
        #expect(request.values("X-Auth-Scheme") == ["bearer"])
        #expect(request.values("X-Auth-Client") == ["app"])
        #expect(request.values("X-Auth-Subject") == ["alice"])
        #expect(request.values("X-Auth-Scopes") == ["read write"])
        #expect(request.values("X-Auth-Issuer") == ["https://tokens.test"])
        #expect(request.values("Authorization") == [])
        // Nothing of it is in any log.
        let logs = gateway.process.standardOutput + gateway.process.standardError
        for hidden in [token, "s3cr", basic] { #expect(!logs.contains(hidden)) }
    }

    /// What was said is remembered, and judged anew for each route.
    @Test func scopesAndAudiencesAreJudgedForEachRoute() throws {
        server.say(#"{"active":true,"client_id":"app","scope":"read","aud":"other"}"#, of: "a")
        server.say(#"{"active":true,"client_id":"app","scope":"write","aud":"api"}"#, of: "b")
        let gateway = try start(workers: 2)
        for _ in 0..<4 {
            #expect(try gateway.bearer("a").status == 200)
            #expect(try gateway.bearer("a", "/write").status == 403)
            #expect(try gateway.bearer("a", "/api").status == 403)
            #expect(try gateway.bearer("b", "/write").status == 200)
            #expect(try gateway.bearer("b", "/api").status == 200)
            #expect(try gateway.bearer("b", "/bound").status == 401)
        }
        #expect(server.questions == 2)
    }

    @Test func aServerThatIsNotThereIs503() throws {
        let port = try freePort()
        let gateway = try start(endpoint: "http://127.0.0.1:\(port)/")
        #expect(try gateway.bearer("token").status == 503)
        try gateway.waitForLog("no connection: connectionRefused")
        let unnamed = try start("timeout 300ms;", endpoint: "https://no-such-host.invalid/")
        #expect(try unnamed.bearer("token").status == 503)
        try unnamed.waitForLog("the name no-such-host.invalid was not found")
    }

    @Test func theServerIsVerifiedByName() throws {
        let authority = try TestAuthority()
        let files = try authority.issue("server", ["DNS:localhost"])
        let nginx = try Nginx(
            """
            server {
                listen 127.0.0.1:PORT ssl;
                ssl_certificate \(files.certificate); ssl_certificate_key \(files.key);
                location / { proxy_pass \(server.url); }
            }
            """, in: authority.folder)
        server.say(Self.active, of: "*")
        let ca = "ca \(authority.certificate);"
        let good = try start(ca, endpoint: "https://localhost:\(nginx.port)/i")
        #expect(try good.bearer("token").status == 200)
        let misnamed = try start(ca, endpoint: "https://127.0.0.1:\(nginx.port)/i")
        #expect(try misnamed.bearer("token").status == 503)
        try misnamed.waitForLog("IP address mismatch")
        let strange = try start(endpoint: "https://localhost:\(nginx.port)/i")
        #expect(try strange.bearer("token").status == 503)
        try strange.waitForLog("unable to get local issuer certificate")
        #expect(server.questions == 1)
    }

    /// Over HTTP/2 a stream waits while others go on.
    @Test func aStreamWaitsAlone() throws {
        server.say(Self.active, of: "*")
        let curl = try requireTool("curl", package: "curl")
        let gateway = try start("timeout 10s;", listener: "protocols http/1.1 h2c;")
        server.hold(true)
        let url = "http://127.0.0.1:\(try gateway.port)"
        let done = "%{http_code} %{http_version}\n"
        let process = try RunningProcess(
            curl,
            [
                "-sS", "--http2-prior-knowledge", "--max-time", "20", "-o", "/dev/null", "-w", done,
                "-H", "Authorization: Bearer token", "-d", "hello", "\(url)/x",
            ])
        #expect(server.server.waitForRequests(1).count == 1)
        #expect(upstream.requests.isEmpty)
        server.hold(false)
        #expect(process.waitForExit() == .code(0))
        #expect(process.standardOutput == "200 2\n")
        #expect(text(try #require(upstream.requests.first).rawBody).contains("hello"))
    }

    // MARK: Who is asked about

    @Test func onlyTokensOfNobodyElseAreAskedAbout() throws {
        let issuer = try OutsideIssuer("one")
        server.say(Self.active, of: "*")
        let gateway = try start(
            rest:
                "issuer outside { issuer \(issuer.url); audience api; jwks_uri \(issuer.url)/jwks; }"
        )
        try gateway.waitForLog("keys of an issuer were fetched")
        // A known issuer's are proven by their signatures, or not at all.
        let good = try issuer.token("one")
        #expect(try gateway.bearer(good).status == 200)
        #expect(try gateway.bearer(String(good.dropLast(8)) + "AAAAAAAA").status == 401)
        #expect(try gateway.bearer(issuer.token("other")).status == 401)
        #expect(try gateway.bearer(String(repeating: "x", count: 17 << 10)).status == 401)
        #expect(server.questions == 0)
        // Others are asked about, whatever they look like.
        #expect(
            try gateway.bearer(issuer.token("one", issuer: "https://nobody.test")).status == 200)
        #expect(try gateway.bearer("a.b.c").status == 200)
        #expect(server.questions == 2)
    }

    // MARK: How often it is asked

    @Test func oneQuestionServesAllWhoWaitForIt() throws {
        server.say(Self.active, of: "token")
        let gateway = try start("timeout 10s;", workers: 2)
        server.hold(true)
        let clients = try (0..<50).map { _ in try gateway.begin("token") }
        #expect(server.server.waitForRequests(1).count == 1)
        server.hold(false)
        for client in clients { #expect(try client.readReply().status == 200) }
        #expect(server.questions == 1)
        #expect(upstream.requests.count == 50)
    }

    @Test func answersAreRememberedForTheirTime() throws {
        server.say(Self.active, of: "good")
        let gateway = try start("cache 1s; negative_cache 1s;", workers: 2)
        for _ in 0..<10 {
            #expect(try gateway.bearer("good").status == 200)
            #expect(try gateway.bearer("bad").status == 401)
        }
        #expect(server.questions == 2)
        // The server thinks otherwise: seen once the second is over.
        server.say(#"{"active":false}"#, of: "good")
        server.say(Self.active, of: "bad")
        let hasChanged = try eventually {
            try gateway.bearer("good").status == 401 && gateway.bearer("bad").status == 200
        }
        #expect(hasChanged)
        #expect(server.questions <= 6)
    }

    @Test func nothingIsRememberedWhereTheConfSaysSo() throws {
        server.say(Self.active, of: "good")
        let gateway = try start("cache 0s; negative_cache 0s;")
        for _ in 0..<3 {
            #expect(try gateway.bearer("good").status == 200)
            #expect(try gateway.bearer("bad").status == 401)
        }
        #expect(server.questions == 6)
    }

    /// What is remembered never outlives the token.
    @Test func aRememberedTokenEndsByItsOwnTime() throws {
        server.say(
            #"{"active":true,"client_id":"app","exp":\#(Self.now(2))}"#, of: "token")
        let gateway = try start("cache 60s;")
        #expect(try gateway.bearer("token").status == 200)
        let hasEnded = try eventually { try gateway.bearer("token").status == 401 }
        #expect(hasEnded)
        #expect(try gateway.loggedReason() == "token_expired")
    }

    @Test func aReloadForgetsWhatAnotherServerSaid() throws {
        server.say(Self.active, of: "token")
        let other = try TokenServer()
        let gateway = try start()
        #expect(try gateway.bearer("token").status == 200)
        // The same again keeps what it knows.
        gateway.process.signal(SIGHUP)
        try gateway.waitForLog("reloaded")
        #expect(try gateway.bearer("token").status == 200)
        #expect(server.questions == 1)
        try gateway.folder.write("gateway.conf", conf(endpoint: "\(other.url)/"))
        gateway.process.signal(SIGHUP)
        let isAsked = try eventually { try gateway.bearer("token").status == 401 }
        #expect(isAsked)
        #expect(other.questions == 1)
    }

    /// Who waits when the server is replaced gets the answer of the one that was asked, and nobody else does.
    @Test func aReloadLetsNobodyWaitForEver() throws {
        server.say(Self.active, of: "*")
        let other = try TokenServer()
        let gateway = try start("timeout 20s;")
        server.hold(true)
        let clients = try (0..<100).map { try gateway.begin("token-\($0)") }
        #expect(server.server.waitForRequests(64).count == 64)
        try gateway.folder.write("gateway.conf", conf(endpoint: "\(other.url)/"))
        gateway.process.signal(SIGHUP)
        try gateway.waitForLog("reloaded")
        #expect(try gateway.bearer("new").status == 401)
        server.hold(false)
        for client in clients { #expect(try client.readReply().status == 200) }
        #expect(try gateway.bearer("token-1").status == 401)
        #expect(other.questions == 2)
    }

    /// 64 questions under way, 1024 behind them; who comes then is told at once.
    @Test func aBoundedNumberWaits() throws {
        server.say(Self.active, of: "*")
        let gateway = try start("timeout 40s;", workers: 2)
        // What is remembered is served all the while.
        #expect(try gateway.bearer("known").status == 200)
        server.hold(true)
        let clients = try (0..<1400).map { try gateway.begin("token-\($0)") }
        #expect(server.server.waitForRequests(65).count == 65)
        var refused = 0
        let isTold = eventually {
            refused = gateway.accessLines.count { $0["status"] as? Int == 503 }
            return refused >= 1400 - 64 - 1024
        }
        #expect(isTold)
        let began = ContinuousClock.now
        for _ in 0..<20 { #expect(try gateway.bearer("known").status == 200) }
        #expect(ContinuousClock.now - began < .seconds(2))
        // Who comes from elsewhere takes a place of those who have so many.
        let curl = try RunningProcess(
            requireTool("curl", package: "curl"),
            [
                "-sS", "--interface", "127.0.0.2", "--max-time", "20", "-o", "/dev/null", "-w",
                "%{http_code}\n", "-H", "Authorization: Bearer new",
                "http://127.0.0.1:\(gateway.port)/x",
            ])
        let isTaken = eventually {
            gateway.accessLines.count { $0["status"] as? Int == 503 } > refused
        }
        #expect(isTaken)
        refused += 1
        server.hold(false)
        #expect(curl.waitForExit() == .code(0))
        #expect(curl.standardOutput == "200\n")
        var statuses: [Int: Int] = [:]
        for client in clients { statuses[try client.readReply().status, default: 0] += 1 }
        #expect(statuses[503] == refused)
        #expect(statuses[200] == 1400 - refused)
        #expect(refused <= 1400 - 64)
        #expect(server.server.connections <= 70)
    }

    @Test func whoWaitsForItsTurnWaitsNoLongerThanTheTimeout() throws {
        server.say([.hold], of: "*")
        let gateway = try start("timeout 500ms;")
        let began = ContinuousClock.now
        let clients = try (0..<200).map { try gateway.begin("token-\($0)") }
        for client in clients { #expect(try client.readReply().status == 503) }
        #expect(ContinuousClock.now - began < .seconds(3))
        #expect(server.questions >= 64)
    }

    /// Connections are kept, and one that the server has closed meanwhile is no client's trouble.
    @Test func connectionsAreKept() throws {
        server.say(Self.active, of: "*")
        let gateway = try start()
        for index in 0..<20 { #expect(try gateway.bearer("token-\(index)").status == 200) }
        #expect(server.server.connections == 1)
        server.say([.respond(body: Self.active), .close], of: "*")
        for index in 20..<60 { #expect(try gateway.bearer("token-\(index)").status == 200) }
        #expect(server.questions == 60)
    }

    // MARK: The drill, and the commands

    @Test func aDrillTakesTheServerForAway() throws {
        let folder = try TemporaryDirectory()
        try folder.write("secret", Self.secret)
        let port = try freePort()
        let path = try folder.write(
            "gateway.conf", conf().replacing("127.0.0.1:0", with: "127.0.0.1:\(port)"))
        let process = try RunningProcess(
            gatehouseBinary(), ["serve", "--config", path, "--without", "issuer", "tokens"])
        try process.waitForPort(port)
        let client = try TCPClient(port: port)
        try client.send("GET / HTTP/1.1\r\n\(hostLine)Authorization: Bearer token\r\n\r\n")
        #expect(try client.readReply().status == 503)
        #expect(server.server.connections == 0)
    }

    @Test func theCommandsAskNobodyAndSayIt() throws {
        let folder = try TemporaryDirectory()
        let secret = try folder.write("secret", Self.secret)
        let fixture = try CommandFixture(
            more:
                "introspection tokens { endpoint \(server.url)/i; client_id a; client_secret_file \(secret); }"
        )
        let inspected = try fixture.output("token", "inspect", "opaque")
        #expect(inspected.contains("introspection tokens would be asked about it"))
        #expect(inspected.hasSuffix("verdict: undecided"))
        let explained = try fixture.output(
            "explain", "--request", "-",
            input: "GET /bearer HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer opaque\r\n\r\n")
        #expect(explained.contains("verdict: undecided, introspection tokens would be asked"))
        #expect(server.server.connections == 0)
    }
}
