import CLinux
import Glibc
import Primitives

/// The listening sockets that systemd has bound and handed over (sd_listen_fds(3)).
public struct ActivatedSockets: Sendable {
    private static let firstDescriptor: Int32 = 3

    private let descriptors: [(name: String, descriptor: Int32)]

    /// Reads `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`.
    ///
    /// - Parameter environment: gives a variable's value.
    public init(_ environment: (String) -> String?, processID: Int32 = getpid()) {
        guard environment("LISTEN_PID").flatMap({ Int32($0) }) == processID,
            let count = environment("LISTEN_FDS").flatMap({ Int32($0) }), (0...1024).contains(count)
        else {
            descriptors = []
            return
        }
        let names = (environment("LISTEN_FDNAMES") ?? "").split(
            separator: ":", omittingEmptySubsequences: false)
        descriptors = (0..<count).map { index in
            let name = Int(index) < names.count ? String(names[Int(index)]) : ""
            return (name.isEmpty ? "unknown" : name, ActivatedSockets.firstDescriptor + index)
        }
    }

    /// All sockets of a name: a socket unit may have several addresses. Each is a copy, so that a listener that a reload
    /// takes away can come back with the next.
    ///
    /// - Throws: when there is none, or one does not listen for streams.
    public func sockets(named name: String) throws(SystemError) -> [ListeningSocket.Adopted] {
        let wanted = descriptors.filter { $0.name == name }.map(\.descriptor)
        guard !wanted.isEmpty else { throw SystemError(call: "LISTEN_FDNAMES", code: ENOENT) }
        var copies: [ListeningSocket.Adopted] = []
        for descriptor in wanted {
            let copy = gh_duplicate(descriptor)
            guard copy >= 0 else { throw SystemError(call: "dup", code: errno) }
            copies.append(ListeningSocket.Adopted(descriptor: copy))
        }
        return copies
    }
}
