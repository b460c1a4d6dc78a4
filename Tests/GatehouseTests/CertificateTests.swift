import Foundation
import TestSupport
import Testing

/// Clients that are known by their certificates, and tokens that are bound to them (RFC 8705).
struct CertificateTests {
    private struct House {
        let authority: TestAuthority
        let upstream: ScriptedUpstream
        let gateway: Gateway

        /// - Parameter turnsClock: the gateway's clock is that of `tls_client.py`.
        init(
            tls: String = "client_ca ca.pem; client_certificate request;", listener: String = "",
            turnsClock: Bool = false
        ) throws {
            authority = try TestAuthority()
            try authority.issue("server", ["DNS:localhost", "IP:127.0.0.1"])
            for (name, names) in [
                ("robot", ["DNS:robot.test"]), ("other", ["DNS:other.test"]),
                ("uri", ["URI:spiffe://test/robot"]), ("subject", []), ("address", ["IP:10.1.2.3"]),
                ("email", ["email:robot@test"]),
            ] { try authority.issue(name, names) }
            try authority.issue("self", ["DNS:robot.test"], isSelfSigned: true)
            try authority.issue("renewed", ["DNS:robot.test"], days: 365)
            upstream = try ScriptedUpstream { [folder = authority.folder] request in
                guard request.requestLine.contains("/events") else {
                    return [.respond(body: request.head)]
                }
                // The certificate ends between the verdict and the answer.
                try? House.turnClock(folder, to: "+91d")
                return [
                    .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"),
                    .hold,
                ]
            }
            try authority.folder.write("secret", "s3cret")
            gateway = try Gateway(
                testConf(
                    listener: "tls { certificate server.crt; key server.key; \(tls) } \(listener)",
                    store: "store sqlite { path state.db; }",
                    """
                    authority { issuer https://localhost; scopes read; }
                    client robot { auth_method tls_client_auth; tls_client_auth_san_dns Robot.test; scopes read; }
                    client uri { auth_method tls_client_auth; tls_client_auth_san_uri spiffe://test/robot; }
                    client subject { auth_method tls_client_auth; tls_client_auth_subject_dn "CN=subject,O=Gatehouse"; }
                    client address { auth_method tls_client_auth; tls_client_auth_san_ip 10.1.2.3; }
                    client email { auth_method tls_client_auth; tls_client_auth_san_email robot@test; }
                    client plain { secret_file secret; oauth1_secret_file secret; scopes read; }
                    upstream app { server 127.0.0.1:\(upstream.port); }
                    route / { upstream app; authenticate bearer; }
                    route /machines { upstream app; authenticate certificate; require scope read; }
                    route /either { upstream app; authenticate any certificate bearer; }
                    route /together { upstream app; authenticate all bearer certificate; }
                    route /three { upstream app; authenticate all oauth1 certificate bearer; }
                    route /bound { upstream app; authenticate bearer; require certificate_bound; }
                    route /meant { upstream app; authenticate any bearer certificate oauth1; require audience https://localhost; }
                    """), in: authority.folder,
                through: turnsClock ? House.clock(authority.folder) : [])
        }

        /// Starts a program under the clock of `tls_client.py`; its timers run on.
        private static func clock(_ folder: TemporaryDirectory) throws -> [String] {
            try folder.write("clock", "+0\n")
            return [
                // Its own offset would go before the file's.
                try requireTool("faketime", package: "faketime"), "-f", "+0",
                try requireTool("env", package: "coreutils"), "-u", "FAKETIME",
                "FAKETIME_TIMESTAMP_FILE=\(folder.file("clock"))", "FAKETIME_NO_CACHE=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1",
            ]
        }

        /// In one step, as the script does.
        private static func turnClock(_ folder: TemporaryDirectory, to offset: String) throws {
            let newer = try folder.write("clock.new", offset + "\n")
            guard rename(newer, folder.file("clock")) == 0 else {
                throw Failure("rename: \(errno)")
            }
        }

