import Foundation
import TestSupport
import Testing

/// TLS towards upstreams: who is believed to be the server, and what it is shown.
struct UpstreamTLSTests {
    private struct House {
        let authority: TestAuthority
        let nginx: Nginx
        let gateway: Gateway

        /// - Parameter name: in the server's certificate.
        init(
            _ tls: String, names: [String] = ["DNS:localhost", "IP:127.0.0.1"],
            server: String = "ssl_protocols TLSv1.2 TLSv1.3;", trusted: String? = nil
        ) throws {
            authority = try TestAuthority()
            if let trusted { try authority.folder.write("trusted.pem", trusted) }
            let files = try authority.issue("server", names)
            try authority.issue("gateway", ["DNS:gateway.test"])
            nginx = try Nginx(
                """
                server {
                    listen 127.0.0.1:PORT ssl;
                    ssl_certificate \(files.certificate);
                    ssl_certificate_key \(files.key);
                    \(server)
                    location /session { return 200 "$ssl_session_reused $ssl_protocol"; }
                    location / { return 200 "$ssl_server_name $ssl_client_s_dn $ssl_protocol"; }
                }
                """, in: authority.folder)
            gateway = try Gateway(
                testConf(
                    """
                    upstream name { server localhost:\(nginx.port); tls { \(tls) } }
                    upstream address { server 127.0.0.1:\(nginx.port); tls { \(tls) } }
                    route / { upstream name; authenticate none; }
                    route /address { upstream address; authenticate none; }
                    """), in: authority.folder)
        }

        func get(_ path: String = "/") throws -> HTTPReply {
            try gateway.request("GET \(path) HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n")
        }

        func refused(_ path: String = "/", because cause: String) throws {
            let reply = try get(path)
            #expect(reply.status == 502)
            #expect(try reply.json()["type"] as? String == "urn:gatehouse:reason:upstream_connect")
            try gateway.process.waitUntil(cause) {
                gateway.process.standardError.contains(cause)
            }
        }
    }

    @Test func theServersNameIsAskedForAndChecked() throws {
        let house = try House("ca ca.pem;")
        #expect(text(try house.get().body) == "localhost  TLSv1.3")
        // An address is no name to ask for.
        #expect(text(try house.get("/address").body) == "  TLSv1.3")
        let named = try House("ca ca.pem; server_name api.test;", names: ["DNS:api.test"])
        #expect(text(try named.get("/address").body) == "api.test  TLSv1.3")
    }

    @Test func anotherNameIsRefused() throws {
        let house = try House("ca ca.pem;", names: ["DNS:other.test", "IP:127.0.0.2"])
        try house.refused(because: "hostname mismatch")
        try house.refused("/address", because: "IP address mismatch")
        // The common name is no name any more (RFC 9525 section 2), nor does half a wildcard match.
        let common = try House("ca ca.pem;", names: [])
        try common.refused("/address", because: "IP address mismatch")
    }

    @Test func anotherAuthorityIsRefused() throws {
        // The system's do not know the test's.
        try House("").refused(because: "unable to get local issuer certificate")
        let off = try House("verify off;", names: ["DNS:other.test"])
        #expect(try off.get().status == 200)
        #expect(off.gateway.process.standardError.contains("takes any server for the right one"))
    }

    @Test func theGatewayShowsItsCertificate() throws {
        let house = try House(
            "ca ca.pem; certificate gateway.crt; key gateway.key;",
            server: "ssl_client_certificate ca.pem; ssl_verify_client on;")
        #expect(text(try house.get().body).contains("CN=gateway,O=Gatehouse"))
    }

    @Test func versionsAndCiphersAreOurs() throws {
        let old = try House("ca ca.pem; min_version 1.3;", server: "ssl_protocols TLSv1.2;")
        try old.refused(because: "TLS to an upstream failed")
        let newer = try House("ca ca.pem;", server: "ssl_protocols TLSv1.2;")
        #expect(text(try newer.get().body).hasSuffix("TLSv1.2"))
    }

    @Test func anAuthorityIsReadAnewWhenItsFileChanges() throws {
        let other = try TestAuthority()
        let house = try House("ca trusted.pem;", trusted: other.folder.read("ca.pem"))
        try house.refused(because: "unable to get local issuer certificate")
        try house.authority.folder.write("trusted.pem", house.authority.folder.read("ca.pem"))
        try house.gateway.process.waitUntil("trust") { try house.get().status == 200 }
    }

