import Foundation
import TestSupport
import Testing

/// TLS in, by real clients: curl and openssl's s_client.
struct TLSTests {
    /// A gateway with a TLS listener in front of an upstream that says what it was asked.
    private struct House {
        let authority: TestAuthority
        let upstream: ScriptedUpstream
        let gateway: Gateway

        /// - Parameters:
        ///   - tls: inside the first `tls` block, behind certificate and key.
        ///   - listener: behind the `tls` blocks.
        init(
            tls: String = "", listener: String = "",
            route: String = "route / { upstream app; authenticate none; websocket on; }",
            secrets: [String: String] = [:], under clock: TurnedClock? = nil
        ) throws {
            authority = try TestAuthority()
            for (name, secret) in secrets { try authority.folder.write(name, secret) }
            try authority.issue("one", ["DNS:one.test", "DNS:localhost", "IP:127.0.0.1"])
            try authority.issue("one-rsa", ["DNS:one.test", "DNS:localhost", "IP:127.0.0.1"], .rsa)
            try authority.issue("many", ["DNS:*.many.test"])
            try authority.issue("exact", ["DNS:exact.many.test"])
            try authority.issue("client", ["DNS:client.test"])
            upstream = try ScriptedUpstream { request in
                [.respond(fields: ["X-Seen: \(request.rawBody.count)"], body: request.head)]
            }
            gateway = try Gateway(
                testConf(
                    workers: 2,
                    listener: """
                        tls { certificate one.crt; key one.key; \(tls) }
                        tls { certificate one-rsa.crt; key one-rsa.key; }
                        tls { certificate many.crt; key many.key; }
                        tls { certificate exact.crt; key exact.key; }
                        \(listener)
                        """,
                    """
                    upstream app { server 127.0.0.1:\(upstream.port); }
                    \(route)
                    """), in: authority.folder, through: clock?.command() ?? [])
        }

        func curl(_ arguments: String..., host: String = "one.test") throws -> CommandResult {
            let port = try gateway.port
            return try run(
                requireTool("curl", package: "curl"),
                [
                    "-s", "-S", "-i", "--max-time", "20", "--cacert", authority.certificate,
                    "--resolve", "\(host):\(port):127.0.0.1",
                ] + arguments + ["https://\(host):\(port)/x?y=z"])
        }

        /// What s_client says of a handshake, or of an exchange.
        func client(
            _ arguments: String..., input: String = "", within limit: Duration = .seconds(20)
        ) throws -> String {
            // Without -ign_eof or input it ends at once; the end of its input is the end of the connection.
            let result = try run(
                requireTool("openssl", package: "openssl"),
                [
                    "s_client", "-connect", "127.0.0.1:\(gateway.port)", "-CAfile",
                    authority.certificate,
                ] + arguments, input: input, within: limit)
            return result.output + result.error
        }
    }

    // MARK: Versions, ciphers, protocols

    @Test func curlSpeaksBothVersionsOfHTTP() throws {
        let house = try House()
        let two = try house.curl("--http2")
        #expect(two.output.hasPrefix("HTTP/2 200 \r\n"), "\(two.error)")
        #expect(two.output.contains("GET /x?y=z HTTP/1.1\r\nHost: one.test"))
        #expect(two.output.contains("X-Forwarded-Proto: https"))
        #expect(two.output.contains(";proto=https"))
        let one = try house.curl("--http1.1", "--tls-max", "1.2")
        #expect(one.output.hasPrefix("HTTP/1.1 200 OK\r\n"), "\(one.error)")
        let line = try house.gateway.accessLine { $0["protocol"] as? String == "HTTP/1.1" }
        #expect(line["tls_version"] as? String == "TLSv1.2")
        let newer = try house.gateway.accessLine { $0["protocol"] as? String == "HTTP/2.0" }
        #expect(newer["tls_version"] as? String == "TLSv1.3")
    }

    @Test(arguments: ["--http1.1", "--http2"]) func bigBodiesGoBothWays(version: String) throws {
        let house = try House()
        let text = String(repeating: "0123456789abcdef", count: 200_000)
        let file = try house.authority.folder.write("big", text)
        let up = try house.curl(version, "-T", file)
        #expect(up.output.lowercased().contains("x-seen: 3200000"))
        let body = String(repeating: "y", count: 5_000_000)
        let upstream = try ScriptedUpstream { _ in [.respond(body: body)] }
        let down = try Gateway(
            testConf(
                listener: "tls { certificate one.crt; key one.key; }",
                "upstream app { server 127.0.0.1:\(upstream.port); } route / { upstream app; authenticate none; }"
            ), in: house.authority.folder)
        let result = try run(
            requireTool("curl", package: "curl"),
            ["-s", "--cacert", house.authority.certificate, version, "--limit-rate", "20M"]
                + ["https://127.0.0.1:\(down.port)/"])
        #expect(result.output == body)
    }

