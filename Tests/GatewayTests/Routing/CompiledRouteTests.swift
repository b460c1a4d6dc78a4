import Configuration
import Testing

@testable import Gateway

@Suite struct CompiledRouteTests {
    private func takes(_ route: CompiledRoute, _ name: String) -> Bool {
        route.takes(method(name), name: Array(name.utf8).span)
    }

    static let methods:
        [(configured: [String], takes: [String], refuses: [String], allow: String)] =
            [
                (
                    [], ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"],
                    ["CONNECT", "TRACE"], "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
                ),
                // HEAD is allowed by its name only, and names are case-sensitive.
                (["GET"], ["GET"], ["HEAD", "POST", "OPTIONS", "get", "GETX", "PROPFIND"], "GET"),
                (
                    ["GET", "PROPFIND"], ["GET", "PROPFIND"], ["PROPFIN", "PROPFINDX", "propfind"],
                    "GET, PROPFIND"
                ),
                (["TRACE", "CONNECT", "PUT"], ["PUT"], ["TRACE", "CONNECT"], "PUT"),
            ]

    @Test(arguments: methods)
    func methodsOfARoute(configured: [String], takes: [String], refuses: [String], allow: String) {
        let route = compiled { $0.methods = configured }
        for name in takes { #expect(self.takes(route, name), "\(name)") }
        for name in refuses { #expect(!self.takes(route, name), "\(name)") }
        #expect(String(decoding: route.methods.allow, as: UTF8.self) == allow)
    }

    @Test func everythingOfTheConfigurationIsThere() {
        let second = UpstreamConfiguration(name: "second")
        var whole = configuration([
            route("/a"),
            route("=/b") {
                $0.upstream = "second"
                $0.bodyBytes = 7
                $0.timeout = .seconds(3)
                $0.source = "gateway.conf:12"
                $0.authenticate = .all([.bearer, .oauth1])
            },
        ])
        whole.upstreams.append(second)
        let routes = RouteTable(configuration: whole).routes
        #expect(routes.map(\.index) == [0, 1])
        #expect(routes.map(\.upstreamIndex) == [0, 1])
        #expect(routes.map(\.isExact) == [false, true])
        #expect(routes.map(\.bodyLimitBytes) == [nil, 7])
        #expect(routes.map(\.timeout) == [nil, .seconds(3)])
        #expect(routes[1].source == "gateway.conf:12")
        #expect(routes[1].path == Array("/b".utf8))
        #expect(routes.map(\.accepted) == [[.bearer, .oauth1], [.bearer, .oauth1]])
        #expect(routes.map(\.isOpen) == [false, false])
        #expect(compiled { $0.authenticate = .open }.isOpen)
        #expect(compiled { $0.authenticate = .open }.accepted == [])
        #expect(compiled { $0.authenticate = .any([.oauth1]) }.accepted == .oauth1)
    }
}
