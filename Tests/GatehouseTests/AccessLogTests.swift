import Foundation
import TestSupport
import Testing

/// The access log of the running program: what a line holds, and what no log ever does.
@Suite(.serialized)
struct AccessLogTests {
    static let secret = "s3cr3t-of-the-app-7f2c"

    let upstream: ScriptedUpstream
    let gateway: Gateway

    init() throws {
        upstream = try ScriptedUpstream { _ in [.respond("201 Created", body: "hello\n")] }
        let folder = try TemporaryDirectory()
        try folder.write("secret", Self.secret + "\n")
        gateway = try Gateway(
            testConf(
                store: "store sqlite { path state.db; }",
                """
                authority { issuer http://api.example; audience orders; scopes read write; }
                client app { secret_file secret; scopes read write; oauth1_secret_file secret; }
                oauth1 { }
                upstream app { server 127.0.0.1:\(upstream.port); }
                route /orders { upstream app; require scope read; }
                route /open { upstream app; authenticate none; }
                """), in: folder)
    }

    func token() throws -> String {
        let body = "grant_type=client_credentials&client_id=app&client_secret=\(Self.secret)"
        let reply = try gateway.request(
            "POST /oauth2/token HTTP/1.1\r\nHost: api.example\r\n"
                + "Content-Type: application/x-www-form-urlencoded\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
        #expect(reply.status == 200)
        return try #require(try reply.json()["access_token"] as? String)
    }

    @Test func aLineSaysAllThatThereIsToSay() throws {
        let token = try token()
        let reply = try gateway.request(
            """
            POST /orders/./7?a=b&access_token=x HTTP/1.1\r
            Host: api.example\r
            Authorization: Bearer \(token)\r
            X-Request-Id: id-of-the-client\r
            traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r
            Transfer-Encoding: chunked\r
            \r
            4\r
            four\r
            0\r
            \r

            """)
        #expect(reply.status == 201)
        let line = try gateway.accessLine { $0["request_id"] as? String == "id-of-the-client" }
        let texts = [
            "client_address": "127.0.0.1", "listener": "api", "protocol": "HTTP/1.1",
            "method": "POST", "host": "api.example", "path": "/orders/7?a=b&access_token=…",
            "route": "/orders", "upstream": "127.0.0.1:\(upstream.port)", "scheme": "bearer",
            "client": "app", "subject": "app", "scopes": "read write",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
        ]
        for (name, value) in texts { #expect(line[name] as? String == value, "\(name): \(line)") }
        let numbers = ["status": 201, "upstream_status": 201, "bytes_in": 4, "bytes_out": 6]
        for (name, value) in numbers { #expect(line[name] as? Int == value, "\(name): \(line)") }
        let duration = try #require(line["duration_ms"] as? Double)
        for name in ["auth_ms", "upstream_ms"] {
            let part = try #require(line[name] as? Double, "\(name): \(line)")
            #expect(part >= 0 && part <= duration)
        }
        let time = try #require(line["time"] as? String)
        let format = ISO8601DateFormatter()
        format.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
        let date = try #require(format.date(from: time), "\(time)")
        #expect(abs(date.timeIntervalSinceNow) < 60)
        // Nothing else stands there: what is absent had no value, and no reason is one.
        let names = Set(texts.keys).union(numbers.keys).union(["time", "request_id"])
            .union(["duration_ms", "auth_ms", "upstream_ms"])
        #expect(Set(line.keys) == names)
    }

    @Test func anAnswerOfOurOwnCountsItsContent() throws {
        let reply = try gateway.request("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n")
        let line = try gateway.accessLine { $0["path"] as? String == "/nowhere" }
        #expect(line["bytes_out"] as? Int == reply.body.count)
        #expect(line["reason"] as? String == "no_route")
        #expect(line["bytes_in"] as? Int == 0)
    }

    /// Whatever a client sends, each line is one JSON object.
    @Test func nobodyForgesALine() throws {
        let paths = [
            "/open/%0d%0a%22", "/open?q=\"}\\", "/open?q={%22status%22:200}", "/open/\u{e9}",
        ]
        for path in paths {
            _ = try gateway.request(
                "GET \(path) HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        }
        gateway.process.end()
        let lines = gateway.process.standardOutput.split(separator: "\n")
        #expect(lines.count == paths.count)
        #expect(gateway.accessLines.count == paths.count)
    }

    /// Secrets go in by every door there is, right and wrong; the debug log is on.
    @Test func noSecretIsEverLogged() throws {
        let token = try token()
        let binary = try gatehouseBinary()
        let signed = try run(
            binary,
            [
                "sign", "--consumer-key", "app", "--consumer-secret-file",
                gateway.folder.file("secret"), "GET", "http://h/orders/signed",
            ])
        #expect(signed.status == .code(0), "\(signed.error)")
        let header = signed.output.trimmingCharacters(in: .whitespacesAndNewlines)
        let authorization = header.hasPrefix("Authorization:") ? header : "Authorization: \(header)"
        let signature = try #require(
            authorization.components(separatedBy: "oauth_signature=\"").last?
                .components(separatedBy: "\"").first)
        func send(_ target: String, _ fields: String...) throws -> Int {
            let lines = (["GET \(target) HTTP/1.1", "Host: h", "Connection: close"] + fields)
            return try gateway.request(lines.joined(separator: "\r\n") + "\r\n\r\n").status
        }
        #expect(try send("/orders/signed", authorization) == 201)
        #expect(try send("/orders/again", authorization) == 401)
        #expect(try send("/orders", "Authorization: Bearer \(token)") == 201)
        #expect(try send("/orders", "Authorization: Bearer \(token)x") == 401)
        let basic = Data("app:\(Self.secret)".utf8).base64EncodedString()
        #expect(try send("/orders", "Authorization: Basic \(basic)") == 401)
        _ = try send("/orders?access_token=\(token)&client_secret=\(Self.secret)")
        _ = try send("/orders?oauth_signature=\(signature)&oauth_token=\(Self.secret)")
        _ = try send("/open?%61ccess_token=\(token)&CLIENT_SECRET=\(Self.secret)")
        _ = try send("/open?access_token=\(token)", "Referer: http://h/?access_token=\(token)")
        _ = try send("/oauth2/token?client_secret=\(Self.secret)")
        gateway.process.end()
        let logs = gateway.process.standardOutput + gateway.process.standardError
        #expect(gateway.accessLines.count == 11)
        let decoded = signature.removingPercentEncoding ?? signature
        let parts = token.split(separator: ".").map(String.init)
        for word in [Self.secret, signature, decoded, basic, parts[2], parts[1]] {
            #expect(word.count > 10)
            #expect(!logs.contains(word), "\(word)")
        }
        #expect(logs.contains("access_token=…"))
    }
}
