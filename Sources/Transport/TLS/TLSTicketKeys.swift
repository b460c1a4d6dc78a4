import COpenSSL
import Cryptography
import Primitives
import Synchronization

/// The keys that session tickets are sealed with (RFC 8446 section 4.6.1): one set for all workers and listeners, so that
/// a client may come back to any. They live in memory alone and change every hour; a key that sealed opens for two
/// more, which is how long a ticket is good for. Who records traffic and takes the memory later reads no further back.
public final class TLSTicketKeys: Sendable {
    static let rotation: Duration = .seconds(3600)
    /// How long a session may be taken up again, in seconds.
    static let lifetimeSeconds = 7200

    struct Key: Sendable {
        let name: [UInt8]
        let cipherKey: [UInt8]
        let macKey: [UInt8]
        let bornAt: MonotonicInstant
    }

    private let keys = Mutex<[Key]>([])

    public init() {}

    /// The key that seals now; `nil` when the system gives no random bytes, and then there is no ticket.
    func current(at now: MonotonicInstant) -> Key? {
        keys.withLock { keys in
            if let newest = keys.first, now - newest.bornAt < TLSTicketKeys.rotation {
                return newest
            }
            guard let random = try? RandomBytes.make(count: 80) else { return nil }
            let key = Key(
                name: Array(random[..<16]), cipherKey: Array(random[16..<48]),
                macKey: Array(random[48...]), bornAt: now)
            let oldest = TLSTicketKeys.rotation + .seconds(TLSTicketKeys.lifetimeSeconds)
            keys = [key] + keys.filter { now - $0.bornAt < oldest }
            return key
        }
    }

    /// The key of a ticket, and whether it still seals.
    func key(named name: [UInt8], at now: MonotonicInstant) -> (key: Key, isCurrent: Bool)? {
        keys.withLock { keys in
            let oldest = TLSTicketKeys.rotation + .seconds(TLSTicketKeys.lifetimeSeconds)
            // The name is no secret: it stands in the ticket.
            guard let index = keys.firstIndex(where: { $0.name == name }),
                now - keys[index].bornAt < oldest
            else { return nil }
            return (keys[index], index == 0 && now - keys[index].bornAt < TLSTicketKeys.rotation)
        }
    }
}
