import Foundation
import TestSupport
import Testing

/// What the service manager, the log rotation and the health checks of a fleet see.
@Suite(.serialized)
struct ServiceTests {
    /// A conf must have a route; nobody goes there.
    static let route = "upstream base { server 127.0.0.1:1; } route /base { upstream base; }"
    static let ready = "READY=1\nSTATUS=serving"

    @Test func theServiceManagerIsTold() throws {
        let folder = try TemporaryDirectory()
        let manager = try ServiceManager(folder.file("notify"))
        let gateway = try Gateway(
            testConf(Self.route),
            environment: ["NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": nil])
        #expect(manager.next() == Self.ready)
        for conf in ["route", testConf(Self.route)] {
            try gateway.folder.write("gateway.conf", conf)
            gateway.process.signal(SIGHUP)
            let reloading = try #require(manager.next())
            #expect(reloading.hasPrefix("RELOADING=1\nMONOTONIC_USEC="))
            #expect(Int(reloading.dropFirst(27)) ?? 0 > 0)
            #expect(manager.next() == Self.ready)
        }
        gateway.process.signal(SIGTERM)
        #expect(manager.next() == "STOPPING=1\nSTATUS=draining")
        #expect(gateway.process.waitForExit() == .code(0))
    }

    @Test func theWatchdogIsFedInTime() throws {
        let folder = try TemporaryDirectory()
        let manager = try ServiceManager(folder.file("notify"))
        let gateway = try Gateway(
            testConf(workers: 2, Self.route),
            environment: [
                "NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "1500000", "WATCHDOG_PID": nil,
            ])
        #expect(manager.next() == Self.ready)
        // A gap as long as the interval would be the end of the service.
        for _ in 0..<4 { #expect(manager.next(within: .milliseconds(1500)) == "WATCHDOG=1") }
        #expect(gateway.process.exitStatus == nil)
    }

    /// As logrotate does it: rename, then SIGUSR1. Until then lines go to the old file.
    @Test func logsAreReopened() throws {
        let folder = try TemporaryDirectory()
        let conf = """
            workers 1;
            listener api { address unix:\(folder.file("socket")); }
            log { access access.log; error error.log debug; }
            store memory;
            \(Self.route)
            """
        let path = try folder.write("gateway.conf", conf)
        let process = try RunningProcess(try gatehouseBinary(), ["serve", "--config", path])
        try process.waitUntil("a start") { folder.read("error.log").contains("is ready") }
        func request(_ path: String) throws {
            let client = try TCPClient(unixPath: folder.file("socket"))
            try client.send("GET \(path) HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(try client.readReply().status == 404)
        }
        for name in ["access.log", "error.log"] {
            try FileManager.default.moveItem(
                atPath: folder.file(name), toPath: folder.file(name + ".1"))
        }
        try request("/before")
        try process.waitUntil("a line") { folder.read("access.log.1").contains("/before") }
        process.signal(SIGUSR1)
        try process.waitUntil("new files") {
            access(folder.file("access.log"), F_OK) == 0
                && access(folder.file("error.log"), F_OK) == 0
        }
        let old = folder.read("access.log.1")
        try request("/after")
        try process.waitUntil("a line") { folder.read("access.log").contains("/after") }
        #expect(folder.read("access.log.1") == old)
        #expect(!folder.read("access.log").contains("/before"))
        #expect(process.end() == .code(0))
        #expect(folder.read("error.log").contains("stopped"))
    }

    // MARK: Health

    static func ask(_ gateway: Gateway, _ request: String) throws -> HTTPReply {
        let admin = try TCPClient(port: gateway.port(of: "admin"))
        try admin.send("\(request) HTTP/1.1\r\nHost: h\r\n\r\n")
        return try admin.readReply(isBodyless: request.hasPrefix("HEAD"))
    }

    @Test func healthAndReadiness() throws {
        let gateway = try Gateway(
            testConf("admin { address 127.0.0.1:0; }\n" + Self.route))
        let health = try Self.ask(gateway, "GET /healthz")
        #expect(health.status == 200)
        #expect(health.values("cache-control") == ["no-store"])
        #expect(try Self.ask(gateway, "HEAD /healthz").status == 200)
        #expect(try Self.ask(gateway, "GET /readyz").text == "ready\n")
        let refused = try Self.ask(gateway, "POST /healthz")
        #expect(refused.status == 405)
        #expect(refused.values("allow") == ["GET, HEAD"])
        #expect(try Self.ask(gateway, "GET /nowhere").status == 404)
        // On a traffic listener these are paths like any other.
        #expect(try gateway.request("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").status == 404)
    }

    /// What cannot be read stays so, however well the gateway writes meanwhile.
    @Test func aStoreThatCannotBeReadIsNotReady() throws {
        let gateway = try Gateway(
            testConf(
                store: "store sqlite { path state.db; }",
                "admin { address 127.0.0.1:0; }\n" + Self.route))
        func sql(_ statement: String) throws -> String {
            let script = """
                import sqlite3, sys
                d = sqlite3.connect(sys.argv[1])
                print(d.execute(sys.argv[2]).fetchone())
                d.commit()
                """
            let result = try run(
                try requireTool("python3", package: "python3"),
                ["-c", script, gateway.folder.file("state.db"), statement])
            guard result.status == .code(0) else { throw Failure(result.error) }
            return result.output
        }
        func status() throws -> Int { try Self.ask(gateway, "GET /readyz").status }
        #expect(try status() == 200)
        _ = try sql("DELETE FROM change")
        #expect(try eventually { try status() == 503 })
        // Written each second all the same.
        var ceilings: Set<String> = []
        let isWritten = try eventually(within: .seconds(10)) {
            #expect(try Self.ask(gateway, "GET /readyz").text == "store_unavailable\n")
            ceilings.insert(try sql("SELECT ceiling FROM replay"))
            return ceilings.count > 2
        }
        #expect(isWritten)
        #expect(try status() == 503)
        _ = try sql("INSERT INTO change VALUES (1000)")
        #expect(try eventually { try status() == 200 })
    }

    @Test func aNameThatDoesNotResolveIsNotReady() throws {
        func conf(_ server: String) -> String {
            testConf(
                """
                admin { address 127.0.0.1:0; }
                upstream far { server \(server); }
                route / { upstream far; authenticate none; }
                """)
        }
        let gateway = try Gateway(conf("nowhere.invalid:80"))
        let reply = try Self.ask(gateway, "GET /readyz")
        #expect(reply.status == 503)
        #expect(reply.text == "no_healthy_upstream far\n")
        #expect(try Self.ask(gateway, "GET /healthz").status == 200)
        let refused = try gateway.request("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(refused.status == 503)
        #expect(
            try refused.json()["type"] as? String == "urn:gatehouse:reason:no_healthy_upstream")
        let upstream = try ScriptedUpstream()
        try ReloadTests.reload(conf("localhost:\(upstream.port)"), of: gateway)
        #expect(try eventually { try Self.ask(gateway, "GET /readyz").status == 200 })
        #expect(
            try eventually {
                try gateway.request("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").status
                    == 200
            })
    }
}

/// The service manager's end of sd_notify(3).
private final class ServiceManager {
    let path: String
    private let descriptor: Int32

    init(_ path: String) throws {
        self.path = path
        let kind = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        descriptor = socket(AF_UNIX, kind, 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let number = descriptor
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(code == 0)
    }

    deinit {
        close(descriptor)
    }

    /// The next message, `nil` when none comes in time.
    func next(within limit: Duration = .seconds(10)) -> String? {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let (seconds, attoseconds) = limit.components
        let milliseconds = Int32(seconds * 1000 + attoseconds / 1_000_000_000_000_000)
        guard poll(&entry, 1, milliseconds) == 1 else { return nil }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return count > 0 ? String(decoding: buffer.prefix(count), as: UTF8.self) : nil
    }
}
