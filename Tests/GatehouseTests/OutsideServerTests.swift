import Foundation
import TestSupport
import Testing

/// A real authorization server outside, Authlib's, whose keys change while its clients call through the gateway.
struct OutsideServerTests {
    private static func start(_ arguments: [String]) throws -> RunningProcess {
        // Flask carries the server, requests the clients.
        for (module, package) in [("flask", "python3-flask"), ("requests", "python3-requests")] {
            _ = try requirePython(module: module, package: package)
        }
        let python = try requirePython(module: "authlib", package: "python3-authlib")
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("authlib_peer.py").path
        return try RunningProcess(python, [script] + arguments)
    }

    /// Waits for a server's port.
    private static func url(of server: RunningProcess) throws -> String {
        try server.waitUntil("its port") { server.standardOutput.contains("\n") }
        return "http://127.0.0.1:" + server.standardOutput.prefix { $0 != "\n" }
    }

    private static func post(_ url: String, _ arguments: String...) throws -> String {
        let result = try run(
            requireTool("curl", package: "curl"),
            ["-s", "-S", "-f", "-m", "10", "-X", "POST"] + arguments + [url])
        #expect(result.status == .code(0), "\(result.error)")
        return result.output
    }

    // MARK: Introspection

    /// Tokens that nobody but the server can tell (RFC 7662), one of which it revokes (RFC 7009).
    @Test func theServerIsAskedAboutItsTokens() throws {
        let server = try Self.start(["serve", "opaque"])
        let issuer = try Self.url(of: server)
        let upstream = try ScriptedUpstream()
        func gateway(_ client: String, _ secret: String) throws -> Gateway {
            let folder = try TemporaryDirectory()
            try folder.write("secret", secret)
            return try Gateway(
                testConf(
                    """
                    introspection authlib {
                        endpoint \(issuer)/introspect; client_id \(client); client_secret_file secret;
                        issuer \(issuer); audience api; cache 1s; timeout 5s;
                    }
                    upstream up { server 127.0.0.1:\(upstream.port); }
                    route / { upstream up; authenticate bearer; require scope read; }
                    route /write { upstream up; authenticate bearer; require scope write; }
                    """), in: folder)
        }
        func token() throws -> String {
            let text = try Self.post(
                issuer + "/token", "-u", "robot:s3cret", "-d", "grant_type=client_credentials")
            let answer = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
            return try #require(answer?["access_token"] as? String)
        }
        let good = try gateway("gate", "g4te-secret")
        let (kept, revoked) = (try token(), try token())
        for token in [kept, revoked] { #expect(try good.bearer(token).status == 200) }
        let request = try #require(upstream.requests.first)
        #expect(request.values("X-Auth-Client") == ["robot"])
        #expect(request.values("X-Auth-Scopes") == ["read"])
        #expect(request.values("X-Auth-Issuer") == [issuer])
        #expect(try good.bearer(kept, "/write").status == 403)
        #expect(try good.bearer("unknown").status == 401)
        #expect(try good.loggedReason() == "unknown_token")
        _ = try Self.post(issuer + "/revoke", "-u", "robot:s3cret", "-d", "token=\(revoked)")
        let isSeen = try eventually { try good.bearer(revoked).status == 401 }
        #expect(isSeen)
        #expect(try good.bearer(kept).status == 200)
        // The server does not know the gateway: nothing is known of the token.
        let stranger = try gateway("gate", "wrong")
        let reply = try stranger.bearer(kept)
        #expect(reply.status == 503)
        #expect(reply.reason == "issuer_unavailable")
        try stranger.waitForLog("an answer with status 401")
        // It knows it, and tells it nothing: RFC 7662 section 2.2 calls such a token not active.
        #expect(try gateway("robot", "s3cret").bearer(kept).status == 401)
    }

    // MARK: Keys

    /// Keys that are announced before they sign and keys that are not: no valid token is refused, whether its key is here
    /// or is being fetched. A token of an unknown key may cause a fetch every 10 seconds, so that one that was not announced
    /// comes once.
    @Test func noTokenIsLostWhenItsKeysChange() throws {
        let server = try Self.start(["serve"])
        let issuer = try Self.url(of: server)
        // Published before the gateway comes: it has both when the second begins to sign.
        _ = try Self.post(issuer + "/announce")
        let upstream = try ScriptedUpstream { _ in [.respond(body: "ok")] }
        let gateway = try Gateway(
            testConf(
                workers: 2,
                """
                issuer authlib { issuer \(issuer); audience api; discovery on; }
                upstream up { server 127.0.0.1:\(upstream.port); }
                route / { upstream up; authenticate bearer; require scope read; }
                """))
        let clients = try Self.start(["clients", issuer, "http://127.0.0.1:\(gateway.port)/", "8"])
        try clients.waitUntil("them to begin") { clients.standardOutput.hasPrefix("begun\n") }
        func fetches() -> Int {
            server.standardError.components(separatedBy: "GET /jwks").count - 1
        }
        /// More requests than tokens can be under way: some are of the key that signs now.
        func useTheKey() {
            let before = upstream.requests.count
            #expect(eventually(within: .seconds(20)) { upstream.requests.count >= before + 150 })
        }
        useTheKey()
        _ = try Self.post(issuer + "/rotate")
        useTheKey()
        #expect(fetches() == 1)
        // At once, without a word to anybody: the first token that it signs brings the key.
        _ = try Self.post(issuer + "/rotate")
        try server.waitUntil("the keys to be fetched") { fetches() >= 2 }
        useTheKey()
        clients.signal(SIGTERM)
        #expect(clients.waitForExit(within: .seconds(20)) == .code(0), "\(clients.standardError)")
        let line = clients.standardOutput.split(separator: "\n").last ?? ""
        let seen = try #require(
            try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        #expect(seen["keys"] as? Int == 3)
        let statuses = try #require(seen["statuses"] as? [String: Int])
        #expect(Array(statuses.keys) == ["200"], "\(statuses)")
        #expect((statuses["200"] ?? 0) > 400)
        #expect(fetches() == 2)
    }
}
