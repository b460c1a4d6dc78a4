import HTTP
import Testing

@testable import Gateway

@Suite struct ResponseHeadTests {
    private func relay(
        _ response: String, to version: HTTPVersion = .http11, isHead: Bool = false,
        closes: Bool = false
    ) throws -> WrittenHead {
        let head = try responseHead(response, to: isHead ? .head : .get)
        var output: [UInt8] = []
        ResponseHeadWriter.append(
            head, version: version, isHead: isHead, closes: closes, date: someDate, to: &output)
        return try WrittenHead(output)
    }

    @Test func anAnswerAsAWhole() throws {
        let written = try relay(
            """
            HTTP/1.1 203 Somewhat OK
            Server: nginx
            Date: Fri, 02 Jan 2026 00:00:00 GMT
            Content-Length: 5
            Set-Cookie: a=b
            Set-Cookie: c=d
            WWW-Authenticate: Basic realm="x"
            """)
        #expect(written.startLine == "HTTP/1.1 203 Somewhat OK")
        #expect(
            written.fields.map { "\($0.name): \($0.value)" } == [
                "Server: nginx", "Date: Fri, 02 Jan 2026 00:00:00 GMT", "Set-Cookie: a=b",
                "Set-Cookie: c=d", "WWW-Authenticate: Basic realm=\"x\"", "Via: 1.1 gatehouse",
                "Content-Length: 5",
            ])
    }

    @Test func whatIsMissingIsAdded() throws {
        let written = try relay("HTTP/1.0 200 OK\nVia: 1.0 a\nContent-Length: 0")
        #expect(written.values("Date") == ["Thu, 01 Jan 2026 00:00:00 GMT"])
        #expect(written.values("Via") == ["1.0 a, 1.0 gatehouse"])
    }

    /// Ours goes before an upstream's, in an answer that nobody keeps.
    @Test func aNonceIsToldOnce() throws {
        let answer =
            "HTTP/1.1 200 OK\nContent-Length: 0\nDPOP-Nonce: theirs\ncache-control: public, max-age=9"
        #expect(try relay(answer).values("DPoP-Nonce") == ["theirs"])
        #expect(try relay(answer).values("Cache-Control") == ["public, max-age=9"])
        let head = try responseHead(answer)
        var output: [UInt8] = []
        ResponseHeadWriter.append(
            head, version: .http11, isHead: false, closes: false, date: someDate,
            nonce: Array("ours".utf8), to: &output)
        #expect(try WrittenHead(output).values("DPoP-Nonce") == ["ours"])
        #expect(try WrittenHead(output).values("Cache-Control") == ["no-store"])
        output = []
        ResponseHeadWriter.append(
            head, version: .http11, isHead: false, closes: false, date: someDate, hidesNonce: true,
            to: &output)
        #expect(try WrittenHead(output).values("DPoP-Nonce") == [])
        #expect(try WrittenHead(output).values("Cache-Control") == ["public, max-age=9"])
    }

    @Test func hopByHopFieldsStayBehind() throws {
        let written = try relay(
            """
            HTTP/1.1 200 OK
            Content-Length: 0
            Connection: close, X-Drop
            X-Drop: 1
            Keep-Alive: timeout=5
            Proxy-Connection: close
            Proxy-Authenticate: Basic
            Upgrade: h2c
            TE: trailers
            Trailer: X-End
            X-Keep: 1
            """)
        #expect(written.names.sorted() == ["content-length", "date", "via", "x-keep"])
    }

    struct FramingCase: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var response: String
        var version = HTTPVersion.http11
        var isHead = false
        var framing: BodyFraming
        var fields: [String]
    }

    static let framings: [FramingCase] = [
        .init(
            testDescription: "length", response: "200 OK\nContent-Length: 5", framing: .length(5),
            fields: ["content-length: 5"]),
        .init(
            testDescription: "length to 1.0", response: "200 OK\nContent-Length: 5",
            version: .http10, framing: .length(5),
            fields: ["content-length: 5", "connection: keep-alive"]),
        .init(
            testDescription: "chunked", response: "200 OK\nTransfer-Encoding: chunked",
            framing: .chunked, fields: ["transfer-encoding: chunked"]),
        .init(
            testDescription: "chunked with announced trailers",
            response: "200 OK\nTrailer: X-End\nTransfer-Encoding: chunked", framing: .chunked,
            fields: ["trailer: X-End", "transfer-encoding: chunked"]),
        .init(
            testDescription: "chunked to 1.0",
            response: "200 OK\nTrailer: X-End\nTransfer-Encoding: chunked", version: .http10,
            framing: .untilClose, fields: ["connection: close"]),
        .init(
            testDescription: "until close", response: "200 OK", framing: .chunked,
            fields: ["transfer-encoding: chunked"]),
        .init(
            testDescription: "until close to 1.0", response: "200 OK", version: .http10,
            framing: .untilClose, fields: ["connection: close"]),
        .init(
            testDescription: "HEAD", response: "200 OK\nContent-Length: 5", isHead: true,
            framing: .none, fields: ["content-length: 5"]),
        .init(
            testDescription: "HEAD of a chunked answer",
            response: "200 OK\nTransfer-Encoding: chunked", isHead: true, framing: .none,
            fields: []),
        .init(
            testDescription: "304", response: "304 Not Modified\nContent-Length: 5",
            framing: .none, fields: ["content-length: 5"]),
        .init(testDescription: "204", response: "204 No Content", framing: .none, fields: []),
        .init(
            testDescription: "204 to HEAD", response: "204 No Content\nContent-Length: 5",
            isHead: true, framing: .none, fields: []),
    ]

    @Test(arguments: framings)
    func theFramingIsWrittenAnew(_ example: FramingCase) throws {
        let text = "HTTP/1.1 " + example.response
        let head = try responseHead(text, to: example.isHead ? .head : .get)
        #expect(ResponseHeadWriter.framing(of: head, for: example.version) == example.framing)
        let written = try relay(
            text, to: example.version, isHead: example.isHead,
            closes: example.framing == .untilClose)
        #expect(
            written.fields.map { "\($0.name.lowercased()): \($0.value)" }
                .filter { !$0.hasPrefix("via") && !$0.hasPrefix("date") } == example.fields)
    }

    @Test func theConnectionEndsWhereItIsTold() throws {
        let response = "HTTP/1.1 200 OK\nContent-Length: 0"
        #expect(try relay(response, closes: true).values("Connection") == ["close"])
        #expect(try relay(response, to: .http10, closes: true).values("Connection") == ["close"])
        #expect(try relay(response).values("Connection") == [])
    }

    static let interim: [(status: String, request: String, relayed: Bool)] = [
        ("100 Continue", "POST / HTTP/1.1\nHost: h\nExpect: 100-continue\nContent-Length: 1", true),
        ("100 Continue", "POST / HTTP/1.1\nHost: h\nContent-Length: 1", false),
        (
            "100 Continue", "POST / HTTP/1.0\nHost: h\nExpect: 100-continue\nContent-Length: 1",
            false
        ),
        (
            "101 Switching Protocols", "GET / HTTP/1.1\nHost: h\nConnection: upgrade\nUpgrade: x",
            false
        ),
        ("102 Processing", "GET / HTTP/1.1\nHost: h", true),
        ("103 Early Hints", "GET / HTTP/1.1\nHost: h", true),
        ("103 Early Hints", "GET / HTTP/1.0\nHost: h", false),
        ("200 OK", "GET / HTTP/1.1\nHost: h", false),
    ]

    @Test(arguments: interim)
    func interimAnswersGoToWhoKnowsThem(status: String, request: String, relayed: Bool) throws {
        let response = try responseHead("HTTP/1.1 \(status)")
        #expect(
            try ResponseHeadWriter.relaysInterim(response, to: requestHead(request)) == relayed)
    }

    @Test func anInterimAnswerHasNoFramingAndEndsNothing() throws {
        let written = try relay("HTTP/1.1 103 Early Hints\nLink: </a>; rel=preload", closes: true)
        #expect(written.startLine == "HTTP/1.1 103 Early Hints")
        #expect(written.names == ["link", "via"])
    }
}

