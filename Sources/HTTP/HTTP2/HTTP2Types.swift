/// An error code of RFC 9113 section 7.
public enum HTTP2Code: UInt32, Sendable {
    case noError = 0
    case protocolError, internalError, flowControlError, settingsTimeout, streamClosed
    case frameSizeError, refusedStream, cancel, compressionError, connectError, enhanceYourCalm
    case inadequateSecurity, http11Required
}

/// Why a connection cannot go on. What the peer is told has been queued where it can be told anything.
public enum HTTP2Error: Error, Equatable, Sendable {
    /// The library has no memory, or refused what we asked: our mistake.
    case library(Int32)
    /// The peer does not speak HTTP/2, or broke it beyond an answer.
    case broken(Int32)
}

/// What one end of a connection lets the other do.
public struct HTTP2Settings: Sendable, Equatable {
    /// Streams that may be open at once.
    public var streams: Int
    /// The head of one message: bytes (counted as HTTP/1.1 would write it), fields, bytes of the target.
    public var head: HTTP1Limits
    /// Bytes of one stream that may be under way unacknowledged, and of all streams.
    public var streamWindow = 64 << 10
    public var connectionWindow = 1 << 20

    public init(streams: Int = 128, head: HTTP1Limits = HTTP1Limits()) {
        self.streams = streams
        self.head = head
    }
}

/// Bounds what a peer may have done for it without doing anything itself: frames that cost us and carry nothing are paid
/// from a budget, which useful work and time fill up again (threats.md, Exhaustion).
///
/// It reads no clock: who does, earns for the time that has passed.
struct FloodGuard {
    static let capacity = 1000
    /// What a stream reset costs, whoever sent it: 100 of them in a row are a flood (CVE-2023-44487, CVE-2025-8671).
    static let resetCost = 10
    static let frameCost = 1
    /// A DATA frame without content.
    static let emptyCost = 5
    /// What a frame of content that the client has let go earns: windows of stream and connection, and two PINGs.
    static let takenEarns = 4
    /// Bytes of a DATA frame that make it useful, either way: one that goes out pays for the windows of its stream and its
    /// connection that let it go.
    static let fairPiece = 256

    /// Bytes by which a window is opened that make it useful: peers that read little at a time open it by as little.
    static let fairStep = 64

    private var budget = capacity

    /// - Returns: false when the peer has used up its budget.
    mutating func spend(_ cost: Int) -> Bool {
        budget -= cost
        return budget >= 0
    }

    mutating func earn(_ amount: Int) {
        budget = min(FloodGuard.capacity, budget + amount)
    }
}
