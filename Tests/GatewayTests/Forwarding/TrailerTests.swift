import HTTP
import Testing

@testable import Gateway

@Suite struct TrailerTests {
    static let trailers: [(line: String, relayed: Bool)] = [
        ("grpc-status: 0", true), ("X-Checksum: abc", true), ("Server-Timing: a", true),
        ("Content-Length: 5", false), ("Transfer-Encoding: chunked", false),
        ("Connection: close", false), ("Trailer: x", false), ("Host: h", false),
        ("Set-Cookie: a=b", false), ("Content-Type: text/html", false), ("Date: now", false),
        ("X-Auth-Client: admin", false), ("x_auth-CLIENT: admin", false),
        ("dpop: eyJ", false),
    ]

    @Test(arguments: trailers)
    func whatDescribesTheMessageHasNoPlaceBehindIt(line: String, relayed: Bool) throws {
        let body = Array("0\r\nX-First: 1\r\n\(line)\r\nX-Last: 2\r\n\r\n".utf8)
        var decoder = ChunkedDecoder()
        var offset = 0
        var output: [UInt8] = []
        do {
            guard case .end = try decoder.next(body.span, from: &offset) else {
                Issue.record("the body does not end")
                return
            }
            TrailerWriter.append(decoder.trailers, to: &output)
        } catch {
            // The decoder may refuse the line by itself; relayed it is then neither.
            #expect(!relayed)
            return
        }
        #expect(
            String(decoding: output, as: UTF8.self)
                == "X-First: 1\r\n" + (relayed ? line + "\r\n" : "") + "X-Last: 2\r\n")
    }
}
