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
    /// - Parameters:
    ///   - servers: of the name service, as c-ares takes them (`192.0.2.1:53`); `nil`: the system's.
    ///   - publish: called on that thread whenever the addresses of names have changed: of each as it is found, as another
    ///     may take seconds.
    public init(
        servers: String? = nil, publish: @escaping @Sendable ([String: [IPAddress]]) -> Void
    ) throws(SystemError) {
        orders = try Mailbox()
        let orders = self.orders
        let thread = try Thread(name: "gh-resolve") {
            var watch = NameWatch(servers: servers)
            watch.run(orders: orders.descriptor, publish: publish) {
                var news = NameWatch.News.nothing
                for order in orders.drain() {
                    switch order {
                    case .watch(let names): news = news.followed(by: names)
                    case .stop: return .stop
                    }
                }
                return news
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
        /// `throughout` are those that were wanted all the time: who has stopped to want one in between has forgotten what it
        /// stands for, and is to be told again.
        case watch(Set<String>, throughout: Set<String>)
        case stop

        func followed(by names: Set<String>) -> News {
            switch self {
            case .nothing, .stop: .watch(names, throughout: names)
            case .watch(_, let before): .watch(names, throughout: before.intersection(names))
            }
        }
    }

    private struct Entry {
        var addresses: [IPAddress] = []
        var lookAt: MonotonicInstant
    }

    private static let retryDelay: Duration = .seconds(5)
    private let servers: String?
    private var entries: [String: Entry] = [:]

    init(servers: String?) {
        self.servers = servers
    }

    mutating func run(
        orders: Int32, publish: ([String: [IPAddress]]) -> Void, news: () -> News
    ) {
        while true {
            wait(for: orders)
            switch news() {
            case .stop: return
            case .watch(let names, let throughout): keep(names, throughout)
            case .nothing: break
            }
            lookUpDue(orders, publish)
        }
    }

    private func wait(for orders: Int32) {
        let now = MonotonicInstant.now()
        var milliseconds: Int32 = -1
        if let next = entries.values.map(\.lookAt).min() {
            // One that was interrupted is due since then.
            milliseconds = Int32(clamping: max(0, (next - now).wholeNanoseconds / 1_000_000 + 1))
        }
        var descriptor = pollfd(fd: orders, events: Int16(POLLIN), revents: 0)
        _ = unsafe poll(&descriptor, 1, milliseconds)
    }

    private mutating func keep(_ names: Set<String>, _ throughout: Set<String>) {
        entries = entries.filter { throughout.contains($0.key) }
        for name in names where entries[name] == nil {
            entries[name] = Entry(lookAt: MonotonicInstant.now())
        }
    }

    /// Looks up what is due. New orders end it: what was open then is asked anew, among what they name.
    private mutating func lookUpDue(_ orders: Int32, _ publish: ([String: [IPAddress]]) -> Void) {
        let now = MonotonicInstant.now()
        let due = entries.filter { $0.value.lookAt <= now }.map(\.key)
        guard !due.isEmpty else { return }
        var entries = self.entries
        var open = Set(due)
        let end = NameQuery.lookUp(due, servers: servers, interruption: orders) { found in
            var changed: [String: [IPAddress]] = [:]
            for (name, answer) in found where !answer.addresses.isEmpty {
                open.remove(name)
                if answer.addresses != entries[name]?.addresses { changed[name] = answer.addresses }
                entries[name] = Entry(
                    addresses: answer.addresses, lookAt: MonotonicInstant.now() + answer.lifetime)
            }
            if !changed.isEmpty { publish(changed) }
        }
        if case .whole = end {
            let retryAt = MonotonicInstant.now() + NameWatch.retryDelay
            for name in open { entries[name]?.lookAt = retryAt }
        }
        self.entries = entries
    }
}
