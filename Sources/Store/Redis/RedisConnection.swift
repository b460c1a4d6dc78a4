import Glibc
import Primitives
import Transport

/// One connection to a Redis server or a Sentinel, used by the store's thread alone: it waits, never beyond the
/// deadline that it is given. After any error it is of no use any more.
final class RedisConnection {
    let endpoint: Endpoint
    private let box: SocketBox
    private var reader: RedisReader
    private let buffer = ByteBuffer(capacity: 64 << 10)

    /// Connects to the first of the endpoint's addresses that takes it, and speaks TLS where there is a context.
    init(
        to endpoint: Endpoint, tls: TLSClientContext?, by deadline: MonotonicInstant
    ) throws(StoreError) {
        guard let reader = RedisReader() else { throw .unavailable(reason: "out of memory") }
        self.reader = reader
        self.endpoint = endpoint
        box = try Self.connect(to: endpoint, by: deadline)
        guard let tls else { return }
        do throws(TLSError) {
            try box.secure(
                as: tls, to: Self.serverName(of: endpoint), resumption: TLSResumption())
        } catch {
            throw away("\(error)")
        }
        try handshake(by: deadline)
    }

    deinit { box.close() }

    /// Sends the commands in one go and reads as many replies.
    ///
    /// - Throws: `.unavailable` when the connection broke or the deadline came: nobody knows then what was done.
    func exchange(
        _ commands: [RedisCommand], by deadline: MonotonicInstant
    ) throws(StoreError) -> [RedisValue] {
        var output: [UInt8] = []
        for command in commands {
            guard command.append(to: &output) else { throw .unavailable(reason: "out of memory") }
        }
        var sent = 0
        var replies: [RedisValue] = []
        while replies.count < commands.count {
            // Both in turn: a server that waits for its answers to be read reads no more commands.
            sent += try send(output, from: sent)
            try receive(into: &replies, upTo: commands.count)
            guard replies.count < commands.count else { break }
            let wantsRoom = sent < output.count || box.wantsWritable
            try wait(for: wantsRoom ? POLLIN | POLLOUT : POLLIN, by: deadline)
        }
        guard sent == output.count else { throw away("it answers what it was not asked") }
        return replies
    }

    // MARK: - Bytes

    private func send(_ output: [UInt8], from start: Int) throws(StoreError) -> Int {
        guard start < output.count else { return 0 }
        switch box.write(output.span.extracting(start..<output.count)) {
        case .bytes(let count): return count
        case .wouldBlock: return 0
        case .end: throw away("the connection was closed")
        case .failed(let code): throw away("\(SystemError(call: "send", code: code))")
        }
    }

    private func receive(into replies: inout [RedisValue], upTo count: Int) throws(StoreError) {
        while replies.count < count {
            buffer.removeAll()
            switch box.read(into: buffer) {
            case .wouldBlock: return
            case .end: throw away("the connection was closed")
            case .failed(let code): throw away("\(SystemError(call: "recv", code: code))")
            case .bytes:
                guard reader.feed(buffer) else {
                    throw away("its answer is not the protocol of Redis, or too long")
                }
                try take(&replies)
                guard replies.count <= count else { throw away("it answers what it was not asked") }
            }
        }
    }

    private func take(_ replies: inout [RedisValue]) throws(StoreError) {
        while true {
            switch reader.next() {
            case .reply(let value): replies.append(value)
            case .needsMore: return
            case .broken(let why): throw away(why)
            }
        }
    }

    // MARK: - Opening

    private static func connect(
        to endpoint: Endpoint, by deadline: MonotonicInstant
    ) throws(StoreError) -> SocketBox {
        let addresses = NameQuery.addresses(of: endpoint, within: deadline - MonotonicInstant.now())
        var failure = "\(endpoint): its name is not found"
        for (index, address) in addresses.enumerated() {
            // A silent one leaves time for the others.
            let now = MonotonicInstant.now()
            let share = (deadline - now) / (addresses.count - index)
            do throws(SystemError) {
                let box = SocketBox(try Socket.connect(to: address))
                if wait(box.descriptor, for: POLLOUT, by: now + share) {
                    let code = box.takeError()
                    if code == 0 { return box }
                    failure = "\(endpoint): \(SystemError(call: "connect", code: code))"
                } else {
                    failure = "\(endpoint): no answer in time"
                }
                box.close()
            } catch {
                failure = "\(endpoint): \(error)"
            }
        }
        throw .unavailable(reason: failure)
    }

    private static func serverName(of endpoint: Endpoint) -> TLSServerName {
        switch endpoint {
        case .ip(let address, _): .address(address)
        case .name(let host, _): .host(host)
        case .unix, .activated: .unknown
        }
    }

    private func handshake(by deadline: MonotonicInstant) throws(StoreError) {
        while true {
            switch box.handshake() {
            case .done: return
            case .wantsReadable: try wait(for: POLLIN, by: deadline)
            case .wantsWritable: try wait(for: POLLOUT, by: deadline)
            case .failed(let cause): throw away("TLS: \(cause)")
            }
        }
    }

    // MARK: - Waiting

    private func wait(for events: Int32, by deadline: MonotonicInstant) throws(StoreError) {
        guard Self.wait(box.descriptor, for: events, by: deadline) else {
            throw away("no answer in time")
        }
    }

    /// - Returns: false when the deadline came first.
    private static func wait(
        _ descriptor: Int32, for events: Int32, by deadline: MonotonicInstant
    ) -> Bool {
        while true {
            let left = (deadline - MonotonicInstant.now()).wholeNanoseconds
            guard left > 0 else { return false }
            var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            let count = unsafe poll(&entry, 1, Int32(clamping: (left + 999_999) / 1_000_000))
            if count > 0 { return true }
            if count < 0, errno != EINTR { return true }
        }
    }

    private func away(_ why: String) -> StoreError { .unavailable(reason: "\(endpoint): \(why)") }
}
