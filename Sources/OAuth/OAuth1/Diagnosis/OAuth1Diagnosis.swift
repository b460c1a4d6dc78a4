import HTTP
import Primitives

/// Why a signature does not match, and every step on the way to it (RFC 5849 section 3.4): what
/// `explain` prints.
///
/// It holds no signature but the client's own, and no secret: neither the right signature of the
/// request nor anything that it could be made from.
public struct OAuth1Diagnosis: Sendable {
    /// A parameter that is signed; `oauth_signature` is none.
    public struct Parameter: Sendable, Equatable {
        public let name: String
        public let value: String
        public let source: OAuth1Parameters.Source
    }

    public enum Outcome: Sendable, Equatable {
        /// The signature is that of the base string below.
        case matches
        /// The client made these mistakes, one or two; `sortDecoded` alone is accepted by the
        /// gateway.
        case mistaken([OAuth1Mistake])
        /// Nothing that is known explains it: another secret, or a request that was changed on its
        /// way.
        case unexplained
        /// There is nothing to compare with.
        case unknownConsumer
    }

    public let consumerKey: String
    public let token: String?
    public let method: OAuth1SignatureMethod
    /// As collected: field, query, form (section 3.4.1.3.1).
    public let parameters: [Parameter]
    public let normalizedParameters: String
    public let baseStringURI: String
    public let baseString: String
    public let outcome: Outcome

    /// Reads a request and looks for what its client did.
    ///
    /// - Parameters:
    ///   - body: the whole body, empty where there is none.
    ///   - policy: its first `public_url`, where there is one, is what clients are to sign for.
    ///   - credentials: `nil` for an unknown consumer or token.
    ///   - origins: other addresses that clients may know this gateway by: its hosts, its issuer.
    /// - Throws: what `OAuth1Verifier.prepare` throws: a request that makes no claim has no
    ///   signature to explain.
    public init(
        _ head: RequestHead, body: Span<UInt8>, isTLS: Bool, verifier: OAuth1Verifier,
        credentials: OAuth1Credentials?, origins: [PublicOrigin] = []
    ) throws(OAuth1Error) {
        let claim = try verifier.prepare(head, body: body)
        let signature = try verifier.parameters.single(.signature)
        let presented = signature.map { Array(verifier.parameters.value($0)) } ?? []
        let publicOrigins = verifier.policy.publicOrigins
        let input = try SignatureInput(
            head, body: body, isForm: verifier.mayCarryInBody(head), isTLS: isTLS,
            origin: publicOrigins.first)
        let known = credentials ?? OAuth1Credentials(consumerSecret: nil)
        let searches = known.alternatives.map { alternative in
            SignatureSearch(
                input, method: claim.method, presented: presented, credentials: alternative,
                origins: publicOrigins.dropFirst() + origins
                    + OAuth1Diagnosis.forwarded(head, isTLS: isTLS))
        }
        consumerKey = claim.consumerKey
        token = claim.token
        method = claim.method
        parameters = input.pairs.map { pair in
            Parameter(
                name: String(decoding: pair.name, as: UTF8.self),
                value: String(decoding: pair.value, as: UTF8.self), source: pair.source)
        }
        normalizedParameters = String(decoding: ParameterRecipe(input).normalized, as: UTF8.self)
        baseStringURI = String(decoding: URIRecipe(input).uri, as: UTF8.self)
        baseString = String(decoding: searches.first?.baseString ?? [], as: UTF8.self)
        guard credentials != nil else {
            outcome = .unknownConsumer
            return
        }
        // With any of two live secrets a match is a match; else the fewest mistakes are the likeliest.
        let found = searches.compactMap { $0.mistakes() }.min { $0.count < $1.count }
        outcome =
            switch found {
            case nil: .unexplained
            case []?: .matches
            case let mistakes?: .mistaken(mistakes)
            }
    }

    /// What the request itself says of the way it came: nothing to believe, but something to try.
    /// Where a `public_url` is set, the connection's own address is another.
    private static func forwarded(_ head: RequestHead, isTLS: Bool) -> [PublicOrigin] {
        let hosts = [head.value(of: .xForwardedHost)?.value, head.authority].compactMap { $0 }
        return hosts.compactMap { host in
            let text = Array(bytes: head.span(of: host)).prefix { $0 != 0x2C }
            let name = String(decoding: text, as: UTF8.self)
            return PublicOrigin((isTLS ? "https://" : "http://") + name)
        }
    }
}
