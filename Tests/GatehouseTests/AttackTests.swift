import Foundation
import Synchronization
import TestSupport
import Testing

/// Faults that an attack on the running program once found.
@Suite("Attacks") struct AttackTests {
    @Test("A token asked for by a client that left never reaches the next one")
    func lateTokens() throws {
        let folder = try TemporaryDirectory()
        for client in ["alpha", "beta"] {
            try folder.write(client, String(repeating: client, count: 10))
        }
        let gateway = try Gateway(
            testConf(
                """
                secrets { key_file secrets.key; }
                authority { issuer http://issuer.example; audience orders; signing_algorithm RS256; }
                client alpha { secret_file alpha; }
                client beta { secret_file beta; }
                """), in: folder)
        for _ in 0..<3 {
            var leaving: [TCPClient] = []
            for _ in 0..<100 { leaving.append(try gateway.connect()) }
            var staying: [TCPClient] = []
            for _ in 0..<60 { staying.append(try gateway.connect()) }
            // RS256 is signed off the loop: most of these leave while their token is being made.
            for client in leaving { try client.send(tokenRequest("alpha")) }
            leaving.removeAll()
            for client in staying { try client.send(tokenRequest("beta")) }
            for client in staying {
                let reply = try client.readReply().json()
                let token = try #require(reply["access_token"] as? String)
                #expect(try claims(of: token)["client_id"] as? String == "beta")
            }
        }
    }

    private func tokenRequest(_ client: String) -> String {
        let secret = String(repeating: client, count: 10)
        let credentials = Data("\(client):\(secret)".utf8).base64EncodedString()
        let body = "grant_type=client_credentials"
        return """
            POST /oauth2/token HTTP/1.1\r\nHost: a\r\nAuthorization: Basic \(credentials)\r\n\
            Content-Type: application/x-www-form-urlencoded\r\n\
            Content-Length: \(body.utf8.count)\r\n\r\n\(body)
            """
    }