    @Test func manyClientsAtOnce() throws {
        let house = try House()
        let h2load = try requireTool("h2load", package: "nghttp2-client")
        for arguments in [["-m", "10"], ["--npn-list", "http/1.1"]] {
            let result = try run(
                h2load,
                ["-n", "1500", "-c", "15"] + arguments + [
                    "https://127.0.0.1:\(house.gateway.port)/"
                ])
            #expect(
                result.output.contains("1500 succeeded, 0 failed, 0 errored"), "\(result.output)")
        }
    }

    @Test func webSocketsPass() throws {
        let authority = try TestAuthority()
        try authority.issue("one", ["IP:127.0.0.1"])
        let echo = try EchoServer()
        let gateway = try Gateway(
            testConf(
                listener: "tls { certificate one.crt; key one.key; }",
                """
                upstream app { server 127.0.0.1:\(echo.port); }
                route / { upstream app; authenticate none; websocket on; }
                """), in: authority.folder)
        let result = try echo.talk(through: gateway, authority: authority.certificate)
        #expect(result.output == "5 echoes, closed 1000\n", "\(result.error)")
    }

    @Test func httpxSharesAConnection() throws {
        let house = try House()
        let python = try requirePython(module: "httpx, h2", package: "python3-httpx python3-h2")
        let script = """
            import asyncio, httpx, sys
            async def main():
                async with httpx.AsyncClient(http2=True, verify=sys.argv[2]) as client:
                    url = "https://localhost:%s/" % sys.argv[1]
                    first = await client.get(url)
                    many = await asyncio.gather(*[client.post(url, content=b"x" * 100000) for _ in range(50)])
                    print(first.http_version, {(r.status_code, r.http_version, r.headers["x-seen"]) for r in many})
            asyncio.run(main())
            """
        let result = try run(
            python, ["-c", script, "\(house.gateway.port)", house.authority.certificate])
        #expect(result.output == "HTTP/2 {(200, 'HTTP/2', '100000')}\n", "\(result.error)")
    }

    /// Many records in one read, more than the loop reads at once, and none may be left lying.
    @Test func pipelinedRequestsInManyRecordsAreAllAnswered() throws {
        let house = try House()
        let python = try requirePython(module: "ssl", package: "python3")
        let script = """
            import socket, ssl, sys
            context = ssl.create_default_context(cafile=sys.argv[2])
            sock = context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1]))), server_hostname="localhost")
            request = b"GET /%d HTTP/1.1\\r\\nHost: localhost\\r\\nX-Pad: " + b"p" * 900 + b"\\r\\n\\r\\n"
            last = b"GET /last HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n"
            sock.sendall(b"".join(request % n for n in range(300)) + last)
            data = b""
            while piece := sock.recv(65536): data += piece
            print(data.count(b"HTTP/1.1 200 OK"), b"GET /last" in data)
            """
        let result = try run(
            python, ["-c", script, "\(house.gateway.port)", house.authority.certificate])
        #expect(result.output == "301 True\n", "\(result.error)")
    }

    @Test func oldVersionsAndWeakCiphersAreRefused() throws {
        let house = try House()
        for arguments in [
            ["-tls1"], ["-tls1_1"], ["-tls1_2", "-cipher", "AES128-SHA"],
            ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"],
            ["-tls1_2", "-cipher", "AES128-GCM-SHA256"], ["-alpn", "spdy/3"],
        ] {
            // Security level 0: the client itself would refuse otherwise.
            let cipher = arguments.contains("-cipher") ? [] : ["-cipher", "ALL:@SECLEVEL=0"]
            let said = try run(
                requireTool("openssl", package: "openssl"),
                ["s_client", "-connect", "127.0.0.1:\(house.gateway.port)"] + arguments + cipher)
            #expect(said.output.contains("Cipher is (NONE)"), "\(arguments)")
        }
        let newest = try House(tls: "min_version 1.3;")
        #expect(try newest.client("-tls1_2").contains("Cipher is (NONE)"))
        #expect(try newest.client("-tls1_3").contains("New, TLSv1.3"))
        let narrow = try House(tls: "ciphers ECDHE-RSA-AES256-GCM-SHA384;")
        #expect(
            try narrow.client("-tls1_2").contains("Cipher is ECDHE-RSA-AES256-GCM-SHA384"))
    }

    @Test func renegotiationAndCompressionAreOff() throws {
        let house = try House(listener: "limits { header_timeout 1s; }")
        // 'R' on a line of its own asks for a renegotiation.
        let said = try house.client("-tls1_2", input: "R\n")
        #expect(said.contains("no renegotiation") || said.contains("unexpected message"), "\(said)")
        #expect(said.contains("Compression: NONE"))
        #expect(said.contains("Secure Renegotiation IS supported"))
    }

    // MARK: Certificates

    @Test(arguments: [
        ("one.test", "one"), ("ONE.TEST", "one"), ("exact.many.test", "exact"),
        ("other.many.test", "many"), ("a.b.many.test", "one"), ("many.test", "one"),
        ("unknown.test", "one"),
    ])
    func namesChooseCertificates(asked: String, certificate: String) throws {
        let house = try House()
        let said = try house.client("-servername", asked)
        #expect(said.contains("subject=O = Gatehouse, CN = \(certificate)\n"), "\(said)")
        #expect(said.contains("Verify return code: 0 (ok)"))
    }

    @Test func keysOfBothKindsStandSideBySide() throws {
        let house = try House()
        let rsa = try house.client(
            "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256", "-servername", "one.test")
        #expect(rsa.contains("CN = one-rsa\n"))
        let ecdsa = try house.client(
            "-tls1_3", "-sigalgs", "ECDSA+SHA256", "-servername", "one.test")
        #expect(ecdsa.contains("CN = one\n"))
        let newer = try house.client(
            "-tls1_3", "-sigalgs", "RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA256", "-servername",
            "one.test")
        #expect(newer.contains("CN = one"))
    }

    @Test(arguments: ["-tls1_2", "-tls1_3"]) func sessionsAreTakenUpAgain(version: String) throws {
        let house = try House()
        let session = house.authority.folder.file("session")
        let get = "GET / HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n"
        let first = try house.client(
            version, "-sess_out", session, "-ign_eof", input: get)
        #expect(first.contains("New, TLSv"), "\(first)")
        // Two workers, one set of keys: whoever accepts it knows the ticket.
        for _ in 0..<4 {
            let again = try house.client(version, "-sess_in", session, "-ign_eof", input: get)
            #expect(again.contains("Reused, TLSv"), "\(again)")
            #expect(again.contains("HTTP/1.1 200 OK"))
        }
        let without = try House(tls: "session_tickets off;")
        let other = without.authority.folder.file("session")
        _ = try without.client(version, "-sess_out", other, "-ign_eof", input: get)
        if FileManager.default.fileExists(atPath: other) {
            #expect(try without.client(version, "-sess_in", other).contains("New, TLSv"))
        }
    }

    /// The key of a ticket is named by its first 16 bytes, which s_client shows.
    @Test(arguments: ["-tls1_2", "-tls1_3"])
    func ticketKeysChangeEveryHour(version: String) throws {
        let clock = try TurnedClock()
        let house = try House(under: clock)
        let session = house.authority.folder.file("session")
        let get = "GET / HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n"
        func keyNames(_ said: String) -> Set<String> {
            Set(
                said.components(separatedBy: "TLS session ticket:\n").dropFirst().map {
                    String($0.split(separator: "\n")[0].prefix(55))
                })
        }
        let first = try house.client(version, "-sess_out", session, "-ign_eof", input: get)
        #expect(first.contains("New, TLSv") && keyNames(first).count == 1, "\(first)")
        let same = try house.client(version, "-ign_eof", input: get)
        #expect(keyNames(same) == keyNames(first))
        try clock.turn(to: "+61m")
        let newer = try house.client(version, "-ign_eof", input: get)
        #expect(keyNames(newer).count == 1 && keyNames(newer).isDisjoint(with: keyNames(first)))
        // A ticket of the hour before opens, with whichever worker; what is given for it is under the new key.
        for _ in 0..<4 {
            let again = try house.client(version, "-sess_in", session, "-ign_eof", input: get)
            #expect(again.contains("Reused, TLSv") && again.contains("HTTP/1.1 200 OK"), "\(again)")
            #expect(keyNames(again) == keyNames(newer))
        }
        try clock.turn(to: "+121m")
        let late = try house.client(version, "-sess_in", session, "-ign_eof", input: get)
        #expect(late.contains("New, TLSv") && late.contains("HTTP/1.1 200 OK"), "\(late)")
    }

    @Test func certificatesAreLoadedAnewWhenTheyChange() throws {
        let house = try House()
        let folder = house.authority.folder
        let kept = try openConnection(house)
        func serial() throws -> String {
            let said = try house.client("-servername", "exact.many.test", "-showcerts")
            let start = try #require(said.range(of: "-----BEGIN CERTIFICATE-----"))
            return String(said[start.lowerBound...].prefix(600))
        }
        let before = try serial()
        // A key that does not fit, as half a renewal leaves it: refused, and the old one goes on.
        let key = folder.read("exact.key")
        try folder.write("exact.key", folder.read("many.key"))
        try house.gateway.process.waitUntil("the refusal") {
            house.gateway.process.standardError.contains("the key is not the certificate's")
        }
        #expect(try serial() == before)
        try folder.write("exact.key", key)
        try house.authority.issue("exact", ["DNS:exact.many.test"])
        try house.gateway.process.waitUntil("the new certificate") { try serial() != before }
        #expect(
            house.gateway.process.standardError.contains("certificates were loaded anew"))
        // Who came before goes on undisturbed.
        #expect(try kept())
    }

    /// A kept connection of curl's own: two requests, the second when the closure is called.
    private func openConnection(_ house: House) throws -> () throws -> Bool {
        let python = try requirePython(module: "ssl", package: "python3")
        let script = """
            import http.client, ssl, sys
            c = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]),
                context=ssl.create_default_context(cafile=sys.argv[2]))
            c.request("GET", "/"); first = c.getresponse(); first.read()
            sock = c.sock
            print(first.status, flush=True)
            import os, time
            while not os.path.exists(sys.argv[3]): time.sleep(0.01)
            c.request("GET", "/"); second = c.getresponse(); second.read()
            print(second.status, c.sock is sock, flush=True)
            """
        let mark = house.authority.folder.file("go")
        let process = try RunningProcess(
            python, ["-c", script, "\(house.gateway.port)", house.authority.certificate, mark])
        try process.waitUntil("the first answer") { process.standardOutput == "200\n" }
        return {
            try house.authority.folder.write("go", "")
            guard process.waitForExit() == .code(0) else { throw Failure(process.standardError) }
            return process.standardOutput == "200\n200 True\n"
        }
    }

    @Test func aReloadTakesOtherCertificates() throws {
        let house = try House()
        let folder = house.authority.folder
        let conf = folder.read("gateway.conf")
        try folder.write(
            "gateway.conf",
            conf.replacing("many.crt", with: "exact.crt").replacing(
                "tls { certificate exact.crt; key exact.key; }", with: ""))
        house.gateway.process.signal(SIGHUP)
        try house.gateway.process.waitUntil("the refusal") {
            house.gateway.process.standardError.contains("the key is not the certificate's")
        }
        try folder.write(
            "gateway.conf",
            conf.replacing("tls { certificate many.crt; key many.key; }", with: ""))
        house.gateway.process.signal(SIGHUP)
        try house.gateway.process.waitUntil("the reload") {
            try house.client("-servername", "other.many.test").contains("CN = one\n")
        }
    }

    // MARK: Clients' certificates

    @Test func aCertificateThatIsRequiredMustBeThere() throws {
        let house = try House(tls: "client_ca ca.pem; client_certificate require;")
        let folder = house.authority.folder
        for version in ["1.2", "1.3"] {
            let with = try house.curl(
                "--tls-max", version, "--cert", folder.file("client.crt"), "--key",
                folder.file("client.key"))
            #expect(with.output.hasPrefix("HTTP/2 200"), "\(with.error)")
            #expect(try house.curl("--tls-max", version).status != .code(0))
        }
        let stranger = try house.authority.issue("stranger", [], isSelfSigned: true)
        let refused = try house.curl("--cert", stranger.certificate, "--key", stranger.key)
        #expect(refused.status != .code(0))
        try house.gateway.process.waitUntil("the line") {
            house.gateway.process.standardError.contains("peer did not return a certificate")
        }
        #expect(house.upstream.requests.count == 2)
    }

    @Test func aCertificateThatIsRequestedMayBeMissing() throws {
        let house = try House(tls: "client_ca ca.pem; client_certificate request;")
        #expect(try house.curl().output.hasPrefix("HTTP/2 200"))
        let stranger = try house.authority.issue("stranger", [], isSelfSigned: true)
        #expect(
            try house.curl("--cert", stranger.certificate, "--key", stranger.key).status
                != .code(0))
        let ended = try house.authority.issue("ended", ["DNS:client.test"], days: -1)
        #expect(try house.curl("--cert", ended.certificate, "--key", ended.key).status != .code(0))
    }

    // MARK: Clients that do not finish

    @Test func aHandshakeThatStopsIsEnded() throws {
        let house = try House(listener: "limits { header_timeout 300ms; }")
        let silent = try house.gateway.connect()
        let half = try house.gateway.connect()
        // A record that promises a ClientHello and never brings it.
        try half.send([0x16, 0x03, 0x01, 0x02, 0x00, 0x01])
        let plain = try house.gateway.connect()
        try plain.send("GET / HTTP/1.1\r\nHost: one.test\r\n\r\n")
        #expect(try silent.readToEnd() == [])
        _ = try half.readToEnd()
        #expect(!text(try plain.readToEnd()).contains("HTTP/1"))
        try house.gateway.process.waitUntil("the line") {
            house.gateway.process.standardError.contains("a TLS handshake failed")
        }
        // One that shook hands and is silent then is ended as it would be in clear.
        #expect(try house.client("-ign_eof", "-quiet").contains("depth="))
        #expect(try house.curl().output.hasPrefix("HTTP/2 200"))
    }

    @Test func anAnswerThatIsCutIsSeenAsCut() throws {
        let authority = try TestAuthority()
        try authority.issue("one", ["DNS:localhost", "IP:127.0.0.1"])
        let upstream = try ScriptedUpstream { _ in
            [.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this"), .close]
        }
        let gateway = try Gateway(
            testConf(
                listener: "tls { certificate one.crt; key one.key; }",
                "upstream app { server 127.0.0.1:\(upstream.port); } route / { upstream app; authenticate none; }"
            ), in: authority.folder)
        let curl = try requireTool("curl", package: "curl")
        let url = "https://127.0.0.1:\(try gateway.port)/"
        let common = ["-s", "-S", "--cacert", authority.certificate]
        // CURLE_HTTP2_STREAM, or a body that is too short.
        let two = try run(curl, common + ["--http2", url])
        #expect(two.status == .code(92), "\(two.error)")
        #expect(two.error.contains("INTERNAL_ERROR"))
        let one = try run(curl, common + ["--http1.1", url])
        #expect(one.status == .code(18) || one.status == .code(56), "\(one.error)")
    }

    /// An end of TLS is answered by an end, behind which nothing can come.
    @Test func anAnswerComesBeforeTheEndThatCameWithItsRequest() throws {
        let house = try House(route: "route /elsewhere { upstream app; authenticate none; }")
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("tls_client.py").path
        let result = try run(
            requireTool("python3", package: "python3"),
            [script, "answer_before_end", "\(house.gateway.port)", house.authority.folder.path])
        let line = "HTTP/1.1 404 then an answer\n"
        #expect(result.output == line + line, "\(result.error)")
    }

    /// A client that has sent its first bytes, or a request on a connection it had, is served by a gateway that ends.
    @Test func whatHasBegunIsAnsweredInADrain() throws {
        let house = try House()
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("tls_client.py").path
        let client = try RunningProcess(
            requireTool("python3", package: "python3"),
            [script, "drained", "\(house.gateway.port)", house.authority.folder.path])
        try client.waitUntil("known") { client.standardOutput.contains("known") }
        house.gateway.process.signal(SIGSTOP)
        try house.authority.folder.write("stopped", "")
        try client.waitUntil("sent") { client.standardOutput.contains("sent") }
        house.gateway.process.signal(SIGTERM)
        house.gateway.process.signal(SIGCONT)
        #expect(client.waitForExit() == .code(0), "\(client.standardError)")
        #expect(
            client.standardOutput == """
                known
                sent
                TLSv1_2 known 200
                TLSv1_3 known 200
                TLSv1_2 new 200 closed
                TLSv1_3 new 200 closed

                """)
        #expect(house.gateway.process.waitForExit() == .code(0))
    }

    // MARK: Signatures

    @Test func anOAuth1SignatureCoversTheScheme() throws {
        let house = try House(
            route: """
                client key { oauth1_secret_file secret; allow_plaintext on; }
                oauth1 { signature_methods HMAC-SHA1 PLAINTEXT; }
                route / { upstream app; authenticate oauth1; }
                """, secrets: ["secret": "s3cret"])
        let port = try house.gateway.port
        let python = try requirePython(
            module: "requests_oauthlib", package: "python3-requests-oauthlib")
        for method in ["HMAC-SHA1", "PLAINTEXT"] {
            let script = """
                import sys
                from requests_oauthlib import OAuth1Session
                s = OAuth1Session("key", client_secret="s3cret", signature_method=sys.argv[3])
                print(s.get("https://localhost:%s/a?b=c" % sys.argv[1], verify=sys.argv[2]).status_code)
                """
            let result = try run(
                python, ["-c", script, "\(port)", house.authority.certificate, method])
            #expect(result.output == "200\n", "\(method) \(result.error)")
        }
    }
}
