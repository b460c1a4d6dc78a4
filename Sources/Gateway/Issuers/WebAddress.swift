import Configuration
import Primitives
import Transport

/// A URL that we ask: https, or http on this machine. Those of the conf have been checked; those of an issuer's metadata
/// are checked here.
struct WebAddress: Sendable, Equatable {
    let isTLS: Bool
    let endpoint: Endpoint
    /// Of `Host`: as it was written.
    let authority: String
    /// The request target: path and query.
    let target: String

    init?(_ url: String) {
        // Nothing that could end a line of the request, or be read in two ways.
        let isLegal = url.utf8.allSatisfy {
            (0x21...0x7E).contains($0) && !"#\"<>\\^`{|}".utf8.contains($0)
        }
        guard isLegal, url.utf8.count <= 2048, isAskable(url),
            let scheme = url.firstRange(of: "://")
        else { return nil }
        isTLS = url.hasPrefix("https")
        let rest = url[scheme.upperBound...]
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        authority = String(rest[..<end])
        let path = rest[end...]
        target = path.hasPrefix("/") ? String(path) : "/\(path)"
        let hasPort = authority.contains(":") && !authority.hasSuffix("]")
        let text = hasPort ? authority : "\(authority):\(isTLS ? 443 : 80)"
        switch Endpoint(text) {
        case .ip(let address, let port) where port > 0: endpoint = .ip(address, port: port)
        case .name(let name, let port) where port > 0: endpoint = .name(name, port: port)
        default: return nil
        }
    }

    /// The name that must be looked up; `nil` for an address.
    var hostName: String? {
        if case .name(let name, _) = endpoint { name } else { nil }
    }

    /// Whom the certificate must name.
    var serverName: TLSServerName {
        switch endpoint {
        case .ip(let address, _): .address(address)
        case .name(let name, _): .host(name)
        case .unix, .activated: .unknown
        }
    }
}
