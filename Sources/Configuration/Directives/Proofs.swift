extension Interpreter {
    /// `dpop { proof_lifetime 1m; require_nonce off; … }`
    mutating func dpop(_ statement: Statement) {
        var dpop = DPoPConfiguration()
        for inner in accept(statement.block ?? [], in: .dpop).statements {
            let value = inner.arguments[0]
            switch inner.name.text {
            case "proof_lifetime":
                dpop.proofLifetime =
                    duration(value, .seconds(1) ... .seconds(3600)) ?? dpop.proofLifetime
            case "clock_skew":
                dpop.clockSkew = duration(value, .zero ... .seconds(300)) ?? dpop.clockSkew
            case "require_nonce": dpop.requiresNonce = flag(value) ?? dpop.requiresNonce
            case "nonce_rotation":
                dpop.nonceRotation =
                    duration(value, .seconds(1) ... .seconds(86_400)) ?? dpop.nonceRotation
            case "public_url": dpop.publicURLs = list(inner.arguments, { $0.url($1) }) ?? []
            case "on_store_failure":
                dpop.onStoreFailure = choice(value, StoreFailureRule.self) ?? dpop.onStoreFailure
            default: unread(inner)
            }
        }
        configuration.dpop = dpop
    }

    /// A proof names its host, and a request says in Host which that is: somebody has to know whether it is ours. A proxy's
    /// word is no better, since no certificate of ours stands for it.
    mutating func checkProofTargets() {
        guard configuration.dpop.publicURLs.isEmpty, configuration.oauth1.publicURLs.isEmpty,
            configuration.listeners.contains(where: { $0.tls == nil || !$0.trustedProxies.isEmpty })
        else { return }
        for span in openProofs {
            sink.warning(
                "a proof for any host is taken that a request names in Host", at: span,
                "expected public_url in a 'dpop' block, routes in 'host' blocks, or TLS on every listener and no proxies"
            )
        }
    }
}
