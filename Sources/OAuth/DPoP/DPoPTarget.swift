import HTTP

/// The target URI of a request, or an `htu`, without query and fragment, in the one form in which two of them are
/// compared (RFC 9449 section 4.3: after the normalisation of RFC 3986 sections 6.2.2 and 6.2.3).
public struct DPoPTarget: Sendable, Equatable {
    private let isTLS: Bool
    private let authority: [UInt8]
    private let path: [UInt8]

    /// Of a request as its client sees it.
    ///
    /// - Parameters:
    ///   - authority: host and port, as in Host.
    ///   - path: as received, without the query.
    /// - Returns: `nil` where no `htu` could name it: `OPTIONS *`, user information, an escape that is none.
    public init?(isTLS: Bool, authority: [UInt8], path: [UInt8]) {
        guard let authority = DPoPTarget.normalized(authority: authority[...], isTLS: isTLS),
            let path = DPoPTarget.normalized(path: path[...])
        else { return nil }
        self.isTLS = isTLS
        self.authority = authority
        self.path = path
    }

    /// The `htu` that names it.
    public var text: String {
        (isTLS ? "https://" : "http://") + String(decoding: authority + path, as: UTF8.self)
    }

    /// What a request's client may know its target as under the addresses that are public: under those of the authority
    /// that it used, where any is, and otherwise under each.
    ///
    /// - Returns: none where no `htu` could name it.
    public static func all(
        of head: RequestHead, from origin: RequestOrigin, under publicOrigins: [PublicOrigin]
    ) -> [DPoPTarget] {
        guard !head.isAsterisk else { return [] }
        let path = Array(bytes: head.span(of: head.path))
        let used = origin.authority(of: head)
        var all: [DPoPTarget] = []
        var meant: [DPoPTarget] = []
        for known in publicOrigins {
            guard
                let target = DPoPTarget(
                    isTLS: known.isTLS, authority: known.authority, path: known.prefix + path)
            else { continue }
            all.append(target)
            if normalized(authority: used[...], isTLS: known.isTLS) == target.authority {
                meant.append(target)
            }
        }
        return meant.isEmpty ? all : meant
    }

    /// What it may know it as by the scheme and the authority that it used, as the base string of OAuth 1.0 has them (RFC
    /// 5849 section 3.4.1.2). Whether that authority is ours is the caller's to see.
    ///
    /// - Returns: `nil` where no `htu` could name it.
    public init?(of head: RequestHead, from origin: RequestOrigin) {
        guard !head.isAsterisk else { return nil }
        self.init(
            isTLS: origin.isTLS, authority: origin.authority(of: head),
            path: Array(bytes: head.span(of: head.path)))
    }

    /// Of an `htu`. Query and fragment have no place there (section 4.2), yet common clients send them: they are left
    /// out, as they are of the request.
    init?(uri: ArraySlice<UInt8>) {
        guard let colon = uri.firstIndex(of: 0x3A), uri[colon...].starts(with: "://".utf8) else {
            return nil
        }
        let scheme = uri[..<colon].map(DPoPTarget.lowercased)
        guard scheme == Array("https".utf8) || scheme == Array("http".utf8) else { return nil }
        let rest = uri[(colon + 3)...].prefix { $0 != 0x3F && $0 != 0x23 }
        let authority = rest.prefix { $0 != 0x2F }
        self.init(
            isTLS: scheme.count == 5, authority: Array(authority),
            path: Array(rest[authority.endIndex...]))
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- 0x41 < 26 ? byte | 0x20 : byte
    }

    /// The host in lower case; the port as a number, left out where it is empty or the scheme's own (section 6.2.3).
    private static func normalized(authority: ArraySlice<UInt8>, isTLS: Bool) -> [UInt8]? {
        // An escaped host is nobody's Host, and user information is no part of it.
        guard authority.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x40 && $0 != 0x25 }) else {
            return nil
        }
        var host = authority
        var port: Int?
        if let colon = authority.lastIndex(of: 0x3A), !authority[colon...].contains(0x5D) {
            host = authority[..<colon]
            let digits = authority[(colon + 1)...]
            if !digits.isEmpty {
                guard digits.count <= 8, digits.allSatisfy({ $0 &- 0x30 < 10 }) else { return nil }
                port = digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
            }
        }
        guard !host.isEmpty else { return nil }
        let output = host.map(lowercased)
        guard let port, port != (isTLS ? 443 : 80) else { return output }
        return output + Array(":\(port)".utf8)
    }

    /// Escapes of unreserved characters resolved, the others in upper case, dot segments taken out (section 6.2.2); an
    /// empty path is `/`.
    private static func normalized(path: ArraySlice<UInt8>) -> [UInt8]? {
        guard let first = path.first else { return [0x2F] }
        guard first == 0x2F else { return nil }
        var text: [UInt8] = []
        var index = path.startIndex
        while index < path.endIndex {
            let byte = path[index]
            guard byte > 0x20, byte < 0x7F else { return nil }
            guard byte == 0x25 else {
                text.append(byte)
                index += 1
                continue
            }
            var decoded: [UInt8] = []
            guard index + 2 < path.endIndex,
                PercentCoding.decode(
                    path.span, index - path.startIndex..<index - path.startIndex + 3,
                    plus: .isPlus, into: &decoded), let value = decoded.first
            else { return nil }
            // Encodes again whatever is not unreserved, with digits in upper case.
            PercentCoding.append(value, to: &text)
            index += 3
        }
        return withoutDotSegments(text)
    }

    /// RFC 3986 section 5.2.4.
    private static func withoutDotSegments(_ path: [UInt8]) -> [UInt8] {
        let segments = path.dropFirst().split(separator: 0x2F, omittingEmptySubsequences: false)
        var kept: [ArraySlice<UInt8>] = []
        for (index, segment) in segments.enumerated() {
            let isParent = segment.elementsEqual("..".utf8)
            guard isParent || segment.elementsEqual(".".utf8) else {
                kept.append(segment)
                continue
            }
            if isParent { _ = kept.popLast() }
            // What a path ends with names a folder.
            if index == segments.count - 1 { kept.append([]) }
        }
        return [0x2F] + Array(kept.joined(separator: [0x2F]))
    }
}
