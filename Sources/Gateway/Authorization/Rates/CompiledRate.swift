import Configuration
import Cryptography

/// One `rate_limit` line, ready to be judged by.
final class CompiledRate: Sendable {
    let limit: RateLimit
    let cells: CellRate
    /// What its budgets are known by: the place of the line in the conf and what it says, so that a reload hands out no new
    /// ones, and gateways of a fleet mean the same.
    let identity: [UInt8]
    /// What a client is told: `route-client`.
    let name: String
    /// For `explain`: the line, and whose it is.
    let text: String

    init(_ limit: RateLimit, of place: RatePlace) {
        self.limit = limit
        cells = CellRate(interval: limit.interval, burst: limit.burst)
        identity = RatePlace.digest(place.words + [limit.text])
        name = "\(place.kind)-\(limit.subject.rawValue)"
        text = "rate_limit \(limit.text) of \(place.words.joined(separator: " "))"
    }
}

/// Where a `rate_limit` line stands.
struct RatePlace {
    let kind: String
    /// Names it among all.
    let words: [String]

    static func listener(_ name: String) -> RatePlace {
        RatePlace(kind: "listener", words: ["listener", name])
    }

    /// - Parameter host: the first name of the block around it; `nil` outside. Adding another changes nothing.
    static func route(_ route: RouteConfiguration, host: String?) -> RatePlace {
        let path = (route.isExact ? ["="] : []) + [route.path]
        return RatePlace(kind: "route", words: ["route"] + path + (host.map { ["in", $0] } ?? []))
    }

    static func client(_ id: String) -> RatePlace {
        RatePlace(kind: "client", words: ["client", id])
    }

    /// 16 bytes that say the same as the words.
    static func digest(_ words: [String]) -> [UInt8] {
        var input: [UInt8] = []
        for word in words {
            input.append(contentsOf: word.utf8)
            // No word of a conf has one.
            input.append(0)
        }
        return Array(Digest.hash(input.span, .sha256).prefix(16))
    }
}

/// Every `rate_limit` of a configuration, by where a request meets it.
final class RatePlan: Sendable {
    /// Those of one place.
    struct Place: Sendable {
        /// Judged before any credential is looked at.
        let early: [CompiledRate]
        /// Judged when it is known who asks, and that it may.
        let late: [CompiledRate]

        init?(_ limits: [RateLimit], _ place: RatePlace) {
            guard !limits.isEmpty else { return nil }
            let rates = limits.map { CompiledRate($0, of: place) }
            // Whose budget it is, is known when the client is.
            let isClient = place.kind == "client"
            early = isClient ? [] : rates.filter { $0.limit.subject == .address }
            late = isClient ? rates : rates.filter { $0.limit.subject != .address }
        }
    }

    let listeners: [String: Place]
    let clients: [String: Place]
    /// By the index of the compiled route.
    let routes: [Place?]
    /// What `per route` counts by, by that index.
    let routeIDs: [[UInt8]]

    /// - Returns: `nil` where no line is: then nothing of this costs anything.
    init?(_ configuration: Configuration) {
        var listeners: [String: Place] = [:]
        var clients: [String: Place] = [:]
        var routes: [Place?] = []
        var routeIDs: [[UInt8]] = []
        for listener in configuration.listeners {
            listeners[listener.name] = Place(listener.rateLimits, .listener(listener.name))
        }
        for client in configuration.clients {
            clients[client.id] = Place(client.rateLimits, .client(client.id))
        }
        // In the order of `RouteTable`.
        let groups: [(String?, [RouteConfiguration])] =
            [(nil, configuration.routes)]
            + configuration.hosts.map { ($0.names.first, $0.routes) }
        for (host, group) in groups {
            for route in group {
                let place = RatePlace.route(route, host: host)
                routes.append(Place(route.rateLimits, place))
                routeIDs.append(RatePlace.digest(place.words))
            }
        }
        guard !listeners.isEmpty || !clients.isEmpty || routes.contains(where: { $0 != nil })
        else { return nil }
        self.listeners = listeners
        self.clients = clients
        self.routes = routes
        self.routeIDs = routeIDs
    }

    /// Hands over what a request meets before its credentials.
    ///
    /// - Parameter route: its index; `nil` where none is found, or the gateway itself answers.
    func forEachEarly(listener: String, route: Int?, _ body: ([CompiledRate]) -> Void) {
        if let place = listeners[listener] { body(place.early) }
        if let route, let place = routes[route] { body(place.early) }
    }

    /// Hands over what it meets when it may pass.
    ///
    /// - Parameter client: of ours; `nil` for others and where nobody is proven.
    func forEachLate(
        listener: String, route: Int?, client: String?, _ body: ([CompiledRate]) -> Void
    ) {
        if let place = listeners[listener] { body(place.late) }
        if let route, let place = routes[route] { body(place.late) }
        if let client, let place = clients[client] { body(place.late) }
    }
}
