import Foundation
import TestSupport
import Testing

/// Floods of tokens that nobody has issued, while honest clients go on.
extension IntrospectionTests {
    private static let connections = 1500

    private func flood(_ gateway: Gateway, addresses: Int) throws -> RunningProcess {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("token_flood.py").path
        let process = try RunningProcess(
            requireTool("/usr/bin/python3", package: "python3"),
            [script, "\(gateway.port)", "\(Self.connections)", "\(addresses)"])
        try process.waitUntil("the flood") { process.standardOutput.hasPrefix("begun\n") }
        return process
    }

    /// What the server is asked about with `junk-` in front, against what it may be.
    private func expectBudget(since began: ContinuousClock.Instant) {
        let asked = server.server.requests.count {
            TokenServer.token(of: $0).hasPrefix("junk-")
        }
        let elapsed = Double((ContinuousClock.now - began) / .milliseconds(1)) / 1000
        #expect(Double(asked) <= 200 + 100 * elapsed)
        #expect(asked >= 200)
    }

    private func expectRefusals(_ flood: RunningProcess) throws {
        flood.signal(SIGTERM)
        #expect(flood.waitForExit() == .code(0), "\(flood.standardError)")
        let line = flood.standardOutput.split(separator: "\n").last ?? ""
        let statuses = try #require(
            try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Int])
        #expect(Set(statuses.keys) == ["401", "503"], "\(statuses)")
        #expect((statuses["503"] ?? 0) > 1000, "\(statuses)")
    }

    /// The server takes 200 ms for an answer, whose word counts for a second: an honest client waits now and then.
    @Test(arguments: [0, 200])
    func aFloodHoldsUpNoKnownToken(addresses: Int) throws {
        server.delay(.milliseconds(200))
        server.say(Self.active, of: "honest")
        let gateway = try start("cache 1s;", workers: 2)
        let began = ContinuousClock.now
        #expect(try gateway.bearer("honest").status == 200)
        let flood = try flood(gateway, addresses: addresses)
        let client = try gateway.connect()
        var statuses: [Int: Int] = [:]
        // It is asked about again and again meanwhile.
        var newcomers = 0
        let isRenewed = try eventually(within: .seconds(30)) {
            try client.send("GET /x HTTP/1.1\r\n\(hostLine)Authorization: Bearer honest\r\n\r\n")
            statuses[try client.readReply().status, default: 0] += 1
            let questions = server.server.requests.map(TokenServer.token)
            // Who comes new from elsewhere gets in too; from the flood's own address nobody can tell it from the flood.
            if addresses > 0, questions.count > 450, newcomers < 20 {
                newcomers += 1
                server.say(Self.active, of: "new-\(newcomers)")
                statuses[try gateway.bearer("new-\(newcomers)").status, default: 0] += 1
            }
            return questions.count { $0 == "honest" } > 4 && questions.count > 450
                && (addresses == 0 || newcomers == 20)
        }
        #expect(isRenewed)
        #expect(Array(statuses.keys) == [200], "\(statuses)")
        expectBudget(since: began)
        try expectRefusals(flood)
        // Said once, and not that the server is away.
        #expect(
            gateway.process.standardError.components(separatedBy: "were not asked about").count == 2
        )
        #expect(!gateway.process.standardError.contains("could not be introspected"))
    }

    /// Whoever uses a remembered answer before it ends has it asked about anew, and waits for nothing.
    @Test func whatIsUsedIsAskedAboutBeforeItEnds() throws {
        server.say(Self.active, of: "token")
        let gateway = try start("cache 1s; timeout 5s;")
        #expect(try gateway.bearer("token").status == 200)
        server.hold(true)
        // In its last quarter the question is asked; while nobody answers it, the last answer counts to its end.
        var statuses: Set<Int> = []
        let isAsked = try eventually {
            statuses.insert(try gateway.bearer("token").status)
            return server.questions == 2
        }
        #expect(isAsked && statuses == [200])
        server.say(#"{"active":false}"#, of: "token")
        server.hold(false)
        let isRefused = try eventually { try gateway.bearer("token").status == 401 }
        #expect(isRefused)
        #expect(server.questions == 2)
    }
}
