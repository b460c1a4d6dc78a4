import Glibc
import Primitives
import Synchronization
import TestSupport
import Testing
import Transport

/// Counts what it is told and ends the loop when it has seen enough.
private final class Recorder: EventHandler {
    var readiness: [Readiness] = []
    var deadlines = 0
    let loop: EventLoop
    var onReady: (Recorder) -> Void = { _ in }
    var onDeadline: (Recorder) -> Void = { _ in }

    init(_ loop: EventLoop) {
        self.loop = loop
    }

    func ready(_ readiness: Readiness) {
        self.readiness.append(readiness)
        onReady(self)
    }

    func deadlineReached() {
        deadlines += 1
        onDeadline(self)
    }
}

private struct Pair {
    let near: Int32
    let far: Int32

    init() throws {
        var ends: [Int32] = [0, 0]
        let result = socketpair(
            AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends)
        try #require(result == 0)
        near = ends[0]
        far = ends[1]
    }

    func end() {
        _ = close(near)
        _ = close(far)
    }
}

struct EventLoopTests {
    @Test func aReadableDescriptorIsReported() throws {
        let loop = try EventLoop()
        let pair = try Pair()
        defer { pair.end() }
        let recorder = Recorder(loop)
        recorder.onReady = { $0.loop.stop() }
        _ = try loop.register(pair.near, [.readable], recorder)
        _ = write(pair.far, "x", 1)
        loop.run { nil }
        #expect(recorder.readiness == [.readable])
    }

    @Test func aDeadlineFiresOnceAndNotBeforeItsTime() throws {
        let loop = try EventLoop()
        let pair = try Pair()
        defer { pair.end() }
        let recorder = Recorder(loop)
        recorder.onDeadline = { $0.loop.stop() }
        let registration = try loop.register(pair.near, [.readable], recorder)
        let deadline = loop.now + .milliseconds(60)
        loop.schedule(registration, at: deadline)
        loop.run { nil }
        #expect(recorder.deadlines == 1)
        #expect(MonotonicInstant.now() >= deadline)
    }

    @Test func aDeadlineThatMovedLaterFiresAtTheLaterTimeAlone() throws {
        let loop = try EventLoop()
        let pair = try Pair()
        defer { pair.end() }
        let recorder = Recorder(loop)
        recorder.onDeadline = { $0.loop.stop() }
        let registration = try loop.register(pair.near, [.readable], recorder)
        loop.schedule(registration, at: loop.now + .milliseconds(30))
        let later = loop.now + .milliseconds(120)
        loop.schedule(registration, at: later)
        loop.run { nil }
        #expect(recorder.deadlines == 1)
        #expect(MonotonicInstant.now() >= later)
    }

    @Test func aDeadlineThatMovedEarlierDoesNotWaitForTheOldOne() throws {
        let loop = try EventLoop()
        let pair = try Pair()
        defer { pair.end() }
        let recorder = Recorder(loop)
        recorder.onDeadline = { $0.loop.stop() }
        let registration = try loop.register(pair.near, [.readable], recorder)
        let far = loop.now + .seconds(3600)
        loop.schedule(registration, at: far)
        loop.schedule(registration, at: loop.now + .milliseconds(40))
        loop.run { nil }
        #expect(recorder.deadlines == 1)
        #expect(MonotonicInstant.now() < far)
    }

    @Test func aClearedDeadlineNeverFires() throws {
        let loop = try EventLoop()
        let pair = try Pair()
        let other = try Pair()
        defer {
            pair.end()
            other.end()
        }
        let silent = Recorder(loop)
        let last = Recorder(loop)
        last.onDeadline = { $0.loop.stop() }
        let cleared = try loop.register(pair.near, [.readable], silent)
        let kept = try loop.register(other.near, [.readable], last)
        loop.schedule(cleared, at: loop.now + .milliseconds(20))
        loop.schedule(cleared, at: nil)
        loop.schedule(kept, at: loop.now + .milliseconds(100))
        loop.run { nil }
        #expect(silent.deadlines == 0)
    }

