import Foundation
import TestSupport
import Testing

/// Servers of HTTP/2 that cost more than an answer is worth: their request fails in its time, memory stays, and everybody
/// else is served meanwhile.
struct HTTP2UpstreamFloodTests {
    private static let growthLimitKB = 64 << 10

    private static func server() throws -> (RunningProcess, port: String) {
        let python = try requirePython(module: "hpack", package: "python3-hpack")
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("http2_flooding_upstream.py").path
        let server = try RunningProcess(python, [script])
        try server.waitUntil("its port") { server.standardOutput.contains("\n") }
        return (server, server.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines))
    }

    @Test(arguments: [
        "pings", "settings_again", "acknowledgements", "continuation", "continuation_empty",
        "hpack_bomb", "empty_data", "resets", "interims", "window_updates",
    ])
    func aFloodingServerFailsItsOwnRequest(flood: String) throws {
        let (server, port) = try Self.server()
        let other = try ScriptedUpstream()
        let gateway = try Gateway(
            testConf(
                """
                upstream flooding { server 127.0.0.1:\(port); protocol h2; response_timeout 1s; }
                upstream other { server 127.0.0.1:\(other.port); }
                route / { upstream flooding; authenticate none; }
                route /fine { upstream other; authenticate none; }
                """))
        let fine = "GET /fine HTTP/1.1\r\n\(hostLine)\r\n"
        let bystander = try gateway.connect()
        try bystander.send(fine)
        #expect(try bystander.readReply().status == 200)
        let before = try memoryKB(gateway)
        let client = try gateway.connect()
        try client.send("GET /\(flood) HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n")
        let begun = ContinuousClock.now
        while !client.isReadable(within: .milliseconds(5)), .now < begun + .seconds(4) {
            try bystander.send(fine)
            #expect(try bystander.readReply().status == 200)
        }
        if flood == "empty_data" {
            // Its head was good; what it announced never comes, and the client sees the cut.
            #expect(throws: (any Error).self) { _ = try client.readReply() }
        } else {
            var status = try client.readReply().status
            // Some interim answers are passed on, as long as it could have been no flood.
            while status == 103 { status = try client.readReply().status }
            #expect(status == 502 || status == 504)
        }
        try bystander.send(fine)
        #expect(try bystander.readReply().status == 200)
        #expect(try memoryKB(gateway) - before < Self.growthLimitKB)
        _ = consume server
    }

    /// The request that it came for has been answered: its time says nothing any more, and the connection is shared.
    @Test(arguments: [
        "late_data", "late_empty_data", "late_heads", "late_resets", "late_windows",
    ])
    func aFloodEndsItsConnectionAndNoOthersRequest(flood: String) throws {
        let (server, port) = try Self.server()
        let gateway = try Gateway(
            testConf(
                workers: 1,
                """
                upstream flooding { server 127.0.0.1:\(port); protocol h2; response_timeout 1m; }
                route / { upstream flooding; authenticate none; }
                """))
        func get(_ path: String) throws -> TCPClient {
            let client = try gateway.connect()
            try client.send("GET /\(path) HTTP/1.1\r\n\(hostLine)\r\n")
            return client
        }
        #expect(try get("fine").readReply().status == 200)
        let held = try get("held")
        try server.waitUntil("the request that is held") {
            server.standardOutput.contains("held\n")
        }
        let flooding = try get(flood)
        #expect(try flooding.readReply().status == 200)
        try server.waitUntil("the end") { server.standardOutput.contains("cut \(flood)\n") }
        // It had begun on the connection that ended, and could be sent again.
        #expect(try held.readReply().status == 200)
        #expect(try get("fine").readReply().status == 200)
        _ = consume flooding
    }

    private func memoryKB(_ gateway: Gateway) throws -> Int {
        let status = try String(
            contentsOfFile: "/proc/\(gateway.process.pid)/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        return try #require(line.flatMap { Int($0.filter(\.isNumber)) })
    }
}