        /// A case of `tls_client.py`.
        func client(_ test: String) throws -> RunningProcess {
            let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
                .appendingPathComponent("tls_client.py").path
            return try RunningProcess(
                requirePython(module: "h2", package: "python3-h2"),
                [script, test, "\(gateway.port)", authority.folder.path])
        }

        func curl(_ path: String, as name: String?, _ more: [String]) throws -> (Int, String) {
            var arguments = ["-s", "-S", "--cacert", authority.certificate, "-w", "\n%{http_code}"]
            if let name {
                arguments += ["--cert", authority.folder.file(name + ".crt")]
                arguments += ["--key", authority.folder.file(name + ".key")]
            }
            let result = try run(
                requireTool("curl", package: "curl"),
                arguments + more + ["https://localhost:\(gateway.port)\(path)"])
            let lines = result.output.components(separatedBy: "\n")
            return (Int(lines.last ?? "") ?? 0, lines.dropLast().joined(separator: "\n"))
        }

        func token(
            _ client: String, as name: String?, _ more: [String] = []
        ) throws -> (status: Int, body: [String: Any]) {
            let (status, body) = try curl(
                "/oauth2/token", as: name,
                ["-d", "grant_type=client_credentials"]
                    + (more.isEmpty ? ["-d", "client_id=\(client)"] : more))
            return (
                status,
                try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any] ?? [:]
            )
        }

