import CLinux
import Glibc
import Primitives

/// What a descriptor is ready for, as epoll reports it.
public struct Readiness: OptionSet, Sendable {
    public let rawValue: UInt32

    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    public static let readable = Readiness(rawValue: 0x001)  // EPOLLIN
    public static let writable = Readiness(rawValue: 0x004)  // EPOLLOUT
    /// The socket has an error to fetch, or both directions are shut; always reported.
    public static let failed = Readiness(rawValue: 0x008 | 0x010)  // EPOLLERR | EPOLLHUP
    /// The peer shut its writing side.
    public static let peerClosed = Readiness(rawValue: 0x2000)  // EPOLLRDHUP
}

/// One epoll instance; owns its descriptor. Level-triggered: what was not read is reported again.
@safe struct Poller: ~Copyable {
    private let descriptor: Int32
    private var events: [epoll_event]

    init(batch: Int) throws(SystemError) {
        let descriptor = gh_epoll_create()
        guard descriptor >= 0 else { throw SystemError(call: "epoll_create1", code: errno) }
        self.descriptor = descriptor
        unsafe self.events = unsafe [epoll_event](repeating: epoll_event(), count: batch)
    }

    deinit {
        _ = close(descriptor)
    }

    func add(_ target: Int32, _ interest: Readiness, data: UInt64) throws(SystemError) {
        guard gh_epoll_add(descriptor, target, interest.rawValue, data) == 0 else {
            throw SystemError(call: "epoll_ctl", code: errno)
        }
    }

    /// Cannot fail for a registered descriptor; a failure is our mistake.
    func modify(_ target: Int32, _ interest: Readiness, data: UInt64) {
        let result = gh_epoll_modify(descriptor, target, interest.rawValue, data)
        assert(result == 0)
    }

    func remove(_ target: Int32) {
        _ = gh_epoll_remove(descriptor, target)
    }

    /// Waits at most `milliseconds` (-1: for ever) and returns how many events there are.
    mutating func wait(milliseconds: Int32) -> Int {
        let capacity = unsafe Int32(events.count)
        let count = unsafe events.withUnsafeMutableBufferPointer { buffer in
            unsafe epoll_wait(descriptor, buffer.baseAddress, capacity, milliseconds)
        }
        // EINTR is a turn without events: signals are handled on a thread of their own.
        return max(0, Int(count))
    }

    func event(_ index: Int) -> (data: UInt64, readiness: Readiness) {
        unsafe (events[index].data.u64, Readiness(rawValue: events[index].events))
    }
}

/// A system call that failed: its name and `errno`.
public struct SystemError: Error, Equatable, CustomStringConvertible {
    public let call: StaticString
    public let code: Int32

    public init(call: StaticString, code: Int32) {
        self.call = call
        self.code = code
    }

    public static func == (left: SystemError, right: SystemError) -> Bool {
        left.code == right.code && left.call.description == right.call.description
    }

    public var description: String {
        var text = [CChar](repeating: 0, count: 128)
        guard unsafe gh_error_text(code, &text, text.count) == 0 else {
            return "\(call): error \(code)"
        }
        let bytes = text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
        return "\(call): \(String(decoding: bytes, as: UTF8.self))"
    }
}
