import Configuration
import Testing

@testable import Gateway

@Suite struct RouteTableTests {
    /// `host path` of the route that a request reaches, or what else is answered.
    private func match(_ table: RouteTable, _ authority: String, _ path: String) -> String {
        switch table.match(
            authority: Array(authority.utf8).span, path: Array(path.utf8).span)
        {
        case .route(let route):
            route.source + (route.isExact ? "=" : "") + String(decoding: route.path, as: UTF8.self)
        case .none: "none"
        case .ambiguous: "ambiguous"
        }
    }

    private func table(_ paths: [String]) -> RouteTable {
        RouteTable(configuration: configuration(paths.map { route($0) }))
    }

    static let byPath: [(path: String, expected: String)] = [
        ("/", "/"),
        ("/x", "/"),
        ("/api", "=/api"),
        ("/api/", "/api/"),
        ("/api/v1", "/api/v1"),
        ("/api/v1/x", "/api/v1"),
        // A prefix is one of bytes.
        ("/api/v10", "/api/v1"),
        ("/apix", "/api"),
        ("/ap", "/"),
        ("/api/v2", "/api/"),
        ("/exact", "=/exact"),
        ("/exact/", "/"),
        ("/exactly", "/"),
        // Case matters in a path.
        ("/API", "/"),
        ("*", "none"),
    ]

    @Test(arguments: byPath)
    func exactThenLongestPrefix(path: String, expected: String) {
        let table = table(["/api/v1", "/", "=/api", "/api", "/api/", "=/exact"])
        #expect(match(table, "h.example", path) == expected)
    }

    @Test func nothingMatchesWithoutACatchAll() {
        let table = table(["/api", "=/status"])
        for path in ["/", "/ap", "/statu", "/status/", "/other"] {
            #expect(match(table, "h.example", path) == "none")
        }
        #expect(match(self.table([]), "h.example", "/") == "none")
    }

    static let byHost: [(authority: String, expected: String)] = [
        ("api.example.com", "exact/"),
        ("API.Example.COM", "exact/"),
        ("api.example.com:8443", "exact/"),
        ("api.example.com.", "exact/"),
        ("api.example.com.:80", "exact/"),
        ("other.example.com", "wide/"),
        ("a.b.example.com", "wide/"),
        ("a.deep.example.com", "deep/"),
        ("a.b.deep.example.com:80", "deep/"),
        // A wildcard stands for at least one label.
        ("example.com", "outside/"),
        (".example.com", "outside/"),
        ("deep.example.com", "wide/"),
        ("badexample.com", "outside/"),
        ("example.com.evil.test", "outside/"),
        ("192.0.2.1:80", "four/"),
        ("[2001:db8::1]:80", "six/"),
        ("[2001:DB8::1]", "six/"),
        ("[2001:db8::2]", "outside/"),
        ("second.test", "exact/"),
        ("", "outside/"),
        (":80", "outside/"),
        (".", "outside/"),
    ]

    @Test(arguments: byHost)
    func exactHostThenLongestWildcardThenOutside(authority: String, expected: String) {
        func host(_ names: [String], _ source: String) -> HostConfiguration {
            var host = HostConfiguration(names: names)
            host.routes = [route("/") { $0.source = source }]
            return host
        }
        let table = RouteTable(
            configuration: configuration(
                [route("/") { $0.source = "outside" }],
                hosts: [
                    host(["*.example.com"], "wide"), host(["*.deep.example.com"], "deep"),
                    host(["api.example.com", "second.test"], "exact"), host(["192.0.2.1"], "four"),
                    host(["[2001:db8::1]"], "six"),
                ]))
        #expect(match(table, authority, "/") == expected)
    }

    @Test func aNamedHostNeverFallsThrough() {
        var host = HostConfiguration(names: ["api.example.com"])
        host.routes = [route("/api")]
        let table = RouteTable(configuration: configuration([route("/")], hosts: [host]))
        #expect(match(table, "api.example.com", "/admin") == "none")
        #expect(match(table, "www.example.com", "/admin") == "/")
    }