        func get(_ path: String, _ token: String, as name: String?) throws -> (Int, String) {
            try curl(path, as: name, ["-H", "Authorization: Bearer \(token)"])
        }
    }

    @Test func aTokenIsGoodWithItsCertificateAlone() throws {
        let house = try House()
        let (status, body) = try house.token("robot", as: "robot")
        #expect(status == 200, "\(body)")
        let token = try #require(body["access_token"] as? String)
        for path in ["/", "/bound"] {
            let (status, seen) = try house.get(path, token, as: "robot")
            #expect(status == 200)
            #expect(seen.contains("X-Auth-Client: robot"))
            for thief in ["other", nil] {
                let (status, problem) = try house.get(path, token, as: thief)
                #expect(status == 401 && problem.contains("proof_mismatch"), "\(problem)")
            }
        }
        // A token that is bound to nothing is not enough where one that is bound is asked for.
        let plain = try house.token("plain", as: "robot", ["-u", "plain:s3cret"])
        let bearer = try #require(plain.body["access_token"] as? String)
        #expect(try house.get("/", bearer, as: nil).0 == 200)
        #expect(try house.get("/bound", bearer, as: "robot").0 == 401)
        // The remembered token is judged by the connection too.
        #expect(try house.get("/", token, as: "other").0 == 401)
        let explained = try run(
            gatehouseBinary(),
            ["token", "inspect", token, "--config", house.gateway.folder.file("gateway.conf")])
        #expect(explained.output.contains("x5t#S256"), "\(explained.output)")
    }

    @Test(arguments: ["robot", "uri", "subject", "address", "email"])
    func aClientIsKnownByTheNameInItsCertificate(client: String) throws {
        let house = try House()
        #expect(try house.token(client, as: client).status == 200)
        for wrong in ["other", "self", nil] where wrong != client {
            if wrong == "self" {
                // It does not even get through the handshake.
                #expect(throws: (any Error).self) {
                    try house.token(client, as: wrong).status == 200
                }
                continue
            }
            let (status, body) = try house.token(client, as: wrong)
            #expect(status == 401)
            #expect(body["error"] as? String == "invalid_client")
        }
    }

    @Test func aTokenOfTheCommandLineIsBoundToo() throws {
        let house = try House()
        let conf = house.gateway.folder.file("gateway.conf")
        func issue(_ client: String, _ more: String...) throws -> CommandResult {
            try run(
                gatehouseBinary(), ["token", "issue", "--client", client, "--config", conf] + more)
        }
        let unbound = try issue("robot")
        #expect(unbound.status == .code(64) && unbound.output.isEmpty)
        #expect(unbound.error.contains("name it with --certificate"))
        let certificate = house.authority.folder.file("robot.crt")
        #expect(try issue("plain", "--certificate", certificate).status == .code(64))
        #expect(try issue("robot", "--certificate", conf).status == .code(64))
        let issued = try issue("robot", "--certificate", certificate)
        #expect(issued.status == .code(0), "\(issued.error)")
        let token = issued.output.trimmingCharacters(in: .newlines)
        #expect(try house.get("/bound", token, as: "robot").0 == 200)
        #expect(try house.get("/bound", token, as: "other").0 == 401)
    }

    @Test func aCertificateIsNoSecretAndASecretNoCertificate() throws {
        let house = try House()
        // Known by a secret: its certificate proves nothing. Known by a certificate: no secret does.
        #expect(try house.token("plain", as: "robot").status == 401)
        #expect(try house.token("nobody", as: "robot").status == 401)
        #expect(try house.token("robot", as: "other", ["-u", "robot:s3cret"]).status == 401)
        #expect(try house.token("robot", as: "robot", ["-u", "robot:"]).status == 401)
        let line = try house.gateway.accessLine { $0["reason"] as? String == "client_not_allowed" }
        #expect(line["status"] as? Int == 401)
    }

    /// Without an authority anybody can make a certificate of any name: it is good for binding, never for a name.
    @Test func aCertificateThatNobodyVouchesForNamesNobody() throws {
        let house = try House(tls: "client_certificate request;")
        #expect(try house.token("robot", as: "self").status == 401)
        #expect(try house.token("robot", as: "robot").status == 401)
        #expect(try house.token("plain", as: "self", ["-u", "plain:s3cret"]).status == 200)
    }

    @Test func aRouteTakesTheCertificateItself() throws {
        let house = try House()
        let (status, seen) = try house.curl("/machines", as: "robot", [])
        #expect(status == 200)
        #expect(seen.contains("X-Auth-Scheme: certificate\r\nX-Auth-Client: robot\r\n"))
        #expect(seen.contains("X-Auth-Scopes: read\r\n"))
        let line = try house.gateway.accessLine { $0["path"] as? String == "/machines" }
        #expect(line["scheme"] as? String == "certificate" && line["client"] as? String == "robot")
        // Known, and without the scope; unknown; none at all. There is no challenge for any of them.
        for (name, reason) in [
            ("uri", "insufficient_scope"), ("other", "invalid_credentials"),
            (nil, "no_credentials"),
        ] {
            let (status, problem) = try house.curl("/machines", as: name, [])
            #expect(status == 403 && problem.contains(reason), "\(problem)")
        }
        // A token goes before the certificate, a wrong one too; where none is taken it counts for nothing.
        let plain = try house.token("plain", as: nil, ["-u", "plain:s3cret"])
        let bearer = try #require(plain.body["access_token"] as? String)
        #expect(try house.get("/either", bearer, as: "robot").1.contains("X-Auth-Client: plain"))
        #expect(try house.get("/either", "wrong", as: "robot").0 == 401)
        #expect(try house.curl("/either", as: "robot", []).1.contains("X-Auth-Client: robot"))
        #expect(try house.get("/machines", bearer, as: "robot").1.contains("X-Auth-Client: robot"))
        #expect(try house.curl("/either", as: nil, []).0 == 401)
        // Nobody vouches for it: no name.
        let open = try House(tls: "client_certificate request;")
        #expect(try open.curl("/machines", as: "self", []).0 == 403)
    }

    /// It says who passes the request on, and nothing of whose it is.
    @Test func aTrustedProxysCertificateIsNotItsClients() throws {
        let house = try House(listener: "trusted_proxies 127.0.0.0/8;")
        #expect(try house.curl("/machines", as: "robot", []).0 == 200)
        let forwarded = ["-H", "X-Forwarded-For: 192.0.2.7"]
        let (status, problem) = try house.curl("/machines", as: "robot", forwarded)
        #expect(status == 403 && problem.contains("no_credentials"), "\(problem)")
        #expect(try house.curl("/either", as: "robot", forwarded).0 == 401)
        #expect(
            try house.token("robot", as: "robot", forwarded + ["-d", "client_id=robot"]).status
                == 401)
    }

    /// Both hold and name the same client, or nobody passes; what the token grants is what counts.
    @Test func aRouteTakesTokenAndCertificateTogether() throws {
        let house = try House()
        let own = try house.token("robot", as: "robot")
        let robot = try #require(own.body["access_token"] as? String, "\(own)")
        let other = try house.token("plain", as: nil, ["-u", "plain:s3cret"])
        let plain = try #require(other.body["access_token"] as? String)
        let (status, seen) = try house.get("/together", robot, as: "robot")
        #expect(status == 200, "\(seen)")
        #expect(seen.contains("X-Auth-Scheme: bearer\r\nX-Auth-Client: robot\r\n"))
        // Another's token, to which the certificate does not belong; the names of nobody and of another.
        #expect(try house.get("/together", plain, as: "robot").0 == 403)
        let line = try house.gateway.accessLine { $0["status"] as? Int == 403 }
        #expect(line["reason"] as? String == "client_not_allowed")
        for (name, reason) in [("other", "invalid_credentials"), (nil, "no_credentials")] {
            let (status, problem) = try house.get("/together", plain, as: name)
            #expect(status == 403 && problem.contains(reason), "\(problem)")
        }
        // A token that does not hold, or none, is told as where it stands alone.
        #expect(try house.get("/together", "wrong", as: "robot").0 == 401)
        #expect(try house.curl("/together", as: "robot", []).0 == 401)
        // One of three is missing.
        #expect(try house.get("/three", robot, as: "robot").0 == 401)
    }

    @Test func explainTellsOfTokenAndCertificate() throws {
        let house = try House()
        let folder = house.authority.folder
        let reply = try house.token("plain", as: nil, ["-u", "plain:s3cret"])
        let token = try #require(reply.body["access_token"] as? String)
        try folder.write(
            "request",
            "GET /together HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \(token)\r\n\r\n")
        func explain(_ more: [String]) throws -> String {
            try run(
                gatehouseBinary(),
                ["explain", "--config", folder.file("gateway.conf")]
                    + ["--request", folder.file("request")] + more
            ).output
        }
        let alone = try explain([])
        #expect(alone.contains("the certificate that the route wants beside it is missing"))
        #expect(alone.contains("no_credentials"), "\(alone)")
        let another = try explain(["--certificate", folder.file("robot.crt")])
        #expect(another.contains("names another client than the request does"), "\(another)")
        #expect(another.contains("client_not_allowed"))
    }

    // MARK: Time and change

    /// Whoever has a session need not prove the certificate's key again: no longer than two hours after it was proven.
    @Test func aSessionIsGoodForTwoHours() throws {
        let house = try House(turnsClock: true)
        let client = try house.client("sessions")
        #expect(client.waitForExit(within: .seconds(20)) == .code(0), "\(client.standardError)")
        let line = "new:200 reused:200 reused:200 new:200 reused:200\n"
        #expect(client.standardOutput == line + line)
    }

    /// It is judged at each use, and who comes back with a session is asked for the one that took its place.
    @Test func aCertificateThatHasEndedCountsNoMore() throws {
        let house = try House(turnsClock: true)
        let client = try house.client("ended")
        #expect(client.waitForExit(within: .seconds(20)) == .code(0), "\(client.standardError)")
        // The answer is the last: on a new connection the client can show another.
        let line = "200 403 close 200 new\n"
        #expect(client.standardOutput == line + line)
        let refused = try house.gateway.accessLine { $0["status"] as? Int == 403 }
        #expect(refused["reason"] as? String == "certificate_expired")
    }

    @Test func explainJudgesTheCertificatesEnd() throws {
        let house = try House()
        let folder = house.authority.folder
        try folder.write("request", "GET /machines HTTP/1.1\r\nHost: localhost\r\n\r\n")
        func explain(_ moment: String) throws -> String {
            try run(
                gatehouseBinary(),
                [
                    "explain", "--request", folder.file("request"), "--certificate",
                    folder.file("robot.crt"), "--at", moment, "--config",
                    folder.file("gateway.conf"),
                ]
            ).output
        }
        let now = "\(Int(Date().timeIntervalSince1970))"
        #expect(try !explain(now).contains("certificate_expired"))
        let later = try explain("2100-01-01T00:00:00Z")
        #expect(later.contains("has ended") && later.contains("certificate_expired"), "\(later)")
    }

    @Test func aConnectionOfStreamsEndsWithItsCertificate() throws {
        let house = try House(turnsClock: true)
        let client = try house.client("ended_streams")
        #expect(client.waitForExit(within: .seconds(20)) == .code(0), "\(client.standardError)")
        #expect(client.standardOutput == "200 403 goaway\n")
    }

    @Test func aStreamEndsWithItsCertificate() throws {
        let house = try House(turnsClock: true)
        let client = try house.client("ended_events")
        #expect(client.waitForExit(within: .seconds(20)) == .code(0), "\(client.standardError)")
        #expect(client.standardOutput == "200 data: 1 closed\n")
        let line = try house.gateway.accessLine { $0["path"] as? String == "/machines/events" }
        #expect(line["reason"] as? String == "certificate_expired")
    }

    @Test(arguments: ["client_ca other.pem; client_certificate request;", ""])
    func rulesThatChangeHoldForOpenConnections(rules: String) throws {
        let house = try House()
        let folder = house.authority.folder
        let client = try house.client("changed")
        try client.waitUntil("the first answer") { client.standardOutput == "200\n" }
        let other = try TestAuthority()
        try folder.write(
            "other.pem", String(contentsOfFile: other.certificate, encoding: .utf8))
        let conf = try String(contentsOfFile: folder.file("gateway.conf"), encoding: .utf8)
        // Without client_ca the conf must not speak of certificates.
        var changed = conf.replacing(
            "client_ca ca.pem; client_certificate request;", with: rules)
        if rules.isEmpty {
            changed = changed.replacing("authenticate certificate;", with: "authenticate oauth1;")
            changed = changed.components(separatedBy: "\n").filter {
                !$0.contains("certificate_bound") && !$0.contains("tls_client_auth")
                    && !$0.contains("any certificate bearer") && !$0.contains("/meant")
                    && !$0.contains("authenticate all")
            }.joined(separator: "\n")
        }
        try folder.write("gateway.conf", changed)
        house.gateway.process.signal(SIGHUP)
        #expect(
            client.waitForExit(within: .seconds(20)) == .code(0),
            "\(house.gateway.process.standardError)")
        #expect(client.standardOutput == "200\nclosed\n")
    }

    /// Who came in without one may not stay where one is required now.
    @Test func aCertificateThatIsRequiredNowIsAskedOfOpenConnections() throws {
        let house = try House()
        let folder = house.authority.folder
        let client = try house.client("changed_without")
        try client.waitUntil("the first answer") { client.standardOutput == "401\n" }
        let conf = try String(contentsOfFile: folder.file("gateway.conf"), encoding: .utf8)
        try folder.write(
            "gateway.conf",
            conf.replacing("client_certificate request;", with: "client_certificate require;"))
        house.gateway.process.signal(SIGHUP)
        #expect(
            client.waitForExit(within: .seconds(20)) == .code(0),
            "\(house.gateway.process.standardError)")
        #expect(client.standardOutput == "401\nclosed\n")
    }

    /// Many names in it cost memory for each connection, before anybody has vouched for them.
    @Test func aCertificateOfManyNamesIsRefused() throws {
        let house = try House(tls: "client_certificate request;")
        try house.authority.issue("many", (0..<5000).map { "DNS:name-\($0).test" })
        #expect(try house.curl("/", as: "many", []).0 == 0)
        #expect(try house.curl("/", as: "robot", []).0 == 401)
    }

    // MARK: Beside other credentials

    /// As much as a token would grant: the authority's audience where the client has none of its own.
    @Test func aClientWithoutATokenHasTheAuthoritysAudience() throws {
        let house = try House()
        #expect(try house.curl("/meant", as: "robot", []).0 == 200)
        let signed = try run(
            gatehouseBinary(),
            [
                "sign", "--consumer-key", "plain", "--consumer-secret-file",
                house.authority.folder.file("secret"), "GET",
                "https://localhost:\(house.gateway.port)/meant",
            ])
        let field = signed.output.trimmingCharacters(in: .newlines)
        #expect(try house.curl("/meant", as: nil, ["-H", field]).0 == 200, "\(field)")
    }

    @Test func whatTheRequestCarriesGoesBeforeTheCertificate() throws {
        let house = try House()
        let forged = [
            "-d", "oauth_consumer_key=plain&oauth_signature_method=HMAC-SHA1&oauth_timestamp=1",
            "-d", "oauth_nonce=n&oauth_signature=bogus",
        ]
        #expect(try house.curl("/meant", as: "robot", forged).0 == 401)
        let (status, seen) = try house.curl("/meant", as: "robot", ["-d", "a=b"])
        #expect(status == 200 && seen.contains("X-Auth-Client: robot"))
        // Where no token is taken, one that cannot be read is no matter.
        let junk = ["-H", "Authorization: Bearer"]
        #expect(try house.curl("/machines", as: "robot", junk).0 == 200)
        #expect(try house.curl("/meant", as: "robot", junk).0 == 400)
    }

    /// RFC 8705 and RFC 9449 together: the certificate and the key, each by itself not enough.
    @Test func aTokenMayBeBoundToACertificateAndAKey() throws {
        let house = try House()
        let key = house.authority.folder.file("dpop")
        _ = try DPoPTests.client("key", key, "ES256")
        let base = "https://localhost:\(try house.gateway.port)"
        func proof(_ method: String, _ path: String, _ token: String) throws -> String {
            try DPoPTests.client("proof", key, method, base + path, token, "1")[0]
        }
        let asked = try DPoPTests.client(
            "proof", key, "POST", "https://localhost/oauth2/token", "-", "1")[0]
        let (status, body) = try house.token(
            "robot", as: "robot", ["-d", "client_id=robot", "-H", "DPoP: \(asked)"])
        #expect(status == 200 && body["token_type"] as? String == "DPoP", "\(body)")
        let token = try #require(body["access_token"] as? String)
        for (name, isProven, status) in [
            ("robot", true, 200), ("other", true, 401), ("robot", false, 401), (nil, true, 401),
        ] {
            let made = isProven ? try proof("GET", "/bound", token) : "x"
            let fields = ["-H", "Authorization: DPoP \(token)", "-H", "DPoP: \(made)"]
            #expect(try house.curl("/bound", as: name, fields).0 == status)
        }
        #expect(try house.get("/bound", token, as: "robot").0 == 401)
        // Somebody to whom the client has spoken, with a name that no certificate of ours has.
        for (host, status) in [
            ("evil.example", 401), ("localhost.evil.example", 401), ("127.0.0.1", 200),
            ("127.0.0.2", 401),
            ("LOCALHOST:1", 200),
        ] {
            let url = "https://\(host)/bound"
            let made = try DPoPTests.client("proof", key, "GET", url, token, "2")
            let fields = ["-H", "Host: \(host)", "-H", "Authorization: DPoP \(token)", "-H"]
            #expect(
                try house.curl("/bound", as: "robot", fields + ["DPoP: \(made[0])"]).0 == status,
                "\(host)")
            let told = try run(
                gatehouseBinary(),
                [
                    "explain", "--request", "-", "--config",
                    house.authority.folder.file("gateway.conf"),
                    "--certificate", house.authority.folder.file("robot.crt"),
                ],
                input: "GET /bound HTTP/1.1\r\nHost: \(host)\r\nAuthorization: DPoP \(token)\r\n"
                    + "DPoP: \(made[1])\r\n\r\n")
            let verdict = status == 200 ? "passes" : "refused, 401 dpop_target_mismatch"
            #expect(told.output.contains("verdict: \(verdict)"), "\(told.output)\(told.error)")
        }
    }

    @Test func explainIsShownTheCertificate() throws {
        let house = try House()
        let folder = house.authority.folder
        let token = try #require(
            try house.token("robot", as: "robot").body["access_token"] as? String)
        let bound = "GET /bound HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer \(token)\r\n\r\n"
        let form = "grant_type=client_credentials&client_id=robot"
        let asked =
            "POST /oauth2/token HTTP/1.1\r\nHost: h\r\nContent-Length: \(form.utf8.count)\r\n"
            + "Content-Type: application/x-www-form-urlencoded\r\n\r\n\(form)"
        for (request, name, verdict) in [
            (bound, nil, "refused, 401 proof_mismatch"), (bound, "robot", "passes"),
            (bound, "other", "refused, 401 proof_mismatch"),
            ("GET /machines HTTP/1.1\r\nHost: h\r\n\r\n", nil, "refused, 403 no_credentials"),
            ("GET /machines HTTP/1.1\r\nHost: h\r\n\r\n", "robot", "passes"),
            (
                "GET /machines HTTP/1.1\r\nHost: h\r\n\r\n", "other",
                "refused, 403 unknown_client"
            ),
            (asked, nil, "refused, 401 no_credentials"), (asked, "robot", "passes"),
            (asked, "other", "refused, 401 proof_mismatch"),
        ] {
            var arguments = ["explain", "--request", "-", "--config", folder.file("gateway.conf")]
            if let name { arguments += ["--certificate", folder.file(name + ".crt")] }
            let result = try run(gatehouseBinary(), arguments, input: request)
            #expect(
                result.output.contains("verdict: \(verdict)"), "\(result.output)\(result.error)")
        }
    }

    @Test func theMetadataTellsOfIt() throws {
        let (_, document) = try House().curl("/.well-known/oauth-authorization-server", as: nil, [])
        #expect(document.contains(#""tls_client_auth""#))
        #expect(document.contains(#""tls_client_certificate_bound_access_tokens":true"#))
        let (_, other) = try House(tls: "").curl(
            "/.well-known/oauth-authorization-server", as: nil, [])
        #expect(!other.contains("tls_client"))
        // Of the listeners it answers on, that is.
        let authority = try TestAuthority()
        try authority.issue("server", ["DNS:localhost"])
        let gateway = try Gateway(
            """
            store memory;
            secrets { key_file secrets.key; }
            log { access off; }
            listener api { address 127.0.0.1:0; }
            listener secure {
                address 127.0.0.1:0;
                tls { certificate server.crt; key server.key; client_ca ca.pem; client_certificate request; }
            }
            authority { issuer https://localhost; listeners api; }
            """, in: authority.folder)
        let answer = try gateway.request(
            "GET /.well-known/oauth-authorization-server HTTP/1.1\r\n\(hostLine)\r\n")
        #expect(answer.status == 200 && !answer.text.contains("tls_client"))
    }
}
