/// The streams of a connection that are no more, as far back as is needed to tell a frame that was under way from one that
/// no client may send (RFC 9113 section 5.1).
struct ClosedStreams {
    /// Older ones are forgotten, and with them what could be said of them.
    private static let memory = 128

    private var endedByClient = Memory()
    private var resetByUs = Memory()

    private struct Memory {
        var ids: [Int32] = []
        /// The highest id that was dropped.
        var forgotten: Int32 = 0

        mutating func remember(_ id: Int32) {
            guard ids.last != id else { return }
            ids.append(id)
            guard ids.count > ClosedStreams.memory else { return }
            let dropped = ids.prefix(ClosedStreams.memory / 2)
            forgotten = max(forgotten, dropped.max() ?? 0)
            ids.removeFirst(ClosedStreams.memory / 2)
        }
    }

    /// A stream was reset or refused by us: what the client has sent before it knew is no fault.
    mutating func wasReset(_ id: Int32) {
        resetByUs.remember(id)
    }

    /// A stream is closed, and unless we reset it the client knows.
    mutating func wasClosed(_ id: Int32) {
        if !resetByUs.ids.contains(id) { endedByClient.remember(id) }
    }

    /// What HEADERS or DATA on a stream that is not open mean, of an id that is not new; `nil` where they are ignored.
    func fault(ofLateFrameOn id: Int32) -> HTTP2Code? {
        if endedByClient.ids.contains(id) { return .streamClosed }
        if resetByUs.ids.contains(id) || id <= max(endedByClient.forgotten, resetByUs.forgotten) {
            return nil
        }
        // It was passed over when a higher one began (section 5.1.1).
        return .protocolError
    }
}
