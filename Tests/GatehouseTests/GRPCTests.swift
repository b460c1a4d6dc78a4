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

        init(lifetime: String = "10m", bodyTimeout: String = "1s", route: String = "") throws {
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
                    upstream app { server 127.0.0.1:\(port); protocol h2; response_timeout 1m; }
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
