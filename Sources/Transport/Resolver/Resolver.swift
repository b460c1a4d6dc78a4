import Glibc
import Primitives
import Synchronization

/// Looks up the names of upstream servers on a thread of its own and looks again as their TTL ends. What was found last
/// stays in use while the name service is away.
public final class Resolver: Sendable {
    private enum Order: Sendable {
        case watch(Set<String>)
        case stop
    }

    private let orders: Mailbox<Order>

    /// Starts the thread.
    ///
    /// - Parameter publish: called on that thread whenever the addresses of names have changed.
    public init(publish: @escaping @Sendable ([String: [IPAddress]]) -> Void) throws(SystemError) {
        orders = try Mailbox()
        let orders = self.orders
        let thread = try Thread(name: "gh-resolve") {
            var watch = NameWatch()
            watch.run(orders: orders.descriptor, publish: publish) {
                var names: Set<String>?
                for order in orders.drain() {
                    switch order {
                    case .watch(let wanted): names = wanted
                    case .stop: return .stop
                    }
                }
                return names.map { .watch($0) } ?? .nothing
            }
        }
        // A look-up may take seconds; the end of the program does not wait for it.
        thread.detach()
    }

    /// From now on these names, and no others, are kept up to date.
    public func watch(_ names: Set<String>) {
        orders.post(.watch(names))
    }

    public func stop() {
        orders.post(.stop)
    }
}

/// The names that are watched, each with what was found and when to look again. Lives on the resolver's thread.
private struct NameWatch {
    enum News {
        case nothing
        case watch(Set<String>)
        case stop
    }

    private struct Entry {
        var addresses: [IPAddress] = []
        var lookAt: MonotonicInstant
    }

    private static let retryDelay: Duration = .seconds(5)
    private var entries: [String: Entry] = [:]

    mutating func run(
        orders: Int32, publish: ([String: [IPAddress]]) -> Void, news: () -> News
    ) {
        while true {
            wait(for: orders)
            switch news() {
            case .stop: return
            case .watch(let names): keep(names)
            case .nothing: break
            }
            let changed = lookUpDue()
            if !changed.isEmpty { publish(changed) }
        }
    }

    private func wait(for orders: Int32) {
        let now = MonotonicInstant.now()
        var milliseconds: Int32 = -1
        if let next = entries.values.map(\.lookAt).min() {
            milliseconds = Int32(clamping: (next - now).wholeNanoseconds / 1_000_000 + 1)
        }
        var descriptor = pollfd(fd: orders, events: Int16(POLLIN), revents: 0)
        _ = unsafe poll(&descriptor, 1, milliseconds)
    }

    private mutating func keep(_ names: Set<String>) {
        entries = entries.filter { names.contains($0.key) }
        for name in names where entries[name] == nil {
            entries[name] = Entry(lookAt: MonotonicInstant.now())
        }
    }

    private mutating func lookUpDue() -> [String: [IPAddress]] {
        let now = MonotonicInstant.now()
        let due = entries.filter { $0.value.lookAt <= now }.map(\.key)
        guard !due.isEmpty else { return [:] }
        let found = NameQuery.lookUp(due)
        var changed: [String: [IPAddress]] = [:]
        for name in due {
            guard var entry = entries[name] else { continue }
            if let answer = found[name], !answer.addresses.isEmpty {
                entry.lookAt = MonotonicInstant.now() + answer.lifetime
                if answer.addresses != entry.addresses { changed[name] = answer.addresses }
                entry.addresses = answer.addresses
            } else {
                entry.lookAt = MonotonicInstant.now() + NameWatch.retryDelay
            }
            entries[name] = entry
        }
        return changed
    }
}
