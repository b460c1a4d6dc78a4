import HTTP
import Testing

/// Answers are judged as strictly as requests: an upstream is a peer too.
struct ResponseHeadTests {
    static let framings: [(head: String, method: HTTP.Method, framing: BodyFraming, keeps: Bool)] =
        [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5", .get, .length(5), true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0", .get, .length(0), true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", .get, .chunked, true),
            // Neither: until the connection ends, which then cannot be used again.
            ("HTTP/1.1 200 OK\r\nX: y", .get, .untilClose, false),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive", .get, .untilClose, false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5", .get, .length(5), false),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive", .get, .length(5),
                true
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close", .get, .length(5), false),
            // No body whatever the fields say (RFC 9112 section 6.3).
            ("HTTP/1.1 200 OK\r\nContent-Length: 5", .head, .none, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", .head, .none, true),
            ("HTTP/1.1 200 OK\r\nX: y", .head, .none, true),
            ("HTTP/1.1 204 No Content\r\nX: y", .get, .none, true),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 5", .get, .none, true),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5", .get, .none, true),
            ("HTTP/1.1 100 Continue\r\nX: y", .post, .none, true),
            ("HTTP/1.1 103 Early Hints\r\nLink: </a>", .get, .none, true),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo", .get, .none, true),
        ]

    @Test(arguments: framings)
    func framingFollowsStatusMethodAndFields(
        head: String, method: HTTP.Method, framing: BodyFraming, keeps: Bool
    ) throws {
        let parsed = try #require(parseResponse(head + "\r\n\r\n", to: method).head)
        #expect(parsed.framing == framing)
        #expect(parsed.keepsAlive == keeps)
    }

    @Test func anAnswerToHeadStillTellsItsLength() throws {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
        let parsed = try #require(parseResponse(head, to: .head).head)
        #expect(parsed.hasContentLength)
        #expect(parsed.framing == .none)
    }

    static let statusLines: [(line: String, status: Int, reason: String)] = [
        ("HTTP/1.1 200 OK", 200, "OK"),
        ("HTTP/1.1 200 ", 200, ""),
        ("HTTP/1.1 200", 200, ""),
        ("HTTP/1.0 404 Not Found", 404, "Not Found"),
        ("HTTP/1.1 599 two\twords  and more", 599, "two\twords  and more"),
        ("HTTP/1.1 100 Continue", 100, "Continue"),
    ]

    @Test(arguments: statusLines)
    func statusLineIsRead(line: String, status: Int, reason: String) throws {
        let parsed = try #require(parseResponse(line + "\r\n\r\n").head)
        #expect(parsed.status == status)
        #expect(parsed.span(of: parsed.reason).text == reason)
        #expect(parsed.isInterim == (status < 200))
    }

    @Test(arguments: [
        "", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 20x OK", "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 Low", "HTTP/1.1 600 High", "HTTP/1.1 -20 OK", "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK", "HTTP/1.1 200OK", "HTTP/2 200 OK", "HTTP/1.2 200 OK",
        "http/1.1 200 OK", " HTTP/1.1 200 OK", "ICY 200 OK", "<html>",
    ])
    func anyOtherStatusLineIsRefused(line: String) {
        #expect(parseResponse(line + "\r\nX: y\r\n\r\n").fault == .invalidStatusLine)
    }

    static let faults: [(head: String, fault: HTTP1Error)] = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", .framingConflict
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", .framingConflict
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5", .contentLengthRepeated),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6", .contentLengthRepeated),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5", .contentLengthInvalid),
        ("HTTP/1.1 200 OK\r\nContent-Length: +5", .contentLengthInvalid),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999", .contentLengthInvalid),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", .unknownTransferCoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", .transferEncodingInvalid),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", .transferEncodingInHTTP10),
        // Where no body follows, two framings are two readings all the same.
        (
            "HTTP/1.1 304 X\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", .framingConflict
        ),
        ("HTTP/1.1 200 OK\r\nX: a\0b", .controlByte),
        ("HTTP/1.1 200 O\0K\r\nX: y", .controlByte),
        ("HTTP/1.1 200 OK\r\nX: a\u{7F}", .controlByte),
        ("HTTP/1.1 200 OK\nX: y", .bareLineFeed),
        ("HTTP/1.1 200 OK\rX: y", .bareCarriageReturn),
        ("HTTP/1.1 200 OK\r\nX: y\r\n folded", .obsFold),
        ("HTTP/1.1 200 OK\r\nX : y", .spaceBeforeColon),
        ("HTTP/1.1 200 OK\r\n: y", .invalidFieldName),
        ("HTTP/1.1 200 OK\r\nno colon", .spaceBeforeColon),
        ("HTTP/1.1 200 OK\r\ncolonless", .missingColon),
    ]

    @Test(arguments: faults)
    func faultsAreNamed(head: String, fault: HTTP1Error) {
        #expect(parseResponse(head + "\r\n\r\n").fault == fault)
    }

    @Test func aHugeHeadIsRefusedWhileItComes() {
        let limits = HTTP1Limits(headBytes: 1 << 10)
        let endless = "HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 2000)
        #expect(parseResponse(endless, limits: limits).fault == .headTooLarge)
        let many = "HTTP/1.1 200 OK\r\n" + String(repeating: "X: y\r\n", count: 101) + "\r\n"
        #expect(parseResponse(many).fault == .tooManyFields)
    }

    @Test func interimAndFinalAnswersFollowEachOtherInOneStream() throws {
        let bytes = Array(
            "HTTP/1.1 100 Continue\r\nA: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                .utf8)
        for step in 1...bytes.count {
            let head = ResponseHead()
            var parser = ResponseHeadParser(limits: HTTP1Limits())
            var statuses: [Int] = []
            var fieldCounts: [Int] = []
            var start = 0
            while start < bytes.count, statuses.count < 2 {
                let piece = Array(bytes[start..<min(start + step, bytes.count)])
                var offset = 0
                while statuses.count < 2,
                    case .complete(let next) = try parser.parse(
                        piece.span, from: offset, into: head, requestMethod: .post)
                {
                    offset = next
                    statuses.append(head.status)
                    fieldCounts.append(head.fields.count)
                    parser.reset()
                }
                start += piece.count
            }
            #expect(statuses == [100, 200], "in pieces of \(step)")
            #expect(fieldCounts == [1, 1], "in pieces of \(step)")
            #expect(head.framing == .length(2))
        }
    }
}
