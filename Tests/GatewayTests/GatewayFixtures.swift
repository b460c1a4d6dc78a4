import Configuration
import HTTP
import Testing

@testable import Gateway

// What the tables of this target are written in: routes, heads and paths as text.

/// A configuration with one upstream, `api`, and the routes given.
func configuration(
    _ routes: [RouteConfiguration], hosts: [HostConfiguration] = []
) -> Configuration {
    var upstream = UpstreamConfiguration(name: "api")
    upstream.servers = [.name("upstream.internal", port: 8080)]
    var configuration = Configuration()
    configuration.upstreams = [upstream]
    configuration.routes = routes
    configuration.hosts = hosts
    return configuration
}

/// A route to `api`; a path that begins with `=` is exact.
func route(
    _ path: String, _ change: (inout RouteConfiguration) -> Void = { _ in }
) -> RouteConfiguration {
    var route = RouteConfiguration(path: path.hasPrefix("=") ? String(path.dropFirst()) : path)
    route.isExact = path.hasPrefix("=")
    route.upstream = "api"
    change(&route)
    return route
}

func compiled(
    _ path: String = "/", _ change: (inout RouteConfiguration) -> Void = { _ in }
) -> CompiledRoute {
    RouteTable(configuration: configuration([route(path, change)])).routes[0]
}

/// A request head, read by the gateway's own parser.
///
/// - Parameter text: request line and fields, one a line.
func requestHead(_ text: String) throws -> RequestHead {
    let bytes = Array((text.replacing("\n", with: "\r\n") + "\r\n\r\n").utf8)
    let head = RequestHead()
    var parser = RequestHeadParser(limits: HTTP1Limits())
    let progress = try parser.parse(bytes.span, from: 0, into: head)
    #expect(progress == .complete(nextOffset: bytes.count))
    return head
}

/// An upstream's answer, read by the gateway's own parser.
func responseHead(_ text: String, to method: HTTP.Method = .get) throws -> ResponseHead {
    let bytes = Array((text.replacing("\n", with: "\r\n") + "\r\n\r\n").utf8)
    let head = ResponseHead()
    var parser = ResponseHeadParser(limits: HTTP1Limits())
    let progress = try parser.parse(bytes.span, from: 0, into: head, requestMethod: method)
    #expect(progress == .complete(nextOffset: bytes.count))
    return head
}

/// The method of that name.
func method(_ name: String) -> HTTP.Method {
    let known: [String: HTTP.Method] = [
        "GET": .get, "HEAD": .head, "POST": .post, "PUT": .put, "PATCH": .patch, "DELETE": .delete,
        "OPTIONS": .options, "TRACE": .trace, "CONNECT": .connect,
    ]
    return known[name] ?? .other
}

/// A head as it was written, taken apart again.
struct WrittenHead {
    let startLine: String
    let fields: [(name: String, value: String)]
    let body: String

    init(_ bytes: [UInt8]) throws {
        let text = String(decoding: bytes, as: UTF8.self)
        let end = try #require(text.firstRange(of: "\r\n\r\n"))
        // "\r\n" is one Character, so that a bare CR or LF does not split a line here.
        let lines = text[..<end.lowerBound].split(
            separator: "\r\n", omittingEmptySubsequences: false)
        startLine = String(try #require(lines.first))
        fields = try lines.dropFirst().map { line in
            let colon = try #require(line.firstRange(of: ": "))
            return (String(line[..<colon.lowerBound]), String(line[colon.upperBound...]))
        }
        body = String(text[end.upperBound...])
    }

    /// All values of the fields of that name, in any letter case.
    func values(_ name: String) -> [String] {
        fields.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
    }

    var names: [String] { fields.map { $0.name.lowercased() } }
}

/// A clock's reading for replies.
let someDate = Array("Thu, 01 Jan 2026 00:00:00 GMT".utf8)
