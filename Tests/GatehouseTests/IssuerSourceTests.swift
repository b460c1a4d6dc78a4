import Foundation
import TestSupport
import Testing

/// Where the keys of an issuer come from: its metadata, and servers over TLS.
extension IssuerTests {
    // MARK: Metadata

    @Test func theMetadataLeadToTheKeys() throws {
        let issuer = try OutsideIssuer("one", "two")
        issuer.publishMetadata(#"{"issuer":"\#(issuer.url)","jwks_uri":"\#(issuer.url)/jwks"}"#)
        let gateway = try Gateway(conf(issuer, source: "discovery on;"))
        try gateway.waitForLog("keys of an issuer were fetched")
        #expect(try gateway.bearer(issuer.token("one")).status == 200)
        // A new key costs one fetch: where the keys are is known.
        issuer.publish("two")
        #expect(try gateway.bearer(issuer.token("two")).status == 200)
        #expect(issuer.fetches == 2)
        #expect(issuer.server.requests.count == 3)
    }

    /// RFC 8414's own place, behind a real authorization server that has no other: a second gateway.
    @Test func anotherGatewayIsAnIssuer() throws {
        let other = try CommandFixture()
        let process = try RunningProcess(other.binary, ["serve", "--config", other.conf])
        try process.waitForPort(other.port)
        let token = try other.output(
            "token", "issue", "--client", "declared", "--scope", "orders.read")
        let gateway = try Gateway(
            testConf(
                """
                issuer other { issuer http://127.0.0.1:\(other.port); audience orders; discovery on; }
                upstream up { server 127.0.0.1:\(upstream.port); }
                route / { upstream up; authenticate bearer; require scope orders.read; }
                route /more { upstream up; authenticate bearer; require scope orders.write; }
                """))
        try gateway.waitForLog("keys of an issuer were fetched")
        #expect(try gateway.bearer(token).status == 200)
        #expect(try gateway.bearer(token, "/more").status == 403)
        let head = try #require(upstream.requests.first)
        #expect(head.values("X-Auth-Client") == ["declared"])
        #expect(head.values("X-Auth-Issuer") == ["http://127.0.0.1:\(other.port)"])
        // Its keys change: the next token has a kid that nobody here knows.
        _ = try other.output("key", "rotate", "--now")
        let isPublished = try eventually {
            let client = try TCPClient(port: other.port)
            try client.send("GET /.well-known/jwks.json HTTP/1.1\r\nHost: t\r\n\r\n")
            return (try client.readReply().json()["keys"] as? [Any])?.count == 2
        }
        #expect(isPublished)
        let newer = try other.output("token", "issue", "--client", "declared")
        #expect(newer.split(separator: ".")[0] != token.split(separator: ".")[0])
        #expect(try gateway.bearer(newer).status == 200)
    }

    @Test(arguments: [
        (#"{"issuer":"URL/","jwks_uri":"URL/jwks"}"#, "otherIssuer"),
        (#"{"jwks_uri":"URL/jwks"}"#, "otherIssuer"),
        (#"{"issuer":"URL"}"#, "noKeys"),
        (#"{"issuer":"URL","issuer":"URL","jwks_uri":"URL/jwks"}"#, "malformed"),
        (
            #"{"issuer":"URL","jwks_uri":"http://keys.example/jwks"}"#,
            "an address that is not asked"
        ),
        (#"{"issuer":"URL","jwks_uri":"file:///etc/passwd"}"#, "an address that is not asked"),
        (#"{"issuer":"URL","jwks_uri":"http://127.0.0.1:1@evil.example/"}"#, "not asked"),
        (#"{"issuer":"URL","jwks_uri":"URL/jwks\r\nX: y"}"#, "an address that is not asked"),
    ])
    func metadataThatLeadNowhere(metadata: String, cause: String) throws {
        let issuer = try OutsideIssuer("one")
        issuer.publishMetadata(metadata.replacing("URL", with: issuer.url))
        let gateway = try Gateway(conf(issuer, source: "discovery on;"))
        try gateway.waitForLog(cause)
        #expect(try gateway.bearer(issuer.token("one")).status == 503)
        #expect(issuer.fetches == 0)
    }

    /// An issuer elsewhere must not choose what is asked on this machine.
    @Test func metadataThatCameByTLSLeadToNothingInClear() throws {
        let issuer = try OutsideIssuer("one")
        let authority = try TestAuthority()
        let files = try authority.issue("server", ["DNS:localhost"])
        let nginx = try Nginx(
            """
            server {
                listen 127.0.0.1:PORT ssl;
                ssl_certificate \(files.certificate); ssl_certificate_key \(files.key);
                location / { proxy_pass \(issuer.url); }
            }
            """, in: authority.folder)
        let url = "https://localhost:\(nginx.port)"
        func gateway(_ keys: String) throws -> Gateway {
            issuer.publishMetadata(#"{"issuer":"\#(url)","jwks_uri":"\#(keys)/jwks"}"#)
            return try Gateway(
                testConf(
                    """
                    issuer outside {
                        issuer \(url); audience api; discovery on; ca \(authority.certificate);
                    }
                    upstream up { server 127.0.0.1:\(upstream.port); }
                    route / { upstream up; authenticate bearer; }
                    """))
        }
        let clear = try gateway(issuer.url)
        try clear.waitForLog(
            "its metadata came by https and name keys in clear: \(issuer.url)/jwks")
        #expect(try clear.bearer(issuer.token("one", issuer: url)).status == 503)
        #expect(issuer.fetches == 0)
        let good = try gateway(url)
        try good.waitForLog("keys of an issuer were fetched")
        #expect(try good.bearer(issuer.token("one", issuer: url)).status == 200)
    }

    // MARK: TLS

    /// A real server with a real library's keys, over TLS and by name.
    @Test func keysComeOverTLS() throws {
        let authority = try TestAuthority()
        let python = try requirePython(module: "authlib.jose", package: "python3-authlib")
        let script = """
            import json, sys, time
            from authlib.jose import JsonWebKey, jwt
            key = JsonWebKey.generate_key("RSA", 2048, {"kid": "rsa-1", "use": "sig", "alg": "RS256"}, is_private=True)
            json.dump({"keys": [key.as_dict(is_private=False)]}, open(sys.argv[1], "w"))
            now = int(time.time())
            print(jwt.encode({"alg": "RS256", "kid": "rsa-1"}, {"iss": "https://login.test", "aud": ["x", "api"],
                "sub": "alice", "azp": "app", "iat": now, "exp": now + 600, "scp": ["read"]}, key).decode())
            """
        let made = try run(python, ["-c", script, authority.folder.file("jwks.json")])
        #expect(made.status == .code(0), "\(made.error)")
        let token = made.output.trimmingCharacters(in: .whitespacesAndNewlines)
        // nginx's worker is nobody where the test is root.
        for (path, mode) in [
            (authority.folder.path, 0o755), (authority.folder.file("jwks.json"), 0o644),
        ] {
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        }
        let files = try authority.issue("server", ["DNS:localhost", "IP:127.0.0.1"])
        let wrong = try authority.issue("wrong", ["DNS:other.test"])
        func server(_ files: TestAuthority.Issued) throws -> Nginx {
            try Nginx(
                """
                server {
                    listen 127.0.0.1:PORT ssl;
                    ssl_certificate \(files.certificate);
                    ssl_certificate_key \(files.key);
                    root \(authority.folder.path);
                }
                """, in: authority.folder)
        }
        func gateway(_ url: String, _ ca: String) throws -> Gateway {
            try Gateway(
                testConf(
                    """
                    issuer login { issuer https://login.test; audience api; jwks_uri \(url)/jwks.json; \(ca) }
                    upstream up { server 127.0.0.1:\(upstream.port); }
                    route / { upstream up; authenticate bearer; require scope read; }
                    """))
        }
        let good = try server(files)
        let ca = "ca \(authority.certificate);"
        for host in ["localhost", "127.0.0.1"] {
            let gateway = try gateway("https://\(host):\(good.port)", ca)
            try gateway.waitForLog("keys of an issuer were fetched")
            #expect(try gateway.bearer(token).status == 200)
        }
        let head = try #require(upstream.requests.first)
        #expect(head.values("X-Auth-Client") == ["app"])
        #expect(head.values("X-Auth-Subject") == ["alice"])
        // The system's authorities do not know the test's.
        let stranger = try gateway("https://localhost:\(good.port)", "")
        try stranger.waitForLog("unable to get local issuer certificate")
        #expect(try stranger.bearer(token).status == 503)
        let bad = try server(wrong)
        let misnamed = try gateway("https://localhost:\(bad.port)", ca)
        try misnamed.waitForLog("hostname mismatch")
        #expect(try misnamed.bearer(token).status == 503)
        // In clear where TLS should be, a server waits for the end of a head.
        let clear = try gateway("https://127.0.0.1:\(upstream.port)", ca)
        try clear.waitForLog("no connection: connectionTimeout")
        #expect(try clear.bearer(token).status == 503)
        #expect(upstream.requests.count == 2)
    }
}
