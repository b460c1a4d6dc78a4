import Telemetry

/// Why an upstream gave no usable answer; names after RFC 9209 section 2.3.
enum UpstreamError: Error, Equatable {
    /// The group has no address to connect to: its names have not been found.
    case destinationNotFound
    case connectionRefused(code: Int32)
    case connectionTimeout
    /// The connection ended before the first byte of an answer.
    case connectionTerminated
    case responseTimeout
    case responseInvalid
    /// The answer's head or body was cut.
    case responseIncomplete

    var reason: Reason {
        switch self {
        case .destinationNotFound: .noHealthyUpstream
        case .connectionRefused: .upstreamConnect
        case .connectionTimeout, .responseTimeout: .upstreamTimeout
        case .connectionTerminated, .responseIncomplete: .upstreamReset
        case .responseInvalid: .upstreamBadResponse
        }
    }
}
