import Foundation
import Synchronization
import TestSupport
import Testing

/// SIGHUP: all or nothing, and no request notices.
@Suite(.serialized)
struct ReloadTests {
    let upstream: ScriptedUpstream
    let hold = Hold()

    init() throws {
        let hold = self.hold
        upstream = try ScriptedUpstream { request in
            if request.requestLine.contains("/held") { hold.wait() }
            return [.respond(body: request.values("x-generation").joined(separator: ","))]
        }
    }

    func conf(generation: Int, listener: String = "", _ rest: String = "") -> String {
        testConf(
            workers: 2, listener: listener,
            """
            upstream app { server 127.0.0.1:\(upstream.port); }
            route / { upstream app; authenticate none; set_header X-Generation \(generation); }
            \(rest)
            """)
    }

    static func count(_ text: String, in gateway: Gateway) -> Int {
        gateway.process.standardError.components(separatedBy: text).count - 1
    }

    /// Puts a conf in place of the old one, asks for it, and waits until the log has `outcome` once more.
    static func reload(_ conf: String, of gateway: Gateway, outcome: String = "reloaded") throws {
        let before = count(outcome, in: gateway)
        try gateway.folder.write("gateway.conf", conf)
        gateway.process.signal(SIGHUP)
        try gateway.process.waitUntil(outcome) { count(outcome, in: gateway) > before }
    }

    static let refusal = "the reload was refused; the old configuration goes on"

    static func body(_ gateway: Gateway, _ path: String = "/") throws -> String {
        try gateway.request("GET \(path) HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").text
    }

    /// Worker threads take a new configuration a moment after the log says so.
    static func expect(_ body: String, from gateway: Gateway) throws {
        #expect(try eventually { try Self.body(gateway) == body })
    }

    /// Clients that ask again and again on connections that they keep, while good and broken files come in turn.
    @Test func noRequestFailsWhileFilesChange() throws {
        let gateway = try Gateway(conf(generation: 0))
        let port = try gateway.port
        let isOver = Mutex(false)
        let faults = Mutex<[String]>([])
        let served = Mutex<[Set<String>]>(Array(repeating: [], count: 4))
        let clients = (0..<4).map { index in
            Running {
                do {
                    let client = try TCPClient(port: port)
                    while !isOver.withLock({ $0 }) {
                        try client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                        let reply = try client.readReply()
                        guard reply.status == 200 else { throw Failure("\(reply.status)") }
                        served.withLock { _ = $0[index].insert(reply.text) }
                    }
                } catch {
                    faults.withLock { $0.append("\(error)") }
                }
            }
        }
        for generation in 1...6 {
            try Self.reload(conf(generation: generation), of: gateway)
            try Self.expect("\(generation)", from: gateway)
            try Self.reload("listener api {", of: gateway, outcome: Self.refusal)
            #expect(try Self.body(gateway) == "\(generation)")
        }
        // Each of the four connections lived through all of them.
        _ = eventually { served.withLock { $0.allSatisfy { $0.contains("6") } } }
        isOver.withLock { $0 = true }
        for client in clients { client.wait() }
        #expect(faults.withLock { $0 } == [])
        #expect(served.withLock { $0.allSatisfy { $0.contains("6") && $0.count > 1 } })
    }

    @Test func everyMistakeOfAWrongFileIsLogged() throws {
        let gateway = try Gateway(conf(generation: 1))
        let before = Self.count(Self.refusal, in: gateway)
        try Self.reload(
            conf(generation: 2, "route /a { upstream nobody; }\nfrobnicate on;"), of: gateway,
            outcome: Self.refusal)
        try gateway.process.waitUntil("both mistakes") {
            Self.count("nobody", in: gateway) > 0 && Self.count("frobnicate", in: gateway) > 0
        }
        #expect(Self.count(Self.refusal, in: gateway) > before)
        #expect(try Self.body(gateway) == "1")
    }

