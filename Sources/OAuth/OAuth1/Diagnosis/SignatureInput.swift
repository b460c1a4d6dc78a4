import HTTP
import Primitives

/// A request cut into what takes part in its signature, raw and decoded, so that what a client made
/// of it can be made again.
struct SignatureInput {
    struct Pair {
        var name: [UInt8]
        var value: [UInt8]
        /// As they stand in the query or form, undecoded.
        let rawName: [UInt8]
        let rawValue: [UInt8]
        let source: OAuth1Parameters.Source
    }

    let method: [UInt8]
    let isTLS: Bool
    /// Host and port as received.
    let authority: [UInt8]
    let receivedPath: [UInt8]
    /// What was received, behind the prefix of a `public_url`.
    let path: [UInt8]
    let query: [UInt8]
    /// Without `oauth_signature` and realm, in the order in which they stand in field, query and
    /// form.
    let pairs: [Pair]
    let realm: [UInt8]?
    let body: [UInt8]
    let isForm: Bool

    /// - Parameters:
    ///   - isForm: whether the body's parameters are signed.
    ///   - origin: the `public_url` that clients are to sign for, where there is one.
    init(
        _ head: RequestHead, body: Span<UInt8>, isForm: Bool, isTLS: Bool,
        origin: PublicOrigin?
    ) throws(OAuth1Error) {
        method = Array(bytes: head.span(of: head.methodRange))
        self.isTLS = origin?.isTLS ?? isTLS
        authority = origin?.authority ?? Array(bytes: head.span(of: head.authority))
        receivedPath = Array(bytes: head.span(of: head.path))
        path = (origin?.prefix ?? []) + receivedPath
        query = Array(bytes: head.span(of: head.query))
        self.body = Array(bytes: body)
        self.isForm = isForm
        var pairs: [Pair] = []
        var realm: [UInt8]?
        if let line = head.value(of: .authorization), OAuth1Verifier.isOAuth(head, line) {
            let field = Array(bytes: head.span(of: line.value))
            var scanner = AuthorizationScanner(field.span, field.indices)
            while let pair = try scanner.next(field.span) {
                if OAuth1Parameters.isRealm(field.span, pair.name) {
                    realm = Array(field[pair.value])
                } else {
                    let name = Array(field[pair.name])
                    try pairs.append(
                        SignatureInput.pair(name, Array(field[pair.value]), .header))
                }
            }
        }
        try SignatureInput.append(query, .query, to: &pairs)
        if isForm { try SignatureInput.append(self.body, .form, to: &pairs) }
        self.realm = realm
        self.pairs = pairs.filter { $0.name != Array("oauth_signature".utf8) }
    }

    private static func append(
        _ bytes: [UInt8], _ source: OAuth1Parameters.Source, to pairs: inout [Pair]
    ) throws(OAuth1Error) {
        for piece in bytes.split(separator: 0x26) {
            let name = piece.prefix { $0 != 0x3D }
            let value = piece.dropFirst(name.count + 1)
            guard pairs.count < OAuth1Parameters.limit else { throw .tooManyParameters }
            try pairs.append(pair(Array(name), Array(value), source))
        }
    }

    private static func pair(
        _ name: [UInt8], _ value: [UInt8], _ source: OAuth1Parameters.Source
    ) throws(OAuth1Error) -> Pair {
        let plus: PercentCoding.Plus = source == .header ? .isPlus : .isSpace
        guard let decodedName = decoded(name, plus), let decodedValue = decoded(value, plus) else {
            throw .malformed
        }
        return Pair(
            name: decodedName, value: decodedValue, rawName: name, rawValue: value, source: source)
    }

    static func decoded(_ bytes: [UInt8], _ plus: PercentCoding.Plus) -> [UInt8]? {
        var output: [UInt8] = []
        let isWhole = PercentCoding.decode(bytes.span, bytes.indices, plus: plus, into: &output)
        return isWhole ? output : nil
    }
}
