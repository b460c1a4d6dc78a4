/// How many exchanges of a worker wait for the same, which is bounded: who floods us with tokens that have to be asked about
/// gets no more of our memory than this.
struct WaitCounts {
    enum Cause: Hashable {
        /// The keys of one issuer: others who flood us take no room from those who wait for another.
        case keys(KeySetName)
        /// Verdicts of the introspection server. Who of them has a turn the issuers' thread says, which knows whose tokens
        /// they are: this is only there so that there is an end.
        case introspection

        var limit: Int {
            switch self {
            case .keys: 1024
            case .introspection: 16 * 1024
            }
        }
    }

    private var counts: [Cause: Int] = [:]

    /// One more waits.
    ///
    /// - Returns: whether it may; if not, it is not counted.
    mutating func begin(_ cause: Cause) -> Bool {
        let count = counts[cause] ?? 0
        guard count < cause.limit else { return false }
        counts[cause] = count + 1
        return true
    }

    mutating func end(_ cause: Cause) {
        let count = counts[cause] ?? 0
        counts[cause] = count > 1 ? count - 1 : nil
    }
}
