import HTTP
import Testing

/// Each limit holds at its value and refuses one more, whole or byte by byte.
struct LimitTests {
    /// Fed in pieces of one byte.
    static func slowly(_ text: String, limits: HTTP1Limits) -> HTTP1Error? {
        let head = RequestHead()
        var parser = RequestHeadParser(limits: limits)
        do throws(HTTP1Error) {
            for byte in text.utf8 { _ = try parser.parse([byte].span, from: 0, into: head) }
        } catch {
            return error
        }
        return nil
    }

    @Test func requestLine() {
        let limits = HTTP1Limits(requestLineBytes: 64)
        func line(_ count: Int) -> String {
            "GET /" + String(repeating: "a", count: count - 14) + " HTTP/1.1\r\nHost: h\r\n\r\n"
        }
        #expect(parseRequest(line(64), limits: limits).head != nil)
        #expect(Self.slowly(line(64), limits: limits) == nil)
        #expect(parseRequest(line(65), limits: limits).fault == .requestLineTooLong)
        #expect(Self.slowly(line(65), limits: limits) == .requestLineTooLong)
        let endless = "GET /" + String(repeating: "a", count: 64)
        #expect(parseRequest(endless, limits: limits).fault == .requestLineTooLong)
        #expect(HTTP1Error.requestLineTooLong.status == 414)
    }

    @Test func head() {
        let limits = HTTP1Limits(headBytes: 128)
        func head(_ count: Int) -> String {
            let start = "GET / HTTP/1.1\r\nHost: h\r\nX: "
            let rest = count - start.utf8.count - 4
            return start + String(repeating: "x", count: rest) + "\r\n\r\n"
        }
        #expect(head(128).utf8.count == 128)
        #expect(parseRequest(head(128), limits: limits).head != nil)
        #expect(Self.slowly(head(128), limits: limits) == nil)
        #expect(parseRequest(head(129), limits: limits).fault == .headTooLarge)
        #expect(Self.slowly(head(129), limits: limits) == .headTooLarge)
        // Tabs are stored one by one; they count as well.
        let tabs = "GET / HTTP/1.1\r\nHost: h\r\nX:" + String(repeating: "\t", count: 128)
        #expect(parseRequest(tabs, limits: limits).fault == .headTooLarge)
        #expect(HTTP1Error.headTooLarge.status == 431)
    }

    @Test func fieldCount() {
        func head(_ count: Int) -> String {
            "GET / HTTP/1.1\r\nHost: h\r\n" + String(repeating: "X: y\r\n", count: count - 1)
                + "\r\n"
        }
        #expect(parseRequest(head(100)).head?.fields.count == 100)
        #expect(parseRequest(head(101)).fault == .tooManyFields)
        #expect(HTTP1Error.tooManyFields.status == 431)
    }

    @Test func emptyLinesBeforeARequest() {
        let head = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
        #expect(parseRequest(String(repeating: "\r\n", count: 4) + head).head != nil)
        #expect(
            parseRequest(String(repeating: "\r\n", count: 5) + head).fault == .tooManyEmptyLines)
    }

    @Test func connectionOptions() {
        func head(_ count: Int) -> String {
            request("Connection: " + String(repeating: "a,", count: count))
        }
        #expect(parseRequest(head(100)).head != nil)
        #expect(parseRequest(head(101)).fault == .tooManyFields)
    }

    @Test func lengthOfABody() {
        let largest = request("Content-Length: 999999999999999999")
        #expect(parseRequest(largest).head?.framing == .length(999_999_999_999_999_999))
        for length in ["1000000000000000000", "9223372036854775808", "18446744073709551621"] {
            #expect(
                parseRequest(request("Content-Length: \(length)")).fault == .contentLengthInvalid)
        }
    }

    @Test func everyFaultHasAStatusOfItsClass() {
        #expect(HTTP1Error.allCases.count == 33)
        for error in HTTP1Error.allCases {
            #expect([400, 414, 431, 501, 505].contains(error.status), "\(error)")
        }
    }
}
