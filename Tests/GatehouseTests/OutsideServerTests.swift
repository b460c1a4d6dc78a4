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

    /// Keys that are announced before they sign and keys that are not: no valid token is refused, whether its key is here,
    /// is being fetched or is yet to be. A token of an unknown key may cause a fetch every 10 seconds, so that is how
    /// often one that was not announced can come.
    @Test func noTokenIsLostWhenItsKeysChange() throws {
        let server = try Self.start(["serve"])
        try server.waitUntil("its port") { server.standardOutput.contains("\n") }
        let issuer = "http://127.0.0.1:" + server.standardOutput.prefix { $0 != "\n" }
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
        func post(_ path: String) throws {
            let result = try run(
                requireTool("curl", package: "curl"),
                ["-s", "-S", "-f", "-m", "10", "-X", "POST", issuer + path])
            #expect(result.status == .code(0), "\(result.error)")
        }
        func fetches() -> Int {
            server.standardError.components(separatedBy: "GET /jwks").count - 1
        }
        // At once, without a word to anybody: the first token that it signs brings the key.
        try post("/rotate")
        try server.waitUntil("the keys to be fetched") { fetches() >= 2 }
        // Published first; whoever has fetched it by then has no need to ask again.
        try post("/announce")
        Thread.sleep(forTimeInterval: 10)
        try post("/rotate")
        try server.waitUntil("the keys to be fetched") { fetches() >= 3 }
        clients.signal(SIGTERM)
        #expect(clients.waitForExit(within: .seconds(20)) == .code(0), "\(clients.standardError)")
        let line = clients.standardOutput.split(separator: "\n").last ?? ""
        let seen = try #require(
            try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        #expect(seen["keys"] as? Int == 3)
        let statuses = try #require(seen["statuses"] as? [String: Int])
        #expect(Array(statuses.keys) == ["200"], "\(statuses)")
        #expect((statuses["200"] ?? 0) > 300)
        #expect(fetches() == 3)
    }
}
