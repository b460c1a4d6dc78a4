import HTTP
import Testing

/// What a request's head says beside its framing; the vectors prove what is refused.
struct RequestHeadTests {
    static let targets: [(line: String, path: String, query: String?, authority: String)] = [
        ("GET / HTTP/1.1", "/", nil, "h.example"),
        ("GET /a?b=c?d HTTP/1.1", "/a", "b=c?d", "h.example"),
        ("GET /? HTTP/1.1", "/", "", "h.example"),
        ("GET /a?b/../c HTTP/1.1", "/a", "b/../c", "h.example"),
        ("GET http://h.example HTTP/1.1", "", nil, "h.example"),
        ("GET http://h.example?q HTTP/1.1", "", "q", "h.example"),
        ("GET HTTP://H.EXAMPLE/a/b?q HTTP/1.1", "/a/b", "q", "H.EXAMPLE"),
        ("GET https://h.example/http://x/ HTTP/1.1", "/http://x/", nil, "h.example"),
        ("OPTIONS * HTTP/1.1", "*", nil, "h.example"),
        ("GET /%7Ea HTTP/1.0", "/%7Ea", nil, "h.example"),
    ]

    @Test(arguments: targets)
    func targetIsTakenApart(line: String, path: String, query: String?, authority: String) throws {
        let head = try #require(parseRequest(request(line: line)).head)
        #expect(head.span(of: head.path).text == path)
        #expect((head.hasQuery ? head.span(of: head.query).text : nil) == query)
        #expect(head.span(of: head.authority).text == authority)
        let isAbsolute = line.contains("://h.") || line.contains("://H.")
        #expect(head.isAbsoluteForm == isAbsolute)
        #expect(head.isAsterisk == line.contains("*"))
    }

    static let refusedTargets: [(line: String, fault: HTTP1Error)] = [
        ("GET http://other.example/ HTTP/1.1", .hostDisagrees),
        ("GET http://h.example:80/ HTTP/1.1", .hostDisagrees),
        ("GET http:///a HTTP/1.1", .invalidTarget),
        ("GET http://user@h.example/ HTTP/1.1", .invalidTarget),
        ("GET http://h.example:99999/ HTTP/1.1", .invalidTarget),
        ("GET ftp://h.example/ HTTP/1.1", .invalidTarget),
        ("GET h.example HTTP/1.1", .invalidTarget),
        ("GET * HTTP/1.1", .invalidTarget),
        ("GET /a#b HTTP/1.1", .invalidTarget),
        ("GET /%zz HTTP/1.1", .invalidTarget),
        ("CONNECT / HTTP/1.1", .invalidTarget),
        ("GET  / HTTP/1.1", .invalidRequestLine),
        ("GET / HTTP/1.1 ", .invalidVersion),
        ("GET /", .invalidRequestLine),
        ("GET / HTTP/2.0", .unsupportedVersion),
        ("GET / http/1.1", .invalidVersion),
        ("G(T / HTTP/1.1", .invalidMethod),
    ]

    @Test(arguments: refusedTargets)
    func otherTargetsAreRefused(line: String, fault: HTTP1Error) {
        #expect(parseRequest(request(line: line)).fault == fault)
    }

    @Test(arguments: [
        "h", "h:", "h:0", "h:65535", "192.0.2.1:80", "[::1]", "[2001:db8::7]:8443", "a_b.c",
    ])
    func hostIsHostAndPort(host: String) {
        let head = "GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n"
        #expect(parseRequest(head).head.map { $0.span(of: $0.authority).text } == host)
    }

    @Test(arguments: [
        "", ":80", "h:65536", "h:080000", "h:-1", "h:a", "a,b", "a b", "u@h", "h/", "h?", "h%41",
        "[::1", "::1", "[]", "[::g]", "[192.0.2.1]", "[fe80::1%25eth0]", "[v1.a]", "[::1]x",
    ])
    func otherHostsAreRefused(host: String) {
        let head = "GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n"
        #expect(parseRequest(head).fault == .hostInvalid)
    }

    @Test func methodsAreCaseSensitive() throws {
        let names = [
            "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
        ]
        for name in names {
            let method = HTTP.Method(Array(name.utf8).span)
            #expect("\(method.name)" == name)
            for other in [name.lowercased(), name + "S", String(name.dropLast()), "X" + name] {
                #expect(HTTP.Method(Array(other.utf8).span) == .other, "\(other)")
            }
        }
        let idempotent = HTTP.Method.allCases.filter(\.isIdempotent)
        #expect(idempotent == [.get, .head, .put, .delete, .options, .trace])
    }