    private func claims(of token: String) throws -> [String: Any] {
        var text = String(try #require(token.split(separator: ".").dropFirst().first))
            .replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        text += String(repeating: "=", count: (4 - text.count % 4) % 4)
        let data = try #require(Data(base64Encoded: text))
        return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    @Test("A client that sends requests and takes no answers costs its buffers only")
    func unreadPipeline() throws {
        let body = String(repeating: "y", count: 50_000)
        let upstream = try ScriptedUpstream { _ in [.respond(body: body)] }
        let gateway = try Gateway(conf(upstream.port))
        let before = try gateway.memory("VmRSS")
        let client = try gateway.connect(timeout: .seconds(30))
        let count = 1500
        try client.send(String(repeating: get, count: count))
        // The sockets' buffers hold a few MB; the rest of the 75 MB waits for the client.
        var seen = -1
        while upstream.requests.count != seen {
            seen = upstream.requests.count
            _ = upstream.waitForRequests(seen + 1, within: .milliseconds(500))
        }
        #expect(seen < 500)
        #expect(try gateway.memory("VmRSS") < before + 16 << 10)
        for _ in 0..<count { #expect(try client.readReply().body.count == 50_000) }
    }

    @Test("An answer that the client does not take ends its connection, the route's timeout or not")
    func untakenAnswer() throws {
        let body = String(repeating: "y", count: 60_000)
        let upstream = try ScriptedUpstream { _ in [.respond(body: body)] }
        let gateway = try Gateway(
            conf(
                upstream.port, limits: "body_timeout 500ms; idle_timeout 500ms;",
                route: "timeout 250ms;"))
        let idle = try sockets(of: gateway)
        let clients = try (0..<3).map { _ in try gateway.connect() }
        let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        for client in clients { try client.send(String(repeating: get, count: 200) + last) }
        #expect(upstream.waitForRequests(3).count >= 3)
        // Those to the upstream rest in the pool.
        #expect(try eventually { try sockets(of: gateway) <= idle + upstream.openConnections })
        #expect(clients.count == 3)
    }

    @Test("A client that takes no answers is timed out, also where its next request has begun")
    func untakenAnswerBeforeAHead() throws {
        let body = String(repeating: "y", count: 7_800)
        let upstream = try ScriptedUpstream { _ in [.respond(body: body)] }
        let gateway = try Gateway(conf(upstream.port, limits: "body_timeout 500ms;"))
        let idle = try sockets(of: gateway)
        let client = try gateway.connect()
        // Each brings the first byte of the next: whenever an answer is written, a head has begun.
        try client.send("G")
        var count = 0
        repeat {
            try client.send(String(get.dropFirst()) + "G")
            count += 1
        } while upstream.waitForRequests(count, within: .milliseconds(500)).count >= count
        #expect(try eventually { try sockets(of: gateway) <= idle + upstream.openConnections })
        #expect(count > 1)
    }

    private func sockets(of gateway: Gateway) throws -> Int {
        let folder = "/proc/\(gateway.process.pid)/fd"
        return try FileManager.default.contentsOfDirectory(atPath: folder).count {
            let target = try? FileManager.default.destinationOfSymbolicLink(
                atPath: folder + "/" + $0)
            return target?.hasPrefix("socket:") == true
        }
    }

    @Test("A pooled connection whose last client was slow serves the next one")
    func slowLastClient() throws {
        let large = String(repeating: "x", count: 127_000)
        let probes = Mutex(0)
        let upstream = try ScriptedUpstream { request in
            guard request.requestLine.contains("/probe") else { return [.respond(body: large)] }
            probes.withLock { $0 += 1 }
            // All at once, so that each has a connection of its own.
            _ = eventually { probes.withLock { $0 } == 8 }
            return [.respond(body: "ok")]
        }
        let gateway = try Gateway(conf(upstream.port))
        let slow = try (0..<8).map { _ in try gateway.connect() }
        // Answer by answer until the sockets are full: for some of the eight the last bytes of one will not fit.
        // Each answer is over before the next request, which would otherwise keep the connection to itself.
        var sent = 0
        repeat {
            for client in slow { try client.send(get) }
            sent += slow.count
        } while eventually(within: .milliseconds(400)) {
            gateway.process.standardOutput.count { $0 == "\n" } == sent
        }
        let others = try (0..<8).map { _ in try gateway.connect() }
        for client in others { try client.send("GET /probe HTTP/1.1\r\nHost: a\r\n\r\n") }
        for client in others { #expect(try client.readReply().status == 200) }
        #expect(slow.count == 8)
    }

    @Test("A server that stops reading before the request's end is given up")
    func serverStopsReading() throws {
        let folder = try TemporaryDirectory()
        // Nobody accepts: the kernel takes what fits into a unix socket's buffer, and no more.
        let listener = try UnixListener(path: folder.file("upstream"))
        let gateway = try Gateway(
            testConf(
                listener: "limits { body_timeout 500ms; }",
                """
                upstream up { server unix:\(folder.file("upstream")); response_timeout 500ms; }
                route / { upstream up; authenticate none; }
                """))
        // One of these sizes leaves its last piece in the gateway's queue, wherever the buffer ends.
        var clients: [(size: Int, client: TCPClient)] = []
        for size in stride(from: 160 << 10, through: 352 << 10, by: 8 << 10) {
            let client = try gateway.connect()
            try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n")
            try client.send([UInt8](repeating: 0x7A, count: size))
            clients.append((size, client))
        }
        for (size, client) in clients {
            #expect(try client.readReply().status == 504, "\(size) bytes")
        }
        #expect(listener.path.hasSuffix("upstream"))
    }

    private let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    private func conf(_ port: UInt16, limits: String = "", route: String = "") -> String {
        testConf(
            listener: limits.isEmpty ? "" : "limits { \(limits) }",
            """
            upstream up { server 127.0.0.1:\(port); response_timeout 2s; }
            route / { upstream up; authenticate none; \(route) }
            """)
    }
}
