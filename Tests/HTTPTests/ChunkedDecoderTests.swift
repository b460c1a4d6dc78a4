import HTTP
import Testing

struct ChunkedDecoderTests {
    static let accepted: [(wire: String, content: String, trailers: [String])] = [
        ("0\r\n\r\n", "", []),
        ("3\r\nabc\r\n0\r\n\r\n", "abc", []),
        ("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc", []),
        ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789", []),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", []),
        // Zeros in front are digits too, up to 16 of them.
        ("0000000000000003\r\nabc\r\n0000\r\n\r\n", "abc", []),
        // Content may look like framing.
        ("7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n", []),
        // Extensions are dropped.
        ("3;x=y\r\nabc\r\n0;z\r\n\r\n", "abc", []),
        ("3;x=\"a;b\"\t;\r\nabc\r\n0\r\n\r\n", "abc", []),
        // Trailers are kept apart.
        ("0\r\nA: 1\r\nb:\t2 \r\n\r\n", "", ["A=1", "b=2"]),
        ("1\r\nx\r\n0\r\nContent-Length: 9\r\n\r\n", "x", ["Content-Length=9"]),
    ]

    @Test(arguments: accepted)
    func contentAndTrailersComeOut(wire: String, content: String, trailers: [String]) {
        for step in 1...wire.utf8.count {
            let body = decode(wire, step: step)
            #expect(body.isEnded, "\(body)")
            #expect(body.content == content)
            #expect(body.trailers == trailers)
            #expect(body.rest == 0)
        }
    }

    @Test func whatFollowsTheBodyIsNotTaken() {
        let body = decode("1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n")
        #expect(body.isEnded)
        #expect(body.rest == 16)
    }

    static let refused: [(wire: String, fault: HTTP1Error)] = [
        // Sizes (RFC 9112 section 7.1; CVE-2013-2028, CVE-2023-47627).
        ("\r\nabc\r\n0\r\n\r\n", .invalidChunkSize),
        (";x\r\nabc\r\n", .invalidChunkSize),
        ("0x3\r\nabc\r\n", .invalidChunkSize),
        ("+3\r\nabc\r\n", .invalidChunkSize),
        ("-3\r\nabc\r\n", .invalidChunkSize),
        ("1_0\r\nabc\r\n", .invalidChunkSize),
        (" 3\r\nabc\r\n", .invalidChunkSize),
        ("3 \r\nabc\r\n", .invalidChunkSize),
        ("3\t\r\nabc\r\n", .invalidChunkSize),
        ("3 ;x\r\nabc\r\n", .invalidChunkSize),
        ("g\r\nabc\r\n", .invalidChunkSize),
        ("3,3\r\nabc\r\n", .invalidChunkSize),
        ("00000000000000003\r\nabc\r\n", .invalidChunkSize),
        ("8000000000000000\r\n", .invalidChunkSize),
        ("ffffffffffffffff\r\n", .invalidChunkSize),
        ("10000000000000003\r\nabc\r\n", .invalidChunkSize),
        // Line ends.
        ("3\nabc\r\n0\r\n\r\n", .invalidChunkSize),
        ("3\r\r\nabc\r\n", .invalidChunkSize),
        ("3\rabc\r\n", .invalidChunkSize),
        ("3\r\nabc\n0\r\n\r\n", .chunkNotTerminated),
        ("0\n\n", .invalidChunkSize),
        ("0\r\n\n", .bareLineFeed),
        ("0\r\nA: 1\n\r\n", .bareLineFeed),
        // Content longer or shorter than its size.
        ("3\r\nabcd\r\n0\r\n\r\n", .chunkNotTerminated),
        ("3\r\nabc0\r\n\r\n", .chunkNotTerminated),
        ("3\r\nabc\r0\r\n\r\n", .chunkNotTerminated),
        ("4\r\nabc\r\n0\r\n\r\n", .chunkNotTerminated),
        // Extensions hide no line end and no control.
        ("3;x\nabc\r\n0\r\n\r\n", .invalidChunkExtension),
        ("3;x=\"\n\"\r\nabc\r\n", .invalidChunkExtension),
        ("3;\0\r\nabc\r\n", .invalidChunkExtension),
        ("3;\u{7F}\r\nabc\r\n", .invalidChunkExtension),
        ("3;x\ry\r\nabc\r\n", .invalidChunkSize),
        // Trailers are field lines.
        ("0\r\nA : 1\r\n\r\n", .spaceBeforeColon),
        ("0\r\nA: 1\r\n 2\r\n\r\n", .obsFold),
        ("0\r\n: 1\r\n\r\n", .invalidFieldName),
        ("0\r\nGET\r\n\r\n", .missingColon),
        ("0\r\nA: \0\r\n\r\n", .controlByte),
    ]

    @Test(arguments: refused)
    func everythingElseIsRefusedHoweverItArrives(wire: String, fault: HTTP1Error) {
        let whole = decode(wire)
        #expect(whole.fault == fault)
        for step in 1..<wire.utf8.count {
            #expect(decode(wire, step: step) == whole, "in pieces of \(step)")
        }
    }

    @Test(arguments: ["", "3", "3\r", "3\r\n", "3\r\nab", "3\r\nabc\r", "0\r\n", "0\r\nA: 1\r\n"])
    func aCutBodyIsNoEnd(wire: String) {
        let body = decode(wire)
        #expect(!body.isEnded)
        #expect(body.fault == nil)
    }

    @Test func theLargestSizeIsRead() {
        // 2^62 - 1 bytes announced, none of them held.
        let body = decode("3fffffffffffffff\r\nx")
        #expect(body.content == "x")
        #expect(body.fault == nil)
    }

    @Test func extensionsAreBoundedToTheByte() {
        func body(_ count: Int) -> String {
            "1;" + String(repeating: "x", count: count) + "\r\na\r\n0\r\n\r\n"
        }
        // The CR counts, the semicolon belongs to the size.
        #expect(decode(body((16 << 10) - 1)).isEnded)
        #expect(decode(body(16 << 10)).fault == .chunkOverheadTooLarge)
    }

    @Test func extensionsOfManyChunksAddUp() {
        let wire = String(repeating: "1;xxxxxxx\r\na\r\n", count: 4096)
        #expect(decode(wire).fault == .chunkOverheadTooLarge)
    }

    @Test func contentPaysForExtensions() {
        let chunk = "100;signature\r\n" + String(repeating: "a", count: 256) + "\r\n"
        let body = decode(String(repeating: chunk, count: 4096) + "0\r\n\r\n")
        #expect(body.isEnded)
        #expect(body.content.utf8.count == 1 << 20)
    }

    @Test func aLongStreamOfSingleBytesIsFine() {
        let body = decode(String(repeating: "1\r\na\r\n", count: 50_000) + "0\r\n\r\n")
        #expect(body.isEnded)
        #expect(body.content.utf8.count == 50_000)
    }

    @Test func trailersAreBounded() {
        let limits = HTTP1Limits(headBytes: 64, fieldCount: 2)
        // 64 bytes with the empty line.
        let value = String(repeating: "x", count: 57)
        #expect(decode("0\r\nA: \(value)\r\n\r\n", limits: limits).fault == nil)
        #expect(decode("0\r\nA: \(value)x\r\n\r\n", limits: limits).fault == .trailersTooLarge)
        #expect(decode("0\r\nA: 1\r\nB: 2\r\n\r\n", limits: limits).isEnded)
        let three = decode("0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n", limits: limits)
        #expect(three.fault == .trailersTooLarge)
    }
}
