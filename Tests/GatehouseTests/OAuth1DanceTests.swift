import Foundation
import OAuth
import Primitives
import TestSupport
import Testing

/// Temporary and token credentials of OAuth 1.0 (RFC 5849 section 2) on the running program.
struct OAuth1DanceTests {
    private struct House {
        let upstream: ScriptedUpstream
        let gateway: Gateway

        init(_ oauth1: String = "") throws {
            upstream = try ScriptedUpstream { request in [.respond(body: request.head)] }
            let folder = try TemporaryDirectory()
            try folder.write("secret", "s3cr&t+/=")
            gateway = try Gateway(
                testConf(
                    workers: 2, store: "store sqlite { path state.db; }",
                    """
                    authority { issuer http://127.0.0.1; scopes read; \(oauth1) }
                    client shop { oauth1_secret_file secret; secret_file secret; scopes read; }
                    client other { oauth1_secret_file secret; secret_file secret; }
                    upstream up { server 127.0.0.1:\(upstream.port); }
                    route / { upstream up; authenticate oauth1; require scope read; }
                    """), in: folder)
        }

        /// A request that is signed here; `secret` is the token's.
        func send(
            _ verb: String, _ path: String, as key: String = "shop", token: String? = nil,
            secret: String = "", verifier: String? = nil
        ) throws -> HTTPReply {
            var target = path + (verifier.map { "?oauth_verifier=\($0)" } ?? "")
            let signer = OAuth1Signer(
                method: .hmacSHA256, consumerKey: key, token: token,
                credentials: OAuth1Credentials(
                    consumerSecret: Secret(utf8: "s3cr&t+/="), tokenSecret: Secret(utf8: secret)))
            let host = "127.0.0.1:\(try gateway.port)"
            let header = try signer.authorization(
                for: .init(method: verb, url: "http://\(host)\(target)"),
                timestamp: WallTime.now().seconds, nonce: UUID().uuidString)
            var fields = verb == "POST" ? "Content-Length: 0\r\n" : ""
            if verifier == nil {
                fields += "Authorization: \(header)\r\n"
            } else {
                // All of them stand in one place; signed they are alike.
                let others = header.dropFirst("OAuth ".count).replacing(", ", with: "&")
                target += "&" + others.replacing("\"", with: "")
            }
            return try gateway.request(
                "\(verb) \(target) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\(fields)\r\n"
            )
        }

        func credentials(_ reply: HTTPReply) throws -> (token: String, secret: String) {
            #expect(reply.status == 200, "\(reply.text)")
            let fields = reply.text.split(separator: "&").map { $0.split(separator: "=") }
            let form = Dictionary(
                fields.map { (String($0[0]), String($0[1])) }, uniquingKeysWith: { $1 })
            return (try #require(form["oauth_token"]), try #require(form["oauth_token_secret"]))
        }
    }

    @Test(
        arguments: [
            ("requests-oauthlib", "requests_oauthlib", "python3-requests-oauthlib"),
            ("authlib", "authlib", "python3-authlib"),
        ], ["oob", "-"])
    func unmodifiedClientsDance(
        library: (name: String, module: String, package: String), callback: String
    ) throws {
        let house = try House()
        let python = try requirePython(module: library.module, package: library.package)
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("oauth1_dance.py").path
        let result = try run(
            python,
            [script, library.name, "http://127.0.0.1:\(house.gateway.port)", "shop", "s3cr&t+/="]
                + [callback])
        let confirmed = callback == "-" ? "" : "'oauth_callback_confirmed', "
        let lines = result.output.split(separator: "\n").map(String.init)
        try #require(lines.count == 6, "\(result.output)\(result.error)")
        #expect(lines[0] == "temporary [\(confirmed)'oauth_token', 'oauth_token_secret']")
        #expect(lines[1] == "access ['oauth_token', 'oauth_token_secret']")
        #expect(lines[2].hasPrefix("resource 200 GET /items?a=1 HTTP/1.1|"))
        #expect(lines[2].contains("|X-Auth-Scheme: oauth1|X-Auth-Client: shop|"))
        #expect(lines[3].hasPrefix("again ") && lines[3] != "again OK")
        #expect(lines[4] == "misused 401" && lines[5] == "swapped 401")
    }

