import Foundation
import TestSupport
import Testing

/// Clients that are known by their certificates, and tokens that are bound to them (RFC 8705).
struct CertificateTests {
    private struct House {
        let authority: TestAuthority
        let upstream: ScriptedUpstream
        let gateway: Gateway

        init(tls: String = "client_ca ca.pem; client_certificate request;") throws {
            authority = try TestAuthority()
            try authority.issue("server", ["DNS:localhost", "IP:127.0.0.1"])
            for (name, names) in [
                ("robot", ["DNS:robot.test"]), ("other", ["DNS:other.test"]),
                ("uri", ["URI:spiffe://test/robot"]), ("subject", []), ("address", ["IP:10.1.2.3"]),
                ("email", ["email:robot@test"]),
            ] { try authority.issue(name, names) }
            try authority.issue("self", ["DNS:robot.test"], isSelfSigned: true)
            upstream = try ScriptedUpstream { request in [.respond(body: request.head)] }
            try authority.folder.write("secret", "s3cret")
            gateway = try Gateway(
                testConf(
                    listener: "tls { certificate server.crt; key server.key; \(tls) }",
                    store: "store sqlite { path state.db; }",
                    """
                    authority { issuer https://localhost; scopes read; }
                    client robot { auth_method tls_client_auth; tls_client_auth_san_dns Robot.test; scopes read; }
                    client uri { auth_method tls_client_auth; tls_client_auth_san_uri spiffe://test/robot; }
                    client subject { auth_method tls_client_auth; tls_client_auth_subject_dn "CN=subject,O=Gatehouse"; }
                    client address { auth_method tls_client_auth; tls_client_auth_san_ip 10.1.2.3; }
                    client email { auth_method tls_client_auth; tls_client_auth_san_email robot@test; }
                    client plain { secret_file secret; scopes read; }
                    upstream app { server 127.0.0.1:\(upstream.port); }
                    route / { upstream app; authenticate bearer; }
                    route /machines { upstream app; authenticate certificate; require scope read; }
                    route /either { upstream app; authenticate any certificate bearer; }
                    route /bound { upstream app; authenticate bearer; require certificate_bound; }
                    """), in: authority.folder)
        }

        func curl(_ path: String, as name: String?, _ more: [String]) throws -> (Int, String) {
            var arguments = ["-s", "-S", "--cacert", authority.certificate, "-w", "\n%{http_code}"]
            if let name {
                arguments += ["--cert", authority.folder.file(name + ".crt")]
                arguments += ["--key", authority.folder.file(name + ".key")]
            }
            let result = try run(
                requireTool("curl", package: "curl"),
                arguments + more + ["https://localhost:\(gateway.port)\(path)"])
            let lines = result.output.components(separatedBy: "\n")
            return (Int(lines.last ?? "") ?? 0, lines.dropLast().joined(separator: "\n"))
        }

        func token(
            _ client: String, as name: String?, _ more: [String] = []
        ) throws -> (status: Int, body: [String: Any]) {
            let (status, body) = try curl(
                "/oauth2/token", as: name,
                ["-d", "grant_type=client_credentials"]
                    + (more.isEmpty ? ["-d", "client_id=\(client)"] : more))
            return (
                status,
                try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any] ?? [:]
            )
        }

