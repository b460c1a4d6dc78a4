import Foundation
import TestSupport
import Testing

/// gRPC through the gateway, by grpcio on both ends: all four kinds of calls, deadlines, refusals.
struct GRPCTests {
    private static func script(_ arguments: [String]) throws -> (String, [String]) {
        let python = try requirePython(module: "grpc", package: "python3-grpcio")
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("grpc_peer.py").path
        return (python, [script] + arguments)
    }

    @Test(arguments: [false, true]) func callsPassAndRefusalsAreGRPCs(isTLS: Bool) throws {
        let authority = try TestAuthority()
        let files = try authority.issue("one", ["DNS:localhost", "IP:127.0.0.1"])
        let (python, serve) = try Self.script(
            ["serve"] + (isTLS ? [files.certificate, files.key] : []))
        let server = try RunningProcess(python, serve)
        try server.waitUntil("its port") { server.standardOutput.contains("\n") }
        let port = server.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)
        let closed = try freePort()
        let gateway = try Gateway(
            testConf(
                listener: "limits { body_timeout 1s; } "
                    + (isTLS ? "tls { certificate one.crt; key one.key; }" : "protocols h2c;"),
                store: "store sqlite { path state.db; }",
                """
                authority { issuer http://127.0.0.1; scopes call; }
                upstream app { server 127.0.0.1:\(port); protocol h2; \(isTLS ? "tls { ca ca.pem; }" : "") }
                upstream away { server 127.0.0.1:\(closed); protocol h2; }
                route / { upstream app; authenticate bearer; }
                route /scoped { upstream app; require scope other; }
                route /away { upstream away; }
                route /limited { upstream app; rate_limit 1/h burst 1 per client; }
                """), in: authority.folder)
        let conf = gateway.folder.file("gateway.conf")
        let added = try run(
            gatehouseBinary(), ["client", "add", "caller", "--scope", "call", "--config", conf])
        #expect(added.status == .code(0), "\(added.error)")
        let issued = try run(
            gatehouseBinary(), ["token", "issue", "--client", "caller", "--config", conf])
        let token = issued.output.trimmingCharacters(in: .whitespacesAndNewlines)
        #expect(!token.isEmpty, "\(issued.error)")

