import Foundation
import OAuth
import Primitives
import TestSupport
import Testing

/// A gateway that issues tokens of every kind, in front of a server that the test plays itself.
struct AuthorityHouse {
    private static let key = "dGhlIHNhbXBsZSBub25jZQ=="
    static let switching =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    static let events =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        + "9\r\ndata: 1\n\n\r\n"

    let server: ManualServer
    let gateway: Gateway

    init(
        format: String = "jwt", lifetime: String = "10m", workers: Int = 2,
        route: String = "on grace 100ms", bodyTimeout: String = "300ms",
        clients: String = "", more: String = ""
    ) throws {
        let folder = try TemporaryDirectory()
        try folder.write("secret", "s3cret")
        server = try ManualServer()
        gateway = try Gateway(
            testConf(
                workers: workers,
                listener: "protocols h2c http/1.1; limits { body_timeout \(bodyTimeout); }",
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

    /// Temporary credentials of OAuth 1.0.
    func requestToken() throws -> (text: String, secret: String) {
        try credentials("/oauth1/request_token", nil)
    }

    /// A token of OAuth 1.0, by the whole dance.
    func oauth1Token() throws -> (text: String, secret: String) {
        try credentials("/oauth1/access_token", try requestToken())
    }

    private func credentials(
        _ path: String, _ token: (text: String, secret: String)?
    ) throws -> (text: String, secret: String) {
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

    /// A WebSocket that both ends have gone over to.
    func tunnel(_ authorization: String) throws -> (client: TCPClient, server: TCPClient) {
        let (client, server) = try askForTunnel(authorization)
        try server.send(Self.switching)
        #expect(text(try client.read(through: "\r\n\r\n")).hasPrefix("HTTP/1.1 101 "))
        return (client, server)
    }

    /// A WebSocket that the server has been asked for.
    func askForTunnel(_ authorization: String) throws -> (client: TCPClient, server: TCPClient) {
        let client = try gateway.connect()
        try client.send(
            "GET /ws HTTP/1.1\r\nHost: h.example\r\nConnection: Upgrade\r\n"
                + "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                + "Sec-WebSocket-Key: \(Self.key)\r\n"
                + "Authorization: \(authorization)\r\n\r\n")
        let server = try server.accept()
        _ = try server.read(through: "\r\n\r\n")
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
        try server.send(Self.events)
        try client.waitUntil("the first event") { client.standardOutput == "200 data: 1\n" }
        return (client, server)
    }

    func reason(_ path: String) throws -> String? {
        try gateway.accessLine { $0["path"] as? String == path }["reason"] as? String
    }
}
