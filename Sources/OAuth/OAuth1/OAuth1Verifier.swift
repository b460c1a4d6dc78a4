import Cryptography
import HTTP
import Primitives

/// Checks OAuth 1.0 signatures (RFC 5849 section 3.2); one a worker, its buffers and contexts are
/// kept.
///
/// `prepare` reads the request, the caller looks up the consumer, `verify` judges. The nonce is the
/// caller's, last of all: a forged request must not burn an honest one's. An unknown consumer costs
/// what a known one with a wrong secret costs: the signature is computed under a secret that nobody
/// has.
public final class OAuth1Verifier {
    /// Which of the candidates the client had signed.
    public struct Match: Sendable, Equatable {
        /// Index into `publicOrigins`; `nil` is the connection's own origin.
        public let publicOrigin: Int?
        public let order: BaseString.Order
    }

    public let policy: OAuth1Policy
    public let parameters = OAuth1Parameters()
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
    public init(policy: OAuth1Policy) throws(CryptographyError) {
        self.policy = policy
        decoySecret = Array(Base64.encode(try RandomBytes.make(count: 32), .url).utf8)
        for method in OAuth1SignatureMethod.allCases {
            if let digest = method.hmacDigest { hmac[method] = try MAC(algorithm: digest) }
        }
    }

    // MARK: Where credentials stand

    /// Whether the head carries protocol parameters: an Authorization field of the OAuth scheme or
    /// a query with `oauth_signature`, also where it is spelled with escapes.
    public func detects(_ head: RequestHead) -> Bool {
        for line in head.fields
        where line.id == .authorization && OAuth1Verifier.isOAuth(head, line) {
            return true
        }
        return head.hasQuery && carriesSignature(head.content, head.query.range)
    }

    /// Whether a form carries protocol parameters.
    public func detects(form: [UInt8]) -> Bool {
        carriesSignature(form.span, 0..<form.count)
    }

    /// Whether a form body could carry protocol parameters (section 3.5.2).
    public func mayCarryInBody(_ head: RequestHead) -> Bool {
        head.framing != .none && head.framing != .length(0) && OAuth1Verifier.hasFormBody(head)
    }

    /// The scheme's name and nothing but white space or the end behind it.
    public static func isOAuth(_ head: RequestHead, _ line: FieldLine) -> Bool {
        let value = head.span(of: line.value)
        let name: StaticString = "oauth"
        guard value.count >= 5 else { return false }
        for index in 0..<5 where unsafe value[index] | 0x20 != name.utf8Start[index] {
            return false
        }
        return value.count == 5 || value[5] == 0x20 || value[5] == 0x09
    }

    private func carriesSignature(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        parameters.removeAll()
        do throws(OAuth1Error) {
            try parameters.addPairs(bytes, range, .query)
        } catch {
            // A query that cannot be read can carry no signature either.
            return false
        }
        return parameters.items.contains { parameters.isNamed($0, "oauth_signature") }
    }

    /// A single `application/x-www-form-urlencoded`, with parameters or without (section
    /// 3.4.1.3.1).
    public static func hasFormBody(_ head: RequestHead) -> Bool {
        guard head.count(of: .contentType) == 1, let line = head.value(of: .contentType) else {
            return false
        }
        return isFormType(head.span(of: line.value))
    }

    /// Whether a Content-Type is that of a form. What follows the type is no matter, not even where
    /// it is junk: to take a body for a form means that it is signed.
    static func isFormType(_ value: Span<UInt8>) -> Bool {
        let name: StaticString = "application/x-www-form-urlencoded"
        let count = name.utf8CodeUnitCount
        guard value.count >= count else { return false }
        for index in 0..<count {
            var byte = value[index]
            if byte &- 0x41 < 26 { byte |= 0x20 }
            if unsafe byte != name.utf8Start[index] { return false }
        }
        if value.count == count { return true }
        switch value[count] {
        case 0x3B, 0x2C, 0x20, 0x09: return true
        default: return false
        }
    }

    // MARK: Reading

    /// Collects the parameters and reads what they claim.
    ///
    /// - Parameter body: the whole body, or `nil` when it has not been read; then `needsBody` tells
    ///   whether it must be.
    public func prepare(
        _ head: RequestHead, body: Span<UInt8>?
    ) throws(OAuth1Error) -> OAuth1Claim {
        parameters.removeAll()
        guard head.count(of: .authorization) <= 1 else { throw .duplicateParameter }
        // Two media types: which one an upstream believes is unknown, and with it whether the body
        // is signed.
        guard head.count(of: .contentType) <= 1 else { throw .malformed }
        if let line = head.value(of: .authorization), OAuth1Verifier.isOAuth(head, line) {
            try parameters.addHeader(head.content, line.value.range)
        }
        if head.hasQuery { try parameters.addPairs(head.content, head.query.range, .query) }
        let isForm = mayCarryInBody(head)
        if isForm, let body { try parameters.addPairs(body, 0..<body.count, .form) }
        return try claim(isForm: isForm, hasBody: body != nil, framing: head.framing)
    }

