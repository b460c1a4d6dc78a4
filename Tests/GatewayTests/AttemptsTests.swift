import Testing

@testable import Gateway

/// After which failures a request goes out again, and how often.
struct AttemptsTests {
    /// How many times it may be tried again when every time ends so.
    private func tries(
        _ error: UpstreamError, retries: Int = 2, isRepeatable: Bool = true, isReused: Bool = true
    ) -> Int {
        var attempts = Attempts()
        var count = 0
        while count < 1000,
            attempts.takesAnother(
                after: error, retries: retries, isRepeatable: isRepeatable, isReused: isReused)
        {
            count += 1
        }
        return count
    }

    @Test func everyFailureHasItsBound() {
        #expect(tries(.connectionRefused(code: 111)) == 2)
        #expect(tries(.connectionTimeout, retries: 0) == 0)
        #expect(tries(.tlsFailed("x"), isRepeatable: false) == 2)
        #expect(tries(.requestUnprocessed, retries: 0, isRepeatable: false) == 1)
        #expect(tries(.connectionTerminated) == 1)
        #expect(tries(.connectionTerminated, isRepeatable: false) == 0)
        #expect(tries(.connectionTerminated, isReused: false) == 0)
        #expect(tries(.requestUnsent, retries: 0, isRepeatable: false) == Attempts.moveLimit)
        for error in [
            UpstreamError.destinationNotFound, .responseTimeout, .responseInvalid,
            .responseIncomplete,
        ] {
            #expect(tries(error) == 0)
        }
    }

    /// To wait for a place is no attempt, and takes none away.
    @Test func aMoveIsNoAttempt() {
        var attempts = Attempts()
        for _ in 0..<50 {
            let moves = attempts.takesAnother(
                after: .requestUnsent, retries: 1, isRepeatable: true, isReused: false)
            #expect(moves)
        }
        #expect(attempts.repeats == 0 && attempts.moves == 50)
        let once = attempts.takesAnother(
            after: .requestUnprocessed, retries: 1, isRepeatable: true, isReused: false)
        let twice = attempts.takesAnother(
            after: .requestUnprocessed, retries: 1, isRepeatable: true, isReused: false)
        #expect(once && !twice)
    }
}
