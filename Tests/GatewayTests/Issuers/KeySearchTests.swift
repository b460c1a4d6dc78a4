import Testing

@testable import Gateway

/// What becomes of a token whose key is not here: refused only once its issuer's keys have been seen.
struct KeySearchTests {
    @Test func onlyWhatTheIssuerDoesNotHaveIsRefused() {
        for (end, prospect) in [
            (KeyFetchEnd.current, KeyProspect.none), (.failed, .unavailable), (.early, .mayFind),
        ] {
            var search = KeySearch.begun
            #expect(search.next(.mayFind) == .mayFind)
            search.fetchEnded(end)
            #expect(search.next(.mayFind) == prospect)
        }
    }

    @Test func whoNeedNotWaitIsToldAtOnce() {
        var search = KeySearch.begun
        #expect(search.next(.none) == KeyProspect.none)
        #expect(search.next(.unavailable) == .unavailable)
        // That took no wait.
        #expect(search == .begun)
    }

    /// Both waits went to fetches that began before: its key may be there all the same.
    @Test func whoCameTooLateTwiceIsNotRefused() {
        var search = KeySearch.begun
        for _ in 0..<2 {
            #expect(search.next(.mayFind) == .mayFind)
            search.fetchEnded(.early)
        }
        #expect(search.next(.mayFind) == .unavailable)
        // But for an issuer whose keys have been seen since.
        #expect(search.next(.none) == KeyProspect.none)
    }
}
