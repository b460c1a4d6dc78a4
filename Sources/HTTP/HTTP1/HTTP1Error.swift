/// What is wrong with an HTTP/1.1 message. Bytes that two parsers could read in two ways are refused, never repaired
/// (RFC 9112 section 11).
public enum HTTP1Error: Error, Equatable, Sendable, CaseIterable {
    // Limits
    case requestLineTooLong, headTooLarge, tooManyFields, chunkOverheadTooLarge, trailersTooLarge
    // Lines (RFC 9112 section 2.2)
    case bareLineFeed, bareCarriageReturn, controlByte, tooManyEmptyLines
    // Request and status line (sections 3 and 4)
    case invalidRequestLine, invalidMethod, invalidTarget, invalidVersion, unsupportedVersion
    case invalidStatusLine
    /// CONNECT on HTTP/2, plain or to a protocol that is not known (RFC 9113 section 8.5, RFC 8441).
    case tunnelNotOffered
    // Field lines (section 5)
    case obsFold, spaceBeforeColon, missingColon, invalidFieldName
    // Host (section 3.2)
    case hostMissing, hostRepeated, hostInvalid, hostDisagrees
    // Framing (section 6)
    case contentLengthInvalid, contentLengthRepeated, framingConflict, transferEncodingInvalid
    case unknownTransferCoding, transferEncodingInHTTP10
    // Chunks (section 7.1)
    case invalidChunkSize, invalidChunkExtension, chunkNotTerminated

    /// The answer to a request with this fault.
    public var status: Int {
        switch self {
        case .requestLineTooLong: 414
        case .headTooLarge, .tooManyFields, .trailersTooLarge: 431
        case .unsupportedVersion: 505
        case .unknownTransferCoding, .tunnelNotOffered: 501
        default: 400
        }
    }

    /// What to tell the client: a fact about its message, never a piece of it.
    public var detail: String {
        switch self {
        case .requestLineTooLong: "The request line is too long."
        case .headTooLarge: "The request's head is too large."
        case .tooManyFields: "The request has too many header fields."
        case .chunkOverheadTooLarge: "Chunk extensions and framing take too many bytes."
        case .trailersTooLarge: "The trailer section is too large."
        case .bareLineFeed: "A line ends with LF alone."
        case .bareCarriageReturn: "CR stands without LF."
        case .controlByte: "A control character stands in the head."
        case .tooManyEmptyLines: "Too many empty lines before the request line."
        case .invalidRequestLine: "The request line is not METHOD SP TARGET SP VERSION."
        case .invalidMethod: "The method is not a token."
        case .invalidTarget: "The request target is malformed."
        case .invalidVersion: "The protocol version is malformed."
        case .unsupportedVersion: "The protocol version is not supported here."
        case .invalidStatusLine: "The status line is malformed."
        case .tunnelNotOffered: "No tunnel of this kind is opened here."
        case .obsFold: "A header field is folded over lines."
        case .spaceBeforeColon: "White space stands before a header field's colon."
        case .missingColon: "A header field has no colon."
        case .invalidFieldName: "A header field's name is not a token."
        case .hostMissing: "The Host field is missing."
        case .hostRepeated: "The Host field is repeated."
        case .hostInvalid: "The Host field is malformed."
        case .hostDisagrees: "Host disagrees with the request target."
        case .contentLengthInvalid: "Content-Length is not a plain number."
        case .contentLengthRepeated: "Content-Length is repeated."
        case .framingConflict: "Content-Length stands beside Transfer-Encoding."
        case .transferEncodingInvalid: "Transfer-Encoding is malformed."
        case .unknownTransferCoding: "The transfer coding is not known here."
        case .transferEncodingInHTTP10: "Transfer-Encoding in an HTTP/1.0 message."
        case .invalidChunkSize: "A chunk's size is malformed."
        case .invalidChunkExtension: "A chunk's extension is malformed."
        case .chunkNotTerminated: "A chunk's data is not followed by CR LF."
        }
    }
}

/// Bounds on a message's head.
public struct HTTP1Limits: Sendable, Equatable {
    public var requestLineBytes: Int
    public var headBytes: Int
    public var fieldCount: Int

    public init(
        requestLineBytes: Int = 8 << 10, headBytes: Int = 32 << 10, fieldCount: Int = 100
    ) {
        self.requestLineBytes = requestLineBytes
        self.headBytes = headBytes
        self.fieldCount = fieldCount
    }
}

/// How far a head has come.
public enum HeadProgress: Equatable, Sendable {
    /// All of the input was taken; more is needed.
    case incomplete
    /// The head is whole; what follows begins at this offset of the input.
    case complete(nextOffset: Int)
}
