import Configuration
import HTTP
import Primitives

/// Finds out by its first bytes which version a client speaks in clear, on a listener that takes HTTP/2 by prior knowledge
/// (RFC 9113 section 3.3). No request of HTTP/1.1 begins as the preface does.
struct VersionDetector {
    enum Verdict: Equatable {
        case undecided
        /// With all bytes so far.
        case http1([UInt8])
        case http2([UInt8])
    }

    private let takesHTTP1: Bool
    private var seen: [UInt8] = []

    /// `nil` where there is nothing to find out.
    init?(_ protocols: [ListenerProtocol]) {
        guard protocols.contains(.h2c) else { return nil }
        takesHTTP1 = protocols.contains(.http11)
    }

    /// Whether nothing has come yet.
    var isEmpty: Bool { seen.isEmpty }

    mutating func take(_ input: Span<UInt8>) -> Verdict {
        seen.append(input, 0..<input.count)
        // Where HTTP/1.1 is not spoken, its client hears of that from HTTP/2.
        guard takesHTTP1 else { return .http2(seen) }
        let preface = HTTP2ServerSession.preface
        let known = min(seen.count, preface.count)
        guard seen[..<known].elementsEqual(preface[..<known]) else { return .http1(seen) }
        return known == preface.count ? .http2(seen) : .undecided
    }
}
