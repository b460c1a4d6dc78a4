/// How often a request was sent, or was about to be, and whether it may be once more.
struct Attempts {
    /// Moves from one connection to the next of a request that has never gone out. One that waits with others, on connections
    /// whose server then takes a single request each, moves up with every one; there are at most 100 on each.
    static let moveLimit = 128

    /// Attempts that failed after the first.
    private(set) var repeats = 0
    private(set) var moves = 0

    /// Nothing of the request can have been acted upon (no connection came about), or acting twice is harmless: a POST is never
    /// sent twice (RFC 9110 section 9.2.2).
    ///
    /// - Parameters:
    ///   - retries: what the upstream's directive of that name says.
    ///   - isRepeatable: by the request's method, and since all of it is still here.
    ///   - isReused: the connection had served before.
    mutating func takesAnother(
        after error: UpstreamError, retries: Int, isRepeatable: Bool, isReused: Bool
    ) -> Bool {
        switch error {
        case .requestUnsent:
            // What never went out was no attempt; a server that ends every connection so is not tried without end.
            guard moves < Attempts.moveLimit else { return false }
            moves += 1
            return true
        case .connectionRefused, .connectionTimeout, .tlsFailed:
            guard repeats < retries else { return false }
        case .requestUnprocessed:
            // Nobody has acted upon it, whatever its method; a server that goes on refusing is overloaded.
            guard repeats < max(1, retries) else { return false }
        case .connectionTerminated:
            guard repeats < 1, isRepeatable, isReused else { return false }
        case .destinationNotFound, .responseTimeout, .responseInvalid, .responseIncomplete:
            return false
        }
        repeats += 1
        return true
    }
}
