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
        #expect(daily.step([], at: now, configuredAt: now) == .makeFirst)
        #expect(daily.step([key(0)], at: now, configuredAt: now) == .none)
        #expect(daily.step([key(86_400 - 301)], at: now, configuredAt: now) == .none)
        let next = KeyRotation.Step.makeNext(activatesAt: WallTime(seconds: now.seconds + 300))
        #expect(daily.step([key(86_400 - 300)], at: now, configuredAt: now) == next)
        // One that waits for its time is the next, whoever made it.
        #expect(
            daily.step([key(-300), key(86_400, retired: -300)], at: now, configuredAt: now) == .none
        )
        // A short period leaves a third of it.
        #expect(
            rotation(.seconds(30)).step([key(20)], at: now, configuredAt: now)
                == .makeNext(activatesAt: WallTime(seconds: now.seconds + 10)))
        #expect(rotation(nil).step([key(86_400 * 365)], at: now, configuredAt: now) == .none)
    }

    @Test func anotherAlgorithmIsAnotherKey() {
        #expect(
            rotation(nil, algorithm: .eddsa).step([key(5)], at: now, configuredAt: now)
                == .makeNext(activatesAt: WallTime(seconds: now.seconds + 300)))
    }

    /// Two gateways of a fleet that differ would otherwise replace each other's keys for ever.
    @Test func aKeyThatIsNewerThanTheConfStays() {
        let eddsa = rotation(nil, algorithm: .eddsa)
        let before = WallTime(seconds: now.seconds - 6)
        #expect(eddsa.step([key(5)], at: now, configuredAt: before) == .none)
        let same = WallTime(nanoseconds: (now.seconds - 5) * 1_000_000_000 + 1)
        #expect(eddsa.step([key(5)], at: now, configuredAt: same) != .none)
    }

    /// An import may leave none that signs: the next begins at once.
    @Test func aRetiredKeyHasASuccessor() {
        #expect(
            rotation(nil).step([key(50, retired: 10)], at: now, configuredAt: now)
                == .makeNext(activatesAt: now))
    }

    /// A short period leaves a short rest: those of a test would otherwise pile up for a day.
    @Test func theRestIsBoundedByThePeriod() {
        let quick = rotation(.seconds(30))
        let end: Int64 = 600 + 300
        #expect(
            quick.step([key(0), key(2000, retired: end)], at: now, configuredAt: now) == .none)
        #expect(
            quick.step([key(0), key(2000, retired: end + 1)], at: now, configuredAt: now)
                == .remove(endedBefore: WallTime(seconds: now.seconds - end)))
    }

    /// Its last token has ended, and a day has gone by.
    @Test func aKeyStaysUntilItsTokensHaveEnded() {
        let daily = rotation(.seconds(86_400))
        let end: Int64 = 600 + 86_400
        #expect(
            daily.step([key(0), key(200_000, retired: end)], at: now, configuredAt: now) == .none)
        #expect(
            daily.step([key(0), key(200_000, retired: end + 1)], at: now, configuredAt: now)
                == .remove(endedBefore: WallTime(seconds: now.seconds - end)))
    }
}
