import Configuration
import Primitives
import Store
import Testing

@testable import Gateway

struct KeyRotationTests {
    private let now = WallTime(seconds: 1_800_000_000)

    private func rotation(
        _ period: Duration?, algorithm: SigningAlgorithmName = .es256,
        lifetime: Duration = .seconds(600)
    ) -> KeyRotation {
        var authority = AuthorityConfiguration(issuer: "https://a")
        authority.keyRotation = period
        authority.signingAlgorithm = algorithm
        authority.tokenLifetime = lifetime
        return KeyRotation(authority)
    }

    private func key(_ age: Int64, retired: Int64? = nil) -> SigningKeyRecord {
        SigningKeyRecord(
            kid: "k\(age)", algorithm: "ES256", privateKeyPKCS8: Secret(utf8: "x"),
            createdAt: WallTime(seconds: now.seconds - age),
            retiredAt: retired.map { WallTime(seconds: now.seconds - $0) })
    }

    @Test func theFirstSignsAtOnceAndTheNextIsPublishedInTime() {
        let daily = rotation(.seconds(86_400))
        #expect(daily.step([], at: now) == .makeFirst)
        #expect(daily.step([key(0)], at: now) == .none)
        #expect(daily.step([key(86_400 - 301)], at: now) == .none)
        let next = KeyRotation.Step.makeNext(activatesAt: WallTime(seconds: now.seconds + 300))
        #expect(daily.step([key(86_400 - 300)], at: now) == next)
        // One that waits for its time is the next, whoever made it.
        #expect(daily.step([key(-300), key(86_400, retired: -300)], at: now) == .none)
        // A short period leaves a third of it.
        #expect(
            rotation(.seconds(30)).step([key(20)], at: now)
                == .makeNext(activatesAt: WallTime(seconds: now.seconds + 10)))
        #expect(rotation(nil).step([key(86_400 * 365)], at: now) == .none)
    }

    @Test func anotherAlgorithmIsAnotherKey() {
        #expect(
            rotation(nil, algorithm: .eddsa).step([key(5)], at: now)
                == .makeNext(activatesAt: WallTime(seconds: now.seconds + 300)))
    }

    /// Its last token has ended, and a day has gone by.
    @Test func aKeyStaysUntilItsTokensHaveEnded() {
        let daily = rotation(.seconds(86_400))
        let end: Int64 = 600 + 86_400
        #expect(daily.step([key(0), key(200_000, retired: end)], at: now) == .none)
        #expect(
            daily.step([key(0), key(200_000, retired: end + 1)], at: now)
                == .remove(retiredBefore: WallTime(seconds: now.seconds - end)))
    }
}
