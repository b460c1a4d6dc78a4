import CAres
import Glibc
import Primitives

/// What a look-up found.
struct NameAnswer: Sendable, Equatable {
    var addresses: [IPAddress]
    /// How long it may be used: the smallest TTL, within 5 s and an hour.
    var lifetime: Duration
}

/// Look-ups through c-ares (hosts file, then DNS), run together and waited for on the resolver's thread.
public enum NameQuery {
    /// An endpoint that can be bound or connected to: a name's first address. It waits, so it is for starts alone.
    public static func resolved(_ endpoint: Endpoint) throws(SystemError) -> Endpoint {
        guard case .name(let name, let port) = endpoint else { return endpoint }
        guard let address = lookUp([name])[name]?.addresses.first else {
            throw SystemError(call: "look-up", code: EADDRNOTAVAIL)
        }
        return .ip(address, port: port)
    }

    /// Every address that an endpoint stands for, to be connected to; none when its name is not found within
    /// `limit`. It waits.
    public static func addresses(of endpoint: Endpoint, within limit: Duration) -> [Endpoint] {
        guard case .name(let name, let port) = endpoint else { return [endpoint] }
        let found = lookUp([name], within: limit)[name]?.addresses ?? []
        return found.map { .ip($0, port: port) }
    }

    /// Whole look-ups, retries included, take at most this long.
    private static let limit: Duration = .seconds(10)

    /// Gathers the answers: C borrows it while the look-ups run, and only this thread touches it.
    private final class Answers {
        /// Since the last time they were told.
        var found: [String: NameAnswer] = [:]
        var open = 0
    }

    /// Why a round of look-ups was over.
    enum End {
        /// All were answered, or their time was over.
        case whole
        /// Somebody has written to the descriptor; what was open was given up.
        case interrupted
    }

    private final class Question {
        let name: String
        let answers: Answers

        init(_ name: String, _ answers: Answers) {
            self.name = name
            self.answers = answers
        }
    }

    static func lookUp(
        _ names: [String], within limit: Duration = NameQuery.limit
    ) -> [String: NameAnswer] {
        var all: [String: NameAnswer] = [:]
        _ = lookUp(names, within: limit, servers: nil, interruption: nil) { found in
            all.merge(found) { $1 }
        }
        return all
    }

    /// Looks all names up at once.
    ///
    /// - Parameters:
    ///   - servers: as c-ares takes them (`192.0.2.1:53,...`); `nil`: the system's.
    ///   - interruption: a descriptor that ends the wait once it is readable.
    ///   - tell: is given what was found as it comes, so that no name waits for another.
    static func lookUp(
        _ names: [String], within limit: Duration = NameQuery.limit, servers: String?,
        interruption: Int32?, tell: ([String: NameAnswer]) -> Void
    ) -> End {
        guard ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS else { return .whole }
        defer { ares_library_cleanup() }
        var channel: ares_channel?
        guard unsafe ares_init(&channel) == ARES_SUCCESS,
            let channel = unsafe channel
        else { return .whole }
        let answers = Answers()
        let questions = names.map { Question($0, answers) }
        // Ends what is still open: its callbacks run then, while `questions` lives.
        defer { withExtendedLifetime(questions) { unsafe ares_destroy(channel) } }
        if let servers, unsafe ares_set_servers_ports_csv(channel, servers) != ARES_SUCCESS {
            return .whole
        }
        for question in questions { unsafe ask(question, channel) }
        return unsafe drive(channel, answers, within: limit, interruption: interruption, tell)
    }

