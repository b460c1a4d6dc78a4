import Foundation
import TestSupport
import Testing

/// Connections that proxies and systemd hand over.
struct ProxyTests {
    private static func gateway(
        _ listener: String, upstream: ScriptedUpstream, rest: String = "",
        folder: TemporaryDirectory? = nil
    ) throws -> Gateway {
        try Gateway(
            testConf(
                listener: listener,
                """
                upstream app { server 127.0.0.1:\(upstream.port); }
                route / { upstream app; authenticate none; }
                route /inside { upstream app; authenticate none; allow 192.0.2.0/24; }
                \(rest)
                """), in: folder)
    }

    private static func echo() throws -> ScriptedUpstream {
        try ScriptedUpstream { request in [.respond(body: request.head)] }
    }

    private static let get = "GET /inside HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n"

    // MARK: PROXY

    @Test func theAddressInTheHeaderIsTheClients() throws {
        let upstream = try Self.echo()
        let gateway = try Self.gateway("proxy_protocol on;", upstream: upstream)
        let client = try gateway.connect()
        // In pieces, the request right behind it.
        for piece in ["PRO", "XY TCP4 192.0.2.7 192.0.2.1 4711 80\r", "\n" + Self.get] {
            try client.send(piece)
        }
        let reply = try client.readReply()
        #expect(reply.status == 200)
        #expect(text(reply.body).contains("X-Forwarded-For: 192.0.2.7\r\n"))
        let line = try gateway.accessLine { $0["path"] as? String == "/inside" }
        #expect(line["client_address"] as? String == "192.0.2.7")

        let binary = try gateway.connect()
        try binary.send([
            0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A, 0x21, 0x11, 0,
            12,
            198, 51, 100, 1, 192, 0, 2, 1, 1, 2, 0, 80,
        ])
        try binary.send(Self.get)
        #expect(try binary.readReply().status == 403)
        // A health check of the proxy's own: the socket's address counts.
        let local = try gateway.connect()
        try local.send("PROXY UNKNOWN\r\n" + Self.get)
        #expect(try local.readReply().status == 403)
    }

    @Test func withoutAHeaderThereIsNoConversation() throws {
        let upstream = try Self.echo()
        let gateway = try Self.gateway(
            "proxy_protocol on; limits { header_timeout 300ms; }", upstream: upstream)
        let plain = try gateway.connect()
        try plain.send(Self.get)
        #expect(try plain.readToEnd() == [])
        // A header that stops, or never begins.
        let half = try gateway.connect()
        try half.send("PROXY TCP4 ")
        #expect(try half.readToEnd() == [])
        #expect(try gateway.connect().readToEnd() == [])
        #expect(upstream.requests.isEmpty)
        // Where none is asked for, one is no request.
        let other = try Self.gateway("", upstream: upstream)
        #expect(try other.request("PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n\r\n").status == 400)
    }

    @Test func theHeaderStandsBeforeTLSAndBeforeHTTP2() throws {
        let authority = try TestAuthority()
        try authority.issue("one", ["DNS:localhost", "IP:127.0.0.1"])
        let upstream = try Self.echo()
        let gateway = try Self.gateway(
            "proxy_protocol on; tls { certificate one.crt; key one.key; }", upstream: upstream,
            rest: "listener clear { address 127.0.0.1:0; proxy_protocol on; protocols h2c; }",
            folder: authority.folder)
        let curl = try requireTool("curl", package: "curl")
        // curl writes a header of version 1 with its own address.
        for (url, version) in [
            ("https://localhost:\(try gateway.port)/", "--http2"),
            ("http://127.0.0.1:\(try gateway.port(of: "clear"))/", "--http2-prior-knowledge"),
        ] {
            let result = try run(
                curl,
                [
                    "-s", "-S", "--haproxy-protocol", "--cacert", authority.certificate, "-4",
                    version,
                ]
                    + ["-w", "%{http_version} %{http_code}", "-o", "/dev/null", url])
            #expect(result.output == "2 200", "\(result.error)")
        }
    }

    // MARK: Trusted proxies