    /// Both descriptors are readable in one turn; the first closes the second, whose number goes to a third.
    @Test func anEventOfAClosedDescriptorNeverReachesItsSuccessor() throws {
        let loop = try EventLoop()
        let first = try Pair()
        let second = try Pair()
        let successor = Recorder(loop)
        let victim = Recorder(loop)
        let closer = Recorder(loop)
        var registrations: [Registration] = []
        var replacement: Int32 = -1
        func replaceOther(_ other: Int32, _ index: Int) {
            guard replacement < 0 else { return }
            loop.unregister(registrations[index])
            replacement = dup(first.far)
            _ = dup2(replacement, other)
            _ = try? loop.register(other, [.readable], successor)
            loop.stop()
        }
        closer.onReady = { _ in replaceOther(second.near, 1) }
        victim.onReady = { _ in replaceOther(first.near, 0) }
        registrations.append(try loop.register(first.near, [.readable], closer))
        registrations.append(try loop.register(second.near, [.readable], victim))
        _ = write(first.far, "x", 1)
        _ = write(second.far, "x", 1)
        loop.run { nil }
        #expect(closer.readiness.count + victim.readiness.count == 1)
        #expect(successor.readiness.isEmpty)
        first.end()
        second.end()
        _ = close(replacement)
    }

    /// The number of a descriptor is given again at once: who had it must not turn its successor's handler or interest.
    @Test func aRegistrationThatHasEndedMovesNothing() throws {
        let loop = try EventLoop()
        let pair = try Pair()
        defer { pair.end() }
        let (old, new) = (Recorder(loop), Recorder(loop))
        let ended = try loop.register(pair.near, [.readable], old)
        loop.unregister(ended)
        let current = try loop.register(pair.near, [.readable], new)
        #expect(!loop.replace(ended, with: old))
        loop.modify(ended, [])
        loop.unregister(ended)
        loop.schedule(ended, at: loop.now)
        loop.readAgain(ended)
        new.onReady = { $0.loop.stop() }
        _ = write(pair.far, "x", 1)
        loop.run { nil }
        #expect(new.readiness == [.readable] && new.deadlines == 0)
        #expect(old.readiness.isEmpty && old.deadlines == 0)
        #expect(loop.replace(current, with: old))
    }

    @Test func mailFromSeveralThreadsArrivesWholeAndInEachOnesOrder() throws {
        let mailbox = try Mailbox<(Int, Int)>()
        let loop = try EventLoop()
        let recorder = Recorder(loop)
        let taken = Mutex<[[Int]]>([[], []])
        recorder.onReady = { recorder in
            for (sender, number) in mailbox.drain() {
                taken.withLock { $0[sender].append(number) }
            }
            if taken.withLock({ $0.allSatisfy { $0.count == 5000 } }) { recorder.loop.stop() }
        }
        _ = try loop.register(mailbox.descriptor, [.readable], recorder)
        let threads = try (0..<2).map { sender in
            try Transport.Thread(name: "sender") {
                for number in 0..<5000 { mailbox.post((sender, number)) }
            }
        }
        loop.run { nil }
        for thread in threads { thread.join() }
        #expect(taken.withLock { $0 } == [Array(0..<5000), Array(0..<5000)])
    }
}