    /// Perl's Net::OAuth refuses parameters that it does not know, PHP sorts after decoding, Ruby signs bodies by a hash.
    @Test(
        arguments: [
            ("php", "php-oauth", ["-m"], "OAuth", "php", "200"),
            (
                "ruby", "ruby-oauth", ["-e", "require 'oauth'; puts 'oauth'"], "oauth", "rb",
                "200 200"
            ),
            (
                "perl", "libnet-oauth-perl", ["-MNet::OAuth", "-MLWP", "-e", "print 'oauth'"],
                "oauth", "pl", "200"
            ),
        ])
    func otherLanguagesDance(
        program: String, package: String, probe: [String], found: String, ending: String,
        statuses: String
    ) throws {
        let house = try House()
        let interpreter = try requireTool(program, package: package)
        let probed = try run(interpreter, probe)
        try #require(
            probed.output.contains(found), "\(package) is missing: apt-get install \(package)")
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("oauth1_dance.\(ending)").path
        let result = try run(
            interpreter,
            [script, "http://127.0.0.1:\(house.gateway.port)", "shop", "s3cr&t+/="])
        #expect(
            result.output == "oauth_token oauth_token_secret \(statuses)\n",
            "\(result.output)\(result.error)")
    }

    @Test(arguments: ["GET", "POST"]) func aTokenIsItsClientsAlone(verb: String) throws {
        let house = try House()
        let temporary = try house.credentials(house.send(verb, "/oauth1/request_token"))
        // Neither another consumer's, nor a resource's, nor made up.
        for (key, token) in [
            ("other", temporary.token), ("shop", "gtr_" + String(repeating: "A", count: 43)),
            ("shop", "x"),
        ] {
            let reply = try house.send(
                verb, "/oauth1/access_token", as: key, token: token, secret: temporary.secret)
            #expect(reply.status == 401 && reply.text.contains("oauth_problem="), "\(reply.text)")
        }
        #expect(try house.send(verb, "/oauth1/access_token").status == 400)
        let access = try house.credentials(
            house.send(
                verb, "/oauth1/access_token", token: temporary.token, secret: temporary.secret))
        #expect(
            try house.send("GET", "/", token: access.token, secret: access.secret).status == 200)
        #expect(
            try house.send("GET", "/", as: "other", token: access.token, secret: access.secret)
                .status == 401)
        let line = try house.gateway.accessLine { $0["reason"] as? String == "unknown_token" }
        #expect(line["status"] as? Int == 401)
        // Any verifier will do, and none.
        let again = try house.credentials(house.send(verb, "/oauth1/request_token"))
        #expect(
            try house.send(
                verb, "/oauth1/access_token", token: again.token, secret: again.secret,
                verifier: "x"
            ).status == 200)
    }

    /// Of many exchanges of one request token that come at once, one succeeds.
    @Test func aRequestTokenIsExchangedOnce() throws {
        let house = try House()
        let temporary = try house.credentials(house.send("POST", "/oauth1/request_token"))
        let count = 16
        let results = Results()
        DispatchQueue.concurrentPerform(iterations: count) { _ in
            let reply = try? house.send(
                "POST", "/oauth1/access_token", token: temporary.token, secret: temporary.secret)
            results.add(reply?.status ?? 0)
        }
        #expect(results.all.sorted() == [200] + Array(repeating: 401, count: count - 1))
    }

    @Test func aTokenEndsAndIsRevoked() throws {
        let house = try House("oauth1_token_lifetime 1h;")
        func access() throws -> (token: String, secret: String) {
            let temporary = try house.credentials(house.send("POST", "/oauth1/request_token"))
            return try house.credentials(
                house.send(
                    "POST", "/oauth1/access_token", token: temporary.token,
                    secret: temporary.secret))
        }
        let first = try access()
        let second = try access()
        func status(_ credentials: (token: String, secret: String)) throws -> Int {
            try house.send(
                "GET", "/", token: credentials.token, secret: credentials.secret
            ).status
        }
        #expect(try status(first) == 200)
        let conf = house.gateway.folder.file("gateway.conf")
        let revoked = try run(
            gatehouseBinary(), ["token", "revoke", first.token, "--config", conf])
        #expect(revoked.status == .code(0), "\(revoked.error)")
        #expect(try eventually(within: .seconds(2)) { try status(first) == 401 })
        #expect(try status(second) == 200)
        // RFC 7009, by its client and by nobody else; at once.
        let third = try access()
        func revoke(_ client: String) throws -> Int {
            let basic = Data("\(client):s3cr%26t%2B%2F%3D".utf8).base64EncodedString()
            let form = "token=\(third.token)"
            return try house.gateway.request(
                "POST /oauth2/revoke HTTP/1.1\r\n\(hostLine)Connection: close\r\nAuthorization: Basic \(basic)\r\n"
                    + "Content-Type: application/x-www-form-urlencoded\r\n"
                    + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)"
            ).status
        }
        #expect(try status(third) == 200)
        #expect(try revoke("other") == 400)
        #expect(try status(third) == 200)
        #expect(try revoke("shop") == 200)
        for _ in 0..<4 { #expect(try status(third) == 401) }
        #expect(try revoke("shop") == 200)
        #expect(
            try run(
                gatehouseBinary(), ["token", "revoke", "--client", "shop", "--config", conf]
            ).status == .code(0))
        #expect(try eventually(within: .seconds(2)) { try status(second) == 401 })
    }
}

/// Statuses that threads put together.
final class Results: @unchecked Sendable {
    private let lock = NSLock()
    private var statuses: [Int] = []

    func add(_ status: Int) {
        lock.withLock { statuses.append(status) }
    }

    var all: [Int] { lock.withLock { statuses } }
}
