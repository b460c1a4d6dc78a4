import Configuration
import Testing

@testable import Gateway

@Suite struct PathRewriteTests {
    struct Example: CustomTestStringConvertible, Sendable {
        var path: String
        var strip: String?
        var rewrites: [[String]] = []
        var expected: String
        var testDescription: String { "\(path) -\(strip ?? "") \(rewrites) -> \(expected)" }
    }

    static let examples: [Example] = [
        .init(path: "/", expected: "/"),
        .init(path: "/a/b", expected: "/a/b"),
        .init(path: "/api", strip: "/api", expected: "/"),
        .init(path: "/api/", strip: "/api", expected: "/"),
        .init(path: "/api/x/", strip: "/api", expected: "/x/"),
        .init(path: "/api/x", strip: "/api/", expected: "/x"),
        .init(path: "/api/", strip: "/api/", expected: "/"),
        .init(path: "/api", strip: "/api/", expected: "/api"),
        .init(path: "/x", strip: "/", expected: "/x"),
        // Not at the end of a segment: the segment is not cut.
        .init(path: "/apix", strip: "/api", expected: "/apix"),
        .init(path: "/api;a=1/x", strip: "/api", expected: "/api;a=1/x"),
        .init(path: "/other", strip: "/api", expected: "/other"),
        .init(path: "/v1/x", rewrites: [["/v1", "/v2"]], expected: "/v2/x"),
        .init(path: "/v1", rewrites: [["/v1", "/v2"]], expected: "/v2"),
        .init(path: "/v1/x", rewrites: [["/v1", "/v2/"]], expected: "/v2/x"),
        .init(path: "/v1/x", rewrites: [["/v1/", "/v2"]], expected: "/v2/x"),
        .init(path: "/v1/x", rewrites: [["/v1/", "/"]], expected: "/x"),
        .init(path: "/v1/x", rewrites: [["/v1", "/"]], expected: "/x"),
        .init(path: "/v1/x", rewrites: [["/v1", ""]], expected: "/x"),
        .init(path: "/v1/x", rewrites: [["/v1", "v2"]], expected: "/v2/x"),
        .init(path: "/v10", rewrites: [["/v1", "/v2"]], expected: "/v10"),
        .init(path: "/x", rewrites: [["/", "/root/"]], expected: "/root/x"),
        .init(path: "/", rewrites: [["/", "/root"]], expected: "/root"),
        // The first that matches, and only that.
        .init(
            path: "/a/x", rewrites: [["/b", "/c"], ["/a", "/b"], ["/a", "/d"]], expected: "/b/x"),
        // Stripped first, then rewritten.
        .init(path: "/api/v1/x", strip: "/api", rewrites: [["/v1", "/v2"]], expected: "/v2/x"),
        .init(path: "/api", strip: "/api", rewrites: [["/", "/home"]], expected: "/home"),
        .init(path: "/api/x", strip: "/api", rewrites: [["/api", "/y"]], expected: "/x"),
    ]

    @Test(arguments: examples)
    func wholeSegmentsAreReplaced(_ example: Example) {
        let rewrites = PathRewrites(
            strip: example.strip,
            rewrites: example.rewrites.map { Rewrite(from: $0[0], to: $0[1]) })
        var output = Array("GET ".utf8)
        rewrites.append(example.path.utf8Span.span, to: &output)
        #expect(String(decoding: output, as: UTF8.self) == "GET " + example.expected)
    }

    @Test func theQueryStaysWithAPathThatIsRewritten() throws {
        let written = try UpstreamRequestTests.forward(
            "GET /api/x?a=/api/ HTTP/1.1\nHost: h"
        ) { $0.stripPrefix = "/api" }
        #expect(written.startLine == "GET /x?a=/api/ HTTP/1.1")
    }
}
