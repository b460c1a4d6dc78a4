import Foundation
import TestSupport
import Testing

struct CommandsSignTests {
    @Test(arguments: ["HMAC-SHA1", "HMAC-SHA256"])
    func theGatewayTakesWhatIsSigned(method: String) throws {
        let upstream = try ScriptedUpstream()
        let fixture = try CommandFixture(upstream: upstream.port)
        let gateway = try fixture.start()
        defer { gateway.end() }
        let path = "/orders?b=2&a=x%20y"
        let line = try fixture.signed("GET", path, "--signature-method", method)
        #expect(line.hasPrefix("Authorization: OAuth "))
        #expect(try fixture.send(fixture.request("GET \(path)", [line])).status == 200)
        // Once only: the nonce is used now.
        #expect(try fixture.send(fixture.request("GET \(path)", [line])).status == 401)
        #expect(upstream.requests.count == 1)
    }

    @Test func aBodyIsSignedAsAFormOrByItsHash() throws {
        let upstream = try ScriptedUpstream()
        let fixture = try CommandFixture(upstream: upstream.port)
        _ = try fixture.output("client", "add", "writer", "--oauth1", "--scope", "orders.read")
        let gateway = try fixture.start()
        defer { gateway.end() }
        let bodies = [
            ("application/x-www-form-urlencoded", "a=1&b=two+words", false),
            ("application/json", #"{"a":1}"#, true),
        ]
        for (type, body, isHashed) in bodies {
            let file = try fixture.folder.write("body", body)
            let line = try fixture.signed(
                "POST", "/orders", "--body", file, "--content-type", type)
            #expect(line.contains("oauth_body_hash=") == isHashed)
            // The scope to write is the client's to lack: authenticated, then refused.
            let sent = fixture.request(
                "POST /orders", [line, "Content-Type: \(type)"], body: body)
            #expect(try fixture.send(sent).status == 403)
            let changed = fixture.request(
                "POST /orders",
                [try fixture.signed("POST", "/orders", "--body", file, "--content-type", type)]
                    + ["Content-Type: \(type)"], body: body.replacing("1", with: "2"))
            #expect(try fixture.send(changed).status == 401)
        }
    }

    @Test func curlGetsWordsThatAShellTakesApartAgain() throws {
        let fixture = try CommandFixture()
        let body = try fixture.folder.write("it's a body", "a=1")
        let command = try fixture.signed(
            "POST", "/orders?q='x'", "--curl", "--body", body)
        let shell = try requireTool("sh", package: "dash")
        let words = try run(shell, ["-c", "for word in \(command); do echo \"$word\"; done"])
        let lines = words.output.split(separator: "\n").map(String.init)
        #expect(lines.prefix(4) == ["curl", "-X", "POST", "-H"])
        #expect(lines.contains { $0.hasPrefix("Authorization: OAuth ") })
        #expect(lines.contains("@\(body)"))
        #expect(lines.last == "http://127.0.0.1:\(fixture.port)/orders?q='x'")
    }

    @Test func anRSAKeySigns() throws {
        let fixture = try CommandFixture()
        let openssl = try requireTool("openssl", package: "openssl")
        let key = fixture.folder.file("rsa.pem")
        #expect(
            try run(openssl, ["genrsa", "-out", key, "2048"]).status == .code(0))
        let result = try run(
            fixture.binary,
            [
                "sign", "--consumer-key", "c", "--rsa-key-file", key, "--signature-method",
                "RSA-SHA256", "GET", "http://example.com/",
            ])
        #expect(result.status == .code(0))
        #expect(result.output.contains(#"oauth_signature_method="RSA-SHA256""#))
    }

    @Test(arguments: [
        ["GET", "http://example.com/"],  // no secret
        ["--consumer-secret-file", "SECRET", "GET", "example.com"],
        ["--consumer-secret-file", "SECRET", "GET", "ftp://example.com/"],
        ["--consumer-secret-file", "SECRET", "G T", "http://example.com/"],
        ["--consumer-secret-file", "/no/such/file", "GET", "http://example.com/"],
        ["--consumer-secret-file", "EMPTY", "GET", "http://example.com/"],
        ["--consumer-secret-file", "SECRET", "--token", "t", "GET", "http://example.com/"],
        ["--consumer-secret-file", "SECRET", "--signature-method", "MD5", "GET", "http://e.com/"],
        ["--rsa-key-file", "SECRET", "--signature-method", "RSA-SHA1", "GET", "http://e.com/"],
        ["--consumer-secret-file", "SECRET", "--signature-method", "RSA-SHA1", "GET", "http://e/"],
    ])
    func whatCannotBeSignedEndsWith64(arguments: [String]) throws {
        let folder = try TemporaryDirectory()
        let files = [
            "SECRET": try folder.write("secret", "s\n"), "EMPTY": try folder.write("empty", "\n"),
        ]
        let result = try run(
            try gatehouseBinary(),
            ["sign", "--consumer-key", "c"] + arguments.map { files[$0] ?? $0 })
        #expect(result.status == .code(64))
        #expect(result.output.isEmpty)
        #expect(!result.error.isEmpty)
    }
}

struct CommandsCheckTests {
    @Test func aGoodConfIsSaidToBe() throws {
        let fixture = try CommandFixture()
        #expect(try fixture.output("check").hasSuffix(": ok"))
        #expect(try fixture.output("check", "--print").contains("listener"))
    }

    @Test func everyMistakeIsToldAtOnce() throws {
        let fixture = try CommandFixture(more: "wrokers 2;\nroute /x { upstream nowhere; }")
        let result = try fixture.gatehouse("check")
        #expect(result.status == .code(78))
        #expect(result.output.isEmpty)
        #expect(result.error.contains("wrokers"))
        #expect(result.error.contains("nowhere"))
    }

    @Test(arguments: [["bogus"], ["check", "--nothing"], ["client"], ["token", "inspect"]])
    func badUsageEndsWith64(arguments: [String]) throws {
        let result = try run(try gatehouseBinary(), arguments)
        // A group of commands without one shows what there is.
        #expect(result.status == .code(arguments == ["client"] ? 0 : 64))
    }

    @Test func theVersionIsPrinted() throws {
        let result = try run(try gatehouseBinary(), ["version"])
        #expect(result.status == .code(0))
        #expect(result.output.wholeMatch(of: /gatehouse \d+\.\d+\.\d+\n/) != nil)
    }

    @Test func aResultThatCannotBeWrittenIsAnError() throws {
        let fixture = try CommandFixture()
        let shell = try requireTool("sh", package: "dash")
        let result = try run(
            shell,
            [
                "-c", "exec \"$0\" client add shop --config \"$1\" >/dev/full", fixture.binary,
                fixture.conf,
            ])
        #expect(result.status == .code(70))
    }
}
