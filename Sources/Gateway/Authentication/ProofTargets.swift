import Cryptography
import HTTP
import OAuth
import Primitives
import Transport

/// What the proof that comes with a request may name as its target (RFC 9449 section 4.3 item 9).
///
/// Whoever was given a token and a proof for an address of its own may send both on to us, with that address in Host. So
/// the address has to be known for ours: by a `public_url`, by a `host` block, or by the certificate that the client was
/// shown. Where none of them can tell, Host is believed.
struct ProofTargets {
    let head: RequestHead
    let origin: RequestOrigin
    let snapshot: GatewaySnapshot
    /// The certificates of the listener, where the client's own TLS ended there; `nil` in clear, and behind a proxy.
    let certificates: TLSServerContext?

    var ofRequest: [DPoPTarget] {
        let known = snapshot.proofOrigins
        guard known.isEmpty else { return DPoPTarget.all(of: head, from: origin, under: known) }
        guard isOurs else { return [] }
        return DPoPTarget(of: head, from: origin).map { [$0] } ?? []
    }

    /// Of the token endpoint: as the metadata name it, or under a `public_url`.
    var ofTokenRequest: [DPoPTarget] {
        let issuer = snapshot.authority.flatMap {
            PublicOrigin(AuthorityMetadata.origin(of: $0.policy.issuer))
        }
        return DPoPTarget.all(of: head, from: origin, under: snapshot.proofOrigins)
            + DPoPTarget.all(of: head, from: origin, under: issuer.map { [$0] } ?? [])
    }

    /// Whether the authority that the client used is one of ours, as far as anything says.
    private var isOurs: Bool {
        let authority = origin.authority(of: head)
        if snapshot.routes.isNamed(authority.span) { return true }
        guard let certificates else { return true }
        return certificates.isNamed(ProofTargets.host(of: authority))
    }

    /// Without the port.
    private static func host(of authority: [UInt8]) -> String {
        let end = authority.lastIndex(of: 0x3A) ?? authority.endIndex
        // The colons within brackets are an address's.
        let isPort = !authority[end...].contains(0x5D)
        return String(decoding: isPort ? authority[..<end] : authority[...], as: UTF8.self)
    }
}

extension GatewaySnapshot {
    var proofOrigins: [PublicOrigin] {
        let own = configuration.dpop.publicURLs
        return own.isEmpty ? oauth1.publicOrigins : own.compactMap(PublicOrigin.init)
    }
}
