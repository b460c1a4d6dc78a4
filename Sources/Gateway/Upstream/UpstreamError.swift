import Telemetry

/// Why an upstream gave no usable answer; names after RFC 9209 section 2.3.
enum UpstreamError: Error, Equatable {
    /// The group has no address to connect to: its names have not been found.
    case destinationNotFound
    case connectionRefused(code: Int32)
    case connectionTimeout
    /// The handshake failed, or the server is not who it should be; in words, for the operator.
    case tlsFailed(String)
    /// The server has done nothing for the request, and says so (RFC 9113 section 8.7).
    case requestUnprocessed
    /// The request waited for a place on its connection, and there will be none.
    case requestUnsent
    /// The connection ended before the first byte of an answer.
    case connectionTerminated
    case responseTimeout
    case responseInvalid
    /// The answer's head or body was cut.
    case responseIncomplete

    /// The server could not be reached: there was no connection that it took the request by.
    var isOfConnecting: Bool {
        switch self {
        case .connectionRefused, .connectionTimeout, .tlsFailed: true
        case .destinationNotFound, .requestUnprocessed, .requestUnsent, .connectionTerminated,
            .responseTimeout, .responseInvalid, .responseIncomplete:
            false
        }
    }

    var reason: Reason {
        switch self {
        case .destinationNotFound: .noHealthyUpstream
        case .connectionRefused, .tlsFailed: .upstreamConnect
        case .connectionTimeout, .responseTimeout: .upstreamTimeout
        case .connectionTerminated, .responseIncomplete, .requestUnprocessed,
            .requestUnsent:
            .upstreamReset
        case .responseInvalid: .upstreamBadResponse
        }
    }
}