/// Neighbours are copied at once; what leaves is the same as if each line were put together.
@Suite struct FieldLinesTests {
    private func written(_ text: String, leavingOut left: Set<Int> = []) throws -> String {
        let head = try responseHead("HTTP/1.1 200 OK\n" + text)
        var lines = FieldLines(of: head.content)
        var output: [UInt8] = []
        for (index, line) in head.fields.enumerated() where !left.contains(index) {
            lines.append(line, to: &output)
        }
        lines.flush(to: &output)
        return String(decoding: output, as: UTF8.self)
    }

    @Test(arguments: [
        ("A: 1\nB: 2\nC: 3", "A: 1\r\nB: 2\r\nC: 3\r\n"),
        ("A:1\nB: 2", "A: 1\r\nB: 2\r\n"), ("A: 1 \nB:\t2\t\nC: 3", "A: 1\r\nB: 2\r\nC: 3\r\n"),
        ("A:  1\nB: 2\nC:", "A: 1\r\nB: 2\r\nC: \r\n"), ("A: \nB: a: b", "A: \r\nB: a: b\r\n"),
    ])
    func whatLeavesHasOneForm(text: String, expected: String) throws {
        #expect(try written(text) == expected)
    }

    @Test func whatIsLeftOutIsLeftOut() throws {
        let text = "A: 1\nB: 2\nC: 3\nD: 4\nE: 5"
        #expect(try written(text, leavingOut: [0]) == "B: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\n")
        #expect(try written(text, leavingOut: [1, 3]) == "A: 1\r\nC: 3\r\nE: 5\r\n")
        #expect(try written(text, leavingOut: [4]) == "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n")
        #expect(try written(text, leavingOut: [0, 1, 2, 3, 4]).isEmpty)
    }
}