    @Test func aTrustedProxyIsBelieved() throws {
        let upstream = try Self.echo()
        let gateway = try Self.gateway("trusted_proxies 127.0.0.0/8;", upstream: upstream)
        func get(_ fields: String) throws -> HTTPReply {
            try gateway.request(
                "GET /inside HTTP/1.1\r\n\(hostLine)\(fields)Connection: close\r\n\r\n")
        }
        let inside = try get(
            "X-Forwarded-For: 203.0.113.1, 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: api.example\r\nX-Real-IP: 1.1.1.1\r\n"
        )
        #expect(inside.status == 200)
        let seen = text(inside.body)
        #expect(seen.contains("X-Forwarded-For: 192.0.2.7, 127.0.0.1\r\n"))
        #expect(
            seen.contains(
                "Forwarded: for=192.0.2.7;proto=https;host=\"api.example\", for=127.0.0.1\r\n")
                || seen.contains(
                    "Forwarded: for=192.0.2.7;proto=https;host=api.example, for=127.0.0.1\r\n"),
            "\(seen)")
        #expect(seen.contains("X-Forwarded-Proto: https\r\n"))
        #expect(seen.contains("X-Forwarded-Host: api.example\r\n"))
        #expect(!seen.contains("203.0.113.1") && !seen.contains("X-Real-IP"))
        let line = try gateway.accessLine { $0["status"] as? Int == 200 }
        #expect(line["client_address"] as? String == "192.0.2.7")
        #expect(try get("X-Forwarded-For: 192.0.2.7, 203.0.113.1\r\n").status == 403)
        #expect(try get("X-Forwarded-For: unknown\r\n").status == 403)
        #expect(try get("").status == 403)
        let contradiction = try get(
            "X-Forwarded-For: 192.0.2.7\r\nForwarded: for=203.0.113.1\r\n")
        #expect(contradiction.status == 400)
    }

    @Test func nobodyElseIsBelieved() throws {
        let upstream = try Self.echo()
        let gateway = try Self.gateway("trusted_proxies 192.0.2.0/24;", upstream: upstream)
        let reply = try gateway.request(
            "GET /inside HTTP/1.1\r\n\(hostLine)X-Forwarded-For: 192.0.2.7\r\nConnection: close\r\n\r\n"
        )
        #expect(reply.status == 403)
        let open = try gateway.request(
            "GET / HTTP/1.1\r\n\(hostLine)X-Forwarded-For: 192.0.2.7\r\nForwarded: for=junk;\r\nConnection: close\r\n\r\n"
        )
        #expect(text(open.body).contains("X-Forwarded-For: 127.0.0.1\r\n"))
    }

    @Test func aSignatureCoversWhatTheTrustedProxySays() throws {
        let upstream = try Self.echo()
        let folder = try TemporaryDirectory()
        try folder.write("secret", "s3cret")
        let gateway = try Self.gateway(
            "trusted_proxies 127.0.0.1;", upstream: upstream,
            rest: """
                client key { oauth1_secret_file secret; }
                oauth1 { signature_methods HMAC-SHA1; }
                route /signed { upstream app; authenticate oauth1; }
                """, folder: folder)
        let python = try requirePython(module: "oauthlib", package: "python3-oauthlib")
        let script = """
            from oauthlib.oauth1 import Client
            print(Client("key", client_secret="s3cret").sign("https://api.example/signed?a=b")[1]["Authorization"])
            """
        let header = try run(python, ["-c", script]).output.trimmingCharacters(
            in: .whitespacesAndNewlines)
        func get(_ fields: String) throws -> Int {
            try gateway.request(
                "GET /signed?a=b HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: \(header)\r\n\(fields)Connection: close\r\n\r\n"
            ).status
        }
        let from = "X-Forwarded-For: 192.0.2.7\r\n"
        let (https, host) = ("X-Forwarded-Proto: https\r\n", "X-Forwarded-Host: api.example\r\n")
        #expect(try get("") == 401)
        #expect(try get(from + https) == 401)
        // Who does not say where the request comes from says nothing else either.
        #expect(try get(https + host) == 401)
        #expect(try get(from + https + host) == 200)
    }

    // MARK: Sockets from systemd

    @Test func aSocketThatSystemdHasBoundIsUsed() throws {
        let upstream = try Self.echo()
        let folder = try TemporaryDirectory()
        let conf = """
            workers 1;
            listener api { address systemd:api.socket; }
            log { access stdout; error stderr debug; }
            store memory;
            upstream app { server 127.0.0.1:\(upstream.port); }
            route / { upstream app; authenticate none; }
            """
        let path = try folder.write("gateway.conf", conf)
        // What systemd does: bind, pass as descriptor 3 and up, name them, run. The socket stays open here.
        let script = """
            import os, socket, sys, time
            s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(8)
            def serve():
                pid = os.fork()
                if pid: return pid
                os.dup2(s.fileno(), 3); os.set_inheritable(3, True)
                os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="api.socket")
                os.execv(sys.argv[1], [sys.argv[1], "serve", "--config", sys.argv[2]])
            def get():
                c = socket.create_connection(s.getsockname(), 10)
                c.sendall(b"GET / HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n")
                return c
            def answer(c):
                c.settimeout(10)
                return c.makefile("rb").readline()
            # Who comes before the program waits for it, and so does who comes between two of them.
            early = get(); pid = serve(); print(answer(early).decode().strip())
            os.kill(pid, 15); print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            between = get(); pid = serve(); print(answer(between).decode().strip())
            os.kill(pid, 15); os.waitpid(pid, 0)
            """
        let result = try run(
            requirePython(module: "socket", package: "python3"),
            ["-c", script, gatehouseBinary(), path])
        let lines = result.output.split(separator: "\n").filter { !$0.hasPrefix("{") }
        #expect(lines == ["HTTP/1.1 200 OK", "0", "HTTP/1.1 200 OK"], "\(result.error)")

        let without = try run(gatehouseBinary(), ["serve", "--config", path])
        #expect(without.status == .code(69))
        #expect(without.error.contains("systemd:api.socket: LISTEN_FDNAMES: No such file"))
    }
}
