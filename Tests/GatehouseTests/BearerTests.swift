import Foundation
import TestSupport
import Testing

/// Bearer tokens against the running program, whose clock stands at that of the vectors.
@Suite(.serialized)
struct BearerTests {
    private func start(_ upstream: ScriptedUpstream) throws -> Gateway {
        let vectors = try Fixtures.json("jwt.json")
        let folder = try TemporaryDirectory()
        let jwks = try JSONSerialization.data(withJSONObject: try #require(vectors["jwks"]))
        _ = try folder.write("jwks.json", String(decoding: jwks, as: UTF8.self))
        let settings = try #require(vectors["settings"] as? [String: Any])
        let algorithms = try #require(settings["algorithms"] as? [String])
        let faketime = try requireTool("faketime", package: "faketime")
        let conf = testConf(
            listener: "limits { request_head 64k; }",
            """
            issuer vectors {
                issuer https://issuer.example.com;
                audience https://api.example.com;
                jwks_file jwks.json;
                algorithms \(algorithms.joined(separator: " "));
                typ at+jwt;
                clock_skew 60s;
            }
            upstream up { server 127.0.0.1:\(upstream.port); }
            route / { upstream up; authenticate bearer; }
            route /written { upstream up; authenticate bearer; require scope admin; }
            route /wide { upstream up; authenticate any bearer oauth1; }
            """)
        return try Gateway(
            conf, in: folder, through: [faketime, "-f", "@2026-01-01 00:00:00"],
            environment: ["TZ": "UTC"])
    }

    private func request(
        _ gateway: Gateway, _ target: String = "/x", fields: [String], body: String? = nil
    ) throws -> HTTPReply {
        let client = try gateway.connect()
        let method = body == nil ? "GET" : "POST"
        var lines = ["\(method) \(target) HTTP/1.1", "Host: t"] + fields
        if let body { lines.append("Content-Length: \(body.utf8.count)") }
        try client.send(Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + (body ?? "")).utf8))
        return try client.readReply()
    }

    @Test func everyTokenIsDecidedAsItSays() throws {
        let upstream = try ScriptedUpstream()
        let gateway = try start(upstream)
        let cases = try #require(try Fixtures.json("jwt.json")["cases"] as? [[String: Any]])
        #expect(cases.count == 134)
        var passed = 0
        for entry in cases {
            let id = entry["id"] as? String ?? "?"
            let token = try #require(entry["token"] as? String)
            let reply = try request(gateway, fields: ["Authorization: Bearer \(token)"])
            switch entry["expect"] as? String {
            case "valid":
                #expect(reply.status == 200, "\(id)")
                passed += 1
            case "invalid":
                // A token that is no token68 is a malformed field (400); one that fits no head is 431.
                #expect([400, 401, 431].contains(reply.status), "\(id): \(reply.status)")
            default:
                #expect([200, 400, 401].contains(reply.status), "\(id): \(reply.status)")
                if reply.status == 200 { passed += 1 }
            }
        }
        #expect(upstream.requests.count == passed)
        // A second time, from the cache where it was remembered: nothing is decided otherwise.
        for entry in cases where entry["expect"] as? String == "valid" {
            let token = try #require(entry["token"] as? String)
            #expect(try request(gateway, fields: ["Authorization: Bearer \(token)"]).status == 200)
        }
    }

    @Test func everyShapeOfTheFieldIsDecidedAsItSays() throws {
        let upstream = try ScriptedUpstream()
        let gateway = try start(upstream)
        let shapes = try #require(
            try Fixtures.json("jwt.json")["authorization_header"] as? [[String: Any]])
        #expect(shapes.count == 18)
        for shape in shapes {
            let values = try #require(shape["authorization"] as? [String])
            let statuses = try #require(shape["status"] as? [Int])
            let reply = try request(gateway, fields: values.map { "Authorization: \($0)" })
            #expect(statuses.contains(reply.status), "\(shape["id"] ?? ""): \(reply.status)")
        }
        let places = try #require(
            try Fixtures.json("jwt.json")["other_locations"] as? [[String: Any]])
        #expect(places.count == 3)
        for place in places {
            let sent = try #require(place["request"] as? [String: Any])
            let fields = (sent["headers"] as? [[String]] ?? []).map { "\($0[0]): \($0[1])" }
            let reply = try request(
                gateway, try #require(sent["target"] as? String), fields: fields,
                body: sent["body"] as? String)
            let statuses = try #require(place["status"] as? [Int])
            #expect(statuses.contains(reply.status), "\(place["id"] ?? ""): \(reply.status)")
        }
    }

    @Test func challengesSayNoMoreThanTheyShould() throws {
        let upstream = try ScriptedUpstream()
        let gateway = try start(upstream)
        let cases = try #require(try Fixtures.json("jwt.json")["cases"] as? [[String: Any]])
        let good = try #require(
            cases.first { $0["id"] as? String == "ok-ES256" }?["token"] as? String)
        let none = try request(gateway, fields: [])
        #expect(none.status == 401)
        #expect(none.values("WWW-Authenticate") == [#"Bearer realm="gatehouse""#])
        let bad = try request(gateway, fields: ["Authorization: Bearer a.b.c"])
        #expect(bad.status == 401)
        #expect(bad.values("WWW-Authenticate")[0].contains(#"error="invalid_token""#))
        let narrow = try request(gateway, "/written", fields: ["Authorization: Bearer \(good)"])
        #expect(narrow.status == 403)
        #expect(narrow.values("WWW-Authenticate")[0].contains(#"error="insufficient_scope""#))
        #expect(narrow.values("WWW-Authenticate")[0].contains(#"scope="admin""#))
        let twice = try request(
            gateway,
            fields: ["Authorization: Bearer \(good)", "Authorization: Bearer \(good)"])
        #expect(twice.status == 400)
        #expect(twice.values("WWW-Authenticate")[0].contains(#"error="invalid_request""#))
        #expect(none.text.contains("no_credentials"))
        #expect(upstream.requests.isEmpty)
    }

    @Test func aSpoofedIdentityNeverArrives() throws {
        let upstream = try ScriptedUpstream()
        let conf = testConf(
            """
            upstream up { server 127.0.0.1:\(upstream.port); }
            route / { upstream up; authenticate none; }
            """)
        let gateway = try Gateway(conf)
        let names = [
            "X-Auth-Client", "x-auth-client", "X_Auth_Client", "X-Auth_Client", "X-AUTH-SUBJECT",
            "X_AUTH_SCOPES", "X-Auth-Scheme", "x_auth_issuer", "X-Auth-Shadow",
        ]
        let fields = names.map { "\($0): admin" } + ["Connection: X-Auth-Client"]
        #expect(try request(gateway, fields: fields).status == 200)
        let trailer = try gateway.connect()
        try trailer.send(
            "POST /t HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "1\r\na\r\n0\r\nX-Auth-Client: admin\r\n\r\n")
        #expect(try trailer.readReply().status == 200)
        #expect(upstream.requests.count == 2)
        for received in upstream.requests {
            let text =
                received.head.lowercased() + String(decoding: received.rawBody, as: UTF8.self)
            #expect(!text.contains("auth"), "\(text)")
            #expect(!text.contains("admin"))
        }
    }
}