    static let connections: [(version: String, fields: String, keeps: Bool)] = [
        ("1.1", "X: y", true),
        ("1.1", "Connection: close", false),
        ("1.1", "Connection: Keep-Alive", true),
        ("1.1", "Connection: x ,\tCLOSE , ,", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close", false),
        ("1.1", "Connection: closed", true),
        ("1.0", "X: y", false),
        ("1.0", "Connection: keep-alive", true),
        ("1.0", "Connection: keep-alive, close", false),
    ]

    @Test(arguments: connections)
    func connectionLivesOn(version: String, fields: String, keeps: Bool) {
        let head = parseRequest(request(fields, line: "GET / HTTP/\(version)")).head
        #expect(head?.keepsAlive == keeps)
    }

    @Test func connectionNamesFieldsInAnyCaseAndPlace() throws {
        let text = request(
            "a-field: 1", "Connection: close, A-Field", "B: 2", "C: 3", "A-FIELD: 4", "Ab: 5",
            "connection: ,b,")
        let head = try #require(parseRequest(text).head)
        let named = head.fields.filter(head.connectionNames).map { head.span(of: $0.value).text }
        #expect(named == ["1", "2", "4"])
        // The marks are gone with the head.
        head.reset()
        var parser = RequestHeadParser(limits: HTTP1Limits())
        let next = Array(request("B: 2", "Connection: keep-alive").utf8)
        _ = try parser.parse(next.span, from: 0, into: head)
        #expect(head.fields.count == 3)
        #expect(!head.fields.contains(where: head.connectionNames))
    }

    @Test func answersNameFieldsToo() throws {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nHop: 1\r\nConnection: hop\r\n\r\n"
        let head = try #require(parseResponse(text).head)
        let named = head.fields.filter(head.connectionNames).map { head.span(of: $0.value).text }
        #expect(named == ["1"])
    }

    static let expectations: [(version: String, field: String, continues: Bool, unknown: Bool)] = [
        ("1.1", "Expect: 100-continue", true, false),
        ("1.1", "expect: 100-Continue", true, false),
        ("1.1", "Expect: 200-maybe", false, true),
        ("1.1", "Expect: 100-continue, x", false, true),
        ("1.1", "Expect: 100-continue\r\nExpect: x", true, true),
        ("1.1", "X: 100-continue", false, false),
        // A 1.0 client knows no interim answers (RFC 9110 section 10.1.1).
        ("1.0", "Expect: 100-continue", false, false),
        ("1.0", "Expect: x", false, false),
    ]

    @Test(arguments: expectations)
    func expectation(version: String, field: String, continues: Bool, unknown: Bool) throws {
        let text = request(field, "Content-Length: 3", line: "POST /p HTTP/\(version)")
        let head = try #require(parseRequest(text).head)
        #expect(head.expectsContinue == continues)
        #expect(head.hasUnknownExpectation == unknown)
    }

    static let upgrades: [(version: String, fields: String, wants: Bool, webSocket: Bool)] = [
        ("1.1", "Connection: Upgrade\r\nUpgrade: WebSocket", true, true),
        ("1.1", "Connection: keep-alive, upgrade\r\nUpgrade: foo/2", true, false),
        ("1.1", "Upgrade: websocket", false, false),
        ("1.1", "Connection: upgrade", false, false),
        ("1.0", "Connection: upgrade\r\nUpgrade: websocket", false, false),
    ]

    @Test(arguments: upgrades)
    func upgrade(version: String, fields: String, wants: Bool, webSocket: Bool) throws {
        let text = request(fields, line: "GET / HTTP/\(version)")
        let head = try #require(parseRequest(text).head)
        #expect(head.wantsUpgrade == wants)
        #expect(head.upgradesToWebSocket == webSocket)
    }

    /// Two wrong things in one line: the first byte that is wrong decides, however the line arrives.
    static let twoFaults: [[UInt8]] = [
        [0x80, 0x01], [0x16, 0x03, 0x01], [0x47, 0x80, 0x0A], [0x47, 0x0D, 0x80],
        [0x28, 0x80], [0x0D, 0x80], [0x09], Array("GET /\u{E9} \0".utf8),
        [0x80] + [UInt8](repeating: 0x61, count: 9000),
        [UInt8](repeating: 0x61, count: 9000) + [0x80],
        Array("\r\n".utf8) + [0x80, 0x01],
    ]

    @Test(arguments: twoFaults)
    func theFirstFaultDecides(bytes: [UInt8]) {
        let whole = parseRequest(bytes).fault
        #expect(whole != nil)
        let head = RequestHead()
        var parser = RequestHeadParser(limits: HTTP1Limits())
        var slow: HTTP1Error?
        do throws(HTTP1Error) {
            for byte in bytes { _ = try parser.parse([byte].span, from: 0, into: head) }
        } catch {
            slow = error
        }
        #expect(slow == whole)
    }

    @Test func aHeadIsReusedWithoutATrace() throws {
        let head = RequestHead()
        var parser = RequestHeadParser(limits: HTTP1Limits())
        let first = Array(
            request(
                "Connection: upgrade, x", "Upgrade: websocket", "Expect: y", "Content-Length: 3",
                line: "PUT http://h.example/a?b HTTP/1.1"
            ).utf8)
        _ = try parser.parse(first.span, from: 0, into: head)
        head.reset()
        parser.reset()
        #expect(!parser.hasBegun)
        let second = Array("GET / HTTP/1.0\r\n\r\n".utf8)
        let progress = try parser.parse(second.span, from: 0, into: head)
        #expect(progress == .complete(nextOffset: second.count))
        #expect(head.method == .get)
        #expect(head.version == .http10)
        #expect(head.framing == .none)
        #expect(head.authority.isEmpty)
        #expect(head.fields.isEmpty)
        #expect(!head.hasQuery && !head.isAbsoluteForm && !head.keepsAlive)
        #expect(!head.wantsUpgrade && !head.upgradesToWebSocket && !head.hasUnknownExpectation)
        #expect(head.content.text == "GET / HTTP/1.0\r\n\r\n")
    }

    @Test func aChunkHeaderIsTheSizeInHexadecimal() {
        for (size, text) in [(1, "1"), (15, "f"), (16, "10"), (255, "ff"), (65536, "10000")] {
            var output: [UInt8] = [0x21]
            HTTP1Writer.appendChunkHeader(size: size, to: &output)
            #expect(String(decoding: output, as: UTF8.self) == "!\(text)\r\n")
        }
    }
}