    /// Mistakes that only show when the named files are read and the addresses bound.
    @Test(arguments: [
        (
            "issuer i { issuer https://i.example; audience a; jwks_file broken.json; }",
            "broken.json: "
        ),
        (
            "issuer i { issuer https://i.example; audience a; jwks_file absent.json; }",
            "absent.json': no such file"
        ),
        ("client c { oauth1_rsa_key broken.json; }", "client c: "),
        ("client c { secret_file empty; }", "empty: the secret is empty"),
        ("listener second { address 127.0.0.1:TAKEN; }", "Address already in use"),
        ("store sqlite { path elsewhere.db; }", "cannot change in a reload: restart"),
        ("log { access absent/access.log; error stderr; }", "absent/access.log"),
    ])
    func whatCannotBePutToUseChangesNothing(_ mistake: String, _ cause: String) throws {
        let taken = try ScriptedUpstream()
        let gateway = try Gateway(conf(generation: 1))
        try gateway.folder.write("broken.json", "{\"keys\":[{\"kty\":\"RSA\"")
        try gateway.folder.write("empty", "\n")
        let mistake = mistake.replacingOccurrences(of: "TAKEN", with: "\(taken.port)")
        var next = conf(generation: 2, mistake)
        if mistake.hasPrefix("store") {
            next = next.replacingOccurrences(of: "store memory;", with: "")
        }
        if mistake.hasPrefix("log") {
            next = next.replacingOccurrences(
                of: "log { access stdout; error stderr debug; }", with: "")
        }
        try Self.reload(next, of: gateway, outcome: Self.refusal)
        let line = gateway.process.standardError.components(separatedBy: "\n").first {
            $0.contains(Self.refusal)
        }
        #expect(line?.contains(cause) == true, "\(line ?? "")")
        #expect(try Self.body(gateway) == "1")
        // And the right file is still taken afterwards.
        try Self.reload(conf(generation: 3), of: gateway)
        try Self.expect("3", from: gateway)
    }

