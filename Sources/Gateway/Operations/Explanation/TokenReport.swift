import OAuth
import Primitives
import Store

/// A token as `explain` and `token inspect` tell of it.
public enum TokenReport {
    /// Line by line: header, claims, issuer, key, times, outcome.
    ///
    /// - Parameter undecided: why only the running gateway can tell the outcome.
    public static func lines(
        _ explanation: TokenExplanation, undecided: String? = nil
    ) -> [String] {
        var lines = ["bearer token of \(explanation.byteCount) bytes"]
        if let header = explanation.header {
            lines.append("header: \(String(decoding: header, as: UTF8.self))")
        }
        if let claims = explanation.claims {
            lines.append("claims: \(String(decoding: claims, as: UTF8.self))")
        }
        if let issuer = explanation.issuer {
            lines.append(
                "issuer \(issuer.name): takes \(issuer.algorithms.joined(separator: " ")), "
                    + "audiences \(issuer.audiences.joined(separator: " "))")
            if issuer.hasKeyID == false, undecided == nil {
                lines.append("no key of this issuer has the token's kid")
            }
            for key in issuer.skippedKeys {
                lines.append("its key \(key.name) is not used: \(key.reason.text)")
            }
        } else if let named = explanation.issuerClaim {
            lines.append("issuer \(named) is not trusted here")
        }
        lines.append(explanation.provingKey == nil ? "signature: not proven" : "signature: proven")
        lines += times(explanation)
        if case .success(let token) = explanation.verdict { lines += bindings(token) }
        if let undecided {
            lines.append("undecided: \(undecided)")
        } else if case .failure(let error) = explanation.verdict {
            lines.append("refused: \(sentence(error))")
        }
        return lines
    }

    /// One that says nothing by itself, as the store has it.
    static func lines(opaque token: StoredToken, now: WallTime) -> [String] {
        let kind =
            switch token.kind {
            case .access: "opaque access token"
            case .oauth1Request: "temporary credentials of OAuth 1.0"
            case .oauth1Access: "access token of OAuth 1.0"
            }
        var lines = [
            "\(kind), known to the store",
            "client \(token.clientID), scopes \(list(token.scopes)), audiences \(list(token.audiences))",
            "issued \(now.seconds - token.issuedAt.seconds) s ago, ends in \(token.expiresAt.seconds - now.seconds) s",
        ]
        if token.certificateThumbprint != nil { lines.append("bound to a certificate") }
        if token.keyThumbprint != nil { lines.append("bound to a key (DPoP)") }
        return lines
    }

    static let unknownOpaque =
        "the store has no such token: it was never issued, was used up, or has ended"

    static let lostClient = "its client is none any more: neither the conf nor the store has it"

    static func revocation(_ isRevoked: Bool, _ facts: StoreFacts) -> [String] {
        if isRevoked { return ["it has been revoked"] }
        return facts.mayMissRevocations
            ? ["whether it was revoked only the running gateway knows"] : []
    }

    private static func list(_ names: [String]) -> String {
        names.isEmpty ? "none" : names.joined(separator: " ")
    }

    private static func times(_ explanation: TokenExplanation) -> [String] {
        let now = explanation.now.seconds
        var lines: [String] = []
        if let end = explanation.expiresAt {
            let distance = end.subtractingReportingOverflow(now).partialValue
            lines.append(
                "exp \(end): \(distance >= 0 ? "in \(distance) s" : "\(distance.magnitude) s ago")")
        }
        if let start = explanation.notBefore, start > now {
            lines.append("nbf \(start): only in \(start - now) s")
        }
        return lines
    }

    /// What it is good with alone.
    private static func bindings(_ token: VerifiedToken) -> [String] {
        var lines: [String] = []
        if let key = token.keyThumbprint {
            lines.append(
                "bound to a key (jkt \(Base64.encode(key, .url))): good with a DPoP proof alone")
        }
        if let certificate = token.certificateThumbprint {
            lines.append(
                "bound to a certificate (x5t#S256 \(Base64.encode(certificate, .url)))")
        }
        return lines
    }

    /// What a refusal means.
    public static func sentence(_ error: TokenError) -> String {
        switch error {
        case .malformed: "it is not a JWT in compact form"
        case .tooLarge: "it is larger than any token may be"
        case .badAlgorithm: "its alg is not allowed for this issuer or does not fit the key"
        case .criticalHeader: "its header demands an extension that is not understood"
        case .unknownIssuer: "its issuer is not trusted"
        case .unknownKey: "no key of its issuer fits it"
        case .badSignature: "its signature does not hold"
        case .expired: "it has expired"
        case .notYetValid: "it is not valid yet"
        case .wrongType: "its typ is that of another kind of token"
        case .wrongAudience: "it is meant for another audience"
        case .missingClaim(let name): "the claim \(name) is missing"
        case .invalidClaim(let name): "the claim \(name) has an unusable value"
        case .confirmationRequired:
            "it is bound by a cnf of another kind than x5t#S256 and jkt, which is not understood"
        }
    }
}
