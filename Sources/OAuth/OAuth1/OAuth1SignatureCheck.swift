import Cryptography
import HTTP
import Primitives

/// Computes what a request's signature should be (RFC 5849 section 3.4), in buffers and contexts that are kept, and
/// compares.
struct OAuth1SignatureCheck {
    private var baseString = BaseString()
    private var base: [UInt8] = []
    private var uri: [UInt8] = []
    /// The keys of the HMAC methods and of PLAINTEXT; the last are decoys.
    private var keys: [[UInt8]] = []
    private var liveKeyCount = 0
    private var presented: [UInt8] = []
    private var computed: [UInt8] = []
    private var hmac: [OAuth1SignatureMethod: MAC] = [:]
    /// In the shape of the secrets that we make, so that keys of decoys are as long as those of most consumers.
    private let decoySecret: [UInt8]

    /// So many secrets are tried at least: two may be live while one takes the other's place.
    private static let comparisonCount = 2

    /// - Throws: when OpenSSL gives no random bytes or no HMAC.
    init() throws(CryptographyError) {
        decoySecret = Array(Base64.encode(try RandomBytes.make(count: 32), .url).utf8)
        for method in OAuth1SignatureMethod.allCases {
            if let digest = method.hmacDigest { hmac[method] = try MAC(algorithm: digest) }
        }
    }

    mutating func plaintextMatches(
        _ claim: OAuth1Claim, _ signature: ArraySlice<UInt8>, _ credentials: OAuth1Credentials?
    ) -> Bool {
        makeKeys(claim, credentials)
        presented.removeAll(keepingCapacity: true)
        presented.append(contentsOf: signature)
        var isMatch = false
        for (index, key) in keys.enumerated() {
            let isEqual = ConstantTime.equal(presented, key)
            isMatch = (isEqual && index < liveKeyCount) || isMatch
        }
        return isMatch
    }

    /// Tries each origin that the client may have signed for, in both orders; the second only where
    /// it differs.
    mutating func match(
        _ claim: OAuth1Claim, _ parameters: OAuth1Parameters,
        _ signature: OAuth1Parameters.Item, _ head: RequestHead, _ origin: RequestOrigin,
        _ credentials: OAuth1Credentials?, _ policy: OAuth1Policy
    ) -> OAuth1Verifier.Match? {
        presented.removeAll(keepingCapacity: true)
        let text = parameters.decoded.span.extracting(signature.value)
        guard Base64.decode(text, .standard, into: &presented) else { return nil }
        makeKeys(claim, credentials)
        baseString.normalize(parameters, order: .encoded)
        if let match = matchingOrigin(claim, head, origin, credentials, policy, .encoded) {
            return match
        }
        if baseString.isInDecodedOrder(parameters) { return nil }
        baseString.normalize(parameters, order: .decoded)
        return matchingOrigin(claim, head, origin, credentials, policy, .decoded)
    }

    private mutating func matchingOrigin(
        _ claim: OAuth1Claim, _ head: RequestHead, _ received: RequestOrigin,
        _ credentials: OAuth1Credentials?, _ policy: OAuth1Policy, _ order: BaseString.Order
    ) -> OAuth1Verifier.Match? {
        if policy.publicOrigins.isEmpty {
            makeBase(head, publicOrigin: nil, received)
            return isSigned(claim.method, credentials)
                ? OAuth1Verifier.Match(publicOrigin: nil, order: order) : nil
        }
        for (index, origin) in policy.publicOrigins.enumerated() {
            makeBase(head, publicOrigin: origin, received)
            if isSigned(claim.method, credentials) {
                return OAuth1Verifier.Match(publicOrigin: index, order: order)
            }
        }
        return nil
    }

    private mutating func makeBase(
        _ head: RequestHead, publicOrigin known: PublicOrigin?, _ received: RequestOrigin
    ) {
        uri.removeAll(keepingCapacity: true)
        if let known {
            BaseString.appendURI(
                isTLS: known.isTLS, authority: known.authority.span,
                path: (known.prefix + Array(bytes: head.span(of: head.path))).span, to: &uri)
        } else if let authority = received.authority {
            BaseString.appendURI(
                isTLS: received.isTLS, authority: authority.span, path: head.span(of: head.path),
                to: &uri)
        } else {
            BaseString.appendURI(
                isTLS: received.isTLS, authority: head.span(of: head.authority),
                path: head.span(of: head.path), to: &uri)
        }
        base.removeAll(keepingCapacity: true)
        baseString.append(method: head.span(of: head.methodRange), uri: uri, to: &base)
    }

    /// The keys of the HMAC methods: of each live secret, and under secrets that nobody has until there are enough.
    private mutating func makeKeys(_ claim: OAuth1Claim, _ credentials: OAuth1Credentials?) {
        let secrets = credentials?.consumerSecrets ?? []
        let tokenSecret = credentials?.tokenSecret?.exposed
        liveKeyCount = secrets.count
        let count = max(secrets.count, OAuth1SignatureCheck.comparisonCount)
        if keys.count > count { keys.removeLast(keys.count - count) }
        for index in 0..<count {
            if index == keys.count { keys.append([]) }
            keys[index].removeAll(keepingCapacity: true)
            OAuth1Signature.appendKey(
                consumerSecret: index < secrets.count ? secrets[index].exposed : decoySecret,
                tokenSecret: tokenSecret ?? (claim.token == nil ? [] : decoySecret),
                to: &keys[index])
        }
    }

    private mutating func isSigned(
        _ method: OAuth1SignatureMethod, _ credentials: OAuth1Credentials?
    ) -> Bool {
        if let mac = hmac[method] {
            // Ends early for who has the secret alone: whoever has not always waits for all of them.
            let base = self.base
            for (index, key) in keys.enumerated() {
                mac.setKey(key)
                mac.authenticate(base.span, into: &computed)
                // A decoy never counts, whatever it came to.
                if ConstantTime.equal(computed, presented), index < liveKeyCount { return true }
            }
            return false
        }
        guard let algorithm = method.rsaAlgorithm else { return false }
        let rsaKey = credentials?.rsaKey ?? DecoyKey.rsa
        // Whoever loaded the key has asked for 2048 bits; it is asked again where trust is given.
        guard let rsaKey, case .rsa(let bits) = rsaKey.kind, bits >= 2048,
            let verifier = try? SignatureVerifier(key: rsaKey, algorithm: algorithm)
        else { return false }
        let signature = presented
        let message = base
        return verifier.isValid(signature: signature.span, message: message.span)
            && credentials?.rsaKey != nil
    }

}
