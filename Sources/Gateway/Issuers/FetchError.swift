import HTTP

/// Why a server that we asked gave no usable answer. For the operator: what a client is told is `issuer_unavailable`.
enum FetchError: Error, Equatable {
    /// The drill `--without issuer` says so.
    case away
    case nameNotFound(String)
    case connect(UpstreamError)
    case timeout
    case connectionLost
    case malformed(HTTP1Error)
    case tooLarge(limitBytes: Int)
    /// Any status but 200.
    case status(Int)
    /// Never followed: where it leads nobody vouches for.
    case redirect(Int, to: String)
    /// The answer is whole, and not what was asked for.
    case content(String)
}

extension FetchError: CustomStringConvertible {
    var description: String {
        switch self {
        case .away: "away for a drill (--without issuer)"
        case .nameNotFound(let name): "the name \(name) was not found"
        case .connect(.tlsFailed(let cause)): "TLS failed: \(cause)"
        case .connect(let error): "no connection: \(error)"
        case .timeout: "no whole answer in time"
        case .connectionLost: "the connection ended before the answer did"
        case .malformed(let error): "an answer that is not well-formed HTTP: \(error)"
        case .tooLarge(let limit): "an answer of more than \(limit) bytes"
        case .status(let status): "an answer with status \(status)"
        case .redirect(let status, let host):
            "a redirect (\(status)) to \(host), which is not followed"
        case .content(let text): text
        }
    }
}

/// An answer with status 200.
struct FetchedAnswer {
    let body: [UInt8]
    /// What `Cache-Control` allows; `nil` when it says nothing.
    let maxAge: Duration?
}
