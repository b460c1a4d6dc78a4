import Configuration
import HTTP
import Primitives
import TestSupport
import Testing

@testable import Gateway

/// What the upstream gets of a request: interface.md section 4, and the identity rows of the threat table.
@Suite struct UpstreamRequestTests {
    /// Forwards a request on the route given, for the principal given (`nil`: on an open route).
    static func forward(
        _ request: String, path: String? = nil, as principal: Principal? = nil,
        from address: String = "192.0.2.7", isTLS: Bool = false,
        route change: (inout RouteConfiguration) -> Void = { _ in }
    ) throws -> WrittenHead {
        let head = try requestHead(request)
        let route = compiled {
            if principal == nil { $0.authenticate = .open }
            change(&$0)
        }
        let methodName = Array(head.bytes[head.methodRange.range])
        guard
            case .permit(let permit) = Permit.decide(
                principal, on: route, method: head.method, methodName: methodName.span,
                from: IPAddress(address))
        else { throw Refused() }
        var ids = RequestIDSource(beginningWith: Array(1...128))
        var trace = RequestTrace()
        try trace.begin(head, ids: &ids)
        var writer = UpstreamRequestWriter()
        var output = Array("before".utf8)
        let path = path.map { Array($0.utf8) } ?? Array(head.bytes[head.path.range])
        writer.append(
            permit, head, path: path.span,
            connection: ConnectionFacts(clientAddress: Array(address.utf8), isTLS: isTLS),
            trace: trace, framing: head.framing, to: &output)
        #expect(output.starts(with: Array("before".utf8)))
        let written = try WrittenHead(Array(output.dropFirst(6)))
        #expect(written.body.isEmpty)
        return written
    }

    struct Refused: Error {}