    private func claim(
        isForm: Bool, hasBody: Bool, framing: BodyFraming
    ) throws(OAuth1Error) -> OAuth1Claim {
        let key = try required("oauth_consumer_key")
        let signature = try required("oauth_signature")
        let methodItem = try required("oauth_signature_method")
        try refuseRepeats(besides: key.source)
        guard
            let method = OAuth1SignatureMethod(
                rawValue: text(methodItem)), policy.signatureMethods.contains(method)
        else { throw .unsupportedSignatureMethod }
        if let version = try parameters.single("oauth_version"), text(version) != "1.0" {
            throw .unsupportedVersion
        }
        _ = signature
        let token = try parameters.single("oauth_token").map { text($0) }
        let timestamp = try parameters.single("oauth_timestamp")
        let nonce = try parameters.single("oauth_nonce")
        if method != .plaintext {
            guard timestamp != nil else { throw .missingParameter("oauth_timestamp") }
            guard let nonce, !nonce.value.isEmpty else { throw .missingParameter("oauth_nonce") }
        }
        let hasBodyHash = try parameters.single("oauth_body_hash") != nil
        let hasContent = framing != .none && framing != .length(0)
        return OAuth1Claim(
            consumerKey: text(key), token: token == "" ? nil : token, method: method,
            timestamp: try timestamp.map { item throws(OAuth1Error) in try seconds(item) },
            nonce: nonce.map { text($0) },
            callback: try parameters.single("oauth_callback").map { text($0) },
            verifier: try parameters.single("oauth_verifier").map { text($0) },
            hasBodyHash: hasBodyHash,
            needsBody: !hasBody && hasContent && (isForm || hasBodyHash))
    }

    private func required(_ name: StaticString) throws(OAuth1Error) -> OAuth1Parameters.Item {
        guard let item = try parameters.single(name), !item.value.isEmpty else {
            throw .missingParameter("\(name)")
        }
        return item
    }

    /// Every protocol parameter at most once, and the known ones all in one place (sections 3.1 and
    /// 3.5).
    private func refuseRepeats(besides source: OAuth1Parameters.Source) throws(OAuth1Error) {
        let known: [StaticString] = [
            "oauth_signature", "oauth_signature_method", "oauth_timestamp", "oauth_nonce",
            "oauth_version", "oauth_token", "oauth_body_hash", "oauth_callback", "oauth_verifier",
        ]
        for name in known {
            if let item = try parameters.single(name), item.source != source { throw .twoLocations }
        }
        var count = 0
        for (index, item) in parameters.items.enumerated() where parameters.isProtocol(item) {
            count += 1
            guard count <= OAuth1Parameters.protocolLimit else { throw .tooManyParameters }
            for other in parameters.items[(index + 1)...]
            where other.name.count == item.name.count
                && parameters.name(other) == parameters.name(item)
            {
                throw .duplicateParameter
            }
        }
    }

    private func text(_ item: OAuth1Parameters.Item) -> String {
        String(decoding: parameters.value(item), as: UTF8.self)
    }

    /// A positive number without sign, point or leading zero (section 3.3).
    private func seconds(_ item: OAuth1Parameters.Item) throws(OAuth1Error) -> Int64 {
        let digits = parameters.value(item)
        guard digits.count <= 15, let first = digits.first, first != 0x30 else {
            throw .timestampInvalid
        }
        var seconds: Int64 = 0
        for digit in digits {
            guard digit &- 0x30 < 10 else { throw .timestampInvalid }
            seconds = seconds * 10 + Int64(digit - 0x30)
        }
        return seconds
    }

    // MARK: Judging

    /// Judges the claim that `prepare` has just read from the same request.
    ///
    /// - Parameters:
    ///   - origin: how the client reached us.
    ///   - body: the body where `needsBody` asked for it, else empty.
    ///   - credentials: `nil` for an unknown consumer; the outcome is then `.unknownConsumer`, at
    ///     the same cost. Without a token secret where the claim names a token: `.unknownToken`.
    @discardableResult
    public func verify(
        _ claim: OAuth1Claim, _ head: RequestHead, from origin: RequestOrigin, body: Span<UInt8>,
        credentials: OAuth1Credentials?, now: WallTime
    ) throws(OAuth1Error) -> Match {
        guard let signature = try parameters.single("oauth_signature") else {
            throw .missingParameter("oauth_signature")
        }
        let match: Match?
        switch claim.method {
        case .plaintext:
            // Only where the connection itself keeps the secret from others (section 3.4.4).
            guard origin.isTLS else { throw .plaintextNeedsTLS }
            match =
                plaintextMatches(claim, signature, credentials)
                ? Match(publicOrigin: nil, order: .encoded) : nil
        default:
            match = signatureMatches(claim, signature, head, origin, credentials)
        }
        guard let credentials else { throw .unknownConsumer }
        guard claim.token == nil || credentials.tokenSecret != nil else { throw .unknownToken }
        guard let match else { throw .badSignature }
        if claim.method == .plaintext, !credentials.allowsPlaintext { throw .plaintextNotAllowed }
        try checkBodyHash(claim, head, body)
        if let timestamp = claim.timestamp {
            let distance = (now.seconds - timestamp).magnitude
            guard distance <= UInt64(policy.timestampWindowSeconds) else {
                throw .timestampOutOfWindow
            }
        }
        return match
    }

