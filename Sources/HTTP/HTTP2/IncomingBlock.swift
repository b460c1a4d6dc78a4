/// The field block that a client is sending: there is one at a time (RFC 9113 section 4.3).
struct IncomingBlock {
    enum Outcome {
        case taken
        /// So much has been decoded that the connection ends.
        case tooMuch
        /// Trailers, or the block of a stream that is not known any more.
        case notOfAHead
    }

    /// 0: none is in progress.
    var streamID: Int32 = 0
    /// Of a request's head.
    var reader: HTTP2HeadReader?
    /// As section 6.5.2 counts it.
    private var decodedBytes = 0

    init(streamID: Int32 = 0) {
        self.streamID = streamID
    }

    /// None is in progress any more.
    ///
    /// - Returns: what read it, where it was a request's head; the only reference to it.
    mutating func end() -> HTTP2HeadReader? {
        let taken = reader.take()
        self = IncomingBlock()
        return taken
    }

    /// - Parameter limit: of decoded bytes.
    mutating func take(_ name: Span<UInt8>, _ value: Span<UInt8>, limit: Int) -> Outcome {
        decodedBytes += name.count + value.count + 32
        guard decodedBytes <= limit else { return .tooMuch }
        guard reader != nil else { return .notOfAHead }
        reader?.take(name, value)
        return .taken
    }
}