    @Test func aRequestAsAWhole() throws {
        let written = try Self.forward(
            """
            POST /a/b?x=1&y=%2F HTTP/1.1
            Host: h.example:8080
            Accept: */*
            Content-Length: 3
            Cookie: a=b
            """, as: Principals.oauth1(scopes: ["read"]))
        #expect(written.startLine == "POST /a/b?x=1&y=%2F HTTP/1.1")
        #expect(
            written.fields.map { "\($0.name): \($0.value)" } == [
                "Host: h.example:8080", "Accept: */*", "Cookie: a=b", "X-Auth-Scheme: oauth1",
                "X-Auth-Client: partner", "X-Auth-Subject: partner", "X-Auth-Scopes: read",
                "Forwarded: for=192.0.2.7;proto=http;host=\"h.example:8080\"",
                "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: http",
                "X-Forwarded-Host: h.example:8080", "Via: 1.1 gatehouse",
                "X-Request-Id: 0102030405060708090a0b0c0d0e0f10",
                "traceparent: 00-1112131415161718191a1b1c1d1e1f20-2122232425262728-00",
                "Content-Length: 3",
            ])
    }

    static let spoofedNames: [String] = [
        "Scheme", "Client", "Subject", "Scopes", "Issuer", "Shadow",
    ]
    .flatMap { last in
        [
            "X-Auth-\(last)", "x-auth-\(last.lowercased())", "X-AUTH-\(last.uppercased())",
            "X_Auth_\(last)", "X-Auth_\(last)", "X_Auth-\(last)", "x_aUTH_\(last.uppercased())",
        ]
    }

    @Test(arguments: spoofedNames, [false, true])
    func anIdentityFieldOfTheClientNeverArrives(name: String, isOpen: Bool) throws {
        let principal = isOpen ? nil : Principals.oauth1(scopes: ["read"])
        for lines in ["\(name): admin", "\(name): admin\n\(name): root", "\(name):"] {
            let written = try Self.forward(
                "GET / HTTP/1.1\nHost: h.example\n\(lines)\nX-Keep: 1", as: principal)
            let arrived = written.names.map { $0.replacing("_", with: "-") }
                .filter { $0.hasPrefix("x-auth") }
            #expect(
                arrived
                    == (isOpen
                        ? []
                        : ["x-auth-scheme", "x-auth-client", "x-auth-subject", "x-auth-scopes"]))
            #expect(!written.fields.contains { $0.value == "admin" || $0.value == "root" })
            #expect(written.values("X-Keep") == ["1"])
        }
    }

    @Test func connectionCannotNameTheGatewaysOwnFields() throws {
        let own = [
            "Host", "X-Auth-Scheme", "X-Auth-Client", "X-Auth-Subject", "X-Auth-Scopes",
            "Forwarded",
            "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Via", "X-Request-Id",
            "traceparent", "Content-Length", "X-Set",
        ]
        let written = try Self.forward(
            """
            POST / HTTP/1.1
            Host: h.example
            Content-Length: 0
            Connection: close, \(own.joined(separator: ", ")), X-Drop
            X-Drop: 1
            """, as: Principals.oauth1(scopes: ["read"])
        ) { $0.setHeaders = [HeaderSetting(name: "X-Set", value: "1")] }
        for name in own { #expect(written.values(name).count == 1, "\(name)") }
        #expect(written.values("X-Drop") == [])
        #expect(written.values("Connection") == [])
    }

    static let dropped: [String] = [
        "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "Trailer: X-End",
        "Upgrade: foo", "HTTP2-Settings: AAMAAABkAAQAAP__", "Proxy-Authorization: Basic eA==",
        "Expect: 100-continue", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-Host: evil.test",
        "X-Forwarded-Proto: https", "Forwarded: for=10.0.0.1", "X-Forwarded-Uri: /admin",
        "X-Forwarded-Method: GET", "X-Forwarded-Prefix: /admin", "X-Forwarded-Port: 1",
        "X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-Real-IP: 10.0.0.1",
        "Authorization: Bearer x",
        // As CGI-like upstreams read them.
        "X_Forwarded_For: 10.0.0.1", "x_forwarded-host: evil.test", "X_Original_URL: /admin",
        "Content_Length: 7", "Transfer_Encoding: chunked", "X_Request_Id: a", "Keep_Alive: 1",
        "Proxy_Authorization: x", "X_Real_IP: 10.0.0.1",
    ]

    @Test(arguments: dropped)
    func whatIsNotTheClientsToSayIsLeftOut(line: String) throws {
        let written = try Self.forward("GET / HTTP/1.1\nHost: h.example\n\(line)\nX-Keep: 1")
        let value = String(line.drop { $0 != ":" }.dropFirst(2))
        let name = String(line.prefix { $0 != ":" })
        #expect(!written.fields.contains { $0.value == value && $0.value != "1" })
        let ownNames = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded"]
        #expect(written.values(name).count == (ownNames.contains(name.lowercased()) ? 1 : 0))
        #expect(written.values("X-Keep") == ["1"])
    }

    static let kept: [String] = [
        "Accept: */*", "Content-Type: text/plain", "Content_Type: text/plain", "X-Authority: a",
        "X-Auth: a", "X-Auth-Clients: a", "X-Forwarded: a", "X-Real: a", "Origin: null", "X_Y: 1",
        "User-Agent: kube-probe/1.27", "Cookie: a=b; c=d", "X-Empty:", "X-Latin: \u{E9}",
        "tracestatus: 1", "X-HTTP-Method-Override: DELETE", "Range: bytes=0-1",
    ]

    @Test(arguments: kept)
    func everythingElseArrivesAsItIs(line: String) throws {
        let written = try Self.forward("GET / HTTP/1.1\nHost: h.example\n\(line)")
        let name = String(line.prefix { $0 != ":" })
        let value = String(line.drop { $0 != ":" }.dropFirst(2))
        #expect(written.fields.contains { $0.name == name && $0.value == value })
    }

    @Test func repeatedFieldsKeepTheirOrder() throws {
        let written = try Self.forward(
            "GET / HTTP/1.1\nHost: h.example\nX-A: 1\nX-B: 2\nX-A: 3\nAccept: a\nAccept: b")
        #expect(written.values("X-A") == ["1", "3"])
        #expect(written.values("Accept") == ["a", "b"])
    }

    @Test func authorizationIsForwardedOnlyWhereTheRouteSaysSo() throws {
        let request = "GET / HTTP/1.1\nHost: h.example\nAuthorization: Bearer x.y.z"
        let principal = try Principals.bearer()
        #expect(try Self.forward(request, as: principal).values("Authorization") == [])
        let kept = try Self.forward(request, as: principal) { $0.authorization = .forward }
        #expect(kept.values("Authorization") == ["Bearer x.y.z"])
        let named = try Self.forward(request + "\nConnection: Authorization", as: principal) {
            $0.authorization = .forward
        }
        #expect(named.values("Authorization") == [])
        // A credential of the gateway's own for the upstream.
        let set = try Self.forward(request, as: principal) {
            $0.authorization = .forward
            $0.setHeaders = [HeaderSetting(name: "authorization", value: "Basic eA==")]
        }
        #expect(set.values("Authorization") == ["Basic eA=="])
    }

    @Test func setAndRemovedFields() throws {
        let written = try Self.forward(
            """
            GET / HTTP/1.1
            Host: h.example
            X-Gone: 1
            x_gone: 2
            x.gone: 3
            X-Set: client
            X_SET: client
            X!Set: client
            X.Forwarded.For: 192.0.2.99
            X.Original.URL: /admin
            X-Blank: client
            X-Stays: 1
            """
        ) {
            $0.removeHeaders = ["x-gone", "Via", "X-Forwarded-For", "Host"]
            $0.setHeaders = [
                HeaderSetting(name: "X-Set", value: "one"),
                HeaderSetting(name: "X-Set", value: "two"),
                HeaderSetting(name: "X-Blank", value: ""),
                HeaderSetting(name: "X-Forwarded-Proto", value: "https"),
                HeaderSetting(name: "X-Request-Id", value: "fixed"),
            ]
        }
        // In every spelling that a server may read as the same: some make `_` of every symbol.
        #expect(written.names.filter { $0.hasPrefix("x") && $0.hasSuffix("gone") } == [])
        #expect(written.names.filter { $0 == "x_set" || $0 == "x!set" } == [])
        #expect(written.names.filter { $0.hasPrefix("x.") } == [])
        #expect(written.values("X-Set") == ["one", "two"])
        #expect(written.values("X-Blank") == [])
        #expect(written.values("X-Stays") == ["1"])
        #expect(written.values("X-Forwarded-Proto") == ["https"])
        #expect(written.values("X-Request-Id") == ["fixed"])
        #expect(written.values("Via") == [])
        #expect(written.values("X-Forwarded-For") == [])
        // There is no request without Host.
        #expect(written.values("Host") == ["h.example"])
    }

    @Test func anIdentityFieldCannotBeRemovedByTheRoute() throws {
        let written = try Self.forward(
            "GET / HTTP/1.1\nHost: h.example\nX-Auth-Client: admin", as: Principals.oauth1()
        ) { $0.removeHeaders = ["X-Auth-Client"] }
        #expect(written.values("X-Auth-Client") == ["partner"])
    }

    static let hosts: [(request: String, set: String?, expected: String)] = [
        ("GET / HTTP/1.1\nHost: H.Example:81", nil, "H.Example:81"),
        ("GET http://h.example/ HTTP/1.1\nHost: h.example", nil, "h.example"),
        ("GET / HTTP/1.0", nil, "upstream.internal:8080"),
        ("GET / HTTP/1.1\nHost: h.example", "internal.example", "internal.example"),
        ("GET / HTTP/1.1\nHost: h.example", "", "h.example"),
    ]

    @Test(arguments: hosts)
    func theHostIsTheClients(request: String, set: String?, expected: String) throws {
        let written = try Self.forward(request) { route in
            if let set { route.setHeaders = [HeaderSetting(name: "Host", value: set)] }
        }
        #expect(written.values("Host") == [expected])
    }

    @Test func methodOverridesAreLeftOutWhereTheRouteJudgesByMethod() throws {
        let request = """
            POST / HTTP/1.1
            Host: h.example
            X-HTTP-Method-Override: DELETE
            X_HTTP_Method: DELETE
            x-method-override: DELETE
            X.HTTP.Method.Override: DELETE
            """
        let changes: [(inout RouteConfiguration) -> Void] = [
            { $0.methods = ["POST"] },
            { $0.requirements = [.scopes(["admin"], methods: ["DELETE"])] },
        ]
        for change in changes {
            let written = try Self.forward(request, as: Principals.oauth1(), route: change)
            #expect(!written.fields.contains { $0.value == "DELETE" })
        }
    }

    static let peers: [(address: String, isTLS: Bool, forwarded: String, xff: [String])] = [
        ("192.0.2.7", false, "for=192.0.2.7;proto=http;host=\"h.example\"", ["192.0.2.7"]),
        (
            "2001:db8::7", true, "for=\"[2001:db8::7]\";proto=https;host=\"h.example\"",
            ["2001:db8::7"]
        ),
        ("", false, "for=unknown;proto=http;host=\"h.example\"", []),
    ]

    @Test(arguments: peers)
    func whereTheRequestCameFrom(
        address: String, isTLS: Bool, forwarded: String, xff: [String]
    ) throws {
        let written = try Self.forward(
            "GET / HTTP/1.1\nHost: h.example\nX-Forwarded-For: 10.0.0.1\nForwarded: for=10.0.0.1",
            from: address, isTLS: isTLS)
        #expect(written.values("Forwarded") == [forwarded])
        #expect(written.values("X-Forwarded-For") == xff)
        #expect(written.values("X-Forwarded-Proto") == [isTLS ? "https" : "http"])
    }

    static let framings: [(fields: String, expected: [String])] = [
        ("X: 1", []), ("Content-Length: 0", ["content-length: 0"]),
        ("Content-Length: 0012", ["content-length: 12"]),
        ("Transfer-Encoding: Chunked", ["transfer-encoding: chunked"]),
    ]

    @Test(arguments: framings)
    func theFramingIsWrittenAnew(fields: String, expected: [String]) throws {
        let written = try Self.forward("POST / HTTP/1.1\nHost: h.example\n\(fields)")
        #expect(
            written.fields.map { "\($0.name.lowercased()): \($0.value)" }
                .filter { $0.hasPrefix("content-length") || $0.hasPrefix("transfer-encoding") }
                == expected)
    }

    static let vias: [(request: String, expected: String)] = [
        ("GET / HTTP/1.1\nHost: h", "1.1 gatehouse"),
        ("GET / HTTP/1.0\nHost: h", "1.0 gatehouse"),
        ("GET / HTTP/1.1\nHost: h\nVia: 1.1 a", "1.1 a, 1.1 gatehouse"),
        (
            "GET / HTTP/1.1\nHost: h\nVia: 1.0 a, 1.1 b\nVia:\nVia: 2 c",
            "1.0 a, 1.1 b, 2 c, 1.1 gatehouse"
        ),
    ]

    @Test(arguments: vias)
    func viaIsOneList(request: String, expected: String) throws {
        #expect(try Self.forward(request).values("Via") == [expected])
    }

    static let targets: [(request: String, expected: String)] = [
        ("OPTIONS * HTTP/1.1\nHost: h", "OPTIONS * HTTP/1.1"),
        ("GET /? HTTP/1.1\nHost: h", "GET /? HTTP/1.1"),
        ("GET /a??b=c&d;e+~%e2%82%ac HTTP/1.1\nHost: h", "GET /a??b=c&d;e+~%e2%82%ac HTTP/1.1"),
        ("PURGE /a HTTP/1.1\nHost: h", "PURGE /a HTTP/1.1"),
        ("GET /a HTTP/1.0\nHost: h", "GET /a HTTP/1.1"),
    ]

    @Test(arguments: targets)
    func theTarget(request: String, expected: String) throws {
        #expect(try Self.forward(request).startLine == expected)
    }

    /// The cases of http1.json that say what must and must not reach the upstream.
    @Test func theVectorsOfForwardedFields() throws {
        let cases = try #require(try Fixtures.json("http1.json")["cases"] as? [[String: Any]])
            .filter { $0["forward"] != nil }
        #expect(cases.count == 4)
        for example in cases {
            let raw = try #require(example["raw"] as? String)
            let written = try Self.forward(
                raw.replacing("\r\n", with: "\n").trimmingSuffix { $0 == "\n" }.description)
            let forward = try #require(example["forward"] as? [String: [String]])
            for name in forward["absent"] ?? [] {
                #expect(written.values(String(name.prefix { $0 != ":" })) == [], "\(name)")
            }
            for field in forward["present"] ?? [] {
                let name = String(field.prefix { $0 != ":" })
                let value = field.replacing("<gateway>", with: "gatehouse")
                    .dropFirst(name.count + 2)
                #expect(written.values(name).count == 1, "\(field)")
                if !value.isEmpty { #expect(written.values(name) == [String(value)]) }
            }
        }
    }
}

extension String {
    fileprivate func trimmingSuffix(while drops: (Character) -> Bool) -> Substring {
        var rest = self[...]
        while let last = rest.last, drops(last) { rest.removeLast() }
        return rest
    }
}
