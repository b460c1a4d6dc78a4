import HTTP

/// What an exchange needs of its server: an HTTP/1.1 connection, or one stream of an HTTP/2 connection. What comes back is
/// told to the exchange (`upstreamHead`, `upstreamData`, `upstreamEnded`, `upstreamFailed`).
protocol UpstreamStream: AnyObject {
    /// Whether the server had answered on its connection before this exchange: then it may have closed it just now.
    var isReused: Bool { get }
    /// Whether the server has not taken all that was sent: the client's reading must wait.
    var isCongested: Bool { get }
    /// Whether the server has heard of the request, and its connection finds out by itself whether it is still there.
    var mayBeSilent: Bool { get }
    /// Sends more of the request's content.
    func sendContent(_ input: Span<UInt8>, _ range: Range<Int>)
    /// The request's content is complete.
    ///
    /// - Parameter trailerLines: field lines that follow it, where the framing has a place for them; may be empty.
    func endContent(trailerLines: [UInt8])
    /// The request is complete: from now on the server's time runs. Called again when the server has taken the last of it.
    func requestEnded()
    /// Stops or goes on reading the answer, as the client takes it.
    func pauseReading(_ isPaused: Bool)
    /// The exchange ended before its answer did.
    func abandon()
}

/// A request on its way to a server.
struct OutgoingRequest {
    /// How the content that follows the head is framed.
    let framing: BodyFraming
    /// All of the content is behind the head already: `requestEnded` does not follow.
    let isWhole: Bool
}
