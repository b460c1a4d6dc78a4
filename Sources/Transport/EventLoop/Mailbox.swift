import CLinux
import Glibc
import Synchronization

/// How other threads tell a loop something: messages in order, and an eventfd that wakes the loop when the box
/// goes from empty to non-empty.
public final class Mailbox<Message: Sendable>: Sendable {
    private let messages = Mutex<[Message]>([])
    /// Readable while there is mail; registered with the loop that owns the box.
    public let descriptor: Int32

    public init() throws(SystemError) {
        let descriptor = gh_eventfd()
        guard descriptor >= 0 else { throw SystemError(call: "eventfd", code: errno) }
        self.descriptor = descriptor
    }

    deinit {
        _ = close(descriptor)
    }

    /// Puts a message in; any thread. Never blocks but for the lock, which is held for an append or a swap.
    public func post(_ message: Message) {
        let wasEmpty = messages.withLock { list in
            list.append(message)
            return list.count == 1
        }
        if wasEmpty {
            var one: UInt64 = 1
            _ = unsafe write(descriptor, &one, 8)
        }
    }

    /// Takes everything out; the owning loop only.
    public func drain() -> [Message] {
        var count: UInt64 = 0
        _ = unsafe read(descriptor, &count, 8)
        return messages.withLock { list in
            let taken = list
            list = []
            return taken
        }
    }
}
