/// One stream of a client's, as its session keeps it; a subclass answers the request that comes on it.
///
/// A base class, not a part of what answers: an event finds its stream once, where a session and a connection with a table
/// each would look it up in both.
open class HTTP2ServerStream {
    public let id: Int32
    /// Once its section has begun.
    final var trailers: Trailers?
    final var output = StreamOutput()
    /// The end of the answer has gone out.
    final var isAnswered = false
    /// Refused as malformed, or not wanted any more: nothing of it is passed on.
    final var isMalformed = false
    /// Its head was whole and within the limits: answering it is work that the client may pay with.
    final var isUseful = false
    /// The request is not wanted any more: the stream ends when the answer is out.
    final var isStopped = false
    final var isClosed = false

    public init(id: Int32) {
        self.id = id
    }

    /// Content of the answer that has not gone out, in bytes.
    public final var queuedBytes: Int { output.count }

    /// Content of the answer waits to go out, or its end does: for the client's window.
    public final var hasUnsent: Bool { output.count > 0 || (output.isEnded && !isAnswered) }

    /// The head is whole.
    open func headComplete(endsStream: Bool) {}
    /// The head is one that HTTP/1.1 refuses too: it is to be answered, and nothing more comes of it.
    open func headRefused(_ error: HTTP1Error) {}
    /// Content; `consumed` must follow when it has been used, or the client may send no more.
    open func dataReceived(_ input: Span<UInt8>) {}
    /// The request is complete, with its trailers.
    open func requestEnded(_ trailers: Trailers) {}
    /// The stream is closed on both sides, or was reset by either: its session does not know it any more.
    ///
    /// - Parameter code: with which it was reset.
    open func closed(code: UInt32) {}
}