    /// Neither a kept connection nor a session that is taken up again outlives the trust that it began under.
    @Test func whoIsTrustedNoMoreIsNotReached() throws {
        let house = try House("ca ca.pem;")
        for _ in 0..<3 { #expect(try house.get().status == 200) }
        let other = try TestAuthority()
        try house.authority.folder.write("ca.pem", other.folder.read("ca.pem"))
        try house.gateway.process.waitUntil("distrust") { try house.get().status == 502 }
        try house.refused("/address", because: "unable to get local issuer certificate")
    }

    /// A connection that was busy meanwhile gives the answer that is awaited of it, and is asked
    /// nothing more.
    @Test func whoIsTrustedNoMoreIsAskedNothingMore() throws {
        let authority = try TestAuthority()
        let files = try authority.issue("one", ["IP:127.0.0.1"])
        // Holds the answer to `/held` until somebody comes to its second port.
        let script = """
            import socket, ssl, sys, threading
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(sys.argv[1], sys.argv[2])
            listener = socket.create_server(("127.0.0.1", 0))
            gate = socket.create_server(("127.0.0.1", 0))
            gate.settimeout(30)
            print(listener.getsockname()[1], gate.getsockname()[1], flush=True)
            def serve(raw):
                try:
                    sock = context.wrap_socket(raw, server_side=True)
                    while request := sock.recv(65536):
                        path = request.split()[1].decode()
                        print(path, flush=True)
                        if path == "/held": gate.accept()
                        sock.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
                except OSError: pass
            while True:
                raw, _ = listener.accept()
                threading.Thread(target=serve, args=(raw,), daemon=True).start()
            """
        let server = try RunningProcess(
            requirePython(module: "ssl", package: "python3"),
            ["-c", script, files.certificate, files.key])
        try server.waitUntil("its ports") { server.standardOutput.contains("\n") }
        let ports = server.standardOutput.split(whereSeparator: \.isWhitespace)
            .compactMap { UInt16($0) }
        try #require(ports.count == 2)
        let gateway = try Gateway(
            testConf(
                """
                upstream app { server 127.0.0.1:\(ports[0]); tls { ca ca.pem; } }
                route / { upstream app; authenticate none; }
                """), in: authority.folder)
        let client = try gateway.connect()
        try client.send("GET /held HTTP/1.1\r\n\(hostLine)\r\n")
        try server.waitUntil("the request") { server.standardOutput.contains("/held\n") }
        let stranger = try TestAuthority()
        try authority.folder.write("ca.pem", stranger.folder.read("ca.pem"))
        // Whoever comes now needs a connection of its own, and shows that the change has arrived.
        let other = "GET /other HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n"
        try gateway.process.waitUntil("distrust") { try gateway.request(other).status == 502 }
        _ = try TCPClient(port: ports[1])
        #expect(try client.readReply().status == 200)
        try client.send("GET /next HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n")
        #expect(try client.readReply().status == 502)
        #expect(!server.standardOutput.contains("/next\n"))
        let line = try gateway.accessLine { $0["path"] as? String == "/next" }
        #expect(line["reason"] as? String == "upstream_connect")
    }

    @Test func anAnswerThatEndsWithoutTheAlertIsCut() throws {
        let authority = try TestAuthority()
        let files = try authority.issue("one", ["DNS:localhost"])
        // Its content ends with the connection: only the alert tells an end from a cut (RFC 9112 section 9.8).
        let script = """
            import socket, ssl, sys
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(sys.argv[1], sys.argv[2])
            listener = socket.create_server(("127.0.0.1", 0))
            print(listener.getsockname()[1], flush=True)
            while True:
                raw, _ = listener.accept()
                sock = context.wrap_socket(raw, server_side=True)
                path = sock.recv(65536).split()[1]
                sock.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\nall of it")
                if path == b"/whole":
                    try: sock = sock.unwrap()
                    except OSError: pass
                sock.shutdown(socket.SHUT_WR)
                sock.close()
            """
        let server = try RunningProcess(
            requirePython(module: "ssl", package: "python3"),
            ["-c", script, files.certificate, files.key])
        try server.waitUntil("its port") { server.standardOutput.contains("\n") }
        let port = server.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)
        let gateway = try Gateway(
            testConf(
                """
                upstream app { server localhost:\(port); tls { ca ca.pem; } }
                route / { upstream app; authenticate none; }
                """), in: authority.folder)
        func get(_ path: String) throws -> String {
            let client = try gateway.connect()
            try client.send("GET \(path) HTTP/1.1\r\n\(hostLine)Connection: close\r\n\r\n")
            return text((try? client.readToEnd()) ?? [])
        }
        #expect(try get("/whole").contains("all of it\r\n0\r\n\r\n"))
        #expect(!(try get("/cut")).contains("\r\n0\r\n\r\n"))
        let line = try gateway.accessLine { $0["path"] as? String == "/cut" }
        #expect(line["reason"] as? String == "upstream_reset")
        _ = consume server
    }

    /// Without a kept connection each request makes a new one: `r` says that its session was taken up again, `.` that it
    /// was made anew.
    @Test(arguments: ["TLSv1.2", "TLSv1.3"]) func aSessionIsTakenUpAgain(version: String) throws {
        let house = try House(
            "ca ca.pem;", server: "ssl_protocols \(version); keepalive_timeout 0;")
        #expect(text(try house.get("/session").body) == ". \(version)")
        for _ in 0..<3 { #expect(text(try house.get("/session").body) == "r \(version)") }
    }

    @Test func manyRequestsKeepTheirConnections() throws {
        let house = try House("ca ca.pem;")
        let client = try house.gateway.connect()
        for _ in 0..<50 {
            try client.send("GET / HTTP/1.1\r\n\(hostLine)\r\n")
            #expect(try client.readReply().status == 200)
        }
        let h2load = try requireTool("h2load", package: "nghttp2-client")
        let result = try run(
            h2load, ["--h1", "-n", "500", "-c", "10", "http://127.0.0.1:\(house.gateway.port)/"])
        #expect(result.output.contains("500 succeeded, 0 failed, 0 errored"), "\(result.output)")
    }
}
