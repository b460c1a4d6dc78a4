import Cryptography
import Glibc
import OAuth
import Synchronization
import Transport

/// Signs tokens whose signature would hold up a loop: RS256 costs 0.75 ms, ES256 and EdDSA some 50 us and are
/// signed where they are asked for. One thread, started with the first job.
final class SigningQueue: Sendable {
    private struct Job: Sendable {
        let key: SigningKey
        let claims: [UInt8]
        let completion: @Sendable ([UInt8]?) -> Void
    }

    /// Jobs that may wait.
    private let limit: Int
    private let jobs = Mutex<[Job]>([])
    private let wake: Mailbox<Bool>
    private let started = Mutex(false)

    init(limit: Int = 1024) throws(SystemError) {
        self.limit = limit
        wake = try Mailbox()
    }

    /// - Parameter completion: called on the signing thread, with the token's text; `nil` when it could not be made.
    /// - Returns: `false`: more wait than may, or nobody signs; the completion is not called then.
    func sign(
        claims: [UInt8], with key: SigningKey, completion: @escaping @Sendable ([UInt8]?) -> Void
    ) -> Bool {
        guard startIfNeeded() else { return false }
        let isTaken = jobs.withLock { jobs in
            guard jobs.count < limit else { return false }
            jobs.append(Job(key: key, claims: claims, completion: completion))
            return true
        }
        if isTaken { wake.post(true) }
        return isTaken
    }

    private func startIfNeeded() -> Bool {
        started.withLock { started in
            if started { return true }
            guard let thread = try? Thread(name: "gh-sign", { self.run() }) else { return false }
            thread.detach()
            started = true
            return true
        }
    }

    private func run() {
        var descriptor = pollfd(fd: wake.descriptor, events: Int16(POLLIN), revents: 0)
        while true {
            _ = unsafe poll(&descriptor, 1, -1)
            _ = wake.drain()
            let batch = jobs.withLock { jobs in
                defer { jobs = [] }
                return jobs
            }
            for job in batch {
                job.completion(try? JWTSigner.sign(claims: job.claims, with: job.key))
            }
        }
    }
}
