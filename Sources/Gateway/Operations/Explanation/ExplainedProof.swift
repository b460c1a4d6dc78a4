import OAuth
import Primitives
import Telemetry

/// Proofs of possession (RFC 9449), told.
extension Explainer {
    /// Whether whoever shows a token that holds may: by its binding to a key.
    mutating func provePossession(
        of token: VerifiedToken, _ shown: PresentedToken
    ) throws(ExplainedRefusal) {
        switch (token.keyThumbprint, shown.scheme) {
        case (nil, .bearer): return
        case (nil, .dpop):
            say(.authentication, "it is bound to no key: it is good by the scheme Bearer alone")
        case (_?, .bearer):
            say(
                .authentication,
                "it is bound to a key: it is good by the scheme DPoP, with a proof, alone")
        case (let thumbprint?, .dpop):
            do throws(DPoPError) {
                _ = try judgeProof(
                    proofTargets.ofRequest, beside: shown.range, boundTo: thumbprint)
                return
            } catch {
                if error == .wrongKey {
                    say(
                        .authentication,
                        "the token is bound to another key, \(Base64.encode(thumbprint, .url))")
                }
                throw ExplainedRefusal(error.reason, status: 401)
            }
        }
        throw ExplainedRefusal(.proofMismatch, status: 401)
    }

    /// What can be said of the proof where the token itself cannot be judged here.
    mutating func tellProof(beside shown: PresentedToken) {
        guard shown.scheme == .dpop else { return }
        _ = try? judgeProof(proofTargets.ofRequest, beside: shown.range)
    }

    /// `nil`: there is none, and a bearer token is asked for.
    mutating func proofOfTokenRequest() throws(ExplainedRefusal) -> DPoPProof? {
        guard head.value(of: .dpop) != nil else { return nil }
        do throws(DPoPError) {
            return try judgeProof(proofTargets.ofTokenRequest, beside: nil)
        } catch {
            throw refused(.invalidProof(error))
        }
    }

    private var proofTargets: ProofTargets {
        ProofTargets(
            head: head, origin: origin, snapshot: snapshot,
            certificates: isForwarded ? nil : snapshot.tls.servers[listener.name])
    }

    private mutating func judgeProof(
        _ targets: [DPoPTarget], beside token: Range<Int>?, boundTo thumbprint: [UInt8]? = nil
    ) throws(DPoPError) -> DPoPProof {
        let configuration = snapshot.configuration.dpop
        if let line = head.value(of: .dpop) {
            var text: [UInt8] = []
            text.append(head.span(of: line.value))
            say(.authentication, ProofReport.lines(text))
        }
        do throws(DPoPError) {
            let proof = try DPoPProof.find(
                in: head, targets: targets, accessToken: token, boundTo: thumbprint, now: now,
                policy: DPoPProof.Policy(configuration, nonceKey: nil))
            if configuration.requiresNonce, proof.nonce == nil { throw .nonceRequired }
            say(
                .authentication,
                "DPoP proof: holds, by the key \(Base64.encode(proof.keyThumbprint, .url)), "
                    + ProofReport.age(now.seconds - proof.issuedAt),
                "whether its jti\(configuration.requiresNonce ? " is new and its nonce ours" : " is new") only the running gateway knows"
            )
            return proof
        } catch {
            say(.authentication, "DPoP proof: refused: \(ProofReport.sentence(error))")
            if error == .wrongTarget {
                let known = targets.map(\.text).joined(separator: " or ")
                say(
                    .authentication,
                    "the request's target is \(known.isEmpty ? "none that is known for ours" : known)"
                )
                if snapshot.proofOrigins.isEmpty {
                    say(
                        .authentication,
                        "hint: name the address that clients use with public_url in the dpop block"
                    )
                }
            }
            throw error
        }
    }
}

/// A DPoP proof as `explain` tells of it: what it says, never its signature.
enum ProofReport {
    static func lines(_ proof: [UInt8]) -> [String] {
        var lines = ["DPoP proof of \(proof.count) bytes"]
        guard proof.count <= DPoPProof.limitBytes else { return lines }
        let parts = proof.split(separator: 0x2E, omittingEmptySubsequences: false)
        guard parts.count == 3 else { return lines }
        // Not the header: who shows a private key there must not find it in a ticket.
        if let claims = Base64.decode(String(decoding: parts[1], as: UTF8.self), .url) {
            lines.append("proof claims: \(String(decoding: claims, as: UTF8.self))")
        }
        return lines
    }

    static func age(_ seconds: Int64) -> String {
        seconds >= 0 ? "made \(seconds) s ago" : "made \(seconds.magnitude) s ahead"
    }

    static func sentence(_ error: DPoPError) -> String {
        switch error {
        case .missing: "there is no DPoP field"
        case .repeated: "there is more than one DPoP field"
        case .invalid(let fault): TokenReport.sentence(fault)
        case .badKey(let fault): "the jwk of its header cannot be used: \(fault)"
        case .wrongMethod: "its htm is not the request's method"
        case .wrongTarget: "its htu is not the request's target"
        case .tooOld: "its iat is too long ago (proof_lifetime)"
        case .fromFuture: "its iat is too far ahead (clock_skew)"
        case .wrongToken: "its ath is missing, or of another token"
        case .wrongKey: "it is not by the token's key"
        case .nonceRequired: "it has no nonce of ours (require_nonce)"
        case .reused: "its jti was used before"
        }
    }
}
