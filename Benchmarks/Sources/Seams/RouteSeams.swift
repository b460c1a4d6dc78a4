import Configuration
import Gateway

enum RouteSeams {
    /// - Parameters:
    ///   - hosts: 0 for routes outside `host` blocks; else each host has its share of the routes.
    static func match(routes: Int, hosts: Int) -> Seam {
        let authorities =
            hosts == 0 ? ["api.example.test"] : (0..<hosts).map { "api\($0).example.test" }
        let table = RouteTable(
            configuration: configuration(routes: routes, hosts: authorities, named: hosts > 0))
        // Every route in turn, by a path that goes on behind its prefix.
        let requests = (0..<routes).map { number in
            (
                Array(authorities[number % authorities.count].utf8),
                Array("\(path(number))/items/42".utf8)
            )
        }
        var known: [[UInt8]: Int] = [:]
        for (number, request) in requests.enumerated() { known[request.1] = number }
        let place = hosts > 0 ? ", \(hosts) hosts" : ""
        return Seam(
            name: "route match, \(routes) route\(routes == 1 ? "" : "s")\(place)",
            subject: { count in
                var next = 0
                for _ in 0..<count {
                    let (authority, path) = requests[next]
                    guard case .route = table.match(authority: authority.span, path: path.span)
                    else { fatalError("no route") }
                    next += 1
                    if next == requests.count { next = 0 }
                }
            },
            reference: "Dictionary look-up of the path",
            base: { count in
                var next = 0
                for _ in 0..<count {
                    guard known[requests[next].1] != nil else { fatalError("not there") }
                    next += 1
                    if next == requests.count { next = 0 }
                }
            })
    }

    private static func path(_ number: Int) -> String { "/service/\(number)/v1" }

    private static func configuration(routes: Int, hosts: [String], named: Bool) -> Configuration {
        var upstream = UpstreamConfiguration(name: "up")
        upstream.servers = [.name("upstream.internal", port: 8080)]
        var configuration = Configuration()
        configuration.upstreams = [upstream]
        let list = (0..<routes).map { number in
            var route = RouteConfiguration(path: path(number))
            route.upstream = "up"
            return route
        }
        guard named else {
            configuration.routes = list
            return configuration
        }
        configuration.hosts = hosts.enumerated().map { place, name in
            var host = HostConfiguration(names: [name])
            host.routes = list.indices.filter { $0 % hosts.count == place }.map { list[$0] }
            return host
        }
        return configuration
    }
}
