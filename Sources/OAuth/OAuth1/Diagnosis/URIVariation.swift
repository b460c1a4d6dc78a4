import HTTP
import Primitives

/// How the base string URI is made; the default is RFC 5849 section 3.4.1.2.
struct URIRecipe {
    var isTLS: Bool
    var authority: [UInt8]
    var path: [UInt8]
    var query: [UInt8] = []
    var keepsDefaultPort = false
    var keepsCase = false

    init(_ input: SignatureInput) {
        isTLS = input.isTLS
        authority = input.authority
        path = input.path.isEmpty ? [0x2F] : input.path
    }

    var uri: [UInt8] {
        var output: [UInt8] = []
        BaseString.appendURI(
            isTLS: isTLS, authority: authority.span, path: [0x2F].span, to: &output)
        // Without the path, which may be empty here.
        output.removeLast()
        let host = isTLS ? 8 : 7
        if keepsCase {
            output.replaceSubrange(host..., with: authority.prefix(output.count - host))
        }
        if keepsDefaultPort, Array(output[host...]).port == nil {
            output += isTLS ? ":443".utf8 : ":80".utf8
        }
        output += path
        return query.isEmpty ? output : output + [0x3F] + query
    }
}

extension [UInt8] {
    /// `:` and what follows; `nil` without a port. The colons of an IPv6 address are none.
    fileprivate var port: [UInt8]? {
        guard let colon = lastIndex(of: 0x3A), !self[colon...].contains(0x5D) else { return nil }
        return Array(self[colon...])
    }
}

/// The base string URIs that clients make otherwise.
struct URIVariation {
    let mistake: OAuth1Mistake
    let uri: [UInt8]

    /// Prefixes that proxies in front are often told to take away.
    private static let usualPrefixes = ["/api", "/public", "/gateway", "/rest", "/v1", "/v2"]

    /// - Parameter origins: other addresses that clients may know this gateway by.
    static func all(_ input: SignatureInput, origins: [PublicOrigin]) -> [URIVariation] {
        let right = URIRecipe(input)
        var variations: [URIVariation] = []
        func add(_ mistake: OAuth1Mistake, _ change: (inout URIRecipe) -> Void) {
            var recipe = right
            change(&recipe)
            let uri = recipe.uri
            if uri != right.uri { variations.append(URIVariation(mistake: mistake, uri: uri)) }
        }
        add(right.isTLS ? .schemeHTTP : .schemeHTTPS) { $0.isTLS.toggle() }
        add(.portDropped) { $0.dropPort() }
        add(right.isTLS ? .schemeHTTP : .schemeHTTPS) {
            $0.isTLS.toggle()
            $0.dropPort()
        }
        add(.portKept) { $0.keepsDefaultPort = true }
        add(.hostCase) { $0.keepsCase = true }
        add(.pathDecoded) { $0.path = SignatureInput.decoded($0.path, .isPlus) ?? $0.path }
        add(.pathEncodedTwice) { $0.path = encodedPath($0.path) }
        add(.slashMissing) { if $0.path == [0x2F] { $0.path = [] } }
        add(.trailingSlashDropped) { if $0.path.last == 0x2F { $0.path.removeLast() } }
        add(.trailingSlashAdded) { if $0.path.last != 0x2F { $0.path.append(0x2F) } }
        add(.queryInURI) { $0.query = input.query }
        for prefix in usualPrefixes { add(.pathPrefix) { $0.path = Array(prefix.utf8) + $0.path } }
        add(.pathPrefixAdded) {
            if let second = $0.path.dropFirst().firstIndex(of: 0x2F) {
                $0.path.removeSubrange(..<second)
            }
        }
        for origin in origins {
            for isTLS in [origin.isTLS, !origin.isTLS] {
                let isSameHost = origin.authority == input.authority
                add(isSameHost && !origin.prefix.isEmpty ? .pathPrefix : .otherHost) {
                    $0.isTLS = isTLS
                    $0.authority = origin.authority
                    $0.path =
                        origin.prefix + (input.receivedPath.isEmpty ? [0x2F] : input.receivedPath)
                }
            }
        }
        return variations
    }

    /// As a client encodes a path that it takes for unencoded: all but the slashes.
    private static func encodedPath(_ path: [UInt8]) -> [UInt8] {
        var style = EncodingStyle()
        style.kept = [0x2F]
        return style.encoded(path)
    }
}

extension URIRecipe {
    fileprivate mutating func dropPort() {
        if let port = authority.port { authority.removeLast(port.count) }
    }
}
