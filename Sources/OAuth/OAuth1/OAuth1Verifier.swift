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
    /// Those of the request that was prepared last.
    public private(set) var parameters = OAuth1Parameters()
    private var check: OAuth1SignatureCheck

    /// - Throws: when OpenSSL gives no random bytes or no HMAC.
    public init(policy: OAuth1Policy) throws(CryptographyError) {
        self.policy = policy
        check = try OAuth1SignatureCheck()
    }

    // MARK: Where credentials stand

    /// Whether the head carries protocol parameters: an Authorization field of the OAuth scheme or
    /// a query with `oauth_signature`, also where it is spelled with escapes.
    public func detects(_ head: RequestHead) -> Bool {
        let lines = head.lines
        for index in lines.indices
        where lines[index].id == .authorization && OAuth1Verifier.isOAuth(head, lines[index]) {
            return true
        }
        return detectsInQuery(head)
    }

    /// Whether a query carries protocol parameters.
    public func detectsInQuery(_ head: RequestHead) -> Bool {
        head.hasQuery && carriesSignature(head.content, head.query.range)
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
        guard OAuth1Verifier.maySign(bytes, range) else { return false }
        parameters.removeAll()
        do throws(OAuth1Error) {
            try parameters.addPairs(bytes, range, .query)
        } catch {
            // A query that cannot be read can carry no signature either.
            return false
        }
        return parameters.has(.signature)
    }

    /// Whether there can be an `oauth_signature`: its name at the beginning of a pair or, of which anything may come, an
    /// escape. Most queries have neither, and need not be taken apart.
    private static func maySign(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        let name = OAuth1ParameterName.signature.text
        let count = name.utf8CodeUnitCount
        var isBeginning = true
        for index in range {
            let byte = bytes[index]
            if byte == 0x25 { return true }
            if isBeginning, byte == 0x6F, range.upperBound - index >= count,
                name.equals(bytes.extracting(index..<index + count))
            {
                return true
            }
            isBeginning = byte == 0x26
        }
        return false
    }

    /// A single `application/x-www-form-urlencoded`, with parameters or without (section
    /// 3.4.1.3.1).
    public static func hasFormBody(_ head: RequestHead) -> Bool {
        guard let line = head.onlyValue(of: .contentType) else {
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
        // Taken out while it is worked on: one access to the property instead of many.
        var parameters = OAuth1Parameters()
        swap(&parameters, &self.parameters)
        defer { swap(&parameters, &self.parameters) }
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
        return try claim(parameters, isForm: isForm, hasBody: body != nil, framing: head.framing)
    }

    private func claim(
        _ parameters: borrowing OAuth1Parameters, isForm: Bool, hasBody: Bool, framing: BodyFraming
    ) throws(OAuth1Error) -> OAuth1Claim {
        let key = try parameters.required(.consumerKey)
        _ = try parameters.required(.signature)
        let methodItem = try parameters.required(.signatureMethod)
        try parameters.refuseRepeats(besides: key.source)
        guard
            let method = OAuth1SignatureMethod(rawValue: parameters.text(methodItem)),
            policy.signatureMethods.contains(method)
        else { throw .unsupportedSignatureMethod }
        if let version = try parameters.single(.version), parameters.text(version) != "1.0" {
            throw .unsupportedVersion
        }
        let token = try parameters.single(.token).map { parameters.text($0) }
        let timestamp = try parameters.single(.timestamp)
        let nonce = try parameters.single(.nonce)
        if method != .plaintext {
            guard timestamp != nil else { throw .missingParameter("oauth_timestamp") }
            guard let nonce, !nonce.value.isEmpty else { throw .missingParameter("oauth_nonce") }
        }
        let hasBodyHash = try parameters.single(.bodyHash) != nil
        let hasContent = framing != .none && framing != .length(0)
        return OAuth1Claim(
            consumerKey: parameters.text(key), token: token == "" ? nil : token, method: method,
            timestamp: try timestamp.map { item throws(OAuth1Error) in
                try OAuth1Verifier.seconds(parameters.value(item))
            },
            nonce: nonce.map { parameters.text($0) },
            callback: try parameters.single(.callback).map { parameters.text($0) },
            verifier: try parameters.single(.verifier).map { parameters.text($0) },
            hasBodyHash: hasBodyHash,
            needsBody: !hasBody && hasContent && (isForm || hasBodyHash))
    }

    /// A positive number without sign, point or leading zero (section 3.3).
    private static func seconds(_ digits: ArraySlice<UInt8>) throws(OAuth1Error) -> Int64 {
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
        var parameters = OAuth1Parameters()
        swap(&parameters, &self.parameters)
        defer { swap(&parameters, &self.parameters) }
        let signature = try parameters.required(.signature)
        let match: Match?
        switch claim.method {
        case .plaintext:
            // Only where the connection itself keeps the secret from others (section 3.4.4).
            guard origin.isTLS else { throw .plaintextNeedsTLS }
            match =
                check.plaintextMatches(claim, parameters.value(signature), credentials)
                ? Match(publicOrigin: nil, order: .encoded) : nil
        default:
            match = check.match(claim, parameters, signature, head, origin, credentials, policy)
        }
        guard let credentials else { throw .unknownConsumer }
        guard claim.token == nil || credentials.tokenSecret != nil else { throw .unknownToken }
        guard let match else { throw .badSignature }
        if claim.method == .plaintext, !credentials.allowsPlaintext { throw .plaintextNotAllowed }
        try checkBodyHash(claim, parameters, head, body)
        if let timestamp = claim.timestamp {
            let distance = (now.seconds - timestamp).magnitude
            guard distance <= UInt64(policy.timestampWindowSeconds) else {
                throw .timestampOutOfWindow
            }
        }
        return match
    }

    /// The hash of the body by the signature method's digest (the body hash extension, draft 4).
    /// Wherever a client sends one it is checked.
    private func checkBodyHash(
        _ claim: OAuth1Claim, _ parameters: borrowing OAuth1Parameters, _ head: RequestHead,
        _ body: Span<UInt8>
    ) throws(OAuth1Error) {
        guard let item = try parameters.single(.bodyHash) else {
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
