import Foundation
import TestSupport
import Testing

/// SIGTERM, SIGINT: what is in flight ends well, nothing new begins.
@Suite(.serialized)
struct ShutdownTests {
    let upstream: ScriptedUpstream
    let hold = Hold()

    init() throws {
        let hold = self.hold
        upstream = try ScriptedUpstream { request in
            if request.requestLine.contains("/held") { hold.wait() }
            return [.respond(body: "done")]
        }
    }

    func gateway(_ top: String = "", workers: Int = 2, listener: String = "") throws -> Gateway {
        try Gateway(
            testConf(
                workers: workers, listener: listener,
                """
                \(top)
                admin { address 127.0.0.1:0; }
                upstream app { server 127.0.0.1:\(upstream.port); }
                route / { upstream app; authenticate none; }
                """))
    }

    /// A connection whose request the upstream holds.
    func held(by gateway: Gateway) throws -> TCPClient {
        let client = try gateway.connect()
        try client.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(upstream.waitForRequests(1).count == 1)
        return client
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func aDrainFinishesWhatIsInFlight(_ signal: Int32) throws {
        let gateway = try gateway()
        let idle = try gateway.connect()
        try idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(try idle.readReply().status == 200)
        // Half a head: this request began before the signal.
        let begun = try gateway.connect()
        try begun.send("GET /begun HTTP/1.1\r\nHost: h\r\n")
        let client = try gateway.connect()
        try client.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(upstream.waitForRequests(2).count == 2)
        gateway.process.signal(signal)
        #expect(try idle.isClosedByPeer())
        #expect(eventually { (try? gateway.connect()) == nil })
        try begun.send("\r\n")
        let late = try begun.readReply()
        #expect(late.status == 200)
        #expect(late.values("connection") == ["close"])
        #expect(gateway.process.exitStatus == nil)
        hold.release()
        let reply = try client.readReply()
        #expect(reply.status == 200)
        #expect(reply.text == "done")
        #expect(try client.isClosedByPeer())
        #expect(gateway.process.waitForExit() == .code(0))
        // No line of the log was lost with the process.
        #expect(gateway.accessLines.count == 3)
        #expect(gateway.process.standardError.contains("stopped"))
    }

    /// The program stands still while requests come in, on connections that are open and on new ones, and the signal
    /// with them: whatever the workers see first, each request was sent to a gateway that took requests.
    @Test(arguments: ["", "protocols http/1.1 h2c;", "proxy_protocol on;"])
    func requestsThatWaitInTheSocketsAreAnswered(_ listener: String) throws {
        let gateway = try gateway(listener: listener)
        let header = listener.hasPrefix("proxy") ? "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" : ""
        let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
        let known = try (0..<16).map { _ in try gateway.connect() }
        for client in known {
            try client.send(header + request)
            #expect(try client.readReply().status == 200)
        }
        gateway.process.signal(SIGSTOP)
        let new = try (0..<16).map { _ in try gateway.connect() }
        for client in known { try client.send(request) }
        for client in new { try client.send(header + request) }
        gateway.process.signal(SIGTERM)
        gateway.process.signal(SIGCONT)
        for client in known + new {
            #expect(try client.readReply().status == 200)
            #expect(try client.isClosedByPeer())
        }
        #expect(gateway.process.waitForExit() == .code(0))
        #expect(gateway.accessLines.count == 48)
    }

    /// More than are accepted at once, by workers that have nothing else; and it waits for their answers, however long those
    /// take.
    @Test func connectionsThatWaitToBeAcceptedAreServed() throws {
        let gateway = try gateway()
        gateway.process.signal(SIGSTOP)
        let clients = try (0..<200).map { _ in try gateway.connect() }
        for client in clients { try client.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n") }
        gateway.process.signal(SIGTERM)
        gateway.process.signal(SIGCONT)
        #expect(upstream.waitForRequests(200).count == 200)
        // It looks every 20 ms whether it may end.
        #expect(!eventually(within: .milliseconds(300)) { gateway.process.exitStatus != nil })
        hold.release()
        for client in clients {
            #expect(try client.readReply().status == 200)
            #expect(try client.isClosedByPeer())
        }
        #expect(gateway.process.waitForExit() == .code(0))
    }

    @Test func theAdminListenerSaysThatItDrains() throws {
        let gateway = try gateway()
        let client = try held(by: gateway)
        func ask(_ path: String) throws -> HTTPReply {
            let admin = try TCPClient(port: gateway.port(of: "admin"))
            try admin.send("GET \(path) HTTP/1.1\r\nHost: h\r\n\r\n")
            return try admin.readReply()
        }
        #expect(try ask("/readyz").status == 200)
        gateway.process.signal(SIGTERM)
        #expect(try eventually { try ask("/readyz").status == 503 })
        #expect(try ask("/readyz").text == "shutting_down\n")
        #expect(try ask("/healthz").status == 200)
        // A connection of the admin listener is none to wait for.
        let admin = try TCPClient(port: gateway.port(of: "admin"))
        hold.release()
        #expect(try client.readReply().status == 200)
        #expect(gateway.process.waitForExit() == .code(0))
        #expect(try admin.isClosedByPeer())
    }

    @Test func aSecondSignalEndsItAtOnce() throws {
        let gateway = try gateway()
        let client = try held(by: gateway)
        let start = ContinuousClock.now
        gateway.process.signal(SIGTERM)
        try gateway.process.waitUntil("draining") {
            gateway.process.standardError.contains("draining")
        }
        gateway.process.signal(SIGTERM)
        #expect(gateway.process.waitForExit() == .code(1))
        #expect(ContinuousClock.now - start < .seconds(5))
        #expect(throws: (any Error).self) { try client.readReply() }
        hold.release()
    }

    @Test func theDrainEndsWithItsTime() throws {
        let gateway = try gateway("shutdown_timeout 300ms;")
        let client = try held(by: gateway)
        let start = ContinuousClock.now
        gateway.process.signal(SIGTERM)
        #expect(gateway.process.waitForExit() == .code(0))
        #expect(ContinuousClock.now - start >= .milliseconds(300))
        #expect(throws: (any Error).self) { try client.readReply() }
        hold.release()
    }

    /// 64 connections wait in the queue when the program goes on; each of the two workers gets half of them.
    @Test func workersShareConnectionsThatArriveAtOnce() throws {
        let gateway = try gateway()
        gateway.process.signal(SIGSTOP)
        let clients = try (0..<64).map { _ in try gateway.connect() }
        for client in clients { try client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n") }
        gateway.process.signal(SIGCONT)
        for client in clients { #expect(try client.readReply().status == 200) }
        gateway.process.signal(SIGTERM)
        #expect(gateway.process.waitForExit() == .code(0))
        let lines = gateway.process.standardError.components(separatedBy: "\n").filter {
            $0.contains("a worker drains")
        }
        #expect(lines.count == 2)
        #expect(lines.allSatisfy { $0.contains("connections=32") }, "\(lines)")
        #expect(lines.allSatisfy { $0.contains("answers=32") }, "\(lines)")
    }
}