struct SocketTests {
    @Test func aListenerOnPortZeroTellsItsPortAndAccepts() throws {
        let listener = try ListeningSocket(binding: try #require(Endpoint("127.0.0.1:0")))
        let port = try #require(listener.endpoint.port)
        #expect(port > 0)
        #expect(listener.accept() == .nothing)
        let client = SocketBox(try Socket.connect(to: listener.endpoint))
        var result = listener.accept()
        while result == .nothing { result = listener.accept() }
        guard case .accepted(let descriptor, let peer) = result else {
            Issue.record("\(result)")
            return
        }
        #expect(peer == IPAddress("127.0.0.1"))
        let accepted = SocketBox(Socket(adopting: descriptor))
        let bytes: [UInt8] = [1, 2, 3]
        #expect(accepted.write(bytes.span) == .bytes(3))
        let buffer = ByteBuffer(capacity: 16)
        var transfer = client.read(into: buffer)
        while transfer == .wouldBlock { transfer = client.read(into: buffer) }
        #expect(transfer == .bytes(3))
    }

    @Test func anAddressInUseIsRefusedWithItsError() throws {
        let first = try ListeningSocket(binding: try #require(Endpoint("127.0.0.1:0")))
        let taken = first.endpoint
        #expect(throws: SystemError(call: "bind", code: EADDRINUSE)) {
            _ = try ListeningSocket(binding: taken)
        }
    }

    @Test func aStaleUnixPathIsReplacedAndALiveOneIsNot() throws {
        let folder = try TemporaryDirectory()
        let path = Endpoint.unix(path: folder.path + "/socket")
        do { _ = try ListeningSocket(binding: path) }
        let live = try ListeningSocket(binding: path)
        #expect(throws: SystemError(call: "bind", code: EADDRINUSE)) {
            _ = try ListeningSocket(binding: path)
        }
        _ = consume live
    }

    @Test func localhostIsFound() throws {
        let found = Mutex<[IPAddress]>([])
        let mailbox = try Mailbox<Bool>()
        let resolver = try Resolver { addresses in
            found.withLock { $0 = addresses["localhost"] ?? [] }
            mailbox.post(true)
        }
        resolver.watch(["localhost"])
        var descriptor = pollfd(fd: mailbox.descriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&descriptor, 1, 10_000) == 1)
        resolver.stop()
        #expect(found.withLock { $0 }.contains { $0 == IPAddress("127.0.0.1") })
    }

    /// Both orders may be read at once; who has given a name up in between has forgotten its addresses.
    @Test func aNameThatIsWantedAgainIsToldAgain() throws {
        let mailbox = try Mailbox<Bool>()
        let resolver = try Resolver { _ in mailbox.post(true) }
        defer { resolver.stop() }
        for _ in 0..<100 {
            resolver.watch([])
            resolver.watch(["localhost"])
            var descriptor = pollfd(fd: mailbox.descriptor, events: Int16(POLLIN), revents: 0)
            try #require(poll(&descriptor, 1, 10_000) == 1)
            _ = mailbox.drain()
        }
    }

    /// A name that nobody answers for takes ten seconds to be given up: neither one that is asked beside it nor one that is
    /// asked later waits for it.
    @Test(arguments: [true, false])
    func aNameThatIsNotAnsweredHoldsNoneUp(isAskedLater: Bool) throws {
        let server = try SilentNameServer()
        let found = Mutex<[String]>([])
        let mailbox = try Mailbox<Bool>()
        let resolver = try Resolver(servers: "127.0.0.1:\(server.port)") { addresses in
            found.withLock { $0 += addresses.keys }
            mailbox.post(true)
        }
        defer { resolver.stop() }
        if isAskedLater {
            resolver.watch(["nobody.example"])
            #expect(server.isAsked(within: 5_000))
        }
        resolver.watch(["nobody.example", "localhost"])
        var descriptor = pollfd(fd: mailbox.descriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&descriptor, 1, 5_000) == 1)
        #expect(found.withLock { $0 } == ["localhost"])
    }
}

/// Takes questions and gives no answer.
private final class SilentNameServer {
    private let descriptor: Int32
    let port: UInt16

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (descriptor, length) = (descriptor, size)
        let bound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &size) == 0
            }
        }
        try #require(bound)
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(descriptor) }

    func isAsked(within milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, milliseconds) == 1
    }
}
