/// Where documents about a URL lie: the well-known name goes between host and path (RFC 8414 section 3.1, RFC 9728
/// section 3.1).
enum WellKnown {
    /// Scheme and authority.
    static func origin(of url: String) -> String {
        let parts = url.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
        return parts.prefix(3).joined(separator: "/")
    }

    /// - Parameter keepsEnd: whether a slash at the end of a path counts; one that is the whole path never does.
    static func path(_ name: String, of url: String, keepsEnd: Bool) -> String {
        var path = String(url.dropFirst(origin(of: url).count))
        if keepsEnd, path != "/" { return "/.well-known/\(name)\(path)" }
        while path.hasSuffix("/") { path.removeLast() }
        return "/.well-known/\(name)\(path)"
    }
}
