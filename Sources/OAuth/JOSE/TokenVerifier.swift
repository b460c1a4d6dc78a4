import Cryptography
import Primitives

/// Proves bearer tokens that are signed JWTs (RFC 7519, RFC 9068, RFC 8725).
///
/// Belongs to one worker and reuses its buffers; not Sendable. When keys or issuers change, a new
/// one is made.
public final class TokenVerifier {
    /// A token of more bytes is refused before any work; real ones have 500 to 2,000.
    public static let limitBytes = 16 << 10
    static let claimLimits = JSONDocument.Limits(depth: 32, nodes: 1024, members: 128)

    /// An object, so that choosing one copies none of it.
    private final class Issuer {
        let terms: TrustedIssuer
        let name: [UInt8]
        let verifier: JWSVerifier
        private let requiredType: String?

        init(_ terms: TrustedIssuer) {
            self.terms = terms
            name = Array(terms.issuer.utf8)
            verifier = JWSVerifier(keys: terms.keys, algorithms: terms.algorithms)
            requiredType = terms.requiredType?.lowercased()
        }

        /// What a token says that its keys have proven.
        func read(_ work: borrowing Work) throws(TokenError) -> VerifiedToken {
            try checkType(work.parts)
            return VerifiedToken(try TokenClaims(work.claims, issuer: terms), issuer: terms)
        }

        private func checkType(_ parts: borrowing JWSParts) throws(TokenError) {
            guard let type = parts.mediaType else {
                guard requiredType == nil else { throw .wrongType }
                return
            }
            if let requiredType {
                guard type == requiredType else { throw .wrongType }
            } else {
                guard type == "at+jwt" || type == "jwt" else { throw .wrongType }
            }
        }

        func isNamed(_ text: Span<UInt8>) -> Bool {
            let name = self.name
            return name.span.equals(text)
        }
    }

    /// A token taken apart.
    fileprivate struct Work: ~Copyable {
        var parts = JWSParts()
        var claims = JSONDocument()

        mutating func readClaims(_ token: Span<UInt8>) throws(TokenError) {
            do throws(JSONError) {
                try claims.read(
                    base64URL: token.extracting(parts.payload), limits: TokenVerifier.claimLimits)
            } catch {
                throw .malformed
            }
            guard claims.isObject else { throw .malformed }
        }
    }

    private let issuers: [Issuer]
    private var claimed: Issuer?
    /// The last token. Taken out of the verifier while it is worked on: where it stands, each hand-over would copy it.
    private var work: Work? = Work()

    /// The `iss` that the last token was held to, proven or not; `nil`: no issuer claims it.
    public var claimedIssuer: String? { claimed?.terms.issuer }
    /// Whether the last token said by which key it is to be proven.
    public var namesKey: Bool { work?.parts.keyID != nil }

    /// - Parameter issuers: of two with the same `iss` the first counts.
    public init(issuers: [TrustedIssuer]) {
        self.issuers = issuers.map(Issuer.init)
    }

    /// Proves a token and reads what it says.
    ///
    /// - Throws: the first reason for which it does not hold.
    public func verify(
        _ token: Span<UInt8>, now: WallTime
    ) throws(TokenError) -> VerifiedToken {
        let verified = try withWork { work throws(TokenError) in
            let issuer = try prove(token, &work)
            return try issuer.read(work)
        }
        try verified.holds(at: now)
        return verified
    }

    /// Takes the work out, and puts it back however it ends.
    @inline(__always)
    private func withWork<Result>(
        _ body: (inout Work) throws(TokenError) -> Result
    ) throws(TokenError) -> Result {
        var work = self.work.take() ?? Work()
        do throws(TokenError) {
            let result = try body(&work)
            self.work = consume work
            return result
        } catch {
            self.work = consume work
            throw error
        }
    }

    /// Whether a token says of itself that its time is over: then it does not hold, whatever it is.
    public func isOver(_ token: Span<UInt8>, now: WallTime) -> Bool {
        guard let claimed = try? unproven(token) else { return false }
        return claimed.expiresAt.map { $0 <= now.seconds } ?? false
    }

    /// What a token says of itself. Nothing of it is proven: good for naming it, never for believing it.
    ///
    /// - Throws: for a text that is no JWT, or one of no issuer that is known here.
    public func unproven(_ token: Span<UInt8>) throws(TokenError) -> UnprovenToken {
        try withWork { work throws(TokenError) in
            try work.parts.read(token)
            try work.readClaims(token)
            let claims = work.claims
            return UnprovenToken(
                issuer: try chosenIssuer(of: claims).terms, tokenID: claims.string("jti", of: 0),
                expiresAt: claims.member("exp").flatMap { claims.seconds($0) },
                issuedAt: claims.member("iat").flatMap { claims.seconds($0) })
        }
    }

    /// Goes as far as the signature; the claims are read then, and nothing of them was judged.
    private func prove(_ token: Span<UInt8>, _ work: inout Work) throws(TokenError) -> Issuer {
        claimed = nil
        try work.parts.read(token)
        try work.readClaims(token)
        // Not proven yet: `iss` only chooses whose keys must prove it.
        let issuer = try chosenIssuer(of: work.claims)
        claimed = issuer
        _ = try issuer.verifier.verify(work.parts, of: token)
        return issuer
    }

    private func chosenIssuer(of claims: borrowing JSONDocument) throws(TokenError) -> Issuer {
        guard let node = claims.member("iss") else { throw .missingClaim("iss") }
        guard claims.kind(node) == .string else { throw .invalidClaim("iss") }
        for issuer in issuers where issuer.isNamed(claims.text(node)) { return issuer }
        throw .unknownIssuer
    }

    /// Proves a token as `verify` does, and tells what was seen on the way.
    public func explain(_ token: Span<UInt8>, now: WallTime) -> TokenExplanation {
        var explanation = TokenExplanation(byteCount: token.count, now: now)
        do throws(TokenError) {
            explanation.verdict = .success(try verify(token, now: now))
        } catch {
            explanation.verdict = .failure(error)
        }
        // Each part is told as far as it can be read, whatever the verdict was.
        try? withWork { work throws(TokenError) in
            try work.parts.read(token)
            explanation.describe(work.parts)
            try work.readClaims(token)
            explanation.describe(claims: work.claims)
            let issuer = try chosenIssuer(of: work.claims)
            explanation.describe(issuer.terms)
            explanation.provingKey = try issuer.verifier.verify(work.parts, of: token)
        }
        return explanation
    }
}

/// What a token says of itself, unproven.
public struct UnprovenToken: Sendable {
    /// The one that its `iss` names.
    public let issuer: TrustedIssuer
    /// The `jti`.
    public let tokenID: String?
    /// Seconds since the epoch, without the skew.
    public let expiresAt: Int64?
    public let issuedAt: Int64?
}
