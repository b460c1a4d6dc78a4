import Primitives

/// Takes content out of the chunked coding (RFC 9112 section 7.1). Strict: 1 to 16 hexadecimal digits, CR LF everywhere,
/// extensions dropped, everything besides content bounded.
public struct ChunkedDecoder {
    public enum Event: Equatable, Sendable {
        /// Content, as a range of the input.
        case data(Range<Int>)
        case needsMore
        case end
    }

    private enum State {
        case size(digits: Int)
        case extensions
        case sizeLineFeed
        case data
        case dataCarriageReturn
        case dataLineFeed
        case trailers
        case ended
    }

    /// Bytes of extensions in one body: 16 KiB (CVE-2023-39326) and a quarter of its content. The rest of a chunk's
    /// framing is bounded by itself: at most 20 bytes for a byte of content, so that a stream of small chunks may last.
    private static let overheadLimit = 16 << 10

    private let limits: HTTP1Limits
    private var state = State.size(digits: 0)
    private var size = 0
    private var overhead = 0
    private var content = 0
    private var lines = HeadLines()
    /// The trailer section; valid after `.end`. Its bytes are whole lines with their CR LF, without the empty one.
    public private(set) var trailers = Trailers()

    public init(limits: HTTP1Limits = HTTP1Limits()) {
        self.limits = limits
    }

    /// The next event in `input` from `offset`, which moves behind what was taken.
    public mutating func next(
        _ input: Span<UInt8>, from offset: inout Int
    ) throws(HTTP1Error) -> Event {
        while offset < input.count {
            switch state {
            case .size(let digits):
                try takeSizeByte(input[offset], digits)
                offset += 1
            case .extensions:
                try takeExtensionByte(input[offset])
                offset += 1
            case .sizeLineFeed:
                guard input[offset] == 0x0A else { throw .invalidChunkSize }
                offset += 1
                state = size == 0 ? .trailers : .data
            case .data:
                let range = offset..<min(input.count, offset + size)
                offset = range.upperBound
                size -= range.count
                content += range.count
                if size == 0 { state = .dataCarriageReturn }
                return .data(range)
            case .dataCarriageReturn:
                guard input[offset] == 0x0D else { throw .chunkNotTerminated }
                offset += 1
                state = .dataLineFeed
            case .dataLineFeed:
                guard input[offset] == 0x0A else { throw .chunkNotTerminated }
                offset += 1
                state = .size(digits: 0)
            case .trailers:
                if try takeTrailers(input, &offset) { state = .ended }
            case .ended:
                return .end
            }
        }
        if case .ended = state { return .end }
        return .needsMore
    }

    private mutating func takeSizeByte(_ byte: UInt8, _ digits: Int) throws(HTTP1Error) {
        let value = ASCII.hexValue(byte)
        if value < 16 {
            guard digits < 16, digits == 0 || size <= Int.max >> 5 else { throw .invalidChunkSize }
            size = (digits == 0 ? 0 : size << 4) | Int(value)
            state = .size(digits: digits + 1)
            return
        }
        guard digits > 0 else { throw .invalidChunkSize }
        switch byte {
        case 0x0D: state = .sizeLineFeed
        case 0x3B: state = .extensions
        default: throw .invalidChunkSize
        }
    }

    /// Extensions are not understood and not passed on; a bare CR or LF or another control in them is refused.
    private mutating func takeExtensionByte(_ byte: UInt8) throws(HTTP1Error) {
        try countOverhead()
        if byte == 0x0D {
            state = .sizeLineFeed
        } else if byte < 0x20 && byte != 0x09 || byte == 0x7F {
            throw .invalidChunkExtension
        }
    }

    private mutating func countOverhead() throws(HTTP1Error) {
        overhead += 1
        guard overhead <= ChunkedDecoder.overheadLimit + content / 4 else {
            throw .chunkOverheadTooLarge
        }
    }

    private mutating func takeTrailers(
        _ input: Span<UInt8>, _ offset: inout Int
    ) throws(HTTP1Error) -> Bool {
        while true {
            let event: HeadLines.Event
            do throws(HTTP1Error) {
                event = try lines.next(
                    input, from: &offset, into: &trailers.bytes, allowsTab: true,
                    limit: limits.headBytes)
            } catch {
                throw error == .headTooLarge ? .trailersTooLarge : error
            }
            guard case .line(let line) = event else { return false }
            if line.isEmpty {
                trailers.bytes.removeLast(2)
                return true
            }
            guard trailers.fields.count < limits.fieldCount else { throw .trailersTooLarge }
            trailers.fields.append(try HeadLines.field(trailers.bytes.span, line))
        }
    }
}