        func get(_ path: String, _ token: String, as name: String?) throws -> (Int, String) {
            try curl(path, as: name, ["-H", "Authorization: Bearer \(token)"])
        }
    }

    @Test func aTokenIsGoodWithItsCertificateAlone() throws {
        let house = try House()
        let (status, body) = try house.token("robot", as: "robot")
        #expect(status == 200, "\(body)")
        let token = try #require(body["access_token"] as? String)
        for path in ["/", "/bound"] {
            let (status, seen) = try house.get(path, token, as: "robot")
            #expect(status == 200)
            #expect(seen.contains("X-Auth-Client: robot"))
            for thief in ["other", nil] {
                let (status, problem) = try house.get(path, token, as: thief)
                #expect(status == 401 && problem.contains("proof_mismatch"), "\(problem)")
            }
        }
        // A token that is bound to nothing is not enough where one that is bound is asked for.
        let plain = try house.token("plain", as: "robot", ["-u", "plain:s3cret"])
        let bearer = try #require(plain.body["access_token"] as? String)
        #expect(try house.get("/", bearer, as: nil).0 == 200)
        #expect(try house.get("/bound", bearer, as: "robot").0 == 401)
        // The remembered token is judged by the connection too.
        #expect(try house.get("/", token, as: "other").0 == 401)
        let explained = try run(
            gatehouseBinary(),
            ["token", "inspect", token, "--config", house.gateway.folder.file("gateway.conf")])
        #expect(explained.output.contains("x5t#S256"), "\(explained.output)")
    }

    @Test(arguments: ["robot", "uri", "subject", "address", "email"])
    func aClientIsKnownByTheNameInItsCertificate(client: String) throws {
        let house = try House()
        #expect(try house.token(client, as: client).status == 200)
        for wrong in ["other", "self", nil] where wrong != client {
            if wrong == "self" {
                // It does not even get through the handshake.
                #expect(throws: (any Error).self) {
                    try house.token(client, as: wrong).status == 200
                }
                continue
            }
            let (status, body) = try house.token(client, as: wrong)
            #expect(status == 401)
            #expect(body["error"] as? String == "invalid_client")
        }
    }

    @Test func aTokenOfTheCommandLineIsBoundToo() throws {
        let house = try House()
        let conf = house.gateway.folder.file("gateway.conf")
        func issue(_ client: String, _ more: String...) throws -> CommandResult {
            try run(
                gatehouseBinary(), ["token", "issue", "--client", client, "--config", conf] + more)
        }
        let unbound = try issue("robot")
        #expect(unbound.status == .code(64) && unbound.output.isEmpty)
        #expect(unbound.error.contains("name it with --certificate"))
        let certificate = house.authority.folder.file("robot.crt")
        #expect(try issue("plain", "--certificate", certificate).status == .code(64))
        #expect(try issue("robot", "--certificate", conf).status == .code(64))
        let issued = try issue("robot", "--certificate", certificate)
        #expect(issued.status == .code(0), "\(issued.error)")
        let token = issued.output.trimmingCharacters(in: .newlines)
        #expect(try house.get("/bound", token, as: "robot").0 == 200)
        #expect(try house.get("/bound", token, as: "other").0 == 401)
    }

    @Test func aCertificateIsNoSecretAndASecretNoCertificate() throws {
        let house = try House()
        // Known by a secret: its certificate proves nothing. Known by a certificate: no secret does.
        #expect(try house.token("plain", as: "robot").status == 401)
        #expect(try house.token("nobody", as: "robot").status == 401)
        #expect(try house.token("robot", as: "other", ["-u", "robot:s3cret"]).status == 401)
        #expect(try house.token("robot", as: "robot", ["-u", "robot:"]).status == 401)
        let line = try house.gateway.accessLine { $0["reason"] as? String == "client_not_allowed" }
        #expect(line["status"] as? Int == 401)
    }

    /// Without an authority anybody can make a certificate of any name: it is good for binding, never for a name.
    @Test func aCertificateThatNobodyVouchesForNamesNobody() throws {
        let house = try House(tls: "client_certificate request;")
        #expect(try house.token("robot", as: "self").status == 401)
        #expect(try house.token("robot", as: "robot").status == 401)
        #expect(try house.token("plain", as: "self", ["-u", "plain:s3cret"]).status == 200)
    }

    @Test func aRouteTakesTheCertificateItself() throws {
        let house = try House()
        let (status, seen) = try house.curl("/machines", as: "robot", [])
        #expect(status == 200)
        #expect(seen.contains("X-Auth-Scheme: certificate\r\nX-Auth-Client: robot\r\n"))
        #expect(seen.contains("X-Auth-Scopes: read\r\n"))
        let line = try house.gateway.accessLine { $0["path"] as? String == "/machines" }
        #expect(line["scheme"] as? String == "certificate" && line["client"] as? String == "robot")
        // Known, and without the scope; unknown; none at all. There is no challenge for any of them.
        for (name, reason) in [
            ("uri", "insufficient_scope"), ("other", "invalid_credentials"),
            (nil, "no_credentials"),
        ] {
            let (status, problem) = try house.curl("/machines", as: name, [])
            #expect(status == 403 && problem.contains(reason), "\(problem)")
        }
        // A token goes before the certificate, a wrong one too; where none is taken it counts for nothing.
        let plain = try house.token("plain", as: nil, ["-u", "plain:s3cret"])
        let bearer = try #require(plain.body["access_token"] as? String)
        #expect(try house.get("/either", bearer, as: "robot").1.contains("X-Auth-Client: plain"))
        #expect(try house.get("/either", "wrong", as: "robot").0 == 401)
        #expect(try house.curl("/either", as: "robot", []).1.contains("X-Auth-Client: robot"))
        #expect(try house.get("/machines", bearer, as: "robot").1.contains("X-Auth-Client: robot"))
        #expect(try house.curl("/either", as: nil, []).0 == 401)
        // Nobody vouches for it: no name.
        let open = try House(tls: "client_certificate request;")
        #expect(try open.curl("/machines", as: "self", []).0 == 403)
    }

    @Test func theMetadataTellsOfIt() throws {
        let (_, document) = try House().curl("/.well-known/oauth-authorization-server", as: nil, [])
        #expect(document.contains(#""tls_client_auth""#))
        #expect(document.contains(#""tls_client_certificate_bound_access_tokens":true"#))
        let (_, other) = try House(tls: "").curl(
            "/.well-known/oauth-authorization-server", as: nil, [])
        #expect(!other.contains("tls_client"))
    }
}
