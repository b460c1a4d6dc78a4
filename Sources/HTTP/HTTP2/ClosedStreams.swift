/// The streams of a connection that are no more, as far back as is needed to tell a frame that was under way from one that
/// no client may send (RFC 9113 section 5.1).
struct ClosedStreams {
    /// Older ones are forgotten, and with them what could be said of them.
    private static let memory = 128

    private var endedByClient: [Int32] = []
    private var resetByUs: [Int32] = []
    /// The highest id that was dropped from either list.
    private var forgotten: Int32 = 0

    /// A stream was reset or refused by us: what the client has sent before it knew is no fault.
    mutating func wasReset(_ id: Int32) {
        remember(id, in: \.resetByUs)
    }

    /// A stream is closed, and unless we reset it the client knows.
    mutating func wasClosed(_ id: Int32) {
        if !resetByUs.contains(id) { remember(id, in: \.endedByClient) }
    }

    /// What HEADERS or DATA on a stream that is not open mean, of an id that is not new; `nil` where they are ignored.
    func fault(ofLateFrameOn id: Int32) -> HTTP2Code? {
        if endedByClient.contains(id) { return .streamClosed }
        if resetByUs.contains(id) || id <= forgotten { return nil }
        // It was passed over when a higher one began (section 5.1.1).
        return .protocolError
    }

    private mutating func remember(_ id: Int32, in list: WritableKeyPath<ClosedStreams, [Int32]>) {
        guard self[keyPath: list].last != id else { return }
        self[keyPath: list].append(id)
        guard self[keyPath: list].count > ClosedStreams.memory else { return }
        let dropped = self[keyPath: list].prefix(ClosedStreams.memory / 2)
        forgotten = max(forgotten, dropped.max() ?? 0)
        self[keyPath: list].removeFirst(ClosedStreams.memory / 2)
    }
}
