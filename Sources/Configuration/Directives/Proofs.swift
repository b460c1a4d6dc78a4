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
}
