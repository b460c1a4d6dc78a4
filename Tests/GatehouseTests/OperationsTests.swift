import Foundation
import TestSupport
import Testing

/// Signals, reloads, the service manager, the admin listener, and starts that must fail.
@Suite(.serialized)
struct OperationsTests {
    private func open(_ upstream: ScriptedUpstream, _ rest: String = "") -> String {
        testConf(
            """
            admin { address 127.0.0.1:0; }
            upstream up { server 127.0.0.1:\(upstream.port); }
            route / { upstream up; authenticate none; }
            \(rest)
            """)
    }

    private func get(_ path: String) -> String { "GET \(path) HTTP/1.1\r\nHost: t\r\n\r\n" }

    // MARK: Reload

    @Test func aReloadIsTakenOverByTheNextRequestOfAnOpenConnection() throws {
        let upstream = try ScriptedUpstream()
        let gateway = try Gateway(open(upstream))
        let client = try gateway.connect()
        try client.send(get("/a"))
        #expect(try client.readReply().status == 200)
        _ = try gateway.folder.write(
            "gateway.conf", open(upstream).replacingOccurrences(of: "authenticate none;", with: ""))
        gateway.process.signal(SIGHUP)
        try gateway.process.waitUntil("reloaded") {
            gateway.process.standardError.contains(" reloaded ")
        }
        #expect(
            try eventually(within: .seconds(5)) {
                try client.send(get("/a"))
                return try client.readReply().status == 401
            })
    }

    @Test func aBrokenConfChangesNothingAndIsLoggedWithItsPlace() throws {
        let upstream = try ScriptedUpstream()
        let gateway = try Gateway(open(upstream))
        _ = try gateway.folder.write("gateway.conf", open(upstream, "rout / { }"))
        gateway.process.signal(SIGHUP)
        try gateway.process.waitUntil("refusal") {
            gateway.process.standardError.contains("the old configuration goes on")
        }
        #expect(gateway.process.standardError.contains("gateway.conf:"))
        #expect(try gateway.request(get("/a")).status == 200)
    }

    @Test func reloadsUnderLoadLoseNoRequest() throws {
        let upstream = try ScriptedUpstream()
        let gateway = try Gateway(open(upstream))
        let client = try gateway.connect()
        var reloads = 0
        for number in 0..<300 {
            if number % 15 == 0 {
                gateway.process.signal(SIGHUP)
                reloads += 1
            }
            try client.send(get("/\(number)"))
            #expect(try client.readReply().status == 200)
        }
        #expect(reloads == 20)
    }

    // MARK: The end

    @Test func terminationFinishesWhatIsInFlightAndClosesIdleConnections() throws {
        let upstream = try ScriptedUpstream { _ in [.respond(body: "late")] }
        let gateway = try Gateway(open(upstream))
        let idle = try gateway.connect()
        try idle.send(get("/idle"))
        #expect(try idle.readReply().status == 200)
        let busy = try gateway.connect()
        try busy.send(
            "POST /busy HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        // Asked for the body: the exchange is in flight.
        _ = try busy.read(through: "100 Continue\r\n\r\n")
        gateway.process.signal(SIGTERM)
        #expect(try idle.isClosedByPeer())
        try busy.send("abcd")
        let reply = try busy.readReply()
        #expect(reply.status == 200)
        #expect(reply.values("Connection") == ["close"])
        #expect(gateway.process.waitForExit() == .code(0))
    }

    @Test func aSecondSignalEndsAtOnce() throws {
        let upstream = try ScriptedUpstream { _ in [.hold] }
        let gateway = try Gateway(open(upstream))
        let client = try gateway.connect()
        try client.send(get("/held"))
        try upstream.waitForRequests(1)
        gateway.process.signal(SIGTERM)
        try gateway.process.waitUntil("draining") {
            gateway.process.standardError.contains("draining")
        }
        gateway.process.signal(SIGTERM)
        #expect(gateway.process.waitForExit() == .code(1))
    }

    // MARK: Logs

    @Test func theLogIsOpenedAnewAfterARotation() throws {
        let upstream = try ScriptedUpstream()
        let folder = try TemporaryDirectory()
        let conf = open(upstream).replacingOccurrences(
            of: "access stdout;", with: "access \(folder.path)/access.log;")
        let gateway = try Gateway(conf, in: folder)
        _ = try gateway.request(get("/before"))
        try gateway.process.waitUntil("line") { folder.read("access.log").contains("/before") }
        try FileManager.default.moveItem(
            atPath: folder.file("access.log"), toPath: folder.file("access.log.1"))
        gateway.process.signal(SIGUSR1)
        try gateway.process.waitUntil("new file") {
            FileManager.default.fileExists(atPath: folder.file("access.log"))
        }
        _ = try gateway.request(get("/after"))
        try gateway.process.waitUntil("line") { folder.read("access.log").contains("/after") }
        #expect(!folder.read("access.log.1").contains("/after"))
    }

    @Test func anAccessLineSaysWhatTheInterfacePromisesAndNoSecret() throws {
        let upstream = try ScriptedUpstream()
        let gateway = try Gateway(open(upstream))
        _ = try gateway.request(
            "GET /x?access_token=geheim&a=1&client_secret=geheim HTTP/1.1\r\nHost: t\r\n"
                + "Authorization: Bearer geheim\r\n\r\n")
        let line = try gateway.accessLine { $0["route"] as? String == "/" }
        for name in [
            "time", "request_id", "client_address", "listener", "protocol", "method", "host",
            "path", "route", "status", "bytes_in", "bytes_out", "duration_ms", "upstream",
            "upstream_ms", "upstream_status", "trace_id",
        ] { #expect(line[name] != nil, "\(name)") }
        #expect(line["path"] as? String == "/x?access_token=…&a=1&client_secret=…")
        #expect(!gateway.process.standardOutput.contains("geheim"))
        #expect(!gateway.process.standardError.contains("geheim"))
    }

    // MARK: Service manager and admin

    @Test func theServiceManagerIsTold() throws {
        let upstream = try ScriptedUpstream()
        let folder = try TemporaryDirectory()
        let manager = try DatagramReceiver(path: folder.file("notify"))
        let gateway = try Gateway(
            open(upstream), in: folder,
            environment: ["NOTIFY_SOCKET": folder.file("notify"), "WATCHDOG_USEC": "600000"])
        try manager.waitFor("READY=1")
        try manager.waitFor("WATCHDOG=1")
        gateway.process.signal(SIGHUP)
        try manager.waitFor("RELOADING=1")
        gateway.process.signal(SIGTERM)
        try manager.waitFor("STOPPING=1")
        #expect(gateway.process.waitForExit() == .code(0))
    }

    @Test func adminTellsHealthAndReadiness() throws {
        let upstream = try ScriptedUpstream()
        let gateway = try Gateway(open(upstream))
        let admin = try TCPClient(port: gateway.port(of: "admin"))
        for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/", 404), ("/metrics", 404)] {
            try admin.send(get(path))
            #expect(try admin.readReply().status == status, "\(path)")
        }
    }

    @Test func aNameThatIsNotFoundIsNotReadyAndAnswers503() throws {
        let gateway = try Gateway(
            testConf(
                """
                admin { address 127.0.0.1:0; }
                upstream up { server no-such-name.invalid:80; }
                route / { upstream up; authenticate none; }
                """))
        let reply = try gateway.request(get("/"))
        #expect(reply.status == 503)
        #expect(reply.text.contains("no_healthy_upstream"))
        let admin = try TCPClient(port: gateway.port(of: "admin"))
        try admin.send(get("/readyz"))
        #expect(try admin.readReply().status == 503)
    }

    // MARK: Workers

    /// Each worker is a thread with its own epoll: how many of a burst's connections each holds shows in the descriptors that
    /// its epoll watches.
    @Test func connectionsThatArriveAtOnceAreSharedEvenly() throws {
        let upstream = try ScriptedUpstream()
        let conf = testConf(
            workers: 2,
            "upstream up { server 127.0.0.1:\(upstream.port); } route / { upstream up; authenticate none; }"
        )
        let gateway = try Gateway(conf)
        let before = try watched(gateway.process.pid)
        let clients = try (0..<64).map { _ in try gateway.connect() }
        // An answer on every connection: all have been placed.
        for client in clients {
            try client.send("GET / HTTP/1.1\r\n\r\n")
            #expect(try client.readReply().status == 400)
        }
        let held = try (0..<64).map { _ in try gateway.connect() }
        var shares: [Int] = []
        #expect(
            try eventually(within: .seconds(5)) {
                let now = try watched(gateway.process.pid)
                shares = now.map { $0.value - (before[$0.key] ?? 0) }.filter { $0 > 0 }.sorted()
                return shares.reduce(0, +) >= 64
            })
        #expect(shares.count == 2)
        #expect((shares.last ?? 0) - (shares.first ?? 0) <= 2, "\(shares)")
        _ = held
    }

    /// Watched descriptors of each epoll of the process.
    private func watched(_ pid: pid_t) throws -> [String: Int] {
        var result: [String: Int] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd") {
            let link = try? FileManager.default.destinationOfSymbolicLink(
                atPath: "/proc/\(pid)/fd/\(name)")
            guard link?.contains("eventpoll") == true else { continue }
            let info = try String(contentsOfFile: "/proc/\(pid)/fdinfo/\(name)", encoding: .utf8)
            result[name] = info.split(separator: "\n").count { $0.hasPrefix("tfd:") }
        }
        return result
    }

    // MARK: Starts that fail

    @Test func aStartThatCannotBeSaysWhyInOneLineAndExitsAsItShould() throws {
        let folder = try TemporaryDirectory()
        let taken = try ScriptedUpstream()
        func start(_ conf: String) throws -> CommandResult {
            let path = try folder.write("gateway.conf", conf)
            return try run(gatehouseBinary(), ["serve", "--config", path])
        }
        let up = "upstream up { server 127.0.0.1:1; } route / { upstream up; authenticate none; }"
        let inUse = try start(
            "listener api { address 127.0.0.1:\(taken.port); } store memory; \(up)")
        #expect(inUse.status == .code(69))
        #expect(inUse.error.contains("Address already in use"), "\(inUse.error)")
        #expect(inUse.error.split(separator: "\n").count == 1)

        let missing = try run(gatehouseBinary(), ["serve", "--config", folder.file("none.conf")])
        #expect(missing.status == .code(78))

        let mistakes = try start(
            "listener api { adress 1; }\nroute / { upstream nowhere; }\nbogus;")
        #expect(mistakes.status == .code(78))
        for place in [":1:", ":2:", ":3:"] { #expect(mistakes.error.contains(place)) }

        _ = try folder.write("jwks.json", "{\"keys\": [")
        let broken = try start(
            "listener api { address 127.0.0.1:0; } store memory; issuer i { issuer https://i; audience a; jwks_file jwks.json; } \(up)"
        )
        #expect(broken.status == .code(78))
        #expect(broken.error.contains("jwks.json"))

        let nowhere = try start(
            "listener api { address 127.0.0.1:0; } store sqlite { path /nonexistent/folder/x.db; } \(up)"
        )
        #expect(nowhere.status == .code(69))
        #expect(nowhere.error.split(separator: "\n").count == 1, "\(nowhere.error)")
    }
}

/// The service manager's end of sd_notify: a datagram socket.
private final class DatagramReceiver {
    private let descriptor: Int32
    private var seen = ""

    init(path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let result = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw Failure("bind: \(errno)") }
    }

    deinit {
        close(descriptor)
    }

    /// Reads until a message with that line came, ten seconds at most.
    func waitFor(_ line: String) throws {
        let end = Date().addingTimeInterval(10)
        while !seen.contains(line) {
            let left = end.timeIntervalSinceNow
            guard left > 0 else { throw Failure("\(line) never came; seen: \(seen)") }
            var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&wait, 1, Int32(left * 1000)) > 0 else { continue }
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count > 0 { seen += String(decoding: buffer[..<count], as: UTF8.self) + "\n" }
        }
    }
}
