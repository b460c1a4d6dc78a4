import Cryptography
import Primitives

/// A JWS in compact form (RFC 7515 section 7.1) taken apart. Its buffers are reused from token to
/// token.
struct JWSParts {
    /// A `kid` that is longer is refused: nothing that a stranger names is looked up at length.
    private static let keyIDLimitBytes = JSONWebKey.keyIDLimitBytes
    private static let headerLimits = JSONDocument.Limits(depth: 16, nodes: 128, members: 32)

    private(set) var header = JSONDocument()
    /// The text that `header` and what follows from it was read from; empty when it could not be read.
    private var headerText: [UInt8] = []
    private(set) var signature: [UInt8] = []
    /// Of the token: what was signed, and the payload's text within it.
    private(set) var signingInput = 0..<0
    private(set) var payload = 0..<0
    private(set) var algorithm = JWSAlgorithm.rs256
    /// Of `header.bytes`.
    private(set) var keyID: Range<Int>?
    private(set) var type: Range<Int>?
    /// The `typ` in lower case and without `application/`: media types compare without regard to case, and that prefix
    /// may be left out (RFC 7515 section 4.1.9).
    private(set) var mediaType: String?

    /// - Throws: `.tooLarge`, `.malformed`, `.badAlgorithm`, `.criticalHeader`.
    mutating func read(_ token: Span<UInt8>) throws(TokenError) {
        // The size before any work.
        guard token.count <= TokenVerifier.limitBytes else { throw .tooLarge }
        let head = token.extracting(try split(token))
        // An issuer writes the same header into all tokens of a key: what the last one said this one says too.
        if !headerText.isEmpty, headerText.span.equals(head) { return }
        headerText.removeAll(keepingCapacity: true)
        do throws(JSONError) {
            try header.read(base64URL: head, limits: JWSParts.headerLimits)
        } catch {
            throw .malformed
        }
        guard header.isObject else { throw .malformed }
        try readHeader()
        headerText.append(head)
    }

    /// - Returns: where the header's text lies.
    private mutating func split(_ token: Span<UInt8>) throws(TokenError) -> Range<Int> {
        guard let first = token.firstIndex(of: 0x2E, from: 0), first > 0,
            let second = token.firstIndex(of: 0x2E, from: first + 1)
        else { throw .malformed }
        signingInput = 0..<second
        payload = (first + 1)..<second
        signature.removeAll(keepingCapacity: true)
        // Base64url has no dot: four and more parts are refused here. A JWE has five, and is no token.
        guard
            Base64.decode(token.extracting((second + 1)..<token.count), .url, into: &signature)
        else { throw .malformed }
        return 0..<first
    }

    /// `jku`, `jwk`, `x5u` and `x5c` are not read at all: a key that comes with the token, or from
    /// where the token says, proves nothing (RFC 8725 section 3.10).
    private mutating func readHeader() throws(TokenError) {
        guard header.member("crit") == nil else { throw .criticalHeader }
        if let base64 = header.member("b64"), header.kind(base64) != .true { throw .criticalHeader }
        guard let name = header.member("alg"), header.kind(name) == .string,
            // Short texts are held in the String itself, without memory of their own.
            header.valueRange(name).count <= 15,
            let algorithm = header.string(name).flatMap(JWSAlgorithm.init(rawValue:))
        else { throw .badAlgorithm }
        self.algorithm = algorithm
        keyID = try text("kid")
        type = try text("typ")
        mediaType = type.map { JWSParts.mediaType(header.bytes[$0]) }
        if let keyID, keyID.count > JWSParts.keyIDLimitBytes { throw .unknownKey }
    }

    private func text(_ name: StaticString) throws(TokenError) -> Range<Int>? {
        guard let member = header.member(name) else { return nil }
        guard header.kind(member) == .string else { throw .malformed }
        return header.valueRange(member)
    }

    private static func mediaType(_ type: ArraySlice<UInt8>) -> String {
        var text = String(decoding: type, as: UTF8.self).lowercased()
        if text.hasPrefix("application/") { text.removeFirst("application/".utf8.count) }
        return text
    }
}
