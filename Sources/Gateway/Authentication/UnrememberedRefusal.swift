import OAuth

extension Refusal {
    /// Of a nonce or a proof that cannot be remembered, and so cannot pass.
    ///
    /// - Parameter verdict: `.overShare`, where the client alone is bound and the store is well; or `.full`, and
    ///   `.aboveCeiling` of one that should be durable by now.
    init(unremembered verdict: ReplayGuard.Verdict) {
        guard case .overShare(let seconds) = verdict else {
            self.init(.storeUnavailable)
            return
        }
        self.init(.rateLimited)
        retryAfterSeconds = Int(clamping: seconds)
    }
}
