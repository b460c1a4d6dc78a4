import Foundation
import OAuth
import Primitives
import TestSupport
import Testing

/// Streams without an end of their own end with what let them in (`end_streams_with_credential`): when its time is over,
/// and when it is withdrawn.
struct CredentialEndTests {
    private static let key = "dGhlIHNhbXBsZSBub25jZQ=="
    private static let switching =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    private static let events =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        + "9\r\ndata: 1\n\n\r\n"

    private struct House {
        let server: ManualServer
        let gateway: Gateway

        init(
            format: String = "jwt", lifetime: String = "10m", workers: Int = 2,
            route: String = "on grace 100ms",
            clients: String = "", more: String = ""
        ) throws {
            let folder = try TemporaryDirectory()
            try folder.write("secret", "s3cret")
            server = try ManualServer()
            gateway = try Gateway(
                testConf(
                    workers: workers,
                    listener: "protocols h2c http/1.1; limits { body_timeout 300ms; }",
                    store: "store sqlite { path state.db; }",
                    """
                    authority { issuer http://127.0.0.1; scopes read; token_format \(format); token_lifetime \(lifetime); }
                    client one { secret_file secret; oauth1_secret_file secret; scopes read; }
                    \(clients)
                    upstream app { server 127.0.0.1:\(server.port); response_timeout 1m; }
                    route / {
                        upstream app; authenticate any bearer oauth1; websocket on;
                        end_streams_with_credential \(route); \(more)
                    }
                    """), in: folder)
        }

        func command(_ arguments: String...) throws -> CommandResult {
            let result = try run(
                gatehouseBinary(), arguments + ["--config", gateway.folder.file("gateway.conf")])
            #expect(result.status == .code(0), "\(arguments) \(result.error)")
            return result
        }

        func token() throws -> String {
            let basic = Data("one:s3cret".utf8).base64EncodedString()
            let body = "grant_type=client_credentials"
            let reply = try gateway.request(
                "POST /oauth2/token HTTP/1.1\r\n\(hostLine)Authorization: Basic \(basic)\r\n"
                    + "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n"
                    + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
            return try #require(try reply.json()["access_token"] as? String, "\(reply.text)")
        }

        /// Signed for the path by a client, with a token of its own or without.
        func signature(
            _ method: String, _ path: String, as client: String = "one", secret: String = "s3cret",
            token: (text: String, secret: String)? = nil
        ) throws -> String {
            let signer = OAuth1Signer(
                method: .hmacSHA256, consumerKey: client, token: token?.text,
                credentials: OAuth1Credentials(
                    consumerSecret: Secret(utf8: secret),
                    tokenSecret: Secret(utf8: token?.secret ?? "")))
            return try signer.authorization(
                for: .init(method: method, url: "http://h.example\(path)"),
                timestamp: WallTime.now().seconds, nonce: UUID().uuidString)
        }

        /// A token of OAuth 1.0, by the whole dance.
        func oauth1Token() throws -> (text: String, secret: String) {
            func ask(_ path: String, _ token: (text: String, secret: String)?) throws
                -> (text: String, secret: String)
            {
                let reply = try gateway.request(
                    "POST \(path) HTTP/1.1\r\nHost: h.example\r\nContent-Length: 0\r\n"
                        + "Connection: close\r\n"
                        + "Authorization: \(try signature("POST", path, token: token))\r\n\r\n")
                let items = URLComponents(string: "?" + reply.text)?.queryItems ?? []
                let form = Dictionary(
                    items.map { ($0.name, $0.value ?? "") }, uniquingKeysWith: { $1 })
                return (
                    try #require(form["oauth_token"], "\(reply.text)"),
                    try #require(form["oauth_token_secret"])
                )
            }
            return try ask("/oauth1/access_token", try ask("/oauth1/request_token", nil))
        }

        /// A WebSocket that both ends have gone over to.
        func tunnel(_ authorization: String) throws -> (client: TCPClient, server: TCPClient) {
            let client = try gateway.connect()
            try client.send(
                "GET /ws HTTP/1.1\r\nHost: h.example\r\nConnection: Upgrade\r\n"
                    + "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    + "Sec-WebSocket-Key: \(CredentialEndTests.key)\r\n"
                    + "Authorization: \(authorization)\r\n\r\n")
            let server = try server.accept()
            _ = try server.read(through: "\r\n\r\n")
            try server.send(CredentialEndTests.switching)
            #expect(text(try client.read(through: "\r\n\r\n")).hasPrefix("HTTP/1.1 101 "))
            return (client, server)
        }

        /// A client of HTTP/2 that reads events, a first one of them.
        func listener(_ authorization: String? = nil) throws -> (
            client: RunningProcess, server: TCPClient
        ) {
            let python = try requirePython(module: "h2", package: "python3-h2")
            let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
                .appendingPathComponent("http2_peer.py").path
            let client = try RunningProcess(
                python,
                [script, "events", "\(gateway.port)"] + [authorization].compactMap(\.self))
            let server = try server.accept()
            _ = try server.read(through: "\r\n\r\n")
            try server.send(CredentialEndTests.events)
            try client.waitUntil("the first event") { client.standardOutput == "200 data: 1\n" }
            return (client, server)
        }

        func reason(_ path: String) throws -> String? {
            try gateway.accessLine { $0["path"] as? String == path }["reason"] as? String
        }
    }

    // MARK: Revoked

    @Test(arguments: ["jwt", "opaque"], [true, false])
    func aRevokedTokenEndsItsTunnelAndNoOther(format: String, byClient: Bool) throws {
        let house = try House(
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
        let house = try House()
        let token = try house.token()
        let (client, server) = try house.listener("Bearer \(token)")
        _ = try house.command("token", "revoke", token)
        #expect(client.waitForExit(within: .seconds(10)) == .code(0), "\(client.standardError)")
        #expect(client.standardOutput == "200 data: 1\nreset 2\n")
        #expect(try server.isClosedByPeer())
        #expect(try house.reason("/events") == "token_revoked")
    }

    @Test func aRevokedTokenOfOAuth1EndsItsTunnel() throws {
        let house = try House()
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
        let house = try House()
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

    /// Between the verdict and the answer nobody tells the exchange; it asks when its stream begins.
    @Test func whatIsRevokedBeforeTheAnswerBeginsNoStream() throws {
        let house = try House(workers: 1)
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
        try server.send(Self.events)
        _ = try client.readToEnd()
        #expect(try house.reason("/events") == "token_revoked")
    }

    @Test func withoutTheRuleAStreamGoesOn() throws {
        let house = try House(workers: 1, route: "off")
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
        let house = try House(lifetime: "1s")
        let token = try house.token()
        let (client, server) = try house.listener("Bearer \(token)")
        #expect(client.waitForExit(within: .seconds(10)) == .code(0), "\(client.standardError)")
        #expect(client.standardOutput == "200 data: 1\nreset 2\n")
        #expect(try server.isClosedByPeer())
        #expect(try house.reason("/events") == "token_expired")
    }

    @Test func aQuietStreamOfHTTP2EndsWithItsRoutesTime() throws {
        let house = try House(more: "timeout 1s;")
        let (client, server) = try house.listener("Bearer \(try house.token())")
        #expect(client.waitForExit(within: .seconds(10)) == .code(0), "\(client.standardError)")
        #expect(client.standardOutput == "200 data: 1\nreset 2\n")
        #expect(try server.isClosedByPeer())
        #expect(try house.reason("/events") == "upstream_timeout")
    }
}