    private static func ask(_ question: Question, _ channel: ares_channel) {
        question.answers.open += 1
        var hints = ares_addrinfo_hints()
        hints.ai_family = AF_UNSPEC
        hints.ai_flags = ARES_AI_NOSORT
        let context = unsafe Unmanaged.passUnretained(question).toOpaque()
        unsafe ares_getaddrinfo(
            channel, question.name, nil, &hints,
            { context, status, _, result in
                guard let context = unsafe context else { return }
                let question = unsafe Unmanaged<Question>.fromOpaque(context).takeUnretainedValue()
                question.answers.open -= 1
                guard let result = unsafe result else { return }
                if status == ARES_SUCCESS {
                    question.answers.found[question.name] = unsafe NameQuery.read(result)
                }
                unsafe ares_freeaddrinfo(result)
            }, context)
    }

    private static func read(_ result: UnsafeMutablePointer<ares_addrinfo>) -> NameAnswer {
        var addresses: [IPAddress] = []
        var smallest: Int32 = .max
        var node = unsafe result.pointee.nodes
        while let current = unsafe node {
            if let address = unsafe address(of: current.pointee), !addresses.contains(address) {
                addresses.append(address)
                smallest = min(smallest, unsafe current.pointee.ai_ttl)
            }
            unsafe node = unsafe current.pointee.ai_next
        }
        return NameAnswer(
            addresses: addresses, lifetime: .seconds(Int64(min(max(smallest, 5), 3600))))
    }

    private static func address(of node: ares_addrinfo_node) -> IPAddress? {
        guard let raw = unsafe UnsafeRawPointer(node.ai_addr) else { return nil }
        switch unsafe node.ai_family {
        case AF_INET:
            let four = unsafe raw.loadUnaligned(as: sockaddr_in.self)
            return .v4(UInt32(bigEndian: four.sin_addr.s_addr))
        case AF_INET6:
            return IPAddress(
                networkOrder: unsafe raw.loadUnaligned(as: sockaddr_in6.self).sin6_addr)
        default:
            return nil
        }
    }

    /// Serves c-ares' sockets until every question is answered or the limit has come. `poll`, not `select`: the
    /// process may hold more descriptors than an `fd_set` has room for.
    private static func drive(
        _ channel: ares_channel, _ answers: Answers, within limit: Duration, interruption: Int32?,
        _ tell: ([String: NameAnswer]) -> Void
    ) -> End {
        let deadline = MonotonicInstant.now() + limit
        while true {
            if !answers.found.isEmpty {
                tell(answers.found)
                answers.found = [:]
            }
            guard answers.open > 0, MonotonicInstant.now() < deadline else { return .whole }
            var descriptors = [ares_socket_t](repeating: 0, count: Int(ARES_GETSOCK_MAXNUM))
            let mask = unsafe UInt32(
                bitPattern: ares_getsock(channel, &descriptors, Int32(descriptors.count)))
            var watched: [pollfd] = []
            for index in descriptors.indices {
                var events: Int32 = 0
                if mask & (1 << UInt32(index)) != 0 { events |= POLLIN }
                if mask & (1 << UInt32(index + Int(ARES_GETSOCK_MAXNUM))) != 0 { events |= POLLOUT }
                if events != 0 {
                    watched.append(
                        pollfd(fd: descriptors[index], events: Int16(events), revents: 0))
                }
            }
            let sockets = watched.count
            if let interruption {
                watched.append(pollfd(fd: interruption, events: Int16(POLLIN), revents: 0))
            }
            let rest = (deadline - MonotonicInstant.now()).wholeNanoseconds / 1_000_000
            _ = unsafe poll(&watched, nfds_t(watched.count), Int32(clamping: min(rest, 100)))
            if watched.dropFirst(sockets).contains(where: { $0.revents != 0 }) {
                return .interrupted
            }
            for entry in watched.prefix(sockets) {
                let readable = entry.revents & Int16(POLLIN | POLLERR | POLLHUP) != 0
                let writable = entry.revents & Int16(POLLOUT) != 0
                unsafe ares_process_fd(
                    channel, readable ? entry.fd : -1, writable ? entry.fd : -1)
            }
            // Lets c-ares see its own time-outs.
            unsafe ares_process_fd(channel, -1, -1)
        }
    }
}
