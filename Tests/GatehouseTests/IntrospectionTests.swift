import Foundation
import Synchronization
import TestSupport
import Testing

/// An introspection server that says of each token what the test wrote, and counts what it is asked.
final class TokenServer: Sendable {
    private final class Script: Sendable {
        let answers = Mutex<[String: [UpstreamStep]]>([:])
        let isHeld = Mutex(false)
    }

    let server: ScriptedUpstream
    private let script: Script

    init() throws {
        let script = Script()
        self.script = script
        server = try ScriptedUpstream { request in
            _ = eventually(within: .seconds(30)) { !script.isHeld.withLock { $0 } }
            let token = TokenServer.token(of: request)
            return script.answers.withLock {
                $0[token] ?? $0["*"] ?? [.respond(body: #"{"active":false}"#)]
            }
        }
    }

    /// The token that a request asks about.
    static func token(of request: ReceivedRequest) -> String {
        let body = String(decoding: request.rawBody, as: UTF8.self)
        let pair = body.split(separator: "&").first { $0.hasPrefix("token=") } ?? ""
        return pair.dropFirst("token=".count).removingPercentEncoding ?? ""
    }

    var url: String { "http://127.0.0.1:\(server.port)" }
    var questions: Int { server.requests.count }

    /// Of the token `*`: what is said of all that have no answer of their own.
    func say(_ body: String, of token: String) {
        say([.respond(fields: ["Content-Type: application/json"], body: body)], of: token)
    }

    func say(_ steps: [UpstreamStep], of token: String) {
        script.answers.withLock { $0[token] = steps }
    }

    func hold(_ isHeld: Bool) {
        script.isHeld.withLock { $0 = isHeld }
    }
}

/// Tokens that an outside server is asked about (RFC 7662), against the running program.
@Suite(.serialized)
struct IntrospectionTests {
    private let upstream: ScriptedUpstream
    private let server: TokenServer
    private static let secret = "s3cr+t/ %& é"

    init() throws {
        upstream = try ScriptedUpstream()
        server = try TokenServer()
    }

    private func conf(
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

    private func start(
        _ more: String = "", workers: Int = 1, endpoint: String? = nil, rest: String = "",
        listener: String = ""
    ) throws -> Gateway {
        let folder = try TemporaryDirectory()
        try folder.write("secret", IntrospectionTests.secret + "\n")
        return try Gateway(
            conf(more, workers: workers, endpoint: endpoint, rest: rest, listener: listener),
            in: folder)
    }

    private static func now(_ offset: Int) -> Int { Int(Date().timeIntervalSince1970) + offset }

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

    struct Answer: Sendable, CustomTestStringConvertible {
        let body: String
        let status: Int
        /// In the access log.
        let reason: String
        var more = ""
        var testDescription: String { "\(body) \(more)" }

        init(_ body: String, _ status: Int, _ reason: String, _ more: String = "") {
            (self.body, self.status, self.reason, self.more) = (body, status, reason, more)
        }
    }

    static let answers: [Answer] = [
        Answer(#"{"active":false}"#, 401, "unknown_token"),
        Answer(#"{"active":false,"client_id":"app"}"#, 401, "unknown_token"),
        // What is neither true nor false is the server's failure.
        Answer(#"{"active":"true","client_id":"app"}"#, 503, "issuer_unavailable"),
        Answer(#"{"active":1,"client_id":"app"}"#, 503, "issuer_unavailable"),
        Answer(#"{"active":null,"client_id":"app"}"#, 503, "issuer_unavailable"),
        Answer(#"{"Active":true,"client_id":"app"}"#, 503, "issuer_unavailable"),
        Answer(#"{"client_id":"app"}"#, 503, "issuer_unavailable"),
        Answer(#"{"active":false,"active":true,"client_id":"app"}"#, 503, "issuer_unavailable"),
        Answer(#"[{"active":true,"client_id":"app"}]"#, 503, "issuer_unavailable"),
        Answer("true", 503, "issuer_unavailable"),
        Answer("", 503, "issuer_unavailable"),
        Answer(#"{"active":true,"client_id":"app""#, 503, "issuer_unavailable"),
        // Active, and yet not good.
        Answer(#"{"active":true,"client_id":"app","exp":1000}"#, 401, "token_expired"),
        Answer(
            #"{"active":true,"client_id":"app","nbf":99999999999}"#, 401, "token_not_yet_valid"),
        Answer(#"{"active":true,"client_id":"app","exp":"soon"}"#, 401, "malformed_credentials"),
        Answer(
            #"{"active":true,"client_id":"app","exp":99999999999,"nbf":"x"}"#, 401,
            "malformed_credentials"),
        Answer(#"{"active":true}"#, 401, "malformed_credentials"),
        Answer(#"{"active":true,"client_id":""}"#, 401, "malformed_credentials"),
        Answer(#"{"active":true,"client_id":"a\r\nX: y"}"#, 401, "malformed_credentials"),
        Answer(#"{"active":true,"client_id":["app"]}"#, 401, "malformed_credentials"),
        Answer(#"{"active":true,"client_id":"app","scope":7}"#, 401, "malformed_credentials"),
        Answer(#"{"active":true,"client_id":"app","aud":7}"#, 401, "malformed_credentials"),
        Answer(
            #"{"active":true,"client_id":"app","token_type":"refresh_token"}"#, 401, "wrong_type"),
        Answer(
            #"{"active":true,"client_id":"app","token_type":"DPoP"}"#, 401,
            "malformed_credentials"),
        Answer(
            #"{"active":true,"client_id":"app","cnf":{"jkt":"x"}}"#, 401, "malformed_credentials"),
        // The connection shows no certificate.
        Answer(
            #"{"active":true,"client_id":"app","cnf":{"x5t#S256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}"#,
            401, "proof_mismatch"),
        // Whose tokens are proven by their signatures nobody else speaks for.
        Answer(
            #"{"active":true,"client_id":"app","iss":"https://known.test"}"#, 401,
            "unknown_issuer"),
        Answer(#"{"active":true,"client_id":"app","iss":7}"#, 401, "malformed_credentials"),
        Answer(
            #"{"active":true,"client_id":"app"}"#, 401, "malformed_credentials",
            "issuer https://t.test;"),
        Answer(
            #"{"active":true,"client_id":"app","iss":"https://t.test/"}"#, 401, "unknown_issuer",
            "issuer https://t.test;"),
        Answer(
            #"{"active":true,"client_id":"app"}"#, 401, "malformed_credentials", "audience api;"),
        Answer(
            #"{"active":true,"client_id":"app","aud":"api2"}"#, 401, "wrong_audience",
            "audience api;"),
        // And these are good.
        Answer(
            #"{"active":true,"client_id":"app","iss":"https://t.test","aud":["x","api"]}"#, 200, "",
            "issuer https://t.test; audience api;"),
        Answer(#"{"active":true,"sub":"app"}"#, 200, ""),
        Answer(
            #"{"active":true,"client_id":"app","token_type":"bearer","ext":{"a":[1]}}"#, 200, ""),
    ]

    @Test(arguments: answers) func anAnswerIsBelievedAsFarAsItHolds(answer: Answer) throws {
        server.say(answer.body, of: "token")
        let gateway = try start(
            answer.more,
            rest:
                "issuer known { issuer https://known.test; audience api; jwks_uri http://127.0.0.1:1/jwks; }"
        )
        for _ in 0..<2 {
            let reply = try gateway.bearer("token")
            #expect(reply.status == answer.status)
            guard answer.status != 200 else { continue }
            #expect(try gateway.loggedReason() == answer.reason)
            if answer.status == 503 {
                #expect(reply.reason == "issuer_unavailable")
                #expect(reply.values("WWW-Authenticate") == [])
            } else {
                #expect(reply.values("WWW-Authenticate").contains { $0.contains("invalid_token") })
            }
        }
        // What it failed to say is not remembered.
        #expect(server.questions == (answer.status == 503 ? 2 : 1))
        #expect(upstream.requests.count == (answer.status == 200 ? 2 : 0))
    }

    static let active = #"{"active":true,"client_id":"app"}"#

    struct Failure: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let steps: [UpstreamStep]
        let cause: String

        init(_ name: String, _ steps: [UpstreamStep], _ cause: String) {
            (testDescription, self.steps, self.cause) = (name, steps, cause)
        }
    }

    static let failures: [Failure] = [
        Failure("500", [.respond("500 Oops", body: active)], "status 500"),
        Failure("201", [.respond("201 Created", body: active)], "status 201"),
        Failure("401", [.respond("401 Who", body: active)], "status 401"),
        Failure(
            "redirect",
            [.respond("307 There", fields: ["Location: https://elsewhere.test/"], body: active)],
            "a redirect (307) to elsewhere.test"),
        Failure("hang", [.hold], "no whole answer in time"),
        Failure("closed", [.close], "the connection ended before the answer did"),
        Failure("reset", [.reset], "the connection ended before the answer did"),
        Failure(
            "cut", [.send("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n\(active)"), .close],
            "the connection ended before the answer did"),
        Failure(
            "cut chunks",
            [
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n21\r\n\(active)\r\n"),
                .close,
            ],
            "the connection ended before the answer did"),
        Failure(
            "too large",
            [.respond(body: active + String(repeating: " ", count: 64 << 10))],
            "an answer of more than 65536 bytes"),
        Failure("no HTTP", [.send("\(active)\r\n\r\n"), .hold], "not well-formed HTTP"),
    ]

    @Test(arguments: failures) func aServerThatFailsIs503(failure: Failure) throws {
        server.say(failure.steps, of: "*")
        let gateway = try start("timeout 400ms;")
        let began = ContinuousClock.now
        let reply = try gateway.bearer("token")
        #expect(reply.status == 503)
        #expect(reply.reason == "issuer_unavailable")
        #expect(reply.values("Retry-After") == ["1"])
        #expect(ContinuousClock.now - began < .seconds(2))
        try gateway.waitForLog(failure.cause)
        // It heals by itself, and the log says so.
        server.say(Self.active, of: "*")
        #expect(try gateway.bearer("token").status == 200)
        try gateway.waitForLog("the introspection server is back")
        #expect(upstream.requests.count == 1)
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
        let gateway = try start("timeout 20s;", workers: 2)
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
        server.hold(false)
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