    private func plaintextMatches(
        _ claim: OAuth1Claim, _ signature: OAuth1Parameters.Item,
        _ credentials: OAuth1Credentials?
    ) -> Bool {
        makeKeys(claim, credentials)
        presented.removeAll(keepingCapacity: true)
        presented.append(contentsOf: parameters.value(signature))
        var isMatch = false
        for (index, key) in keys.enumerated() {
            let isEqual = ConstantTime.equal(presented, key)
            isMatch = (isEqual && index < liveKeyCount) || isMatch
        }
        return isMatch
    }

    /// Tries each origin that the client may have signed for, in both orders; the second only where
    /// it differs.
    private func signatureMatches(
        _ claim: OAuth1Claim, _ signature: OAuth1Parameters.Item, _ head: RequestHead,
        _ origin: RequestOrigin, _ credentials: OAuth1Credentials?
    ) -> Match? {
        presented.removeAll(keepingCapacity: true)
        let decoded = parameters.decoded
        let text = decoded.span.extracting(signature.value)
        guard Base64.decode(text, .standard, into: &presented) else { return nil }
        makeKeys(claim, credentials)
        baseString.normalize(parameters, order: .encoded)
        if let match = matchingOrigin(claim, head, origin, credentials, .encoded) {
            return match
        }
        if baseString.isInDecodedOrder(parameters) { return nil }
        baseString.normalize(parameters, order: .decoded)
        return matchingOrigin(claim, head, origin, credentials, .decoded)
    }

    private func matchingOrigin(
        _ claim: OAuth1Claim, _ head: RequestHead, _ received: RequestOrigin,
        _ credentials: OAuth1Credentials?,
        _ order: BaseString.Order
    ) -> Match? {
        if policy.publicOrigins.isEmpty {
            makeBase(head, origin: nil, received)
            return isSigned(claim.method, credentials)
                ? Match(publicOrigin: nil, order: order) : nil
        }
        for origin in policy.publicOrigins.indices {
            makeBase(head, origin: origin, received)
            if isSigned(claim.method, credentials) {
                return Match(publicOrigin: origin, order: order)
            }
        }
        return nil
    }

    private func makeBase(_ head: RequestHead, origin: Int?, _ received: RequestOrigin) {
        uri.removeAll(keepingCapacity: true)
        if let origin {
            let known = policy.publicOrigins[origin]
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
    private func makeKeys(_ claim: OAuth1Claim, _ credentials: OAuth1Credentials?) {
        let secrets = credentials?.consumerSecrets ?? []
        let tokenSecret = credentials?.tokenSecret?.exposed
        liveKeyCount = secrets.count
        let count = max(secrets.count, OAuth1Verifier.comparisonCount)
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

    private func isSigned(
        _ method: OAuth1SignatureMethod, _ credentials: OAuth1Credentials?
    ) -> Bool {
        if let mac = hmac[method] {
            // Ends early for who has the secret alone: whoever has not always waits for all of them.
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

    /// The hash of the body by the signature method's digest (the body hash extension, draft 4).
    /// Wherever a client sends one it is checked.
    private func checkBodyHash(
        _ claim: OAuth1Claim, _ head: RequestHead, _ body: Span<UInt8>
    ) throws(OAuth1Error) {
        guard let item = try parameters.single("oauth_body_hash") else {
            // A form's parameters are signed themselves, and no content needs no hash.
            let hasContent = head.framing != .none && head.framing != .length(0)
            if policy.bodyHashRequired, hasContent, !OAuth1Verifier.hasFormBody(head) {
                throw .bodyHashMissing
            }
            return
        }
        let digest = Digest.hash(body, claim.method.bodyDigest)
        let expected = Array(Base64.encode(digest, .standard).utf8)
        guard ConstantTime.equal(expected, Array(parameters.value(item))) else {
            throw .bodyHashMismatch
        }
    }
}

extension Array where Element == UInt8 {
    init(bytes: Span<UInt8>) {
        self = []
        append(bytes)
    }
}
