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

                """, "\(result.error)")
        _ = consume server
    }
}