    static let withParameters: [(path: String, expected: String)] = [
        // The same route under every reading.
        ("/admin;v=1", "/admin"),
        ("/admin;v=1/x", "/admin"),
        ("/admin/x;v=1", "/admin"),
        ("/x;y", "/"),
        ("/x%3By", "/"),
        // Dropping the parameters leads elsewhere.
        ("/adm;v=1in", "/"),
        ("/ad;x/min", "/"),
        ("/open;/x", "ambiguous"),
        ("/open%3B/x", "ambiguous"),
        ("/open%3b/x", "ambiguous"),
        ("/status;x", "ambiguous"),
        ("/status%3Bx", "ambiguous"),
        ("/status;a%3Bb", "ambiguous"),
        // The route itself names parameters; dropped, they lead to another.
        ("/public;a/admin", "ambiguous"),
        // What is left could be resolved once more.
        ("/x/..;a=1/admin", "ambiguous"),
        ("/x/..%3Ba/admin", "ambiguous"),
        ("/x/.;a/y", "ambiguous"),
        ("/x/;a/y", "ambiguous"),
        ("/;/admin", "ambiguous"),
        ("/x/;a", "/"),
        ("/x/..;", "ambiguous"),
        // Three dots are a name.
        ("/x/...;a/y", "/"),
    ]

    @Test(arguments: withParameters)
    func noReadingOfParametersLeavesTheRoute(path: String, expected: String) {
        let table = table(["/", "/admin", "/open/", "=/status", "/public;a"])
        #expect(match(table, "h.example", path) == expected)
    }

    static let withDelimiters: [(path: String, expected: String)] = [
        ("/v1/things:purge", "/v1/things:purge"),
        ("/v1/things%3Apurge", "ambiguous"),
        ("/v1/things%3apurge", "ambiguous"),
        ("/v1/things%3Aother", "/v1/"),
        ("/v1/things", "/v1/"),
        ("/Users(1)", "/Users(1)"),
        ("/Users%281%29", "ambiguous"),
        ("/Users%281)", "ambiguous"),
        ("/$metadata", "=/$metadata"),
        ("/%24metadata", "ambiguous"),
        ("/a@b,c=d!e&f'g*h+i", "/a@b,c=d!e&f'g*h+i"),
        ("/a%40b%2Cc%3Dd%21e%26f%27g%2Ah%2Bi", "ambiguous"),
        ("/public%3Ba/admin", "ambiguous"),
        // Parameters of the decoded path.
        ("/Users%281%29%3Bv=1", "ambiguous"),
        // No delimiters, or of no route.
        ("/%20%22%23%25%2F%3F%60", "/"),
        ("/x%3Ay", "/"),
        // No escapes: what follows is a control character, not a digit.
        ("/x%2\u{11}", "/"),
        ("/x%4\u{10}", "/"),
        // A route that has it escaped is meant by both spellings.
        ("/e%3Af", "/e%3Af"),
        ("/e:f", "/e%3Af"),
    ]

    /// A server that decodes a path before it chooses must find no other route than the one that was judged.
    @Test(arguments: withDelimiters)
    func noReadingOfDelimitersLeavesTheRoute(path: String, expected: String) {
        let table = table([
            "/", "/v1/", "/v1/things:purge", "/Users(1)", "=/$metadata", "/a@b,c=d!e&f'g*h+i",
            "/public;a", "/e%3Af",
        ])
        #expect(match(table, "h.example", path) == expected)
    }

    /// The tree answers as a search through the list does, for a hundred routes with common beginnings.
    @Test func aHundredRoutesAgreeWithALinearSearch() {
        var paths = ["/", "=/"]
        for first in 0..<7 {
            for second in 0..<7 {
                paths.append("/api/r\(first)/s\(second)")
                paths.append("=/api/r\(first)\(second)")
            }
        }
        #expect(paths.count == 100)
        let table = table(paths)
        func search(_ path: String) -> String {
            if paths.contains("=" + path) { return "=" + path }
            return paths.filter { !$0.hasPrefix("=") && path.hasPrefix($0) }
                .max { $0.count < $1.count } ?? "none"
        }
        var asked = 0
        for path in paths.map({ $0.hasPrefix("=") ? String($0.dropFirst()) : $0 }) {
            for variant in [path, path + "/", path + "1", path + "/x", String(path.dropLast())]
            where !variant.isEmpty {
                #expect(match(table, "h.example", variant) == search(variant), "\(variant)")
                asked += 1
            }
        }
        #expect(asked == 498)
    }
}
