import Cryptography
import HTTP
import Primitives

/// What a request is known by: the id in log, upstream request and problem body, and its place in a
/// distributed trace (W3C Trace Context). Owned by an exchange and reused for the next.
public struct RequestTrace: ~Copyable {
    /// The client's `X-Request-Id` if it is one, else 32 hex digits of our own.
    public private(set) var requestID: [UInt8] = []
    /// The whole `traceparent` for the upstream: `00-TRACE-SPAN-FLAGS`, 55 bytes.
    public private(set) var traceparent: [UInt8] = []
    /// Whether the trace was begun elsewhere; only then does `tracestate` mean anything.
    public private(set) var isContinued = false
    /// The trace id's place in `traceparent`: 32 lower-case hex digits.
    public static let traceIDRange = 3..<35

    public init() {
        requestID.reserveCapacity(128)
        traceparent.reserveCapacity(55)
    }

    /// Takes over what the request says of itself where that is well formed, and begins anew where not.
    ///
    /// The trace id is kept and the span is ours. A field that comes twice is not believed.
    public mutating func begin(
        _ head: RequestHead, ids: inout RequestIDSource
    ) throws(CryptographyError) {
        requestID.removeAll(keepingCapacity: true)
        traceparent.removeAll(keepingCapacity: true)
        if let line = head.onlyValue(of: .xRequestID), Self.isRequestID(head.span(of: line.value)) {
            requestID.append(head.span(of: line.value))
        } else {
            try ids.appendHex(count: 16, to: &requestID)
        }
        if let line = head.onlyValue(of: .traceparent),
            Self.isTraceparent(head.span(of: line.value))
        {
            let value = head.span(of: line.value)
            isContinued = true
            traceparent.append(value, 0..<36)
            try ids.appendHex(count: 8, to: &traceparent)
            traceparent.append(value, 52..<55)
        } else {
            try beginTrace(ids: &ids)
        }
    }

    /// Ids of our own, for a request whose head could not be read.
    public mutating func begin(ids: inout RequestIDSource) throws(CryptographyError) {
        requestID.removeAll(keepingCapacity: true)
        traceparent.removeAll(keepingCapacity: true)
        try ids.appendHex(count: 16, to: &requestID)
        try beginTrace(ids: &ids)
    }

    private mutating func beginTrace(ids: inout RequestIDSource) throws(CryptographyError) {
        isContinued = false
        traceparent.append("00-")
        try ids.appendHex(count: 16, to: &traceparent)
        traceparent.append("-")
        try ids.appendHex(count: 8, to: &traceparent)
        // Flags 00: whether to record it is left to those who do.
        traceparent.append("-00")
    }

    /// 1 to 128 of `A-Z a-z 0-9 - _ .`
    private static func isRequestID(_ text: Span<UInt8>) -> Bool {
        guard 1...128 ~= text.count else { return false }
        for index in 0..<text.count {
            switch text[index] {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: continue
            default: return false
            }
        }
        return true
    }

    /// Version 00 of the field, with lower-case digits and neither id all zeros.
    private static func isTraceparent(_ text: Span<UInt8>) -> Bool {
        guard text.count == 55 else { return false }
        var isTraceZero = true
        var isSpanZero = true
        for offset in 0..<55 {
            let byte = text[offset]
            switch offset {
            case 0, 1:
                guard byte == 0x30 else { return false }
            case 2, 35, 52:
                guard byte == 0x2D else { return false }
            default:
                guard (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte) else {
                    return false
                }
                if byte != 0x30 {
                    if offset < 35 {
                        isTraceZero = false
                    } else if offset < 52 {
                        isSpanZero = false
                    }
                }
            }
        }
        return !isTraceZero && !isSpanZero
    }
}