        let (_, call) = try Self.script(
            ["\(gateway.port)", token] + (isTLS ? [authority.certificate] : []))
        let result = try run(python, call)
        #expect(
            result.output == """
                unary HELLO t caller yes
                down 5000 4999
                up 6000000
                both cba fed ihg
                watch watching ends DEADLINE_EXCEEDED Deadline Exceeded
                slow DEADLINE_EXCEEDED Deadline Exceeded
                fail NOT_FOUND no such thing
                none UNAUTHENTICATED no_credentials
                wrong UNAUTHENTICATED malformed_credentials
                scoped PERMISSION_DENIED insufficient_scope
                away UNAVAILABLE upstream_connect
                limited OK
                limited RESOURCE_EXHAUSTED rate_limited

                """, "\(result.error)")
        _ = consume server
    }

    // MARK: Calls whose server is silent

    /// A server of grpcio, and a gateway in front of it that issues tokens.
    private struct House {
        let server: RunningProcess
        let gateway: Gateway

        /// - Parameter upstream: in the place of grpcio's server.
        init(
            lifetime: String = "10m", bodyTimeout: String = "1s", upstream: String? = nil
        ) throws {
            let (python, serve) = try GRPCTests.script(["serve"])
            let server = try RunningProcess(python, serve)
            try server.waitUntil("its port") { server.standardOutput.contains("\n") }
            let port = server.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)
            let folder = try TemporaryDirectory()
            try folder.write("secret", "s3cret")
            self.server = server
            gateway = try Gateway(
                testConf(
                    listener: "protocols h2c; limits { body_timeout \(bodyTimeout); }",
                    store: "store sqlite { path state.db; }",
                    """
                    authority { issuer http://127.0.0.1; scopes call; token_lifetime \(lifetime); }
                    client caller { secret_file secret; scopes call; }
                    upstream app {
                        \(upstream ?? "server 127.0.0.1:\(port); protocol h2;") response_timeout 1m;
                    }
                    route / { upstream app; authenticate bearer; end_streams_with_credential on grace 100ms; }
                    route /open { upstream app; authenticate none; }
                    """), in: folder)
        }

        func command(_ arguments: String...) throws -> String {
            let conf = gateway.folder.file("gateway.conf")
            let result = try run(gatehouseBinary(), arguments + ["--config", conf])
            #expect(result.status == .code(0), "\(result.error)")
            return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
        }

        /// A call that has sent one message and waits; its server has heard it.
        func call(
            _ path: String = "/service/Hear", within seconds: Int = 20, token: String? = nil
        ) throws -> RunningProcess {
            let (python, wait) = try GRPCTests.script(
                ["wait", "\(gateway.port)", path, "\(seconds)"] + [token].compactMap(\.self))
            let client = try RunningProcess(python, wait)
            try server.waitUntil("the first message") {
                server.standardOutput.contains("hears first\n")
            }
            return client
        }
    }

    @Test func aCallWithoutAHeadEndsWithItsToken() throws {
        let house = try House(lifetime: "2s")
        let token = try house.command("token", "issue", "--client", "caller")
        let client = try house.call(token: token)
        #expect(client.waitForExit(within: .seconds(10)) == .code(0), "\(client.standardError)")
        #expect(client.standardOutput == "UNAUTHENTICATED token_expired\n")
    }

    @Test func aCallWithoutAHeadEndsWhenItsTokenIsRevoked() throws {
        let house = try House()
        let token = try house.command("token", "issue", "--client", "caller")
        let client = try house.call(token: token)
        _ = try house.command("token", "revoke", token)
        #expect(client.waitForExit(within: .seconds(10)) == .code(0), "\(client.standardError)")
        #expect(client.standardOutput == "UNAUTHENTICATED token_revoked\n")
    }

    // MARK: Calls whose answer has begun

    private static func listen(
        to path: String, through gateway: Gateway, _ token: String
    ) throws -> RunningProcess {
        let (python, listen) = try script(["listen", "\(gateway.port)", path, "20", token])
        return try RunningProcess(python, listen)
    }

    /// Between two messages a call may end at any time, and its client is told why.
    @Test(arguments: [true, false]) func aCallThatIsAnsweredEndsWithItsToken(
        isRevoked: Bool
    ) throws {
        let house = try House(lifetime: isRevoked ? "10m" : "2s")
        let token = try house.command("token", "issue", "--client", "caller")
        let client = try Self.listen(to: "/service/Drip", through: house.gateway, token)
        try client.waitUntil("two messages") { client.standardOutput == "one\ntwo\n" }
        if isRevoked { _ = try house.command("token", "revoke", token) }
        #expect(client.waitForExit(within: .seconds(10)) == .code(0), "\(client.standardError)")
        let reason = isRevoked ? "token_revoked" : "token_expired"
        #expect(client.standardOutput == "one\ntwo\nUNAUTHENTICATED \(reason)\n")
        let line = try house.gateway.accessLine { $0["path"] as? String == "/service/Drip" }
        #expect(line["reason"] as? String == reason)
    }

    @Test func aCallThatIsStillAskingEndsWithItsTokenToo() throws {
        let house = try House()
        let token = try house.command("token", "issue", "--client", "caller")
        let client = try house.call("/service/Watch", token: token)
        // The answer's head is out once the client has the first message; before that it would be trailers alone.
        _ = try house.command("token", "revoke", token)
        #expect(client.waitForExit(within: .seconds(10)) == .code(0), "\(client.standardError)")
        #expect(client.standardOutput == "UNAUTHENTICATED token_revoked\n")
    }

    /// A client that has half a message would take trailers for the end of a call that has lost it.
    @Test func aMessageThatIsHalfSaidIsCut() throws {
        let server = try ManualServer()
        let house = try House(upstream: "server 127.0.0.1:\(server.port);")
        let token = try house.command("token", "issue", "--client", "caller")
        let client = try Self.listen(to: "/service/Half", through: house.gateway, token)
        let call = try server.accept()
        _ = try call.read(through: "\r\n\r\n")
        // One message, and 6 bytes of the next one's 5 and 9.
        try call.send(
            "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "e\r\n\0\0\0\0\u{3}one\0\0\0\0\u{9}t\r\n")
        try client.waitUntil("the first message") { client.standardOutput == "one\n" }
        _ = try house.command("token", "revoke", token)
        #expect(client.waitForExit(within: .seconds(10)) == .code(0), "\(client.standardError)")
        #expect(
            client.standardOutput.hasPrefix("one\nINTERNAL Received RST_STREAM"),
            "\(client.standardOutput)")
    }

    /// Anybody can write a content type: who has shown no credential is waited for no longer than others, until the
    /// server has answered with a call's head.
    @Test func aCallOfNobodyIsSilentOnlyOnceItIsAnswered() throws {
        let house = try House(bodyTimeout: "300ms")
        let unanswered = try house.call("/open/Hear")
        #expect(unanswered.waitForExit(within: .seconds(10)) == .code(0))
        #expect(unanswered.standardOutput == "UNAVAILABLE timeout\n")
        let answered = try house.call("/open/Watch", within: 2)
        #expect(answered.waitForExit(within: .seconds(10)) == .code(0))
        #expect(answered.standardOutput == "DEADLINE_EXCEEDED Deadline Exceeded\n")
    }
}
