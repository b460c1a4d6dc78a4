import Foundation
import Primitives
import TestSupport
import Testing

@testable import Telemetry

@Suite struct ServiceNotifierTests {
    @Test func everyMessageIsOneDatagram() throws {
        let folder = try TemporaryDirectory()
        let manager = try ServiceManager(folder.file("notify"))
        let notifier = ServiceNotifier(socketPath: folder.file("notify"))
        notifier.ready()
        notifier.ready(status: "2 listeners")
        notifier.reloading(now: MonotonicInstant(nanoseconds: 1_234_567_999))
        notifier.stopping(status: "draining")
        notifier.watchdog()
        notifier.status("a\nWATCHDOG=trigger\r\nb")
        #expect(
            manager.messages() == [
                "READY=1", "READY=1\nSTATUS=2 listeners",
                "RELOADING=1\nMONOTONIC_USEC=1234567", "STOPPING=1\nSTATUS=draining",
                "WATCHDOG=1", "STATUS=a WATCHDOG=trigger b",
            ])
    }

    @Test func anAbstractSocketIsFound() throws {
        let name = "@gatehouse-test-\(UUID().uuidString)"
        let manager = try ServiceManager(name)
        ServiceNotifier(socketPath: name).ready()
        #expect(manager.messages() == ["READY=1"])
    }

    @Test(arguments: [
        nil, "", "/", "@", "relative", "vsock:2:1", "/nothing/listens/here", "/a\0b",
        "/" + String(repeating: "x", count: 107),
    ])
    func nobodyIsTold(path: String?) {
        let notifier = ServiceNotifier(socketPath: path)
        notifier.ready(status: "x")
        notifier.watchdog()
        #expect(notifier.watchdogInterval == nil)
    }

    @Test(
        arguments: [
            ("30000000", nil, Duration.seconds(30)), ("30000000", "42", .seconds(30)),
            ("1", nil, .microseconds(1)), ("30000000", "43", nil), ("0", nil, nil),
            ("-5", nil, nil),
            ("", nil, nil), ("5s", nil, nil), ("99999999999999999999", nil, nil), (nil, nil, nil),
        ] as [(String?, String?, Duration?)])
    func theWatchdogIsTakenFromTheEnvironment(
        microseconds: String?, process: String?, interval: Duration?
    ) {
        let notifier = ServiceNotifier(
            socketPath: "/run/notify", watchdogMicroseconds: microseconds,
            watchdogProcess: process, process: 42)
        #expect(notifier.watchdogInterval == interval)
    }
}

/// The receiving end, as systemd has it.
private final class ServiceManager {
    private let descriptor: Int32

    init(_ name: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(name.utf8)
        if bytes[0] == 0x40 { bytes[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let number = descriptor
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(number, $0, socklen_t(2 + bytes.count))
            }
        }
        guard code == 0 else { throw Failure("bind: errno \(errno)") }
    }

    deinit {
        close(descriptor)
    }

    /// The datagrams that have come; `sendto` has put them into the socket's queue before it returns.
    func messages() -> [String] {
        var list: [String] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let size = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            guard size >= 0 else { return list }
            list.append(String(decoding: buffer.prefix(size), as: UTF8.self))
        }
    }
}
