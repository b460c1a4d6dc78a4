import Cryptography
import OAuth
import Synchronization
import TestSupport
import Testing

@testable import Gateway

@Suite struct SigningQueueTests {
    private func key() throws -> SigningKey {
        try SigningKey(algorithm: .es256, privateKey: .generate(.p256))
    }

    @Test func aTokenIsSignedElsewhere() throws {
        let signed = Atomic(false)
        let queue = try SigningQueue()
        let isTaken = queue.sign(claims: Array("{}".utf8), with: try key()) { token in
            signed.store(token != nil, ordering: .sequentiallyConsistent)
        }
        #expect(isTaken)
        #expect(eventually { signed.load(ordering: .sequentiallyConsistent) })
    }

    /// Whoever asks learns so at once, and can tell it from a failure.
    @Test func aFullQueueTakesNoMore() throws {
        let queue = try SigningQueue(limit: 0)
        let isTaken = queue.sign(claims: [], with: try key()) { _ in
            Issue.record("it was not taken")
        }
        #expect(!isTaken)
    }
}
