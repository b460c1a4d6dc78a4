import Configuration

/// What the Routing phase found.
public enum RouteMatch: Sendable {
    case route(CompiledRoute)
    /// Refused as `no_route`.
    case none
    /// The readings of a path with parameters lead to different routes; refused as `bad_path`.
    case ambiguous
}

/// All routes of one configuration, compiled: host, then path.
///
/// The host is chosen first and its routes alone count, as nginx chooses a server and then one of its
/// locations: a request for a host that is named never falls through to the routes outside `host` blocks.
/// An exact name comes before the longest wildcard, and that before the routes outside.
///
/// In a host, `= PATH` comes before prefixes, and of these the longest wins. A prefix is a prefix of bytes,
/// again as nginx has it: `/admin` catches `/admin`, `/admin/x`, `/admin;x` and `/administrator`, because
/// catching more is the safe side for a route that protects something.
public final class RouteTable: Sendable {
    /// Every route, by its `index`: those outside `host` blocks first, then host by host.
    public let routes: [CompiledRoute]
    private let exactHosts: ByteKeyTable
    /// Keyed by what follows the `*.`.
    private let wildcardHosts: ByteKeyTable
    private let trees: [PathTree]

    /// Compiles the routes of a configuration that was checked.
    public init(configuration: Configuration) {
        var routes: [CompiledRoute] = []
        var trees: [PathTree] = []
        var exact: [(key: [UInt8], value: Int)] = []
        var wildcard: [(key: [UInt8], value: Int)] = []

        func compile(_ group: [RouteConfiguration]) {
            var entries: [PathTree.Entry] = []
            for route in group {
                let compiled = CompiledRoute(route, index: routes.count, in: configuration)
                entries.append(
                    .init(path: compiled.path, isExact: compiled.isExact, route: compiled.index))
                routes.append(compiled)
            }
            // A route whose path has a delimiter escaped is meant for the plain spelling too, unless another one has that.
            for entry in entries {
                let plain = PathParameters.decodingDelimiters(of: entry.path.span)
                let isTaken = entries.contains { $0.path == plain && $0.isExact == entry.isExact }
                guard !isTaken else { continue }
                entries.append(.init(path: plain, isExact: entry.isExact, route: entry.route))
            }
            trees.append(PathTree(entries))
        }

        compile(configuration.routes)
        for host in configuration.hosts {
            for name in host.names {
                let key = name.utf8.map(lowercased)
                if key.starts(with: [0x2A, 0x2E]) {
                    wildcard.append((Array(key.dropFirst(2)), trees.count))
                } else {
                    exact.append((key, trees.count))
                }
            }
            compile(host.routes)
        }
        self.routes = routes
        self.trees = trees
        exactHosts = ByteKeyTable(exact)
        wildcardHosts = ByteKeyTable(wildcard)
    }

    /// Chooses the route of a request.
    ///
    /// - Parameters:
    ///   - authority: as received, with or without a port; empty when an HTTP/1.0 request names none.
    ///   - path: canonical (`CanonicalPath`), without the query; `/` for `OPTIONS *`.
    public func match(authority: Span<UInt8>, path: Span<UInt8>) -> RouteMatch {
        let tree = treeIndex(of: authority)
        let route = trees[tree].route(of: path)
        let parameters = PathParameters.presence(in: path)
        // Only a path with parameters pays for the other readings, and each must give the same answer.
        if parameters.plain, !agrees(tree, path, decoding: false, with: route) { return .ambiguous }
        if parameters.encoded, !agrees(tree, path, decoding: true, with: route) {
            return .ambiguous
        }
        if parameters.delimiters, !agreesDecoded(tree, path, with: route) { return .ambiguous }
        guard let route else { return .none }
        return .route(routes[route])
    }

    /// Whether a `host` block names the host of an authority.
    public func isNamed(_ authority: Span<UInt8>) -> Bool { treeIndex(of: authority) != 0 }

    private func agrees(
        _ tree: Int, _ path: Span<UInt8>, decoding: Bool, with route: Int?
    ) -> Bool {
        guard let bare = PathParameters.removed(from: path, decoding: decoding) else {
            return false
        }
        return trees[tree].route(of: bare.span) == route
    }

    private func agreesDecoded(_ tree: Int, _ path: Span<UInt8>, with route: Int?) -> Bool {
        let decoded = PathParameters.decodingDelimiters(of: path)
        guard trees[tree].route(of: decoded.span) == route else { return false }
        return !decoded.contains(0x3B) || agrees(tree, decoded.span, decoding: false, with: route)
    }

    /// Which tree serves an authority; 0 is the one outside all hosts.
    private func treeIndex(of authority: Span<UInt8>) -> Int {
        if exactHosts.isEmpty, wildcardHosts.isEmpty { return 0 }
        let end = Self.hostEnd(of: authority)
        var hash = ByteKeyTable.emptyHash
        var longestWildcard: Int?
        var index = end
        while index > 0 {
            index -= 1
            let byte = lowercased(authority[index])
            // What follows this dot is complete; a wildcard needs at least one byte in front of the dot.
            if byte == 0x2E, index > 0, !wildcardHosts.isEmpty,
                let tree = wildcardHosts.value(of: authority, in: index + 1..<end, hash: hash)
            {
                longestWildcard = tree
            }
            hash = ByteKeyTable.extend(hash, with: byte)
        }
        return exactHosts.value(of: authority, in: 0..<end, hash: hash) ?? longestWildcard ?? 0
    }

    /// Where the host ends: before the port, and before the dot that ends an absolute name.
    private static func hostEnd(of authority: Span<UInt8>) -> Int {
        var end = authority.count
        var index = authority.count
        while index > 0 {
            index -= 1
            if authority[index] == 0x5D { break }
            if authority[index] == 0x3A {
                end = index
                break
            }
        }
        return end > 1 && authority[end - 1] == 0x2E ? end - 1 : end
    }
}