    @Test func aRequestInFlightEndsUnderTheConfigurationItBeganWith() throws {
        let gateway = try Gateway(conf(generation: 1))
        let client = try gateway.connect()
        try client.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(upstream.waitForRequests(1).count == 1)
        try Self.reload(
            testConf(
                workers: 2,
                """
                upstream app { server 127.0.0.1:\(upstream.port); }
                route /other { upstream app; authenticate none; }
                """), of: gateway)
        #expect(
            try eventually {
                try gateway.request("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").status
                    == 404
            })
        hold.release()
        let reply = try client.readReply()
        #expect(reply.status == 200)
        #expect(reply.text == "1")
        // The same connection goes on, under the new one.
        try client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(try client.readReply().status == 404)
    }

    /// An exchange goes to the upstream that its route named when it began, wherever that stands in the new conf.
    @Test(arguments: [false, true])
    func aRequestInFlightStaysWithItsUpstream(isRemoved: Bool) throws {
        let first = try ManualServer()
        let second = try ManualServer()
        let one = "upstream one { server 127.0.0.1:\(first.port); }"
        let two = "upstream two { server 127.0.0.1:\(second.port); }"
        let other = "route / { upstream one; authenticate none; }"
        let mine = "route /two { upstream two; authenticate none; }"
        func mark(_ method: String) -> String {
            "route /mark { upstream one; authenticate none; methods \(method); }"
        }
        let gateway = try Gateway(
            testConf([one, two, other, mine, mark("PUT")].joined(separator: " ")))
        let client = try gateway.connect()
        // On a connection that is kept: when it is lost the request may be sent again.
        try client.send("GET /two HTTP/1.1\r\n\(hostLine)\r\n")
        var server: TCPClient? = try second.accept()
        _ = try server?.read(through: "\r\n\r\n")
        try server?.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        #expect(try client.readReply().status == 200)
        try client.send("GET /two/again HTTP/1.1\r\n\(hostLine)\r\n")
        _ = try server?.read(through: "\r\n\r\n")
        let rest = isRemoved ? [one, other] : [two, one, other, mine]
        try Self.reload(
            testConf((rest + [mark("DELETE")]).joined(separator: " ")), of: gateway)
        // The worker has it a moment after the log says so.
        #expect(
            try eventually {
                try gateway.request("GET /mark HTTP/1.1\r\n\(hostLine)\r\n").values("allow")
                    == ["DELETE"]
            })
        server = nil
        let again = try second.accept()
        #expect(text(try again.read(through: "\r\n\r\n")).hasPrefix("GET /two/again "))
        try again.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        #expect(try client.readReply().status == 200)
        #expect(!first.hasWaiting)
    }

    @Test func listenersComeAndGo() throws {
        let gateway = try Gateway(conf(generation: 1))
        let port = try freePort()
        let path = gateway.folder.file("socket")
        let more = "listener more { address 127.0.0.1:\(port); address unix:\(path); }"
        try Self.reload(conf(generation: 2, more), of: gateway)
        let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
        let tcp = try TCPClient(port: port)
        let unix = try TCPClient(unixPath: path)
        for client in [tcp, unix] {
            try client.send(request)
            #expect(try client.readReply().text == "2")
        }
        try Self.reload(conf(generation: 3), of: gateway)
        // Nobody new comes in, rather than waiting in a queue; those who are in go on.
        #expect(eventually { (try? TCPClient(port: port)) == nil })
        #expect(eventually { (try? TCPClient(unixPath: path)) == nil })
        for client in [tcp, unix] {
            try client.send(request)
            #expect(try client.readReply().text == "3")
        }
        // The same addresses can be had again.
        try Self.reload(conf(generation: 4, more), of: gateway)
        let again = try TCPClient(port: port)
        try again.send(request)
        #expect(try again.readReply().text == "4")
    }

    /// Both have the same address in the conf.
    @Test func listenersWhosePortsTheKernelChoseKeepTheirOwn() throws {
        let gateway = try Gateway(
            conf(generation: 1, "listener other { address 127.0.0.1:0; }"))
        let ports = try ["api", "other"].map { try gateway.port(of: $0) }
        #expect(ports[0] != ports[1])
        let clients = try ports.map { try TCPClient(port: $0) }
        // And in another order.
        try Self.reload(
            """
            listener other { address 127.0.0.1:0; limits { headers 3; } }
            \(conf(generation: 2))
            """, of: gateway)
        let request = "GET / HTTP/1.1\r\nHost: h\r\nX: y\r\nX: y\r\nX: y\r\n\r\n"
        for (port, status) in zip(ports, [200, 431]) {
            let isSo = try eventually {
                let client = try TCPClient(port: port)
                try client.send(request)
                return try client.readReply().status == status
            }
            #expect(isSo, "\(port)")
        }
        for (client, status) in zip(clients, [200, 431]) {
            try client.send(request)
            #expect(try client.readReply().status == status)
        }
    }

    /// The socket stays, and with it whoever waits in its queue; the log has the new name.
    @Test(arguments: [false, true])
    func aListenerThatIsRenamedKeepsItsSocket(isPortFree: Bool) throws {
        let configured = isPortFree ? 0 : try freePort()
        func named(_ name: String) -> String {
            conf(generation: 1, "listener \(name) { address 127.0.0.1:\(configured); }")
        }
        let gateway = try Gateway(named("before"))
        let port = try gateway.port(of: "before")
        let early = try TCPClient(port: port)
        func isLogged(_ client: TCPClient, _ path: String, as name: String) throws -> Bool {
            try client.send("GET \(path) HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(try client.readReply().status == 200)
            let line = try gateway.accessLine { $0["path"] as? String == path }
            return line["listener"] as? String == name
        }
        #expect(try isLogged(early, "/early", as: "before"))
        try Self.reload(named("after"), of: gateway)
        var number = 0
        let isRenamed = try eventually {
            number += 1
            return try isLogged(try TCPClient(port: port), "/\(number)", as: "after")
        }
        #expect(isRenamed)
        #expect(try isLogged(early, "/late", as: "after"))
    }

    /// A keep-alive connection has the new limits with its next request.
    @Test func limitsChange() throws {
        let gateway = try Gateway(conf(generation: 1))
        let client = try gateway.connect()
        let request = "GET / HTTP/1.1\r\nHost: h\r\nX: y\r\nX: y\r\nX: y\r\n\r\n"
        try client.send(request)
        #expect(try client.readReply().status == 200)
        try Self.reload(conf(generation: 2, listener: "limits { headers 3; }"), of: gateway)
        #expect(try eventually { try gateway.request(request).status == 431 })
        try client.send(request)
        #expect(try client.readReply().status == 431)
    }
}

/// Holds threads until it is released.
final class Hold: Sendable {
    private let semaphore = DispatchSemaphore(value: 0)

    func wait() {
        semaphore.wait()
        semaphore.signal()
    }

    func release() {
        semaphore.signal()
    }
}

/// A thread that can be waited for.
final class Running: Sendable {
    private let end = DispatchSemaphore(value: 0)

    init(_ body: @escaping @Sendable () -> Void) {
        let end = self.end
        Thread.detachNewThread {
            body()
            end.signal()
        }
    }

    func wait() {
        end.wait()
    }
}
